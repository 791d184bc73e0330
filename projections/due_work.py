"""What falls due when: a subscription's next invoice, the issue of a draft, the end of patience.

A row says what is to be done at an instant if nothing changes until then. Rows are kept in step
whenever a subscription or an invoice changes, so that finding what is next is one seek. Nothing in
here acts; the worker does.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from domain import billing_calendar, charges
from domain.decider import Recorded, Rejected
from domain.invoice_items import InvoiceItemCreated
from domain.invoices import ONCE, Invoice, InvoiceDrafted, Status
from domain.periods import from_us, to_us
from domain.prices import Price
from domain.subscriptions import (
    CollectionPaused,
    CollectionResumed,
    Subscription,
    SubscriptionParked,
    SubscriptionUnparked,
)
from projections import current, invoice_items
from projections.invoice_previews import prices_of
from projections.tables import Row, Table, Views

DUE = Table(
    "due_work",
    "due_at_us INTEGER, kind TEXT, subject TEXT, subscription_id TEXT",
    key="due_at_us, kind, subject",
    indexes=["subject", "subscription_id, due_at_us, kind, subject"],
)
BILLED = Table("billed_until", "subscription_id TEXT, until_us INTEGER", key="subscription_id")
TABLES = (DUE, BILLED)

HOLDS = (CollectionPaused, CollectionResumed, SubscriptionParked, SubscriptionUnparked)
"""The facts that hold drafts back, or let them go on."""

EMPTY_LIMIT = 100
"""Instants in a row at which nothing is due that are passed over."""


class Kind(StrEnum):
    """What is to be done; at one instant in the order of these names."""

    DRAFT = "draft"
    FINALIZE = "finalize"
    OVERDUE = "overdue"


class Due(msgspec.Struct, frozen=True):
    """Something that is to be done at an instant, and the subscription that it is for."""

    at_us: int
    kind: Kind
    subject: str
    subscription_id: str

    @property
    def at(self) -> datetime:
        """The instant at which it falls due."""
        return from_us(self.at_us)


def first(
    views: Views,
    until_us: int,
    *,
    subscription_id: str | None = None,
    without: Collection[Due] = (),
) -> Due | None:
    """What falls due first, up to an instant, for one subscription or for any."""
    where, parameters = "due_at_us<=?", list[object]([until_us])
    if subscription_id is not None:
        where += " AND subscription_id=?"
        parameters.append(subscription_id)
    rows = views.rows(
        f"SELECT * FROM due_work WHERE {where} ORDER BY due_at_us, kind, subject LIMIT ?",
        [*parameters, len(without) + 1],
    )
    return next((due for due in map(_due, rows) if due not in without), None)


def is_due(views: Views, due: Due) -> bool:
    """Whether this is still to be done."""
    row = views.row(
        "SELECT 1 FROM due_work WHERE due_at_us=? AND kind=? AND subject=?",
        (due.at_us, due.kind, due.subject),
    )
    return row is not None


def _due(row: Row) -> Due:
    return Due(row[0], Kind(row[1]), row[2], row[3])


def apply(views: Views, recorded: Recorded) -> None:
    """Keep what falls due in step with one more fact."""
    match recorded.stream_id.partition("_")[0]:
        case "sub":
            _pass_over(views, recorded)
            _plan_next_invoice(views, recorded.stream_id)
            if isinstance(recorded.event, HOLDS):
                _plan_drafts(views, recorded.stream_id)
        case "ii" if isinstance(recorded.event, InvoiceItemCreated):
            _plan_next_invoice(views, recorded.event.subscription_id)
        case "inv":
            if isinstance(recorded.event, InvoiceDrafted) and recorded.event.reason in ONCE:
                _billed(views, recorded.event.subscription_id, to_us(recorded.event.at))
                _plan_next_invoice(views, recorded.event.subscription_id)
            _plan_next_step(views, recorded.stream_id)


def _pass_over(views: Views, recorded: Recorded) -> None:
    """Instants at which nothing was due stay passed over, whatever the subscription becomes.

    But for the present one: what changes now may be billed now.
    """
    row = views.row("SELECT * FROM due_work WHERE subject=?", (recorded.stream_id,))
    if row is not None:
        past_us = recorded.envelope.recorded_at_us - 1
        _billed(views, recorded.stream_id, min(past_us, _due(row).at_us - 1))


def _billed(views: Views, subscription_id: str, until_us: int) -> None:
    """Everything up to an instant is on some invoice."""
    views.insert(
        "billed_until",
        [(subscription_id, until_us)],
        "ON CONFLICT DO UPDATE SET until_us=max(until_us, excluded.until_us)",
    )


def _plan_next_invoice(views: Views, subscription_id: str) -> None:
    """The next invoice of a subscription is drafted when it has something to bill."""
    subscription = current.get(views, Subscription, subscription_id)
    assert subscription is not None, f"no subscription {subscription_id}"
    row = views.row("SELECT until_us FROM billed_until WHERE subscription_id=?", (subscription_id,))
    billed_until = from_us(row[0]) if row else None
    at = None
    if subscription.parked is None:
        waiting_since = invoice_items.waiting_since(views, subscription_id)
        prices = prices_of(views, subscription)
        at = _next_invoice(subscription, prices, billed_until, waiting_since)
    if at is None:
        _settle(views, subscription_id)
    else:
        _plan(views, Due(to_us(at), Kind.DRAFT, subscription_id, subscription_id))


def _next_invoice(
    subscription: Subscription,
    prices: Mapping[str, Price],
    billed_until: datetime | None,
    waiting_since: datetime | None,
) -> datetime | None:
    """The first instant after those that are billed at which anything is due, if there is one.

    That may be a one-off item alone, which waits for the next invoice whatever is on it.
    """
    at: datetime | None = billing_calendar.opening(subscription)
    if billed_until is not None and at is not None and billed_until >= at:
        at = billing_calendar.next_billing(subscription, prices, billed_until)
    for _ in range(EMPTY_LIMIT):
        if at is None or (waiting_since is not None and waiting_since <= at):
            break
        if _anything_due(subscription, prices, at):
            break
        at = billing_calendar.next_billing(subscription, prices, at)
    return at


def _anything_due(subscription: Subscription, prices: Mapping[str, Price], at: datetime) -> bool:
    try:
        return bool(charges.charges(subscription, prices, at))
    except Rejected:  # more than an invoice holds, which is for drafting it to say
        return True


def _plan_drafts(views: Views, subscription_id: str) -> None:
    """The drafts of a subscription wait while it is held back, and are issued afterwards."""
    keys = {"subscriptionId": subscription_id, "status": Status.DRAFT}
    for found in current.select(views, Invoice, keys, limit=-1):
        _plan_next_step(views, found.state.id)


def _plan_next_step(views: Views, invoice_id: str) -> None:
    """A draft is issued once it waited for late records; what is not paid in time is overdue."""
    invoice = current.get(views, Invoice, invoice_id)
    assert invoice is not None, f"no invoice {invoice_id}"
    if invoice.status is Status.DRAFT:
        subscription = current.get(views, Subscription, invoice.subscription_id)
        if subscription is not None and subscription.held:
            _settle(views, invoice_id)
            return
        at_us = to_us(invoice.finalizes_at)
        _plan(views, Due(at_us, Kind.FINALIZE, invoice_id, invoice.subscription_id))
    elif invoice.status is Status.OPEN and invoice.due_at and not invoice.overdue_at:
        at_us = to_us(invoice.due_at)
        _plan(views, Due(at_us, Kind.OVERDUE, invoice_id, invoice.subscription_id))
    else:
        _settle(views, invoice_id)


def _plan(views: Views, due: Due) -> None:
    """What is to be done about a subject, in the place of what was."""
    _settle(views, due.subject)
    views.insert("due_work", [(due.at_us, due.kind, due.subject, due.subscription_id)])


def _settle(views: Views, subject: str) -> None:
    """Nothing more is to be done about a subject."""
    views.execute("DELETE FROM due_work WHERE subject=?", (subject,))

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
from domain.invoices import ONCE, Invoice, InvoiceDrafted, Reason, Status
from domain.periods import from_us, to_us
from domain.prices import Price
from domain.subscriptions import (
    CollectionPaused,
    CollectionResumed,
    Subscription,
    SubscriptionParked,
    SubscriptionUnparked,
)
from projections import adjustments, current, invoice_items, invoices
from projections.invoice_previews import prices_of
from projections.supposed import NOTHING, Supposed
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


def next_invoice(
    views: Views, subscription: Subscription, now: datetime, supposed: Supposed = NOTHING
) -> datetime | None:
    """When a subscription's next invoice is for, if there is one to come.

    Where nothing else is billed any more, what waits for an adjustment has one of its own.
    """
    prices = prices_of(views, subscription)
    at = billing_calendar.next_billing(subscription, prices, now)
    if at is None and adjustments.due(views, subscription.id, None, supposed):
        return from_us(_for_adjustments(views, subscription.id, to_us(now)))
    return at


def apply(views: Views, recorded: Recorded) -> None:
    """Keep what falls due in step with one more fact."""
    match recorded.stream_id.partition("_")[0]:
        case "sub":
            _pass_over(views, recorded.stream_id, recorded.envelope.recorded_at_us)
            _plan_next_invoice(views, recorded.stream_id, recorded.envelope.recorded_at_us)
            if isinstance(recorded.event, HOLDS):
                _plan_drafts(views, recorded.stream_id)
        case "ii" if isinstance(recorded.event, InvoiceItemCreated):
            now_us = recorded.envelope.recorded_at_us
            _plan_next_invoice(views, recorded.event.subscription_id, now_us)
        case "inv":
            if isinstance(recorded.event, InvoiceDrafted):
                _drafted(views, recorded.event, recorded.envelope.recorded_at_us)
            _plan_next_step(views, recorded.stream_id)


def adjust(views: Views, subscription_id: str, now_us: int) -> None:
    """What waits for an adjustment has changed: it comes on the next invoice."""
    _pass_over(views, subscription_id, now_us)
    _plan_next_invoice(views, subscription_id, now_us)


def _drafted(views: Views, event: InvoiceDrafted, now_us: int) -> None:
    if event.reason in ONCE:
        _billed(views, event.subscription_id, to_us(event.at))
    if event.reason in ONCE or event.reason is Reason.ADJUSTMENT:
        _plan_next_invoice(views, event.subscription_id, now_us)


def _pass_over(views: Views, subscription_id: str, now_us: int) -> None:
    """Instants at which nothing was due stay passed over, whatever the subscription becomes.

    But for the present one: what changes now may be billed now.
    """
    due = _planned(views, subscription_id)
    if due is not None:
        _billed(views, subscription_id, min(now_us, due.at_us) - 1)


def _planned(views: Views, subject: str) -> Due | None:
    """What is to be done about a subject next."""
    row = views.row("SELECT * FROM due_work WHERE subject=?", (subject,))
    return None if row is None else _due(row)


def _billed(views: Views, subscription_id: str, until_us: int) -> None:
    """Everything up to an instant is on some invoice."""
    views.insert(
        "billed_until",
        [(subscription_id, until_us)],
        BILLED.merging(
            "until_us=CASE WHEN excluded.until_us>billed_until.until_us"
            " THEN excluded.until_us ELSE billed_until.until_us END"
        ),
    )


def _plan_next_invoice(views: Views, subscription_id: str, now_us: int) -> None:
    """The next invoice of a subscription is drafted when it has something to bill."""
    subscription = current.get(views, Subscription, subscription_id)
    assert subscription is not None, f"no subscription {subscription_id}"
    row = views.row("SELECT until_us FROM billed_until WHERE subscription_id=?", (subscription_id,))
    billed_until = from_us(row[0]) if row else None
    at_us = None
    if subscription.parked is None:
        waiting = _waiting_since(views, subscription_id)
        prices = prices_of(views, subscription)
        at = _next_invoice(subscription, prices, billed_until, waiting)
        if at is not None:
            at_us = to_us(at)
        elif adjustments.due(views, subscription_id, None):
            at_us = _for_adjustments(views, subscription_id, now_us)
    if at_us is None:
        _settle(views, subscription_id)
    else:
        _plan(views, Due(at_us, Kind.DRAFT, subscription_id, subscription_id))


def _waiting_since(views: Views, subscription_id: str) -> datetime | None:
    """From when on an invoice has a one-off item or an adjustment, whatever else is on it."""
    adjusts = (one.invoiced_us for one in adjustments.due(views, subscription_id, None))
    since = [from_us(at_us + 1) for at_us in adjusts]
    item = invoice_items.waiting_since(views, subscription_id)
    return min([*since, *([item] if item else [])], default=None)


def _for_adjustments(views: Views, subscription_id: str, now_us: int) -> int:
    """When there is an invoice for what came late after the last one: now, unless it is planned."""
    planned = _planned(views, subscription_id)
    after_us = invoices.last_instant(views, subscription_id) or 0
    if planned is not None and planned.at_us > after_us:
        return planned.at_us
    return max(now_us, after_us + 1)


def _next_invoice(
    subscription: Subscription,
    prices: Mapping[str, Price],
    billed_until: datetime | None,
    waiting_since: datetime | None,
) -> datetime | None:
    """The first instant after those that are billed at which anything is due, if there is one.

    That may be what waits for the next invoice, whatever else is on it.
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

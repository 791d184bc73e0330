"""What looks too absurd to be billed: the subscription is parked until somebody has looked at it.

A start that is years behind, more lines than an invoice holds, more given back than was ever
charged: a mistake in a date or a price, most likely, that must not become invoices by itself.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from app import commands
from app.commands import Done
from app.writer import Group
from domain import billing_calendar
from domain.decider import Code, Rejected
from domain.invoices import Invoice, Status
from domain.money import EXACT
from domain.periods import format_instant, from_us
from domain.subscription_holds import ParkSubscription
from domain.subscriptions import Subscription
from projections import current
from projections.due_work import Due
from projections.tables import Views

BEHIND_LIMIT = timedelta(days=3 * 366)
"""A bit more than 36 months: how far back anything is billed without being asked about."""


class Absurd(Exception):
    """What is due is not billed, for this reason."""


def check_instant(group: Group, due: Due) -> None:
    """Raise `Absurd` when what is due begins years ago."""
    subscription = _subscription(group.views, due.subscription_id)
    if _is_meant(subscription, due.at):
        return
    opening = billing_calendar.opening(subscription)
    begins = subscription.start_at if due.at == opening else due.at
    if begins < from_us(group.now_us) - BEHIND_LIMIT:
        raise Absurd(f"what is due since {format_instant(begins)} is more than 36 months behind")


def check_invoice(views: Views, invoice_id: str) -> None:
    """Raise `Absurd` when an invoice that was just issued gives back more than was charged."""
    invoice = current.get(views, Invoice, invoice_id)
    assert invoice is not None, f"no invoice {invoice_id}"
    if invoice.statement is None or invoice.statement.total >= 0:
        return
    if _is_meant(_subscription(views, invoice.subscription_id), invoice.at):
        return
    total = invoice.statement.total
    before = EXACT.subtract(_charged(views, invoice.subscription_id), total)
    if EXACT.add(before, total) < 0:
        raise Absurd(f"a total of {total} gives back more than the {before} that was charged")


def refused(refusal: Rejected) -> Absurd:
    """Why a bill that was refused is not billed; anything but a limit is raised again."""
    if refusal.code is not Code.LIMIT_EXCEEDED:
        raise refusal
    return Absurd(refusal.message)


def park(group: Group, due: Due, reason: Absurd, actor: str | None) -> Done:
    """Bill the subscription no further; one that is parked already stays so."""
    command = ParkSubscription(subscription_id=due.subscription_id, reason=str(reason))
    return commands.job(command, key=None, actor=actor).run(group)


def _is_meant(subscription: Subscription, at: datetime) -> bool:
    """Whether somebody has looked at what is due at an instant."""
    return subscription.trusted_until is not None and at <= subscription.trusted_until


def _charged(views: Views, subscription_id: str) -> Decimal:
    """The sum of a subscription's invoices."""
    total, after = Decimal(0), None
    keys = {"subscriptionId": subscription_id}
    while page := current.select(views, Invoice, keys, after=after, limit=500):
        for found in page:
            invoice: Invoice = found.state
            if invoice.statement is not None and invoice.status is not Status.VOID:
                total = EXACT.add(total, invoice.statement.total)
        after = page[-1].position
    return total


def _subscription(views: Views, id: str) -> Subscription:
    subscription = current.get(views, Subscription, id)
    assert subscription is not None, f"no subscription {id}"
    return subscription

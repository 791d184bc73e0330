"""The adjustments of an invoice: what was billed too much or too little, of what came late."""

from collections.abc import Callable, Iterator
from datetime import datetime

from domain import adjustments, charges
from domain.adjustments import Charged
from domain.invoices import Invoice, Status
from domain.periods import to_us
from domain.rating import Charge, Line, LineKind
from domain.statements import IssuedLine
from domain.subscriptions import Subscription
from projections import current, invoices
from projections.billed_usage import BilledPeriod
from projections.invoices import Find
from projections.supposed import NOTHING, Supposed
from projections.supposed import waiting as would_wait
from projections.tables import Views


def lines(
    views: Views,
    subscription: Subscription,
    at: datetime,
    invoice_id: str | None,
    rate: Callable[[Charge], Line],
    supposed: Supposed = NOTHING,
) -> Iterator[Line]:
    """The adjustments on the invoice at an instant, which a draft has as long as it is one.

    An invoice adjusts what was billed at earlier instants. `rate` reads the meter of a charge.
    """
    for billed in due(views, subscription.id, invoice_id, supposed):
        if billed.invoiced_us < to_us(at):
            yield line(views, subscription, billed, rate, supposed)


def due(
    views: Views, subscription_id: str, invoice_id: str | None, supposed: Supposed = NOTHING
) -> list[BilledPeriod]:
    """The billed periods whose adjustment is for a draft, or for no draft that is there.

    Of several drafts, the earliest one that can has it, so that no two show the same.
    """
    waiting = would_wait(views, subscription_id, supposed)
    if not waiting:
        return []
    keys = {"subscriptionId": subscription_id, "status": Status.DRAFT}
    drafts = [found.state for found in current.select(views, Invoice, keys, limit=-1)]
    drafts.sort(key=lambda draft: draft.at)

    def taker(billed: BilledPeriod) -> str | None:
        later = (draft.id for draft in drafts if to_us(draft.at) > billed.invoiced_us)
        return next(later, None)

    return [one for one in waiting if taker(one) == invoice_id]


def line(
    views: Views,
    subscription: Subscription,
    billed: BilledPeriod,
    rate: Callable[[Charge], Line],
    supposed: Supposed = NOTHING,
) -> Line:
    """What a billed period comes to now, less what was billed for it."""
    price = supposed.price_of(views, billed.price_id)
    again = charges.usage_of(subscription, price, billed.item_id, billed.period)
    return adjustments.adjustment(
        billed.invoice_id, [rate(one) for one in again], charged(views, billed)
    )


def charged(views: Views, billed: BilledPeriod, find: Find | None = None) -> list[Charged]:
    """What was billed for a period so far, by invoices as they are now, or as `find` gives them."""
    found = invoices.billed(views, billed.subscription_id, billed.item_id, billed.period, find)
    return [
        Charged(one.invoice.printed_number or "", one.line)
        for one in found
        if _is_for(one.line, one.invoice, billed)
    ]


def _is_for(line: IssuedLine, invoice: Invoice, billed: BilledPeriod) -> bool:
    """Whether a line asks for a billed period, as its own invoice did first or as adjusted."""
    return (line.price_id, to_us(line.since)) == (billed.price_id, billed.since_us) and (
        line.adjusts == billed.invoice_id
        if line.kind is LineKind.ADJUSTMENT
        else invoice.id == billed.invoice_id
    )

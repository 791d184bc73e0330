"""What is due when: everything that an invoice of a subscription at an instant bills.

A bill is made in two pure steps. `charges` says which items are due at an instant and for which
periods; `rating.rate` turns one charge and its quantity into a line. Between the two, somebody who
can read the meters supplies the quantities. Source: RULES, "Subscriptions".
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from domain import licences
from domain.billing_calendar import (
    Prices,
    billing_period,
    ended_by,
    first_billing,
    is_billed_at,
    next_billing,
    opening,
    runs,
)
from domain.decider import Code, Rejected
from domain.periods import BillingPeriod, Period
from domain.prices import Price
from domain.rating import Charge, LineKind
from domain.subscriptions import Stretch, Subscription

LINES_LIMIT = 1_000
"""The most lines one invoice has."""

DISCARDED = "discarded when the subscription was canceled"

_ORDER = {LineKind.USAGE: 0, LineKind.PRORATION: 1, LineKind.RECURRING: 2}
"""What is past stands before what is to come."""

_MOMENT = datetime.resolution


def charges(subscription: Subscription, prices: Prices, at: datetime) -> list[Charge]:
    """What an invoice at `at` bills, in the order of the items, usage before the coming licence.

    At an end of periods: the usage of the periods that end there, licences in arrears, and licences
    in advance for the periods that begin there; also the prorations since the last invoice. At the
    start: licences in advance only, because nothing metered before the start exists to bill (GUIDE,
    step 4). When a backdated subscription is created: everything that its elapsed periods would
    have been billed. When it ends: what is not billed yet, and credits. At any other instant: the
    usage since the current period began, as if it were invoiced now. Raises `Rejected`
    LIMIT_EXCEEDED for more lines than an invoice can have.
    """
    due: list[Charge] = []
    for instant in _instants(subscription, prices, at):
        due.extend(due_at(subscription, prices, instant))
        if len(due) > LINES_LIMIT:
            message = f"an invoice has at most {LINES_LIMIT} lines"
            raise Rejected(Code.LIMIT_EXCEEDED, ("at",), message)
    return sorted(due, key=lambda charge: _ORDER[charge.kind])


def _instants(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[datetime]:
    """The instants whose charges an invoice at `at` has: one, but for a backdated start."""
    if at < subscription.start_at:
        return
    if at != opening(subscription):
        yield at
        return
    instant: datetime | None = subscription.start_at
    while instant is not None and instant <= at:
        yield instant
        instant = next_billing(subscription, prices, instant)


def due_at(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[Charge]:
    """What falls due at one instant by itself; between billing instants, the usage so far."""
    due: list[Iterator[Charge]]
    if is_billed_at(subscription, prices, at):
        due = [_usage_before(subscription, prices, at)]
    else:
        due = [_usage_so_far(subscription, prices, at)]
    due.append(licences.in_arrears(subscription, prices, at))
    due += [
        licences.at_change(subscription, prices, change.number)
        for change in subscription.changes
        if change.bill_at <= at and _is_pending(subscription, prices, change.bill_at, at)
    ]
    end = subscription.end
    if end is not None and end.bill_at == at:
        due += [_usage_at_end(subscription, prices), licences.at_end(subscription, prices)]
    due.append(licences.in_advance(subscription, prices, at))
    return chain.from_iterable(due)


def _is_pending(
    subscription: Subscription, prices: Prices, bill_at: datetime, at: datetime
) -> bool:
    """Whether no invoice before `at` had what is to be billed from `bill_at` on."""
    first = first_billing(subscription, prices, bill_at)
    return first is None or first >= at


def _usage_before(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[Charge]:
    """The usage of the periods that end at a boundary."""
    if at <= subscription.start_at or ended_by(subscription, at):
        return
    for stretch in _metered(subscription, prices):
        billed = _period_before(subscription, prices, stretch, at)
        if billed.period.end == at:
            yield from _usage(subscription, prices, stretch, billed, at)


def _usage_so_far(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[Charge]:
    """The usage of the periods that run, up to an instant within them."""
    if ended_by(subscription, at):
        return
    for stretch in _metered(subscription, prices):
        billed = billing_period(subscription, prices[stretch.item.price_id].interval, at)
        yield from _usage(subscription, prices, stretch, billed, at)


def _usage_at_end(subscription: Subscription, prices: Prices) -> Iterator[Charge]:
    """The usage that is not billed when the subscription ends."""
    end = subscription.end
    if end is None or end.at <= subscription.start_at:
        return
    for stretch in _metered(subscription, prices):
        billed = _period_before(subscription, prices, stretch, end.at)
        if not (billed.period.end == end.at < end.bill_at):  # else that boundary billed it
            yield from _usage(subscription, prices, stretch, billed, end.at)


def _metered(subscription: Subscription, prices: Prices) -> Iterator[Stretch]:
    for run in runs(subscription, prices):
        if run.metered:
            yield from run.stretches


def _period_before(
    subscription: Subscription, prices: Prices, stretch: Stretch, at: datetime
) -> BillingPeriod:
    interval = prices[stretch.item.price_id].interval
    return billing_period(subscription, interval, at - _MOMENT)


def _usage(
    subscription: Subscription,
    prices: Prices,
    stretch: Stretch,
    billed: BillingPeriod,
    until: datetime,
) -> Iterator[Charge]:
    """Usage costs what was asked when it happened: one charge for each version in force."""
    start = max(billed.period.start, subscription.since(stretch))
    end = min(billed.period.end, subscription.until(stretch), until)
    if start < end:
        price = prices[stretch.item.price_id]
        yield from usage_of(subscription, price, stretch.item.id, Period(start, end))


def usage_of(
    subscription: Subscription, price: Price, item_id: str, period: Period
) -> Iterator[Charge]:
    """The usage of one item in a billing period, or in the part of it in which it was there.

    What was billed so is rated again by the same charges.
    """
    billed = billing_period(subscription, price.interval, period.start)
    discarded = _is_discarded(subscription, billed)
    for part, version in price.parts(period):
        free = subscription.in_trial(part.start) and not subscription.bills_usage_in_trial
        yield Charge(
            item_id=item_id,
            price=price,
            version=version,
            kind=LineKind.USAGE,
            period=part,
            whole=billed.whole,
            since=period.start,
            quantity=None,
            waived=licences.FREE if free else DISCARDED if discarded else None,
            discarded=discarded,
        )


def _is_discarded(subscription: Subscription, billed: BillingPeriod) -> bool:
    """Whether the usage of a period was discarded when the subscription ended within it."""
    end = subscription.end
    if end is None or end.settles:
        return False
    running = billed.period.start < end.at <= billed.period.end
    return running and not (billed.period.end == end.at < end.bill_at)

"""What licensed items are due: whole periods as they begin or end, parts of them on a change.

Prorations follow from what the running period was charged: at a change, what is left of the time of
the last charge is credited, and charged at the new terms, two lines. A change without prorations
leaves the running period as it began. Source: RULES, "Subscriptions".
"""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

import msgspec

from domain.billing_calendar import (
    Prices,
    Run,
    billing_period,
    ended_by,
    is_billed_at,
    runs,
)
from domain.periods import END_OF_TIME, BillingPeriod, Period
from domain.prices import Timing
from domain.proration import proration
from domain.rating import Charge, Credit, LineKind
from domain.subscription_items import Item
from domain.subscriptions import Subscription

FREE = "free in the trial"


class Turn(msgspec.Struct, frozen=True):
    """From an instant on an item has these terms, or is gone; known to invoices from `bill_at`.

    `number` is that of the change; 0 is the creation, and the end comes after every change.
    """

    number: int
    at: datetime
    bill_at: datetime
    prorates: bool
    item: Item | None


def in_advance(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[Charge]:
    """The licences of the periods that begin at a boundary."""
    for run in _licensed(subscription, prices, Timing.IN_ADVANCE):
        billed = billing_period(subscription, run.interval, at)
        base = _base(_turns(subscription, run), at)
        if billed.period.start == at and base is not None and base.item is not None:
            known_at = _known_at(subscription, at)
            yield _charge(subscription, prices, base, billed.period, billed, known_at)


def in_arrears(subscription: Subscription, prices: Prices, at: datetime) -> Iterator[Charge]:
    """The licences of the periods that end at a boundary, each part of them at its terms."""
    if at <= subscription.start_at or ended_by(subscription, at):
        return
    for run in _licensed(subscription, prices, Timing.IN_ARREARS):
        billed = billing_period(subscription, run.interval, at - datetime.resolution)
        if billed.period.end == at:
            yield from _parts(subscription, prices, _turns(subscription, run), billed)


def at_change(subscription: Subscription, prices: Prices, number: int) -> Iterator[Charge]:
    """The prorations of a change: for each item the credit, then the charge."""
    for run in _licensed(subscription, prices, Timing.IN_ADVANCE):
        turns = _turns(subscription, run)
        for turn in turns:
            if turn.number == number:
                yield from _prorated(subscription, prices, run, turns, turn)


def at_end(subscription: Subscription, prices: Prices) -> Iterator[Charge]:
    """What the end of a subscription settles: credits for what was paid ahead, arrears so far."""
    end = subscription.end
    if end is None:
        return
    for run in _licensed(subscription, prices, Timing.IN_ADVANCE):
        if run.stretches[-1].ended_by is None:
            turns = _turns(subscription, run)
            yield from _prorated(subscription, prices, run, turns, turns[-1])
    if end.at <= subscription.start_at:  # no period has run
        return
    for run in _licensed(subscription, prices, Timing.IN_ARREARS):
        billed = billing_period(subscription, run.interval, end.at - datetime.resolution)
        if not (billed.period.end == end.at < end.bill_at):  # else that boundary billed it
            yield from _parts(subscription, prices, _turns(subscription, run), billed)


def _licensed(subscription: Subscription, prices: Prices, timing: Timing) -> Iterator[Run]:
    for run in runs(subscription, prices):
        if not run.metered and run.timing is timing:
            yield run


def _turns(subscription: Subscription, run: Run) -> list[Turn]:
    """How the terms of an item turn, from the beginning of its run to its end, if it has one."""
    turns = [_turn(subscription, one.begun_by, one.item) for one in run.stretches]
    last, end = run.stretches[-1].ended_by, subscription.end
    if last is not None:
        turns.append(_turn(subscription, last, None))
    elif end is not None:
        number = len(subscription.changes) + 1
        turns.append(Turn(number, end.at, end.bill_at, end.prorates, None))
    return turns


def _turn(subscription: Subscription, number: int, item: Item | None) -> Turn:
    if not number:
        return Turn(0, subscription.start_at, subscription.start_at, prorates=True, item=item)
    change = subscription.changes[number - 1]
    return Turn(number, change.at, change.bill_at, change.prorates, item)


def _base(turns: list[Turn], boundary: datetime) -> Turn | None:
    """The terms that the invoice at the beginning of a period knows."""
    known = [one for one in turns if one.at <= boundary and one.bill_at <= boundary]
    return known[-1] if known else None


def _charged(turns: list[Turn], period: Period) -> list[Turn]:
    """What is charged within a period: what it began with, then each turn that is prorated."""
    base = _base(turns, period.start)
    later = turns if base is None else turns[turns.index(base) + 1 :]
    nothing = Turn(-1, period.start, period.start, prorates=True, item=None)
    within = [one for one in later if one.prorates and one.at < period.end]
    return [base or nothing, *within]


def _prorated(
    subscription: Subscription, prices: Prices, run: Run, turns: list[Turn], turn: Turn
) -> Iterator[Charge]:
    """The credit and the charge of one turn; none at a boundary whose invoice knows it already."""
    if subscription.in_trial(turn.at) or turn.at < subscription.start_at:
        return
    billed = billing_period(subscription, run.interval, turn.at)
    charged = _charged(turns, billed.period)
    if turn in charged[1:]:
        before = charged[charged.index(turn) - 1]
    elif turn == charged[0] and not _began_on_an_invoice(subscription, prices, turns, turn.at):
        before = None
    else:
        return
    rest = Period(turn.at, billed.period.end)
    if before is not None and before.item is not None:
        start = max(before.at, billed.period.start)
        whole = Period(start, billed.period.end)
        begins = before == charged[0]
        known_at = _known_at(subscription, start) if begins else before.bill_at
        charge = _charge(subscription, prices, before, whole, billed, known_at)
        credit = Credit(whole, _share(subscription, rest, whole))
        yield msgspec.structs.replace(
            charge,
            kind=LineKind.PRORATION,
            period=rest,
            since=rest.start,
            credit=credit,
            change=turn.number,
        )
    if turn.item is not None:
        charge = _charge(subscription, prices, turn, rest, billed, turn.bill_at)
        yield msgspec.structs.replace(charge, kind=LineKind.PRORATION)


def _began_on_an_invoice(
    subscription: Subscription, prices: Prices, turns: list[Turn], boundary: datetime
) -> bool:
    """Whether the period that begins at a boundary was charged when it began.

    It was not when the item itself came just then, and nothing else was billed at that instant.
    """
    return turns[0].at < boundary or is_billed_at(subscription, prices, boundary)


def _parts(
    subscription: Subscription, prices: Prices, turns: list[Turn], billed: BillingPeriod
) -> Iterator[Charge]:
    """The parts of an ended period, each at its terms."""
    period = billed.period
    charged = _charged(turns, period)
    edges = [*(max(one.at, period.start) for one in charged), period.end]
    for one, (start, end) in zip(charged, pairwise(edges), strict=True):
        if one.item is not None and start < end:
            yield _charge(subscription, prices, one, Period(start, end), billed)


def _charge(
    subscription: Subscription,
    prices: Prices,
    turn: Turn,
    period: Period,
    billed: BillingPeriod,
    known_at: datetime = END_OF_TIME,
) -> Charge:
    """A licence costs what was asked when the time that it is for began, as known by its bill.

    So what is credited of it later is what was billed, whatever its price is said to ask meanwhile.
    """
    item = turn.item
    assert item is not None, "what is gone costs nothing"
    price = prices[item.price_id]
    return Charge(
        item_id=item.id,
        price=price,
        version=price.version_at(period.start, known_at),
        kind=LineKind.RECURRING,
        period=period,
        whole=billed.whole,
        since=period.start,
        quantity=item.quantity,
        fraction=_share(subscription, period, billed.whole),
        waived=FREE if subscription.in_trial(period.start) else None,
        change=turn.number,
    )


def _known_at(subscription: Subscription, boundary: datetime) -> datetime:
    """Up to when what was said of prices counts for the invoice of a boundary.

    That is issued as soon as the boundary is reached; for a backdated start, when it was created.
    """
    return max(boundary - datetime.resolution, subscription.created_at)


def _share(subscription: Subscription, part: Period, whole: Period) -> Fraction:
    granularity, zone = subscription.proration_granularity, subscription.time_zone
    return proration(part, whole, granularity, zone)

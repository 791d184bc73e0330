"""When a subscription is billed: its items' billing periods, and the instants of its invoices.

Source: RULES, "Time" and "Subscriptions".
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby

import msgspec

from domain.periods import BillingPeriod, Interval, Period, billing_period_at
from domain.prices import Price, Timing
from domain.subscriptions import Stretch, Subscription

Prices = Mapping[str, Price]
"""The prices of a subscription by their ids, those of items that have ended included."""

_MOMENT = datetime.resolution


class Run(msgspec.Struct, frozen=True):
    """The stretches of one item that are billed alike: in the same periods, at the same end."""

    item_id: str
    metered: bool
    interval: Interval
    timing: Timing
    stretches: tuple[Stretch, ...]


def runs(subscription: Subscription, prices: Prices) -> list[Run]:
    """The runs of all items, in the order in which the items came."""

    def alike(stretch: Stretch) -> tuple[str, bool, Interval, Timing]:
        price = prices[stretch.item.price_id]
        return (stretch.item.id, price.metered, price.interval, price.timing)

    ids = list(dict.fromkeys(one.item.id for one in subscription.stretches))
    ordered = sorted(subscription.stretches, key=lambda one: ids.index(one.item.id))
    return [Run(*key, tuple(stretches)) for key, stretches in groupby(ordered, key=alike)]


def billing_period(subscription: Subscription, interval: Interval, at: datetime) -> BillingPeriod:
    """The billing period that an instant lies in; a trial is a period of its own."""
    if subscription.in_trial(at):
        trial = Period(subscription.start_at, subscription.paid_from)
        return BillingPeriod(trial, trial)
    return billing_period_at(
        subscription.paid_from,
        subscription.billing_anchor,
        interval,
        subscription.time_zone,
        at,
    )


def current_period(subscription: Subscription, price: Price, now: datetime) -> Period:
    """The billing period of a price that contains `now`; before the start, its first one."""
    return billing_period(subscription, price.interval, max(now, subscription.start_at)).period


def opening(subscription: Subscription) -> datetime:
    """When the first invoice is issued: at the start, or at once when the start is backdated."""
    return max(subscription.start_at, subscription.created_at)


def next_billing(subscription: Subscription, prices: Prices, now: datetime) -> datetime | None:
    """The instant of the next invoice after `now`; None when there will be none.

    The start, the end of any item's period, a change that is invoiced at once, and the end.
    """
    end = subscription.end
    coming = [
        change.bill_at
        for change in subscription.changes
        if change.invoices and change.bill_at > now
    ]
    if end is not None and end.bill_at > now:
        coming.append(end.bill_at)
    if now < subscription.start_at:
        coming.append(subscription.start_at)
    else:
        coming += _boundaries(subscription, prices, now)
    return min((one for one in coming if not _is_over(subscription, one)), default=None)


def first_billing(subscription: Subscription, prices: Prices, bill_at: datetime) -> datetime | None:
    """The instant of the invoice that has what is to be billed from an instant on."""
    return next_billing(subscription, prices, bill_at - _MOMENT)


def is_billed_at(subscription: Subscription, prices: Prices, at: datetime) -> bool:
    """Whether there is an invoice at this very instant."""
    return at == opening(subscription) or next_billing(subscription, prices, at - _MOMENT) == at


def ended_by(subscription: Subscription, boundary: datetime) -> bool:
    """Whether the subscription is over at a boundary, as its invoice knows it.

    An end that is made when the invoice of that instant is there already does not change it.
    """
    end = subscription.end
    return end is not None and end.at <= boundary and end.bill_at <= boundary


def _boundaries(subscription: Subscription, prices: Prices, now: datetime) -> Iterator[datetime]:
    """The end of the period that each run is in; one that has not begun yet begins.

    What ends the moment it begins may still owe its first period, when nothing is prorated.
    """
    for run in runs(subscription, prices):
        since, until = subscription.since(run.stretches[0]), subscription.until(run.stretches[-1])
        period = billing_period(subscription, run.interval, max(now, since)).period
        if period.start < until or period.start <= since == until:
            yield period.end


def _is_over(subscription: Subscription, instant: datetime) -> bool:
    """Whether nothing is billed at an instant any more, because the final invoice was before."""
    end = subscription.end
    return end is not None and instant > max(end.at, end.bill_at)

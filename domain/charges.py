"""What is due when: the instants at which a subscription is billed, and what is billed at each.

A bill is made in two pure steps. `charges` says which items are due at an instant and for which
periods; `rating.rate` turns one charge and its quantity into a line. Between the two, somebody who
can read the meters supplies the quantities. Source: RULES, "Subscriptions".
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

import msgspec

from domain.decider import Code, Rejected
from domain.money import Number
from domain.periods import BillingPeriod, Period, billing_period_at
from domain.prices import Price, PriceVersion, Timing
from domain.proration import proration
from domain.subscriptions import Item, Subscription

LINES_LIMIT = 1_000
"""The most lines one invoice has."""


class LineKind(StrEnum):
    """Why a line stands on an invoice."""

    RECURRING = "RECURRING"
    USAGE = "USAGE"
    ONE_OFF = "ONE_OFF"


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is due: for which period, by which version of its price, for what part of it.

    `quantity` is None where a meter has to be read. `whole` is the billing period that `period` is,
    or is a part of: the shares of time in a weighted sum are shares of it. Usage adds up from
    `since`: when that is before the period, another version of the price was in force until then,
    and what was used before counts for tiers and allowances, but is not charged again.
    """

    item_id: str
    price: Price
    version: PriceVersion
    kind: LineKind
    period: Period
    whole: Period
    since: datetime
    quantity: Number | None
    fraction: Fraction
    free: bool

    @property
    def settled(self) -> Period | None:
        """The time before the period whose usage is settled and counts for tiers."""
        return Period(self.since, self.period.start) if self.since < self.period.start else None


def opening(subscription: Subscription) -> datetime:
    """When the first invoice is issued: at the start, or at once when the start is backdated."""
    return max(subscription.start_at, subscription.created_at)


def next_billing(
    subscription: Subscription, prices: Mapping[str, Price], now: datetime
) -> datetime:
    """The instant of the next invoice: the start, or the next end of any item's period."""
    if now < subscription.start_at:
        return subscription.start_at
    return min(
        _period(subscription, prices[item.price_id], now).period.end for item in subscription.items
    )


def current_period(subscription: Subscription, price: Price, now: datetime) -> Period:
    """The item's billing period that contains `now`; before the start, its first one.

    A trial is a period of its own.
    """
    return _period(subscription, price, max(now, subscription.start_at)).period


def charges(subscription: Subscription, prices: Mapping[str, Price], at: datetime) -> list[Charge]:
    """What an invoice at `at` bills, in the order of the items, usage before the coming licence.

    At an end of periods: the usage of the periods that end there, licences in arrears, and licences
    in advance for the periods that begin there. At the start: licences in advance only, because
    nothing metered before the start exists to bill (GUIDE, step 4). When a backdated subscription
    is created: everything that its elapsed periods would have been billed. At any other instant:
    the usage since the current period began, as if it were invoiced now. Raises `Rejected`
    LIMIT_EXCEEDED for more lines than an invoice can have.
    """
    due: list[Charge] = []
    for instant in _instants(subscription, prices, at):
        interim = not _is_boundary(subscription, prices, instant)
        for item in subscription.items:
            due.extend(_item_charges(subscription, item, prices[item.price_id], instant, interim))
        if len(due) > LINES_LIMIT:
            message = f"an invoice has at most {LINES_LIMIT} lines"
            raise Rejected(Code.LIMIT_EXCEEDED, ("at",), message)
    return sorted(due, key=lambda charge: charge.kind is LineKind.RECURRING)


def _instants(
    subscription: Subscription, prices: Mapping[str, Price], at: datetime
) -> Iterator[datetime]:
    """The instants whose charges an invoice at `at` has: one, but for a backdated start."""
    if at < subscription.start_at:
        return
    if at != opening(subscription):
        yield at
        return
    instant = subscription.start_at
    while instant <= at:
        yield instant
        instant = next_billing(subscription, prices, instant)


def _period(subscription: Subscription, price: Price, at: datetime) -> BillingPeriod:
    if subscription.in_trial(at):
        trial = Period(subscription.start_at, subscription.paid_from)
        return BillingPeriod(trial, trial)
    return billing_period_at(
        subscription.paid_from,
        subscription.billing_anchor,
        price.interval,
        subscription.time_zone,
        at,
    )


def _is_boundary(subscription: Subscription, prices: Mapping[str, Price], at: datetime) -> bool:
    """Whether any item's period begins at `at`, the start of the subscription included."""
    return any(
        _period(subscription, prices[item.price_id], at).period.start == at
        for item in subscription.items
    )


def _item_charges(
    subscription: Subscription, item: Item, price: Price, at: datetime, interim: bool
) -> Iterator[Charge]:
    """What one item has due at `at`: the period that ends there, then the one that begins there."""
    current = _period(subscription, price, at)
    begins = current.period.start == at
    if interim and price.metered:
        running = Period(current.period.start, at)
        yield from _usage(subscription, item, price, BillingPeriod(running, current.whole))
    if begins and at > subscription.start_at and price.timing is Timing.IN_ARREARS:
        ended = _period(subscription, price, at - datetime.resolution)
        if price.metered:
            yield from _usage(subscription, item, price, ended)
        else:
            yield _licence(subscription, item, price, ended)
    if begins and price.timing is Timing.IN_ADVANCE:
        yield _licence(subscription, item, price, current)


def _licence(subscription: Subscription, item: Item, price: Price, billed: BillingPeriod) -> Charge:
    """A licence costs, for the whole of a period, what was asked when the period began."""
    return Charge(
        item_id=item.id,
        price=price,
        version=price.version_at(billed.period.start),
        kind=LineKind.RECURRING,
        period=billed.period,
        whole=billed.whole,
        since=billed.period.start,
        quantity=item.quantity,
        fraction=proration(
            billed.period,
            billed.whole,
            subscription.proration_granularity,
            subscription.time_zone,
        ),
        free=subscription.in_trial(billed.period.start),
    )


def _usage(
    subscription: Subscription, item: Item, price: Price, billed: BillingPeriod
) -> Iterator[Charge]:
    """Usage costs what was asked when it happened: one charge for each version in force."""
    for part, version in price.parts(billed.period):
        yield Charge(
            item_id=item.id,
            price=price,
            version=version,
            kind=LineKind.USAGE,
            period=part,
            whole=billed.whole,
            since=billed.period.start,
            quantity=None,
            fraction=Fraction(1),
            free=subscription.in_trial(part.start) and not subscription.bills_usage_in_trial,
        )

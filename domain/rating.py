"""What is owed: the lines an invoice at an instant must have, each with the steps that made it.

A bill is made in two pure steps. `charges` says which items are due at an instant and for which
periods; `rate` turns one charge and its quantity into a line. Between the two, somebody who can
read the meters supplies the quantities. Previews and finalized invoices both come from here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import msgspec

from domain import pricing
from domain.money import Number, exact, format_decimal, round_to_minor
from domain.periods import BillingPeriod, Period, billing_period_at, format_instant
from domain.prices import Price, Timing
from domain.pricing import Step
from domain.subscriptions import Item, Subscription


class LineKind(StrEnum):
    """Why a line stands on an invoice."""

    RECURRING = "RECURRING"
    USAGE = "USAGE"


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is due: for which period, and for licensed items what part of a whole one.

    `quantity` is None where a meter has to be read. `whole` is the billing period that `period` is,
    or is a part of: the shares of time in a weighted sum are shares of it.
    """

    item_id: str
    price: Price
    kind: LineKind
    period: Period
    whole: Period
    quantity: Decimal | None
    fraction: Fraction


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice line: `exact` before and `amount` after the one rounding it gets."""

    item_id: str
    price_id: str
    kind: LineKind
    period: Period
    quantity: Number
    exact: Fraction
    amount: Decimal
    steps: tuple[Step, ...]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The lines due at one instant and their sum, in one currency."""

    subscription_id: str
    currency: str
    at: datetime
    period: Period
    lines: tuple[Line, ...]
    total: Decimal


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
    """The item's billing period that contains `now`; before the start, its first one."""
    return _period(subscription, price, max(now, subscription.start_at)).period


def charges(subscription: Subscription, prices: Mapping[str, Price], at: datetime) -> list[Charge]:
    """What an invoice at `at` bills, in the order of the items, usage before the coming licence.

    At an end of periods: the usage of the periods that end there, licences in arrears, and licences
    in advance for the periods that begin there. At the start: licences in advance only, because
    nothing metered before the start exists to bill (GUIDE, step 4). At any other instant: the usage
    since the current period began, as if it were invoiced now.
    """
    if at < subscription.start_at:
        return []
    interim = not _is_boundary(subscription, prices, at)
    due: list[Charge] = []
    for item in subscription.items:
        due.extend(_item_charges(subscription, item, prices[item.price_id], at, interim))
    return sorted(due, key=lambda charge: charge.kind is LineKind.RECURRING)


def rate(
    charge: Charge, usage: Number = Decimal(0), records: Iterable[Number] | None = None
) -> Line:
    """The invoice line of one charge; `usage` is what its meter read, for a metered one.

    `records` are the values behind the usage in time order, where the pricing needs them. Usage,
    tier bounds and flat amounts of metered items are never prorated. A licence for part of a period
    costs that part of what a whole one costs, its discount, maximum and minimum included (RULES,
    Subscriptions). The exact amount is rounded once, here.
    """
    quantity = usage if charge.quantity is None else charge.quantity
    steps = pricing.rate(charge.price.pricing, quantity, records, charge.price.modifiers)
    exact = pricing.total(steps)
    if charge.fraction != 1:
        steps = (*steps, _proration_step(charge, exact * (charge.fraction - 1)))
        exact = pricing.total(steps)
    return Line(
        item_id=charge.item_id,
        price_id=charge.price.id,
        kind=charge.kind,
        period=charge.period,
        quantity=quantity,
        exact=exact,
        amount=round_to_minor(exact, charge.price.currency),
        steps=steps,
    )


@exact
def bill(subscription: Subscription, at: datetime, lines: Iterable[Line]) -> Bill:
    """The lines as one bill; its total is the sum of the rounded lines (RULES, Numbers)."""
    kept = tuple(lines)
    closing = [line.period for line in kept if line.period.end <= at]
    opening = [line.period for line in kept]
    period = max(closing, key=_start, default=min(opening, key=_end, default=Period(at, at)))
    return Bill(
        subscription_id=subscription.id,
        currency=subscription.currency,
        at=at,
        period=period,
        lines=kept,
        total=sum((line.amount for line in kept), Decimal(0)),
    )


def content_hash(bill: Bill) -> str:
    """A fingerprint of everything that is owed and why; equal bills have equal ones."""
    lines = [
        (
            line.item_id,
            line.price_id,
            line.kind,
            format_instant(line.period.start),
            format_instant(line.period.end),
            format_decimal(line.quantity),
            f"{line.exact.numerator}/{line.exact.denominator}",
            format_decimal(line.amount),
            [(step.description, format_decimal(step.amount)) for step in line.steps],
        )
        for line in bill.lines
    ]
    content = (bill.subscription_id, bill.currency, format_instant(bill.at), lines)
    return hashlib.sha256(b"tallybook.bill/1\n" + msgspec.json.encode(content)).hexdigest()


def _period(subscription: Subscription, price: Price, at: datetime) -> BillingPeriod:
    return billing_period_at(
        subscription.start_at,
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
) -> list[Charge]:
    """What one item has due at `at`: the period that ends there, then the one that begins there."""
    current = _period(subscription, price, at)
    begins = current.period.start == at
    due: list[Charge] = []
    if interim and price.metered:
        running = Period(current.period.start, at)
        due.append(_charge(item, price, BillingPeriod(period=running, whole=current.whole)))
    if begins and at > subscription.start_at and price.timing is Timing.IN_ARREARS:
        before = at - datetime.resolution
        due.append(_charge(item, price, _period(subscription, price, before)))
    if begins and price.timing is Timing.IN_ADVANCE:
        due.append(_charge(item, price, current))
    return due


def _charge(item: Item, price: Price, billed: BillingPeriod) -> Charge:
    metered = price.metered
    return Charge(
        item_id=item.id,
        price=price,
        kind=LineKind.USAGE if metered else LineKind.RECURRING,
        period=billed.period,
        whole=billed.whole,
        quantity=item.quantity,
        fraction=Fraction(1) if metered else billed.fraction,
    )


def _proration_step(charge: Charge, amount: Fraction) -> Step:
    """The visible reason why a licence for part of a period costs less than a whole one."""
    part = charge.fraction
    return Step(
        description=f"prorated to {part.numerator}/{part.denominator} of a whole period",
        amount=amount,
    )


def _start(period: Period) -> datetime:
    return period.start


def _end(period: Period) -> datetime:
    return period.end

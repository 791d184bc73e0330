"""What is owed: the lines of an invoice, each with the steps that made it, and their sum.

A charge says what is due (`charges.py`); with what its meter read it becomes a line. Previews and
finalized invoices both come from here.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import msgspec

from domain import pricing
from domain.money import Number, exact, format_decimal, round_to_minor
from domain.periods import Period, format_instant
from domain.prices import Price, PriceVersion
from domain.pricing import Step
from domain.subscriptions import Subscription


class LineKind(StrEnum):
    """Why a line stands on an invoice."""

    RECURRING = "RECURRING"
    USAGE = "USAGE"
    PRORATION = "PRORATION"
    ADJUSTMENT = "ADJUSTMENT"
    ONE_OFF = "ONE_OFF"


BESIDES = frozenset({LineKind.ADJUSTMENT, LineKind.ONE_OFF})
"""What stands on an invoice beside what falls due at its instant."""


class Credit(msgspec.Struct, frozen=True):
    """What is given back: the share that is not used of what was billed for a period."""

    billed: Period
    unused: Fraction


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is due: for which period, by which version of its price, for what part of it.

    `quantity` is None where a meter has to be read. `whole` is the billing period that `period` is,
    or is a part of: the shares of time in a weighted sum are shares of it. Usage adds up from
    `since`: when that is before the period, another version of the price was in force until then,
    and what was used before counts for tiers and allowances, but is not charged again. `waived`
    says why nothing is charged after all; what is `discarded` is not even billed at nothing. A
    `credit` gives back a part of what was billed so. `change` is the number of the change that set
    the terms of a licence, or that a credit is for: 0 is the creation of the subscription, and its
    end comes after every change.
    """

    item_id: str
    price: Price
    version: PriceVersion
    kind: LineKind
    period: Period
    whole: Period
    since: datetime
    quantity: Number | None
    fraction: Fraction = Fraction(1)
    waived: str | None = None
    discarded: bool = False
    credit: Credit | None = None
    change: int | None = None

    @property
    def settled(self) -> Period | None:
        """The time before the period whose usage is settled and counts for tiers."""
        return Period(self.since, self.period.start) if self.since < self.period.start else None


class Reading(msgspec.Struct, frozen=True):
    """What a meter read: a quantity, and its records in time order where the pricing needs them."""

    quantity: Number
    records: tuple[Number, ...] | None = None


NOTHING = Reading(Decimal(0))


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice line: `exact` before and `amount` after the one rounding it gets.

    `since` is when the billing period began that `period` is a later part of, or is itself. What is
    not about a price has a description instead. An adjustment `adjusts` a period of an invoice.
    """

    item_id: str | None
    price_id: str | None
    price_version: int | None
    kind: LineKind
    period: Period
    since: datetime
    quantity: Number
    exact: Fraction
    amount: Decimal
    steps: tuple[Step, ...]
    description: str | None = None
    adjusts: str | None = None
    discarded: bool = False


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The lines due at one instant and their sum, in one currency."""

    subscription_id: str
    currency: str
    at: datetime
    period: Period
    lines: tuple[Line, ...]
    total: Decimal


def rate(charge: Charge, usage: Reading = NOTHING, settled: Reading = NOTHING) -> Line:
    """The invoice line of one charge; `usage` is what its meter read, for a metered one.

    Usage, tier bounds and flat amounts of metered items are never prorated. Where another version
    of the price was in force before, the whole usage is rated and what `settled` costs is taken off
    again, so that tiers and allowances go on and a version that asks the same changes nothing
    (RULES, Numbers: rate the cumulative quantity and bill the difference). A licence for part of a
    period costs that part of what a whole one costs, its discount, maximum and minimum included
    (RULES, Subscriptions). The exact amount is rounded once, here.
    """
    reading = usage if charge.quantity is None else Reading(charge.quantity)
    steps = _steps(charge, reading)
    quantity = reading.quantity
    if charge.settled is not None:
        before = pricing.total(_steps(charge, settled))
        steps = (*steps, _settled_step(charge, settled, before))
        quantity = Fraction(quantity) - Fraction(settled.quantity)
    if charge.fraction != 1:
        steps = (*steps, _proration_step(charge, pricing.total(steps)))
    if charge.credit is not None:
        steps = _credit_steps(charge.credit, pricing.total(steps))
    if charge.waived is not None:
        steps = (*steps, Step(description=charge.waived, amount=-pricing.total(steps)))
    exact = pricing.total(steps)
    return Line(
        item_id=charge.item_id,
        price_id=charge.price.id,
        price_version=charge.version.number,
        kind=charge.kind,
        period=charge.period,
        since=charge.since,
        quantity=quantity,
        exact=exact,
        amount=round_to_minor(exact, charge.price.currency),
        steps=steps,
        discarded=charge.discarded,
    )


def one_off(description: str, amount: Decimal, period: Period) -> Line:
    """The invoice line of something that is billed once, besides prices."""
    exactly = Fraction(amount)
    return Line(
        item_id=None,
        price_id=None,
        price_version=None,
        kind=LineKind.ONE_OFF,
        period=period,
        since=period.start,
        quantity=Decimal(1),
        exact=exactly,
        amount=amount,
        steps=(Step(description=description, amount=exactly),),
        description=description,
    )


@exact
def bill(subscription: Subscription, at: datetime, lines: Iterable[Line]) -> Bill:
    """The lines as one bill; its total is the sum of the rounded lines (RULES, Numbers)."""
    kept = tuple(lines)
    billing = [line for line in kept if line.kind not in BESIDES] or kept
    opening = [Period(line.since, line.period.end) for line in billing]
    closing = [period for period in opening if period.end <= at]
    closed = max(closing, key=lambda period: (period.start, period.end), default=None)
    period = closed or min(opening, key=lambda period: period.end, default=Period(at, at))
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
            line.price_version,
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


def _steps(charge: Charge, reading: Reading) -> tuple[Step, ...]:
    version = charge.version
    return pricing.rate(version.pricing, reading.quantity, reading.records, version.modifiers)


def _settled_step(charge: Charge, settled: Reading, amount: Fraction) -> Step:
    """What was used while an earlier version was in force is on that version's line."""
    quantity = format_decimal(settled.quantity)
    return Step(
        description=f"less {quantity} used before {format_instant(charge.period.start)}",
        amount=-amount,
    )


def _credit_steps(credit: Credit, billed: Fraction) -> tuple[Step, ...]:
    """What was billed is given back, but for the part of its time that is used."""
    used = 1 - credit.unused
    period = f"{format_instant(credit.billed.start)} to {format_instant(credit.billed.end)}"
    back = Step(description=f"credit of what was billed for {period}", amount=-billed)
    if not used:
        return (back,)
    share = f"{used.numerator}/{used.denominator}"
    return (back, Step(description=f"less the {share} that is used", amount=billed * used))


def _proration_step(charge: Charge, amount: Fraction) -> Step:
    """The visible reason why a licence for part of a period costs less than a whole one."""
    part = charge.fraction
    return Step(
        description=f"prorated to {part.numerator}/{part.denominator} of a whole period",
        amount=amount * (part - 1),
    )

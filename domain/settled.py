"""What a meter measured in one way and then in another: each stretch of time settles its own.

While the aggregation stays the same, states merge, however often the rest of a definition changes:
there is one maximum, and a level runs on. Where the aggregation changes, what was measured until
then is settled, and a period's quantity is the sum of what its stretches come to. Source: RULES,
"Meters".

Calls are counted, 2 on 1 March. From 2 March they report their tokens, which are summed up.

>>> from domain.aggregation import Aggregation, empty
>>> from domain.periods import parse_instant
>>> first, second, third = (parse_instant(f"2026-03-0{day}T00:00:00Z", ()) for day in (1, 2, 3))
>>> calls = Stretch(to_us(first), to_us(second), empty(Aggregation.COUNT))
>>> tokens = Stretch(to_us(second), to_us(third), empty(Aggregation.SUM))
>>> hour = 3_600_000_000
>>> records = [(to_us(first), 0), (to_us(first) + hour, 0), (to_us(second), 400)]
>>> measured = Settled.of([calls, tokens])
>>> for at_us, value in records:
...     measured = measured.add(Sample(at_us, 1, 0, Decimal(value)))
>>> measured.count, measured.value(Period(first, third)), measured.value(Period(first, second))
(3, Decimal('402'), Decimal('2'))
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Self

import msgspec
from msgspec.structs import replace

from domain.aggregation import Sample, State, Value
from domain.money import EXACT
from domain.periods import Period, from_us, to_us


class Stretch(msgspec.Struct, frozen=True):
    """A time in which one aggregation was in force, and what its usage records add up to."""

    since_us: int
    until_us: int
    state: State

    def within(self, period: Period) -> Period | None:
        """The part of the period that lies in this stretch, if any does."""
        start = max(to_us(period.start), self.since_us)
        end = min(to_us(period.end), self.until_us)
        return Period(from_us(start), from_us(end)) if start < end else None


class Settled(State, frozen=True):
    """The states of a meter's stretches, in the order of time."""

    stretches: tuple[Stretch, ...] = ()

    @classmethod
    def of(cls, stretches: Iterable[Stretch]) -> Self:
        """The state that consists of these."""
        several = tuple(stretches)
        return cls(sum(one.state.count for one in several), several)

    def add(self, sample: Sample) -> Self:
        """Add a usage record to the stretch that it happened in."""
        at_us = sample.timestamp_us
        return self.of(
            replace(one, state=one.state.add(sample))
            if one.since_us <= at_us < one.until_us
            else one
            for one in self.stretches
        )

    def merge(self, other: Self) -> Self:
        """Merge stretch by stretch; both are of the same meter."""
        found = {one.since_us: one for one in self.stretches}
        for one in other.stretches:
            known = found.get(one.since_us)
            merged = one if known is None else replace(one, state=known.state.merge(one.state))
            found[one.since_us] = merged
        return self.of(found[since_us] for since_us in sorted(found))

    def ended(self, period: Period) -> Self:
        """Let the levels of a period end with it."""
        return self.of(
            one if part is None else replace(one, state=one.state.ended(part))
            for one in self.stretches
            for part in (one.within(period),)
        )

    def value(self, period: Period, whole: Period | None = None) -> Value:
        """The sum of what the stretches of the period come to; None when none has a value."""
        values = [
            value
            for one in self.stretches
            for part in (one.within(period),)
            if part is not None
            for value in (one.state.value(part, whole or period),)
            if value is not None
        ]
        return _total(values) if values else None


def _total(values: Iterable[Decimal | Fraction]) -> Decimal | Fraction:
    """The sum, as a Fraction only where there is one among them."""
    total: Decimal | Fraction = Decimal(0)
    for value in values:
        if isinstance(total, Decimal) and isinstance(value, Decimal):
            total = EXACT.add(total, value)
        else:
            total = Fraction(total) + Fraction(value)
    return total

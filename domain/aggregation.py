"""From usage records to a quantity: each aggregation as empty, add, merge and value.

A state is what a set of usage records adds up to. `merge` is commutative and associative and the
empty state changes nothing, so hour buckets combine in any order, and a quantity for any window is
whole buckets merged with the records at its edges. Source: RULES, "Meters".

>>> from domain.periods import parse_instant
>>> january = Period(*(parse_instant(f"2026-{m}-01T00:00:00Z", ()) for m in ("01", "02")))
>>> tokens = [Sample(1, 1, 0, Decimal(1000)), Sample(2, 1, 1, Decimal(2000))]
>>> aggregate(Aggregation.SUM, tokens).merge(empty(Aggregation.SUM)).value(january)
Decimal('3000')
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import reduce
from typing import Self

import msgspec

from domain.money import EXACT, Number, exact
from domain.periods import Period, to_us

Value = Decimal | Fraction | None
"""A metered quantity: an average and a weighted sum are Fractions, all others Decimals; None is
no value."""


class Aggregation(StrEnum):
    """How a meter turns the usage records of a period into one quantity."""

    SUM = "SUM"
    COUNT = "COUNT"
    LAST = "LAST"
    MAX = "MAX"
    MIN = "MIN"
    AVERAGE = "AVERAGE"
    UNIQUE_COUNT = "UNIQUE_COUNT"
    WEIGHTED_SUM = "WEIGHTED_SUM"


class Sample(msgspec.Struct, frozen=True):
    """One usage record as a meter sees it: its time, its place in the ledger, its value.

    `text` is the value property as it was written, for the one aggregation that need not read it
    as a number: UNIQUE_COUNT.
    """

    timestamp_us: int
    position: int
    row: int
    value: Decimal | None
    text: str | None = None


class State(msgspec.Struct, frozen=True):
    """What some usage records add up to under one aggregation; without arguments, none at all.

    A record without a value changes only COUNT: a meter created later may see such records, and
    adding never fails. Stored by msgspec, decimals as text; read back with
    `type=AGGREGATIONS[aggregation]`.
    """

    count: int = 0
    """How many usage records are in it."""

    def add(self, sample: Sample) -> Self:
        """The state with one more usage record."""
        raise NotImplementedError

    def merge(self, other: Self) -> Self:
        """The state of both sets of usage records together."""
        raise NotImplementedError

    @classmethod
    def merged(cls, states: Iterable[Self]) -> Self:
        """The state of all these sets of usage records together."""
        return reduce(cls.merge, states, cls())

    def ended(self, period: Period) -> Self:
        """The state of a part of a longer period, whose level does not last beyond that part."""
        return self

    def value(self, period: Period, whole: Period | None = None) -> Value:
        """The quantity as a summary reports it: negative stays negative, None is no value.

        `period` is the one that the records were taken from, and `whole` the billing period of
        which it is a part, if it is only a part: a weighted sum depends on both.
        """
        raise NotImplementedError


class Additive(State, frozen=True):
    """Number and total of the usage records, exact however many there are."""

    total: Decimal = Decimal(0)

    def add(self, sample: Sample) -> Self:
        """Count and add a value; a record without one changes nothing."""
        if sample.value is None:
            return self
        return type(self)(self.count + 1, EXACT.add(self.total, sample.value))

    def merge(self, other: Self) -> Self:
        """Add both counts and both totals."""
        return type(self)(self.count + other.count, EXACT.add(self.total, other.total))


class Sum(Additive, frozen=True):
    """The total of the values; 0 without records."""

    def value(self, period: Period, whole: Period | None = None) -> Decimal:
        return self.total


class Count(Additive, frozen=True):
    """The number of records, with or without a value."""

    def add(self, sample: Sample) -> Self:
        """Count a record whether or not it has a value."""
        value = Decimal(0) if sample.value is None else sample.value
        return type(self)(self.count + 1, EXACT.add(self.total, value))

    def value(self, period: Period, whole: Period | None = None) -> Decimal:
        return Decimal(self.count)


class Average(Additive, frozen=True):
    """The total over the number of records, as an exact Fraction; no value without records."""

    def value(self, period: Period, whole: Period | None = None) -> Fraction | None:
        return Fraction(self.total) / self.count if self.count else None


class Last(State, frozen=True):
    """The value with the latest timestamp, ties by ledger position, then row; 0 without records."""

    timestamp_us: int = 0
    position: int = 0
    row: int = 0
    last: Decimal = Decimal(0)

    def add(self, sample: Sample) -> Self:
        """Keep whichever is later."""
        if sample.value is None:
            return self
        return self.merge(
            type(self)(1, sample.timestamp_us, sample.position, sample.row, sample.value)
        )

    def merge(self, other: Self) -> Self:
        """Keep the later of the two last records."""
        later = max(self, other, key=Last._order)
        return msgspec.structs.replace(later, count=self.count + other.count)

    def value(self, period: Period, whole: Period | None = None) -> Decimal:
        return self.last

    def _order(self) -> tuple[bool, int, int, int]:
        # Anything is later than nothing, even a record at position 0 in 1970.
        return (self.count > 0, self.timestamp_us, self.position, self.row)


class Extreme(State, frozen=True):
    """The one value that stands out; None without records."""

    extreme: Decimal | None = None

    @staticmethod
    def pick(a: Decimal, b: Decimal) -> Decimal:
        """Which of two values stands out."""
        raise NotImplementedError

    def add(self, sample: Sample) -> Self:
        """Keep whichever stands out."""
        if sample.value is None:
            return self
        return self.merge(type(self)(1, sample.value))

    def merge(self, other: Self) -> Self:
        """Keep the one that stands out among all."""
        a, b = self.extreme, other.extreme
        extreme = (a if b is None else b) if a is None or b is None else self.pick(a, b)
        return type(self)(self.count + other.count, extreme)

    def value(self, period: Period, whole: Period | None = None) -> Decimal | None:
        return self.extreme


class Max(Extreme, frozen=True):
    """The largest value."""

    @staticmethod
    def pick(a: Decimal, b: Decimal) -> Decimal:
        return max(a, b)


class Min(Extreme, frozen=True):
    """The smallest value."""

    @staticmethod
    def pick(a: Decimal, b: Decimal) -> Decimal:
        return min(a, b)


class UniqueCount(State, frozen=True):
    """How many different values there are, compared as they were written; 0 without records.

    >>> users = [Sample(at, 1, at, None, user) for at, user in enumerate(["ann", "bob", "ann"])]
    >>> sorted(aggregate(Aggregation.UNIQUE_COUNT, users).values)
    ['ann', 'bob']
    """

    values: frozenset[str] = frozenset()

    def add(self, sample: Sample) -> Self:
        """Count a record, and its value unless it is there already."""
        if sample.text is None:
            return self
        return type(self)(self.count + 1, self.values | {sample.text})

    def merge(self, other: Self) -> Self:
        """Every value that either has, once."""
        return type(self)(self.count + other.count, self.values | other.values)

    @classmethod
    def merged(cls, states: Iterable[Self]) -> Self:
        """Every value that any has, once; gathered in one set, however many there are."""
        count, values = 0, set[str]()
        for state in states:
            count += state.count
            values |= state.values
        return cls(count, frozenset(values))

    def value(self, period: Period, whole: Period | None = None) -> Decimal:
        return Decimal(len(self.values))


class WeightedSum(State, frozen=True):
    """A level that each record changes by its value, times the share of the period it lasted.

    The unit is that of the level: a level of 10 during the whole period counts 10, during half of
    it 5. It begins at zero, or at the level carried over from before the period. Where the period
    is only a part of a billing period (a stub, or the time so far), the shares are shares of the
    whole one, so that half a month at 10 is 5, and the parts of a month add up to the month.

    20 GB are stored on 16 March, 10 more on 17 March: 20 for one day and 30 for 15 days of 31.

    >>> from domain.periods import parse_instant
    >>> march = Period(*(parse_instant(f"2026-{m}-01T00:00:00Z", ()) for m in ("03", "04")))
    >>> stored = [
    ...     Sample(to_us(parse_instant(f"2026-03-{day}T00:00:00Z", ())), 1, day, Decimal(change))
    ...     for day, change in ((16, 20), (17, 10))
    ... ]
    >>> state = aggregate(Aggregation.WEIGHTED_SUM, stored)
    >>> state.value(march) == Fraction(20 * 1 + 30 * 15, 31)
    True

    In April nothing changes. A meter that carries over still counts the 30 that are stored.

    >>> april = Period(march.end, parse_instant("2026-05-01T00:00:00Z", ()))
    >>> WeightedSum().value(april), WeightedSum(opening=state.total).value(april)
    (Fraction(0, 1), Fraction(30, 1))
    """

    total: Decimal = Decimal(0)
    """What all the changes come to."""
    moment: Decimal = Decimal(0)
    """The sum of each change times its timestamp in microseconds."""
    opening: Decimal = Decimal(0)
    """The level at the start of the period."""

    def add(self, sample: Sample) -> Self:
        """Change the level at the record's time."""
        if sample.value is None:
            return self
        moment = EXACT.multiply(sample.value, Decimal(sample.timestamp_us))
        return self.merge(type(self)(1, sample.value, moment))

    def merge(self, other: Self) -> Self:
        """Both changes, and both levels side by side."""
        return type(self)(
            self.count + other.count,
            EXACT.add(self.total, other.total),
            EXACT.add(self.moment, other.moment),
            EXACT.add(self.opening, other.opening),
        )

    @classmethod
    @exact
    def merged(cls, states: Iterable[Self]) -> Self:
        """All changes, and all levels side by side; added up in one pass."""
        count, total, moment, opening = 0, Decimal(0), Decimal(0), Decimal(0)
        for state in states:
            count += state.count
            total += state.total
            moment += state.moment
            opening += state.opening
        return cls(count, total, moment, opening)

    def ended(self, period: Period) -> Self:
        # The level begins as a change at the start, and at the end goes back to nothing.
        start, end = Decimal(to_us(period.start)), Decimal(to_us(period.end))
        opened = EXACT.add(self.moment, EXACT.multiply(self.opening, start))
        level = EXACT.add(self.total, self.opening)
        moment = EXACT.subtract(opened, EXACT.multiply(level, end))
        return type(self)(count=self.count, moment=moment)

    def value(self, period: Period, whole: Period | None = None) -> Fraction:
        # A change v at time t lasts until the end: the sum of v * (end - t), in microseconds.
        changes = Fraction(self.total) * to_us(period.end) - Fraction(self.moment)
        level = Fraction(self.opening) * period.microseconds
        length = (whole or period).microseconds
        return (changes + level) / length if length else Fraction(0)


AGGREGATIONS: Mapping[Aggregation, type[State]] = {
    Aggregation.SUM: Sum,
    Aggregation.COUNT: Count,
    Aggregation.LAST: Last,
    Aggregation.MAX: Max,
    Aggregation.MIN: Min,
    Aggregation.AVERAGE: Average,
    Aggregation.UNIQUE_COUNT: UniqueCount,
    Aggregation.WEIGHTED_SUM: WeightedSum,
}
"""Every aggregation with its state: adding one is its class and its line here."""


def empty(aggregation: Aggregation) -> State:
    """The state before the first usage record."""
    return AGGREGATIONS[aggregation]()


def aggregate(aggregation: Aggregation, samples: Iterable[Sample]) -> State:
    """The state of all these usage records, in whatever order they come."""
    nothing = empty(aggregation)
    return nothing.merged(nothing.add(sample) for sample in samples)


def aggregate_over(
    aggregation: Aggregation, samples: Iterable[Sample], period: Period, *, carries_over: bool
) -> State:
    """The state of the usage records of a period; a level may be carried over from before it."""
    start_us, end_us = to_us(period.start), to_us(period.end)
    known = [sample for sample in samples if sample.timestamp_us < end_us]
    state = aggregate(aggregation, (one for one in known if one.timestamp_us >= start_us))
    if not (carries_over and isinstance(state, WeightedSum)):
        return state
    before = aggregate(aggregation, (one for one in known if one.timestamp_us < start_us))
    assert isinstance(before, WeightedSum)
    return msgspec.structs.replace(state, opening=before.total)


def billable(value: Value) -> Number:
    """The quantity that is billed: 0 for no value and for a negative one (RULES, "Meters")."""
    return Decimal(0) if value is None or value < 0 else value

"""From usage records to a quantity: each aggregation as empty, add, merge and value.

A state is what a set of usage records adds up to. `merge` is commutative and associative and the
empty state changes nothing, so hour buckets combine in any order, and a quantity for any window is
whole buckets merged with the records at its edges. Source: RULES, "Meters".

>>> tokens = [Sample(1, 1, 0, Decimal(1000)), Sample(2, 1, 1, Decimal(2000))]
>>> aggregate(Aggregation.SUM, tokens).merge(empty(Aggregation.SUM)).value()
Decimal('3000')
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Self

import msgspec

from domain.money import EXACT, Number

Value = Decimal | Fraction | None
"""A metered quantity. An average is a Fraction, every other one a Decimal; None is no value."""


class Aggregation(StrEnum):
    """How a meter turns the usage records of a period into one quantity."""

    SUM = "SUM"
    COUNT = "COUNT"
    LAST = "LAST"
    MAX = "MAX"
    MIN = "MIN"
    AVERAGE = "AVERAGE"


class Sample(msgspec.Struct, frozen=True):
    """One usage record as a meter sees it: its time, its place in the ledger, its value."""

    timestamp_us: int
    position: int
    row: int
    value: Decimal | None


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

    def value(self) -> Value:
        """The quantity as a summary reports it: negative stays negative, None is no value."""
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

    def value(self) -> Decimal:
        return self.total


class Count(Additive, frozen=True):
    """The number of records, with or without a value."""

    def add(self, sample: Sample) -> Self:
        """Count a record whether or not it has a value."""
        value = Decimal(0) if sample.value is None else sample.value
        return type(self)(self.count + 1, EXACT.add(self.total, value))

    def value(self) -> Decimal:
        return Decimal(self.count)


class Average(Additive, frozen=True):
    """The total over the number of records, as an exact Fraction; no value without records."""

    def value(self) -> Fraction | None:
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

    def value(self) -> Decimal:
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

    def value(self) -> Decimal | None:
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


AGGREGATIONS: Mapping[Aggregation, type[State]] = {
    Aggregation.SUM: Sum,
    Aggregation.COUNT: Count,
    Aggregation.LAST: Last,
    Aggregation.MAX: Max,
    Aggregation.MIN: Min,
    Aggregation.AVERAGE: Average,
}
"""Every aggregation with its state: adding one is its class and its line here."""


def empty(aggregation: Aggregation) -> State:
    """The state before the first usage record."""
    return AGGREGATIONS[aggregation]()


def aggregate(aggregation: Aggregation, samples: Iterable[Sample]) -> State:
    """The state of all these usage records, in whatever order they come."""
    state = empty(aggregation)
    for sample in samples:
        state = state.add(sample)
    return state


def billable(value: Value) -> Number:
    """The quantity that is billed: 0 for no value and for a negative one (RULES, "Meters")."""
    return Decimal(0) if value is None or value < 0 else value

"""Meters: what a set of usage records adds up to, in whatever order it is put together."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.aggregation import (
    AGGREGATIONS,
    Aggregation,
    Sample,
    State,
    Sum,
    Value,
    WeightedSum,
    aggregate,
    aggregate_over,
    billable,
    empty,
)
from domain.periods import Period, from_us

MOMENT = Period(from_us(0), from_us(8))
"""Eight microseconds, which hold all of these records."""

EVERY = pytest.mark.parametrize("aggregation", list(Aggregation))

VALUES = st.none() | st.decimals(min_value=-(10**17), max_value=10**17, places=12)
SAMPLES = st.lists(
    st.builds(
        Sample,
        timestamp_us=st.integers(0, 5),
        position=st.integers(0, 5),
        row=st.integers(0, 5),
        value=VALUES,
        text=st.none() | st.sampled_from(["ann", "bob", "", "1"]),
    ),
    # The place in the ledger is a record's own.
    unique_by=lambda sample: (sample.position, sample.row),
    max_size=12,
)


def samples(*values: str | None) -> list[Sample]:
    """Usage records one microsecond apart."""
    return [
        Sample(time, 1, time, None if value is None else Decimal(value), value)
        for time, value in enumerate(values)
    ]


def state_of(aggregation: Aggregation, *values: str | None) -> State:
    """The state of usage records with these values."""
    return aggregate(aggregation, samples(*values))


@pytest.mark.parametrize(
    ("aggregation", "values", "quantity"),
    [
        (Aggregation.SUM, ["1000", "2000"], Decimal(3000)),
        (Aggregation.SUM, ["5", "-7.5"], Decimal("-2.5")),
        (Aggregation.SUM, [], Decimal(0)),
        (Aggregation.COUNT, ["1000", None, "2000"], Decimal(3)),
        (Aggregation.COUNT, [], Decimal(0)),
        (Aggregation.LAST, ["7", "3", None], Decimal(3)),
        (Aggregation.LAST, [], Decimal(0)),
        (Aggregation.MAX, ["-7", "-3", None], Decimal(-3)),
        (Aggregation.MIN, ["-7", "-3"], Decimal(-7)),
        (Aggregation.AVERAGE, ["1", "2", "2", None], Fraction(5, 3)),
        (Aggregation.UNIQUE_COUNT, ["7", "3", None, "7", "7.5"], Decimal(3)),
        (Aggregation.UNIQUE_COUNT, [], Decimal(0)),
        (Aggregation.WEIGHTED_SUM, ["10"], Fraction(10)),
        (Aggregation.WEIGHTED_SUM, [None, None, "8", None, "-2.5"], Fraction(8 * 6 - 10, 8)),
        (Aggregation.WEIGHTED_SUM, ["-1"], Fraction(-1)),
        (Aggregation.WEIGHTED_SUM, [], Fraction(0)),
        (Aggregation.MAX, [], None),
        (Aggregation.MIN, [], None),
        (Aggregation.AVERAGE, [], None),
    ],
)
def test_a_quantity(aggregation: Aggregation, values: list[str | None], quantity: Value) -> None:
    assert state_of(aggregation, *values).value(MOMENT) == quantity


def test_last_is_the_latest_by_timestamp_then_by_place_in_the_ledger() -> None:
    late_arrival = Sample(timestamp_us=1, position=9, row=0, value=Decimal(1))
    latest = Sample(timestamp_us=2, position=4, row=0, value=Decimal(2))
    same_time_later_row = Sample(timestamp_us=2, position=4, row=1, value=Decimal(3))
    records = [same_time_later_row, latest, late_arrival]
    assert aggregate(Aggregation.LAST, records).value(MOMENT) == 3
    assert aggregate(Aggregation.LAST, records[1:]).value(MOMENT) == 2


def test_even_the_first_possible_record_is_later_than_none() -> None:
    first = aggregate(Aggregation.LAST, [Sample(0, 0, 0, Decimal(-5))])
    assert empty(Aggregation.LAST).merge(first).value(MOMENT) == -5


@EVERY
def test_every_state_counts_its_records(aggregation: Aggregation) -> None:
    assert state_of(aggregation, "1", "2", "3").count == 3
    assert state_of(aggregation).count == 0


def test_a_total_keeps_every_digit_of_millions_of_records() -> None:
    large = Decimal("999999999999999999.999999999999")
    bucket = Sum(count=1_000_000, total=Decimal("999999999999999999999999.999999000000"))
    record = Sample(1, 1, 1, large)
    assert str(bucket.add(record).value(MOMENT)) == "1000000999999999999999999.999998999999"


# Each history is drawn once, for all the ways to add it up.


@given(SAMPLES, st.data())
def test_buckets_merge_in_any_order(records: list[Sample], data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(records))
    chosen = [data.draw(st.integers(0, 3)) for _ in mixed]
    order = data.draw(st.permutations(range(4)))
    for aggregation in Aggregation:
        whole = aggregate(aggregation, records)
        buckets = [empty(aggregation) for _ in range(4)]
        for record, bucket in zip(mixed, chosen, strict=True):
            buckets[bucket] = buckets[bucket].add(record)
        a, b, c, d = (buckets[bucket] for bucket in order)
        assert a.merge(b).merge(c).merge(d) == whole
        assert a.merge(b.merge(c.merge(d))) == whole
        assert d.merge(c).merge(b.merge(a)).value(MOMENT) == whole.value(MOMENT)
        assert whole.merged([a, b, c, d]) == whole


@given(SAMPLES)
def test_nothing_merged_changes_nothing(records: list[Sample]) -> None:
    for aggregation in Aggregation:
        state = aggregate(aggregation, records)
        assert state.merge(empty(aggregation)) == state == empty(aggregation).merge(state)


@given(SAMPLES)
def test_a_state_is_stored_and_read_back(records: list[Sample]) -> None:
    for aggregation in Aggregation:
        state = aggregate(aggregation, records)
        stored = msgspec.msgpack.encode(state)
        assert msgspec.msgpack.decode(stored, type=AGGREGATIONS[aggregation]) == state


def test_no_value_and_a_negative_one_are_billed_as_nothing() -> None:
    assert billable(None) == 0
    assert billable(Decimal(-5)) == 0
    assert billable(Fraction(-1, 3)) == 0
    assert billable(Fraction(5, 3)) == Fraction(5, 3)


# -------------------------------------------------------------------------------- weighted sums


def at(time: int, change: int) -> Sample:
    """A change of a level, at a microsecond of 1970."""
    return Sample(time, 1, time, Decimal(change))


def test_a_weighted_sum_counts_shares_of_the_whole_billing_period() -> None:
    seats = aggregate(Aggregation.WEIGHTED_SUM, [at(0, 10)])
    first_half = Period(from_us(0), from_us(4))
    assert seats.value(first_half) == 10
    assert seats.value(first_half, MOMENT) == 5
    assert seats.value(Period(from_us(4), from_us(4))) == 0


def test_a_level_from_before_the_period_counts_only_when_it_is_carried_over() -> None:
    changes = [at(0, 3), at(3, 4), at(6, 5), at(8, 100)]
    period = Period(from_us(4), from_us(8))

    def value(*, carries_over: bool) -> Value:
        kind = Aggregation.WEIGHTED_SUM
        return aggregate_over(kind, changes, period, carries_over=carries_over).value(period)

    assert value(carries_over=False) == Fraction(5 * 2, 4)
    assert value(carries_over=True) == 3 + 4 + Fraction(5 * 2, 4)


CHANGES = st.lists(
    st.builds(
        Sample,
        timestamp_us=st.integers(0, 40),
        position=st.just(1),
        row=st.integers(0, 10**6),
        value=VALUES,
    ),
    max_size=12,
)


def stepwise(changes: list[Sample], start: int, end: int, opening: Fraction) -> Fraction:
    """The level of each microsecond, one by one."""
    levels = []
    for now in range(start, end):
        counted = [one for one in changes if start <= one.timestamp_us <= now]
        levels.append(opening + sum(Fraction(one.value or 0) for one in counted))
    return sum(levels, Fraction(0)) / len(levels)


@given(CHANGES, st.integers(0, 20), st.integers(1, 20))
def test_a_weighted_sum_is_the_average_of_the_level_at_every_moment(
    changes: list[Sample], start: int, length: int
) -> None:
    period = Period(from_us(start), from_us(start + length))
    earlier = [Fraction(one.value or 0) for one in changes if one.timestamp_us < start]
    for carries_over in (False, True):
        opening = sum(earlier, Fraction(0)) if carries_over else Fraction(0)
        state = aggregate_over(Aggregation.WEIGHTED_SUM, changes, period, carries_over=carries_over)
        assert state.value(period) == stepwise(changes, start, start + length, opening)


@given(CHANGES, st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True))
def test_the_parts_of_a_carried_level_add_up_to_the_whole(
    changes: list[Sample], cuts: list[int]
) -> None:
    edges = sorted({0, 41, *cuts})
    whole = Period(from_us(0), from_us(41))

    def part(start: int, end: int) -> Fraction:
        period = Period(from_us(start), from_us(end))
        state = aggregate_over(Aggregation.WEIGHTED_SUM, changes, period, carries_over=True)
        assert isinstance(state, WeightedSum)
        return state.value(period, whole)

    assert sum(part(a, b) for a, b in pairwise(edges)) == part(0, 41)


def test_a_weighted_sum_keeps_every_digit() -> None:
    large = Decimal("999999999999999999.999999999999")
    late_us = 32_503_679_999_999_999  # the last microsecond of 2999
    period = Period(from_us(late_us - 10**9), from_us(late_us + 1))
    state = aggregate(Aggregation.WEIGHTED_SUM, [Sample(late_us, 1, 1, large)])
    for _ in range(20):
        state = state.merge(state)
    assert state.value(period) == Fraction(large) * 2**20 / (10**9 + 1)

"""Meters: what a set of usage records adds up to, in whatever order it is put together."""

from decimal import Decimal
from fractions import Fraction

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
    aggregate,
    billable,
    empty,
)

EVERY = pytest.mark.parametrize("aggregation", list(Aggregation))

VALUES = st.none() | st.decimals(min_value=-(10**17), max_value=10**17, places=12)
SAMPLES = st.lists(
    st.builds(
        Sample,
        timestamp_us=st.integers(0, 5),
        position=st.integers(0, 5),
        row=st.integers(0, 5),
        value=VALUES,
    ),
    # The place in the ledger is a record's own.
    unique_by=lambda sample: (sample.position, sample.row),
    max_size=12,
)


def samples(*values: str | None) -> list[Sample]:
    """Usage records one microsecond apart."""
    return [
        Sample(time, 1, time, None if value is None else Decimal(value))
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
        (Aggregation.MAX, [], None),
        (Aggregation.MIN, [], None),
        (Aggregation.AVERAGE, [], None),
    ],
)
def test_a_quantity(aggregation: Aggregation, values: list[str | None], quantity: Value) -> None:
    assert state_of(aggregation, *values).value() == quantity


def test_last_is_the_latest_by_timestamp_then_by_place_in_the_ledger() -> None:
    late_arrival = Sample(timestamp_us=1, position=9, row=0, value=Decimal(1))
    latest = Sample(timestamp_us=2, position=4, row=0, value=Decimal(2))
    same_time_later_row = Sample(timestamp_us=2, position=4, row=1, value=Decimal(3))
    records = [same_time_later_row, latest, late_arrival]
    assert aggregate(Aggregation.LAST, records).value() == 3
    assert aggregate(Aggregation.LAST, records[1:]).value() == 2


def test_even_the_first_possible_record_is_later_than_none() -> None:
    first = aggregate(Aggregation.LAST, [Sample(0, 0, 0, Decimal(-5))])
    assert empty(Aggregation.LAST).merge(first).value() == -5


@EVERY
def test_every_state_counts_its_records(aggregation: Aggregation) -> None:
    assert state_of(aggregation, "1", "2", "3").count == 3
    assert state_of(aggregation).count == 0


def test_a_total_keeps_every_digit_of_millions_of_records() -> None:
    large = Decimal("999999999999999999.999999999999")
    bucket = Sum(count=1_000_000, total=Decimal("999999999999999999999999.999999000000"))
    record = Sample(1, 1, 1, large)
    assert str(bucket.add(record).value()) == "1000000999999999999999999.999998999999"


@EVERY
@given(SAMPLES, st.data())
def test_buckets_merge_in_any_order(
    aggregation: Aggregation, records: list[Sample], data: st.DataObject
) -> None:
    whole = aggregate(aggregation, records)
    buckets = [empty(aggregation) for _ in range(4)]
    for record in data.draw(st.permutations(records)):
        chosen = data.draw(st.integers(0, 3))
        buckets[chosen] = buckets[chosen].add(record)
    a, b, c, d = data.draw(st.permutations(buckets))
    assert a.merge(b).merge(c).merge(d) == whole
    assert a.merge(b.merge(c.merge(d))) == whole
    assert d.merge(c).merge(b.merge(a)).value() == whole.value()


@EVERY
@given(SAMPLES)
def test_nothing_merged_changes_nothing(aggregation: Aggregation, records: list[Sample]) -> None:
    state = aggregate(aggregation, records)
    assert state.merge(empty(aggregation)) == state == empty(aggregation).merge(state)


@EVERY
@given(SAMPLES)
def test_a_state_is_stored_and_read_back(aggregation: Aggregation, records: list[Sample]) -> None:
    state = aggregate(aggregation, records)
    stored = msgspec.msgpack.encode(state)
    assert msgspec.msgpack.decode(stored, type=AGGREGATIONS[aggregation]) == state


def test_no_value_and_a_negative_one_are_billed_as_nothing() -> None:
    assert billable(None) == 0
    assert billable(Decimal(-5)) == 0
    assert billable(Fraction(-1, 3)) == 0
    assert billable(Fraction(5, 3)) == Fraction(5, 3)

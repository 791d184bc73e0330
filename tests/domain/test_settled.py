"""Stretches of time that aggregate otherwise: each is settled by itself, in whatever order."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.aggregation import Aggregation, Sample, State, Value, WeightedSum, empty
from domain.periods import Period, from_us
from domain.settled import Settled, Stretch

S = TypeVar("S", bound=State)

DAY_US = 86_400_000_000
DAYS = 6


def day(number: int) -> int:
    """The start of a day, in microseconds."""
    return number * DAY_US


def days(first: int, last: int) -> Period:
    """The time from one day's start to another's."""
    return Period(from_us(day(first)), from_us(day(last)))


def stretches(*aggregations: Aggregation) -> Settled:
    """Two days for each aggregation, before anything was used."""
    return Settled.of(
        Stretch(day(2 * n), day(2 * n + 2), empty(aggregation))
        for n, aggregation in enumerate(aggregations)
    )


def used(value: int | None, at_us: int, row: int = 0) -> Sample:
    """A usage record as a meter sees it."""
    text = None if value is None else str(value)
    return Sample(at_us, 1, row, None if value is None else Decimal(value), text)


def added(state: S, samples: Sequence[Sample]) -> S:
    """The state with these usage records, one after the other."""
    for sample in samples:
        state = state.add(sample)
    return state


SAMPLES = st.lists(
    st.builds(used, st.none() | st.integers(-5, 5), st.integers(0, day(DAYS) - 1)), max_size=8
)


@given(
    st.lists(st.sampled_from(list(Aggregation)), min_size=3, max_size=3),
    SAMPLES,
    SAMPLES,
)
def test_what_is_merged_is_what_is_added(
    several: list[Aggregation], some: list[Sample], others: list[Sample]
) -> None:
    nothing = stretches(*several)
    both = added(nothing, [*some, *others])
    for one, other in ((some, others), (others, some)):
        merged = added(nothing, one).merge(added(nothing, other))
        assert merged.count == both.count
        assert merged.merge(nothing) == nothing.merge(merged) == merged
        assert Settled().merge(merged) == merged
    period = days(0, DAYS)
    if Aggregation.LAST not in several:  # which depends on what came last
        assert added(nothing, some).merge(added(nothing, others)).value(period) == both.value(
            period
        )


@pytest.mark.parametrize(
    ("period", "value"),
    [
        (days(0, 6), Decimal(3) + 2),
        (days(0, 2), Decimal(3)),
        (days(2, 4), None),
        (days(2, 6), Decimal(2)),
    ],
)
def test_a_period_is_the_sum_of_its_stretches(period: Period, value: Value) -> None:
    nothing = stretches(Aggregation.SUM, Aggregation.MAX, Aggregation.COUNT)
    state = added(nothing, [used(3, day(0)), used(None, day(4)), used(8, day(5))])
    assert state.value(period) == value


def test_a_level_ends_with_its_stretch_and_is_a_share_of_the_whole() -> None:
    nothing = stretches(Aggregation.WEIGHTED_SUM, Aggregation.SUM)
    state = added(nothing, [used(6, day(1)), used(10, day(3))])
    assert state.value(days(0, 4)) == Fraction(6, 4) + 10
    assert state.value(days(0, 2), days(0, 12)) == Fraction(6, 12)


@given(SAMPLES, st.integers(-5, 5), st.integers(1, DAYS - 1))
def test_a_level_that_ended_counts_in_a_longer_period_what_it_was(
    samples: list[Sample], opening: int, last: int
) -> None:
    part, whole = days(1, last + 1), days(0, DAYS)
    inside = [one for one in samples if day(1) <= one.timestamp_us < day(last + 1)]
    state = added(WeightedSum(opening=Decimal(opening)), inside)
    ended = state.ended(part)
    assert ended.count == state.count
    assert ended.value(whole) == state.value(part, whole)
    settled = Settled.of([Stretch(0, day(DAYS), state)])
    assert settled.ended(part).value(whole) == state.value(part, whole)

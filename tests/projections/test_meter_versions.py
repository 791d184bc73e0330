"""Meters that were revised: each record is measured by the version in force at its timestamp."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation, Value
from domain.customers import Customer
from domain.periods import EPOCH, Period, to_us
from domain.usage import UsageRecord
from projections import current, meter_summaries
from projections.tables import Views
from projections.unrated_usage import Search
from tests.projections.book import START, Book, question, used
from tests.projections.revisions import Revision, by_hand

Filter = dict[str, Sequence[str]]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = Period(START, START + 7 * DAY)


def quantity(views: Views, period: Period = WEEK, only: Filter | None = None) -> Value:
    """What was used in a period, by default in the first week."""
    asked = question(views, "met_1", only=only)
    return meter_summaries.quantity(views, asked, period).value(period)


def daily(views: Views, days: int, *group_by: str) -> list[tuple[object, ...]]:
    """What each day comes to: (day, group, quantity)."""
    edges = [START + day * DAY for day in range(days + 1)]
    found = meter_summaries.summaries(views, question(views, "met_1", group_by=group_by), edges)
    return [((one.period.start - START).days + 1, one.group, one.value) for one in found]


# ---------------------------------------------------------------------------------- by example


def test_records_that_are_there_are_measured_anew(book: Book) -> None:
    book.customer()
    book.meter()
    book.usage(used("5"), used("7", DAY), used("9", 2 * DAY))
    book.revise(DAY, Aggregation.COUNT)
    for views in book.everywhere():
        assert daily(views, 3) == [(1, (), 5), (2, (), 1), (3, (), 1)]
        assert quantity(views) == 7


def test_records_to_come_are_measured_by_the_version_in_force_at_their_time(book: Book) -> None:
    book.customer()
    book.meter()
    book.revise(DAY, Aggregation.COUNT)
    book.usage(used("7", DAY), used("5"), used("9", 2 * DAY), used("2", DAY - HOUR))
    for views in book.everywhere():
        assert daily(views, 3) == [(1, (), 7), (2, (), 1), (3, (), 1)]


@pytest.mark.parametrize(
    "since", [2 * HOUR, 2 * HOUR + HOUR / 2, DAY, DAY + timedelta(microseconds=1)]
)
def test_a_version_begins_at_its_instant_wherever_in_the_hour(book: Book, since: timedelta) -> None:
    book.customer()
    book.meter()
    moment = timedelta(microseconds=1)
    around = [used("10", since - moment), used("10", since), used("10", since + moment)]
    book.usage(*around)
    book.revise(since, Aggregation.COUNT)
    book.usage(*around)
    for views in book.everywhere():
        assert quantity(views) == 10 * 2 + 4
        assert quantity(views, Period(START, START + since)) == 10 * 2
        assert quantity(views, Period(START + since, WEEK.end)) == 4


def test_one_maximum_though_another_property_is_read(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.MAX)
    book.usage(used("8"), used("3", DAY, {"peak": "6"}))
    book.revise(DAY, Aggregation.MAX, value="peak")
    for views in book.everywhere():
        assert quantity(views) == 8
        assert quantity(views, Period(START + DAY, WEEK.end)) == 6


def test_a_value_is_counted_once_on_both_sides(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.UNIQUE_COUNT, value="user")
    book.usage(used(None, HOUR, {"user": "ann"}), used(None, 30 * HOUR, {"user": "ann"}))
    book.usage(used(None, HOUR, {"user": "bob"}), used(None, 31 * HOUR, {"user": "cyd"}))
    book.revise(DAY, Aggregation.UNIQUE_COUNT, value="user", by=["model"])
    for views in book.everywhere():
        assert quantity(views) == 3
        assert [value for _, _, value in daily(views, 2)] == [2, 2]


def test_what_has_no_value_adds_nothing_to_what_has(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.MAX)
    book.revise(DAY, Aggregation.MIN)
    for views in book.everywhere():
        assert quantity(views) is None
    book.usage(used("4", 2 * DAY))
    for views in book.everywhere():
        assert quantity(views) == 4


def test_a_dimension_that_was_not_declared_has_no_value(book: Book) -> None:
    book.customer()
    book.meter()
    small, large = {"model": "small"}, {"model": "large"}
    book.usage(used("1", HOUR, small), used("2", 30 * HOUR, small), used("4", 30 * HOUR, large))
    book.revise(DAY, by=["model"])
    for views in book.everywhere():
        assert daily(views, 2, "model") == [
            (1, (None,), 1),
            (2, ("large",), 4),
            (2, ("small",), 2),
        ]
        assert quantity(views, only={"model": ("small",)}) == 2


def test_a_level_runs_on_when_both_carry_it_over(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    book.usage(used("10"), used("0", 3 * DAY, {"seats": "5"}))
    book.revise(2 * DAY, Aggregation.WEIGHTED_SUM, value="seats", carries_over=True)
    for views in book.everywhere():
        values = [value for _, _, value in daily(views, 5)]
        assert values == [10, 10, 10, 15, 15]
        across = Period(START + DAY, START + 4 * DAY)
        assert quantity(views, across) == Fraction(10 * 3 + 5 * 1, 3)
    book.usage(used("1", DAY, {"seats": "1"}))
    for views in book.everywhere():
        assert [value for _, _, value in daily(views, 5)] == [10, 11, 11, 16, 16]
        later = Period(START + 4 * DAY, START + 5 * DAY)
        assert quantity(views, later) == 16


def test_a_level_ends_with_what_does_not_carry_it_over(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    book.usage(used("10"), used("3", 2 * DAY + 12 * HOUR), used("1", 5 * DAY))
    book.revise(2 * DAY, Aggregation.SUM)
    book.revise(4 * DAY, Aggregation.WEIGHTED_SUM, carries_over=True)
    for views in book.everywhere():
        assert daily(views, 6) == [(1, (), 10), (2, (), 10), (3, (), 3), (6, (), 1)]
        assert quantity(views, Period(START, START + 4 * DAY)) == Fraction(10, 2) + 3


def test_versions_may_be_inserted_and_replaced(book: Book) -> None:
    book.customer()
    book.meter()
    book.usage(*(used("10", day * DAY) for day in range(6)))
    book.revise(4 * DAY, Aggregation.MAX)
    book.revise(2 * DAY, Aggregation.COUNT)
    for views in book.everywhere():
        assert [value for *_, value in daily(views, 6)] == [10, 10, 1, 1, 10, 10]
        assert quantity(views) == 20 + 2 + 10
    book.revise(4 * DAY, Aggregation.COUNT)
    for views in book.everywhere():
        assert quantity(views) == 20 + 4


def test_a_version_may_leave_the_first_one_no_time(book: Book) -> None:
    book.customer()
    book.meter()
    book.usage(used("10"), used("10", DAY))
    book.revise(EPOCH, Aggregation.COUNT)
    book.meter("met_2")
    book.usage(used("10", 2 * DAY))
    for views in book.everywhere():
        assert quantity(views) == 3
        other = question(views, "met_2")
        assert meter_summaries.quantity(views, other, WEEK).value(WEEK) == 30


def test_records_that_waited_are_measured_by_their_version(book: Book) -> None:
    book.meter()
    book.usage(used("10"), used("10", DAY))
    book.revise(DAY, Aggregation.COUNT)
    book.customer()
    for views in book.everywhere():
        assert quantity(views) == 11


def test_unrated_usage_is_measured_by_the_same_versions(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    book.usage(used("7"), used("5", DAY), used("5", 2 * DAY))
    book.revise(DAY, Aggregation.COUNT)
    for views in book.everywhere():
        customer = current.find(views, Customer, "cus_1")
        assert customer is not None
        [found] = Search(views, WEEK).of(customer)
        assert (found.value, found.count) == (Fraction(7, 7) + 2, 3)


# -------------------------------------------------------------------------- by hand, at random

PLACES = [hour * 3_600_000_000 + offset for hour in (0, 1, 24, 30, 48) for offset in (-1, 0, 1)]
MOMENTS = st.one_of(st.sampled_from(PLACES), st.integers(-1, 3 * 86_400_000_000)).map(
    lambda us: START + timedelta(microseconds=us)
)
AGGREGATIONS = st.sampled_from([*Aggregation, *[Aggregation.WEIGHTED_SUM] * 4])
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["small", "large"]),
        "region": st.sampled_from(["eu", "us"]),
        "size": st.sampled_from(["1", "-2", "40", "many"]),
    },
)
VALUES = st.none() | st.sampled_from(["0", "1", "-1", "7", "0.5", "999999999999999999"])
BATCHES = st.lists(st.builds(used, VALUES, MOMENTS, PROPERTIES), min_size=1, max_size=6)


@st.composite
def definitions(draw: st.DrawFn, since: st.SearchStrategy[datetime]) -> Revision:
    """A version of a meter over tokens, from an instant."""
    aggregation = draw(AGGREGATIONS)
    return Revision(
        since=draw(since),
        aggregation=aggregation,
        value=draw(st.sampled_from(["value", "value", "size"])),
        by=draw(st.sampled_from([(), ("model",), ("model", "region")])),
        carries_over=aggregation is Aggregation.WEIGHTED_SUM and draw(st.integers(0, 3)) > 0,
    )


STEPS = st.lists(BATCHES | definitions(MOMENTS | st.just(EPOCH)), max_size=8)
EDGES = st.lists(MOMENTS, min_size=2, max_size=4, unique=True).map(sorted)
ASKED = st.sampled_from(
    [((), {}), (("model",), {}), (("region", "model"), {}), (("region",), {"model": ("small",)})]
)


def happen(book: Book, step: list[UsageRecord] | Revision) -> None:
    """A batch of usage, or a revision of the meter."""
    if isinstance(step, Revision):
        book.revise(
            step.since,
            step.aggregation,
            value=step.value,
            by=step.by,
            carries_over=step.carries_over,
        )
    else:
        book.usage(*step)


@settings(max_examples=25, deadline=None)
@given(definitions(st.just(EPOCH)), STEPS, EDGES, ASKED)
def test_any_window_is_what_a_fold_of_its_records_gives(
    first: Revision,
    steps: list[list[UsageRecord] | Revision],
    edges: list[datetime],
    asked: tuple[tuple[str, ...], dict[str, Sequence[str]]],
) -> None:
    group_by, only = asked
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter(
            "met_1",
            first.aggregation,
            value=first.value,
            by=first.by,
            carries_over=first.carries_over,
        )
        for step in steps:
            happen(book, step)
        records = [record for step in steps if isinstance(step, list) for record in step]
        versions = [first, *(step for step in steps if isinstance(step, Revision))]
        stretches = [edges, *combinations(edges, 2)]
        for views in book.everywhere():
            wanted = question(views, "met_1", only=only, group_by=group_by)
            for windows in stretches:
                found = {
                    (windows.index(one.period.start), one.group): (
                        None if one.value is None else Fraction(one.value),
                        one.state.count,
                    )
                    for one in meter_summaries.summaries(views, wanted, windows)
                }
                expected = by_hand(records, versions, list(map(to_us, windows)), only, group_by)
                assert found == expected
            ungrouped = question(views, "met_1", only=only)
            for start, end in pairwise(edges):
                period = Period(start, end)
                several = list(meter_summaries.samples(views, ungrouped, period))
                assert len(several) == meter_summaries.quantity(views, ungrouped, period).count

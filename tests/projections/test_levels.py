"""Levels that are carried over: what happened before a window counts in it, however it came."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation
from domain.decider import Rejected
from domain.periods import Period, to_us
from domain.usage import UsageRecord
from projections import meter_summaries
from projections.buckets import Labels
from projections.meter_summaries import CARRIED_LIMIT
from projections.tables import Views
from tests.projections.book import START, Book, question, used
from tests.projections.test_meter_summaries import (
    DIMENSIONS,
    LARGEST,
    MICROSECOND,
    PROPERTIES,
    SMALLEST,
    VALUES,
    batches,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
DAYS = 3

EDGE_US = [hour * 3_600_000_000 + offset for hour in (0, 1, 24, 47, 48) for offset in (-1, 0, 1)]
MOMENTS = st.one_of(st.sampled_from(EDGE_US), st.integers(-1, DAYS * 86_400_000_000)).map(
    lambda us: START + us * MICROSECOND
)
EDGES = st.lists(MOMENTS, min_size=2, max_size=5, unique=True).map(sorted)
ASKED = st.sampled_from(
    [((), {}), (("model",), {}), (("region", "model"), {}), (("region",), {"model": ("small",)})]
)
RECORDS = st.lists(st.builds(used, VALUES, MOMENTS, PROPERTIES), max_size=20)

Found = dict[tuple[int, Labels], tuple[Fraction, int]]
"""The weighted sum and the number of records of each window and group."""


def by_hand(
    records: Sequence[UsageRecord],
    edges: Sequence[int],
    only: Mapping[str, Sequence[str]],
    group_by: Sequence[str],
) -> Found:
    """Each change counts from when it happens, or from the window's start, to the window's end."""
    found: Found = {}
    changes: dict[Labels, list[tuple[int, Fraction]]] = {}
    for record in records:
        if record.value is not None and all(record.property(n) in v for n, v in only.items()):
            group = tuple(map(record.property, group_by))
            changes.setdefault(group, []).append((record.timestamp_us, Fraction(record.value)))
    for window, (start, end) in enumerate(pairwise(edges)):
        for group, known in changes.items():
            count = sum(start <= at < end for at, _ in known)
            area = sum(v * (end - max(at, start)) for at, v in known if at < end)
            opening = sum(v for at, v in known if at < start)
            if count or opening:
                found[window, group] = (Fraction(area) / (end - start), count)
    return found


def told(
    views: Views,
    edges: Sequence[datetime],
    only: Mapping[str, Sequence[str]],
    group_by: Sequence[str],
) -> Found:
    """The same as `by_hand`, as the views tell it."""
    asked = question(views, "met_1", only=dict(only), group_by=group_by)
    found: Found = {}
    for one in meter_summaries.summaries(views, asked, edges):
        assert one.value is not None
        key = (edges.index(one.period.start), one.group)
        found[key] = (Fraction(one.value), one.state.count)
    return found


@settings(max_examples=30, deadline=None)
@given(
    records=RECORDS,
    cuts=st.lists(st.integers(0, 25), max_size=6),
    early=st.booleans(),
    asked=ASKED,
    edges=EDGES,
)
@example(
    records=[used(LARGEST, HOUR)] * 3 + [used(f"-{SMALLEST}", DAY + HOUR)],
    cuts=[1, 2],
    early=True,
    asked=((), {}),
    edges=[START + 2 * DAY, START + 2 * DAY + HOUR],
)
def test_a_level_is_carried_into_every_window(
    records: list[UsageRecord],
    cuts: list[int],
    early: bool,
    asked: tuple[Sequence[str], Mapping[str, Sequence[str]]],
    edges: list[datetime],
) -> None:
    """Whatever the batches, and whether the meter came before the records or after them."""
    group_by, only = asked
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter("met_0", Aggregation.COUNT)
        if early:
            carrying_meter(book)
        for batch in batches(records, cuts):
            book.usage(*batch)
        if not early:
            carrying_meter(book)
        for views in book.everywhere():
            for windows in [edges, *combinations(edges, 2)]:
                expected = by_hand(records, list(map(to_us, windows)), only, group_by)
                assert told(views, windows, only, group_by) == expected


def carrying_meter(book: Book) -> None:
    """A meter of a level that is carried over."""
    book.meter("met_1", Aggregation.WEIGHTED_SUM, by=DIMENSIONS, carries_over=True)


def test_seats_stay_until_they_are_given_back(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    book.usage(used("10", -40 * DAY), used("-4", 1 * DAY + 12 * HOUR))
    for views in book.everywhere():
        asked = question(views, "met_1")
        days = [START + n * DAY for n in range(4)]
        found = meter_summaries.summaries(views, asked, days)
        assert [one.value for one in found] == [10, 8, 6]
        assert [one.state.count for one in found] == [0, 1, 0]
        before = Period(START - 60 * DAY, START - 50 * DAY)
        assert meter_summaries.quantity(views, asked, before).value(before) == 0


def test_a_level_back_at_zero_leaves_nothing_behind(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    book.usage(used("10", HOUR), used("-10", 2 * HOUR))
    for views in book.everywhere():
        asked = question(views, "met_1")
        assert meter_summaries.summaries(views, asked, [START + DAY, START + 2 * DAY]) == []


def test_a_level_is_not_carried_into_endlessly_many_windows(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, by=["model"], carries_over=True)
    book.usage(*(used("1", START, {"model": str(n)}) for n in range(11)))
    minutes = [START + n * timedelta(minutes=1) for n in range(CARRIED_LIMIT // 10 + 1)]
    for views in book.everywhere():
        asked = question(views, "met_1", group_by=["model"])
        with pytest.raises(Rejected, match="shorten the period"):
            meter_summaries.summaries(views, asked, minutes)
        assert len(meter_summaries.summaries(views, question(views, "met_1"), minutes)) == 10_000

"""Summaries: any window of any meter is what a bookkeeper would find by hand, however it came."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation, Value
from domain.money import format_decimal
from domain.periods import Period, to_us
from domain.usage import UsageRecord
from projections import meter_summaries
from projections.buckets import Labels
from projections.meter_summaries import Question
from projections.tables import Views
from projections.totals import DIGIT
from tests.projections.book import START, Book, question, used

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
DAY = Period(START, START + timedelta(days=1))

LARGEST = "999999999999999999.999999999999"
SMALLEST = "0.000000000001"


# ----------------------------------------------------------------------- by hand, record by record

Dated = tuple[UsageRecord, Fraction | None]
"""A record in the order of the ledger, and its value."""

BY_HAND: Mapping[Aggregation, Callable[[list[Dated], int, int], Fraction | None]] = {
    Aggregation.SUM: lambda records, *_: sum((v for _, v in records if v is not None), Fraction(0)),
    Aggregation.COUNT: lambda records, *_: Fraction(len(records)),
    Aggregation.LAST: lambda records, *_: max(enumerate(records), key=_latest)[1][1],
    Aggregation.MAX: lambda records, *_: max(v for _, v in records if v is not None),
    Aggregation.MIN: lambda records, *_: min(v for _, v in records if v is not None),
    Aggregation.AVERAGE: lambda records, *_: (
        sum((v for _, v in records if v is not None), Fraction(0)) / len(records)
    ),
    Aggregation.UNIQUE_COUNT: lambda records, *_: Fraction(len({r.value for r, _ in records})),
    Aggregation.WEIGHTED_SUM: lambda records, start, end: (
        sum(((v or Fraction(0)) * (end - r.timestamp_us) for r, v in records), Fraction(0))
        / (end - start)
    ),
}
"""Each aggregation of the records of a period, between two microseconds."""


def _latest(numbered: tuple[int, Dated]) -> tuple[int, int]:
    number, (record, _) = numbered
    return record.timestamp_us, number


def by_hand(
    records: Iterable[UsageRecord],
    aggregation: Aggregation,
    edges: Sequence[int],
    asked: "Asked",
) -> dict[tuple[int, Labels], Fraction | None]:
    """Each window and group that has records, and what they come to."""
    found: dict[tuple[int, Labels], list[Dated]] = {}
    for record in records:
        value = None if record.value is None else Fraction(record.value)
        labels = {name: record.property(name) for name in DIMENSIONS}
        if (value is None and aggregation is not Aggregation.COUNT) or any(
            labels[name] not in wanted for name, wanted in asked.only.items()
        ):
            continue
        for window, (start, end) in enumerate(pairwise(edges)):
            if start <= record.timestamp_us < end:
                group = tuple(labels[name] for name in asked.group_by)
                found.setdefault((window, group), []).append((record, value))
    return {
        (window, group): BY_HAND[aggregation](records, edges[window], edges[window + 1])
        for (window, group), records in found.items()
    }


# ------------------------------------------------------------------------------------ examples

DIMENSIONS = ("model", "region")
HOURS = 5
EDGE_US = [hour * 3_600_000_000 + offset for hour in range(HOURS) for offset in (-1, 0, 1)]

MOMENTS = st.one_of(st.sampled_from(EDGE_US), st.integers(-1, HOURS * 3_600_000_000)).map(
    lambda us: START + us * MICROSECOND
)

VALUES = st.one_of(
    st.none(),
    st.sampled_from(["0", "1", "-1", LARGEST, f"-{LARGEST}", SMALLEST, f"-{SMALLEST}"]),
    st.decimals(Decimal(f"-{LARGEST}"), Decimal(LARGEST), places=12).map(format_decimal),
    st.decimals(-1000, 1000, places=2).map(format_decimal),
)

PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["small", "large", ""]),
        "region": st.sampled_from(["eu", "us"]),
    },
)

RECORDS = st.lists(st.builds(used, VALUES, MOMENTS, PROPERTIES), max_size=25)


class Asked:
    """How a question filters and groups."""

    def __init__(self, only: dict[str, Sequence[str]], group_by: Sequence[str]) -> None:
        self.only = only
        self.group_by = group_by

    def __repr__(self) -> str:
        return f"Asked({self.only}, {self.group_by})"


ASKED = st.builds(
    Asked,
    st.sampled_from(
        [{}, {"model": ("small",)}, {"model": ("small", ""), "region": ("eu",)}, {"region": ()}]
    ),
    st.sampled_from([(), ("model",), ("region", "model")]),
)

EDGES = st.lists(MOMENTS, min_size=2, max_size=5, unique=True).map(sorted)


def batches(records: Sequence[UsageRecord], cuts: Iterable[int]) -> Iterable[Sequence[UsageRecord]]:
    """The records in order, cut into batches."""
    places = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    return [records[a:b] for a, b in pairwise(places)]


@settings(max_examples=25)
@given(
    records=RECORDS,
    cuts=st.lists(st.integers(0, 25), max_size=6),
    early=st.sets(st.sampled_from(list(Aggregation))),
    asked=ASKED,
    edges=EDGES,
)
@example(
    records=[used(LARGEST, 2 * HOUR)] * 3 + [used(f"-{SMALLEST}", 2 * HOUR)],
    cuts=[1, 2, 3],
    early=set(Aggregation),
    asked=Asked({}, ()),
    edges=[START + HOUR, START + 3 * HOUR],
)
def test_every_window_is_what_a_bookkeeper_would_find(
    records: list[UsageRecord],
    cuts: list[int],
    early: set[Aggregation],
    asked: Asked,
    edges: list[datetime],
) -> None:
    """Whatever the batches, and whether a meter came before the records or after them."""
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        for aggregation in sorted(early):
            book.meter(f"met_{aggregation}", aggregation, by=DIMENSIONS)
        for batch in batches(records, cuts):
            book.usage(*batch)
        for aggregation in sorted(set(Aggregation) - early):
            book.meter(f"met_{aggregation}", aggregation, by=DIMENSIONS)
        # All the windows side by side, then each stretch between two edges as one window.
        stretches = [edges, *combinations(edges, 2)]
        for views in book.everywhere():
            for windows, aggregation in product(stretches, Aggregation):
                expected = by_hand(records, aggregation, list(map(to_us, windows)), asked)
                assert found_in(views, aggregation, windows, asked) == expected, aggregation


def found_in(
    views: Views, aggregation: Aggregation, edges: Sequence[datetime], asked: Asked
) -> dict[tuple[int, Labels], Fraction | None]:
    """The same as `by_hand`, as the views tell it."""
    wanted = question(views, f"met_{aggregation}", only=asked.only, group_by=asked.group_by)
    summaries = meter_summaries.summaries(views, wanted, edges)
    keys = [(edges.index(one.period.start), one.group) for one in summaries]
    assert len(set(keys)) == len(keys)
    assert [window for window, _ in keys] == sorted(window for window, _ in keys)
    values = [one.value for one in summaries]
    return {
        key: None if value is None else Fraction(value)
        for key, value in zip(keys, values, strict=True)
    }


# --------------------------------------------------------------------------- by example, readably


def quantity(views: Views, asked: Question, period: Period = DAY) -> Value:
    """What was used in a period."""
    return meter_summaries.quantity(views, asked, period).value(period)


def test_a_window_may_begin_and_end_within_an_hour(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.SUM)
    book.meter("met_2", Aggregation.MAX)
    for quarter in range(16):
        book.usage(used(str(2**quarter), quarter * HOUR / 4))
    for views in book.everywhere():
        for first, last in combinations(range(17), 2):
            window = Period(START + first * HOUR / 4, START + last * HOUR / 4)
            inside = [2**quarter for quarter in range(first, last)]
            assert quantity(views, question(views, "met_1"), window) == sum(inside)
            assert quantity(views, question(views, "met_2"), window) == max(inside)


def test_a_window_holds_its_start_and_not_its_end(book: Book) -> None:
    book.customer()
    book.meter()
    book.usage(
        used("1", 2 * HOUR - MICROSECOND),
        used("10", 2 * HOUR),
        used("100", 3 * HOUR - MICROSECOND),
        used("1000", 3 * HOUR),
    )
    for views in book.everywhere():
        asked = question(views, "met_1")
        assert quantity(views, asked, Period(START + 2 * HOUR, START + 3 * HOUR)) == 110
        shifted = Period(START + 2 * HOUR - MICROSECOND, START + 3 * HOUR - MICROSECOND)
        assert quantity(views, asked, shifted) == 11
        within = Period(START + 2 * HOUR, START + 2 * HOUR + MICROSECOND)
        assert quantity(views, asked, within) == 10


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        (Aggregation.SUM, Decimal(0)),
        (Aggregation.COUNT, Decimal(0)),
        (Aggregation.LAST, Decimal(0)),
        (Aggregation.MAX, None),
        (Aggregation.MIN, None),
        (Aggregation.AVERAGE, None),
        (Aggregation.UNIQUE_COUNT, Decimal(0)),
        (Aggregation.WEIGHTED_SUM, Decimal(0)),
    ],
)
def test_a_window_without_records(book: Book, aggregation: Aggregation, value: Value) -> None:
    book.customer()
    book.meter("met_1", aggregation)
    for views in book.everywhere():
        asked = question(views, "met_1")
        assert quantity(views, asked) == value
        assert meter_summaries.summaries(views, asked, [DAY.start, DAY.end]) == []


def test_groups_stand_in_the_order_of_their_values(book: Book) -> None:
    book.customer()
    book.meter(by=["model", "region"])
    for model in ("small", "large", None):
        properties = {"model": model} if model else {}
        in_us = {"region": "us", **properties}
        book.usage(used("1", START, in_us), used("2", HOUR, properties))
    for views in book.everywhere():
        asked = question(views, "met_1", group_by=["model"])
        found = meter_summaries.summaries(views, asked, [START, START + HOUR, DAY.end])
        groups: list[Labels] = [(None,), ("large",), ("small",)]
        assert [one.group for one in found] == groups * 2
        assert [one.value for one in found] == [1, 1, 1, 2, 2, 2]
        us = question(views, "met_1", only={"region": ("us",), "model": ("small",)})
        assert quantity(views, us) == 1


def test_a_customers_usage_is_nobody_elses(book: Book) -> None:
    book.meter()
    book.customer()
    book.customer("cus_2", "bo")
    book.usage(used("1"), used("2", by="bo"), used("4"), used("8", by="bo"))
    for views in book.everywhere():
        assert quantity(views, question(views, "met_1", "al")) == 5
        assert quantity(views, question(views, "met_1", "bo")) == 10


def test_the_last_record_is_the_latest_then_the_last_recorded(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.LAST)
    book.usage(used("1", HOUR), used("2", HOUR))
    book.usage(used("3", HOUR))
    book.usage(used("9", HOUR - MICROSECOND))
    for views in book.everywhere():
        assert quantity(views, question(views, "met_1")) == 3


# ------------------------------------------------------------ totals, digit by digit


def levels(views: Views) -> list[tuple[int, int, int]]:
    """The stored digits of each day's change of a level."""
    rows = views.rows("SELECT high, low, fraction FROM usage_levels")
    return [(row[0], row[1], row[2]) for row in rows]


def test_a_total_carries_from_digit_to_digit(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    steps = [
        (SMALLEST, (0, 0, 1)),
        ("0.999999999999", (0, 1, 0)),
        ("999999999999", (1, 0, 0)),
        (f"-{SMALLEST}", (0, DIGIT - 1, DIGIT - 1)),
        ("-999999999999.999999999999", (0, 0, 0)),
        (f"-{SMALLEST}", (-1, DIGIT - 1, DIGIT - 1)),
        (LARGEST, (999_999, DIGIT - 1, DIGIT - 2)),
        (LARGEST, (1_999_999, DIGIT - 1, DIGIT - 3)),
    ]
    for value, expected in steps:
        book.usage(used(value))
        for views in book.everywhere():
            assert levels(views) == [expected]


@settings(max_examples=20)
@given(st.lists(VALUES.filter(bool), min_size=1, max_size=8))
def test_totals_are_exact_however_large(values: list[str]) -> None:
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter()
        for value in values:
            book.usage(used(value))
        total = sum(map(Fraction, values), Fraction(0))
        for views in book.everywhere():
            found = quantity(views, question(views, "met_1"))
            assert found is not None
            assert Fraction(found) == total

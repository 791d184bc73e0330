"""Corrections: whatever was voided or amended, every number is that of the records as they are."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation, Value
from domain.customers import CustomerUpdated
from domain.periods import Period, to_us
from domain.usage import UsageRecord
from projections import fresh_usage, history, meter_summaries, usage_corrections
from projections.buckets import Labels
from projections.tables import Views
from projections.usage_corrections import Noted
from tests.projections import test_levels
from tests.projections.book import START, Book, question, unmatched, used
from tests.projections.test_meter_summaries import (
    ASKED,
    DIMENSIONS,
    LARGEST,
    PROPERTIES,
    VALUES,
    Asked,
    by_hand,
    found_in,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MONTH = Period(START, START + 31 * DAY)


# ------------------------------------------------------------------ any history, by hand

LEVEL = "met_1"
"""The meter whose level is carried over, as the tests of levels call theirs."""


class Correcting(msgspec.Struct, frozen=True):
    """A correction of the nth record so far: what it says from now on, None when it is voided."""

    nth: int
    content: tuple[str | None, dict[str, str]] | None


Step = list[UsageRecord] | Correcting | Aggregation | None
"""A batch of records, a correction, a new meter, or the customer."""

RECORDS = st.lists(st.builds(used, VALUES, test_levels.MOMENTS, PROPERTIES), min_size=1, max_size=6)
CORRECTIONS = st.builds(Correcting, st.integers(0, 30), st.none() | st.tuples(VALUES, PROPERTIES))
STEPS = st.lists(st.one_of(RECORDS, CORRECTIONS, CORRECTIONS), max_size=12)


class Told:
    """What a history comes to by hand: the records that count, in the order of the ledger."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._records: list[tuple[int, int, UsageRecord | None]] = []

    @property
    def present(self) -> list[UsageRecord]:
        """The records as they are now."""
        return [record for *_, record in self._records if record is not None]

    def step(self, step: Step) -> None:
        """Let it happen in the book, and by hand."""
        match step:
            case Aggregation():
                self._book.meter(f"met_{step}", step, by=DIMENSIONS)
            case None:
                self._book.customer()
            case Correcting():
                self._correct(step)
            case _:
                position = self._book.usage(*step)
                self._records += [(position, row, record) for row, record in enumerate(step)]

    def _correct(self, step: Correcting) -> None:
        if not self._records:
            return
        nth = step.nth % len(self._records)
        position, row, record = self._records[nth]
        if record is None:
            return  # voided before: nothing more can happen to it
        if step.content is None:
            self._book.void(position, row)
            self._records[nth] = (position, row, None)
            return
        value, properties = step.content
        self._book.amend(position, row, value=value, properties=properties)
        amended = msgspec.structs.replace(record, value=value, properties=properties)
        self._records[nth] = (position, row, amended)


@settings(max_examples=40)
@given(
    steps=STEPS,
    when=st.lists(st.integers(0, 12), min_size=10, max_size=10),
    asked=ASKED,
    edges=test_levels.EDGES,
    enough=st.sampled_from([1, 2, fresh_usage.ENOUGH_BLOCKS]),
)
@example(
    steps=[
        [used(LARGEST, HOUR, {"model": "small"})] * 3,
        [used("2", 2 * HOUR), used("3", DAY)],
        Correcting(1, (f"-{LARGEST}", {"model": "large"})),
        Correcting(0, None),
        Correcting(2, ("1", {})),
    ],
    when=[0] * 10,
    asked=Asked({}, ("model",)),
    edges=[START, START + HOUR, START + 2 * DAY],
    enough=2,
)
@example(
    steps=[[used("1", HOUR), used("2", 2 * HOUR)], Correcting(0, ("4", {})), [used("8", DAY)]],
    when=[0] * 10,
    asked=Asked({}, ()),
    edges=[START + DAY + HOUR, START + 2 * DAY],
    enough=1,
)
def test_every_window_is_that_of_the_records_as_they_are(
    steps: list[Step], when: list[int], asked: Asked, edges: list[datetime], enough: int
) -> None:
    """Whenever the customer and each meter came, and whatever was corrected before or after."""
    beginnings = [*sorted(Aggregation), None, LEVEL]
    with (
        TemporaryDirectory() as folder,
        closing(Book(Path(folder))) as book,
        patch.object(fresh_usage, "ENOUGH_BLOCKS", enough),
    ):
        told = Told(book)
        for number in range(len(steps) + 1):
            for beginning, at in zip(beginnings, when, strict=True):
                if min(at, len(steps)) == number:
                    _begin(book, told, beginning)
            if number < len(steps):
                told.step(steps[number])
        for views in book.everywhere():
            _compare(views, told.present, asked, edges)


def _begin(book: Book, told: Told, beginning: Aggregation | str | None) -> None:
    """A meter is created, or the customer."""
    if beginning == LEVEL:
        book.meter(LEVEL, Aggregation.WEIGHTED_SUM, by=DIMENSIONS, carries_over=True)
    else:
        told.step(None if beginning is None else Aggregation(beginning))


def _compare(
    views: Views, present: Sequence[UsageRecord], asked: Asked, edges: list[datetime]
) -> None:
    """Every aggregation of every stretch, with what a bookkeeper finds in the present records."""
    for windows, aggregation in product([edges, *combinations(edges, 2)], Aggregation):
        expected = by_hand(present, aggregation, list(map(to_us, windows)), asked)
        assert found_in(views, aggregation, windows, asked) == expected, aggregation
    for windows in [edges, *combinations(edges, 2)]:
        levels = test_levels.by_hand(present, list(map(to_us, windows)), asked.only, asked.group_by)
        assert test_levels.told(views, windows, asked.only, asked.group_by) == levels


# --------------------------------------------------------------------- by example, readably


def total(views: Views, meter_id: str = "met_1", customer: str = "al") -> Value:
    """What a customer used in January."""
    asked = question(views, meter_id, customer)
    return meter_summaries.quantity(views, asked, MONTH).value(MONTH)


@pytest.mark.parametrize(
    ("aggregation", "before", "voided", "amended"),
    [
        (Aggregation.SUM, 17, 12, 5),
        (Aggregation.COUNT, 4, 3, 3),
        (Aggregation.LAST, 8, 8, 2),
        (Aggregation.MAX, 8, 8, 2),
        (Aggregation.MIN, 2, 2, 1),
        (Aggregation.AVERAGE, Fraction(17, 4), 4, Fraction(5, 3)),
        (Aggregation.UNIQUE_COUNT, 3, 2, 2),
    ],
)
def test_every_aggregation_forgets_what_was_voided_or_amended(
    book: Book, aggregation: Aggregation, before: Value, voided: Value, amended: Value
) -> None:
    book.customer()
    book.meter("met_1", aggregation)
    batch = book.usage(used("5"), used("2", HOUR), used("2", 2 * HOUR), used("8", DAY))
    with book.live.database.snapshot() as views:
        assert total(views) == before
    book.void(batch, 0)
    for views in book.everywhere():
        assert total(views) == voided
    book.amend(batch, 3, value="1")
    book.amend(batch, 3, value="2", properties={"model": "small"})
    book.amend(batch, 1, value="1")
    for views in book.everywhere():
        assert total(views) == amended


def test_a_level_forgets_what_was_voided_on_a_day_before(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.WEIGHTED_SUM, carries_over=True)
    batch = book.usage(used("1", HOUR), used("2", HOUR), used("4", 2 * HOUR), used("8", DAY))
    second = Period(START + 2 * DAY, START + 3 * DAY)
    for correct, level in (
        (lambda: None, 15),
        (lambda: book.void(batch, 0), 14),
        (lambda: book.amend(batch, 2, value="16"), 26),
        (lambda: book.void(batch, 3), 18),
        (lambda: book.void(batch, 1), 16),
        (lambda: book.void(batch, 2), 0),
    ):
        correct()
        for views in book.everywhere():
            found = meter_summaries.summaries(
                views, question(views, "met_1"), [second.start, second.end]
            )
            assert [one.value for one in found] == ([level] if level else [])


def test_an_amended_property_moves_a_record_to_another_group(book: Book) -> None:
    book.customer()
    book.meter(by=["model"])
    large, small = {"model": "large"}, {"model": "small"}
    batch = book.usage(used("1", START, large), used("2", START, large), used("4", HOUR, small))
    book.amend(batch, 1, value="2", properties=small)
    book.amend(batch, 2, value="4")
    for views in book.everywhere():
        asked = question(views, "met_1", group_by=["model"])
        found = meter_summaries.summaries(views, asked, [MONTH.start, MONTH.end])
        groups: list[Labels] = [(None,), ("large",), ("small",)]
        assert [one.group for one in found] == groups
        assert [one.value for one in found] == [4, 1, 2]


def test_only_the_customer_and_the_name_of_the_record_are_counted_anew(book: Book) -> None:
    book.customer()
    book.customer("cus_2", "bo")
    book.meter()
    book.meter("met_2", over="calls")
    batch = book.usage(used("1"), used("2", by="bo"), used("4"))
    book.void(batch, 0)
    book.amend(batch, 1, value="8")
    for views in book.everywhere():
        assert [total(views), total(views, customer="bo"), total(views, "met_2")] == [4, 8, 0]


def test_a_later_meter_sees_what_the_records_say_now(book: Book) -> None:
    book.customer()
    book.meter()
    batch = book.usage(used("1"), used("2"), used("4"))
    book.void(batch, 0)
    book.amend(batch, 1, value="8")
    book.meter("met_2", Aggregation.MIN)
    book.void(batch, 2)
    for views in book.everywhere():
        assert [total(views), total(views, "met_2")] == [8, 8]


def test_what_waits_is_corrected_before_it_counts(book: Book) -> None:
    batch = book.usage(used("1"), used("2", by="bo"), used("4"), used("8", by="bo"))
    book.meter()
    book.void(batch, 0)
    book.amend(batch, 1, value="16")
    book.amend(batch, 2, value="32")
    book.void(batch, 3)
    for views in book.everywhere():
        assert unmatched(views) == [("tokens", "bo", "16"), ("tokens", "al", "32")]
    book.customer()
    for views in book.everywhere():
        assert total(views) == 32
        assert unmatched(views) == [("tokens", "bo", "16")]
    book.customer("cus_2", None)
    book.happened("cus_2", CustomerUpdated(id="cus_2", external_id="bo"))
    for views in book.everywhere():
        assert total(views, customer="bo") == 16
        assert unmatched(views) == []


def test_every_correction_of_a_record_is_kept(book: Book) -> None:
    batch = book.usage(used("1"), used("2"))
    book.customer()
    book.meter()
    first = book.amend(batch, 1, value="3", properties={"model": "small"})
    other = book.amend(batch, 0, value="4")
    second = book.void(batch, 1)
    noted = [
        Noted(first, False, "3", {"model": "small"}, None, None, 0),
        Noted(second, True, None, {}, "sent twice", None, 0),
    ]
    for views in book.everywhere():
        assert usage_corrections.of(views, batch, 1) == noted
        assert usage_corrections.last(views, batch, 1) == second
        assert usage_corrections.last(views, batch, 0) == other
        assert usage_corrections.last(views, batch, 2) is None
        assert usage_corrections.count_in(views, batch) == 3
        assert usage_corrections.count_in(views, batch + 1) == 0


def test_a_correction_is_history_of_whatever_it_counts_for(book: Book) -> None:
    book.customer()
    book.meter()
    batch = book.usage(used("1"), used("2", by="bo"))
    counted, waiting = book.amend(batch, 0, value="3"), book.amend(batch, 1, value="3")
    voided = book.void(batch, 0)
    for views in book.everywhere():
        for subject in ("cus_1", "met_1"):
            assert history.positions(views, subject, None, limit=9)[1:] == [counted, voided]
        stream = book.log[batch - 1].stream_id
        expected = [batch, counted, waiting, voided]
        assert history.positions(views, stream, None, limit=9) == expected

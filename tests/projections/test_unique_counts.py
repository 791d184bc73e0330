"""Unique counts: how many different users there were in any window, whatever they are called."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from itertools import combinations, pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation
from domain.periods import Period, to_us
from domain.usage import UsageRecord
from projections import meter_summaries
from projections.buckets import Labels
from tests.projections.book import START, Book, question, used
from tests.projections.test_meter_summaries import EDGES, HOUR, MOMENTS, batches

USERS = st.none() | st.sampled_from(["ann", "bob", "cy", "", "1", "1.0", "Ann", "é" * 60])


def record(user: str | None, at: datetime, model: str | None) -> UsageRecord:
    """A call by a user, with or without a model."""
    properties = {"user": user, "model": model}
    return used(None, at, {name: text for name, text in properties.items() if text is not None})


RECORDS = st.lists(
    st.builds(record, USERS, MOMENTS, st.none() | st.sampled_from(["small", "large"])),
    max_size=25,
)

Found = dict[tuple[int, Labels], tuple[int, int]]
"""The different users and the records of each window and group."""


def by_hand(records: Sequence[UsageRecord], edges: Sequence[int], group_by: Sequence[str]) -> Found:
    """The users of each window and group in a set."""
    users: dict[tuple[int, Labels], list[str]] = {}
    for one in records:
        user = one.property("user")
        for window, (start, end) in enumerate(pairwise(edges)):
            if user is not None and start <= one.timestamp_us < end:
                group = tuple(map(one.property, group_by))
                users.setdefault((window, group), []).append(user)
    return {key: (len(set(found)), len(found)) for key, found in users.items()}


@settings(max_examples=30, deadline=None)
@given(
    records=RECORDS,
    cuts=st.lists(st.integers(0, 25), max_size=6),
    early=st.booleans(),
    edges=EDGES,
)
def test_every_user_counts_once_in_every_window(
    records: list[UsageRecord], cuts: list[int], early: bool, edges: list[datetime]
) -> None:
    """Whatever the batches, and whether the meter came before the records or after them."""
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter("met_0", Aggregation.COUNT)
        if early:
            book.meter("met_1", Aggregation.UNIQUE_COUNT, value="user", by=["model"])
        for batch in batches(records, cuts):
            book.usage(*batch)
        if not early:
            book.meter("met_1", Aggregation.UNIQUE_COUNT, value="user", by=["model"])
        for views in book.everywhere():
            groups: list[Sequence[str]] = [(), ("model",)]
            for windows, group_by in product([edges, *combinations(edges, 2)], groups):
                asked = question(views, "met_1", group_by=group_by)
                found = {
                    (windows.index(one.period.start), one.group): (
                        int(one.value or 0),
                        one.state.count,
                    )
                    for one in meter_summaries.summaries(views, asked, windows)
                }
                assert found == by_hand(records, list(map(to_us, windows)), group_by)


def test_a_user_of_two_groups_counts_once_in_both_together(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.UNIQUE_COUNT, value="user", by=["model"])
    book.usage(record("ann", START, "small"), record("ann", START + HOUR, "large"))
    book.usage(record("ann", START, "small"), record("bob", START, "small"))
    day = Period(START, START + 24 * HOUR)
    for views in book.everywhere():
        groups = meter_summaries.summaries(
            views, question(views, "met_1", group_by=["model"]), [day.start, day.end]
        )
        assert [one.value for one in groups] == [1, 2]
        assert meter_summaries.quantity(views, question(views, "met_1"), day).value(day) == 2
        large = question(views, "met_1", only={"model": ("large",)})
        assert meter_summaries.quantity(views, large, day).value(day) == 1


def test_a_value_that_is_sent_again_is_one_row(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.UNIQUE_COUNT)
    for _ in range(3):
        book.usage(used("1"), used("1"), used("2"))
    for views in book.everywhere():
        assert views.rows("SELECT value FROM usage_hour_uniques ORDER BY value") == [("1",), ("2",)]
        asked = question(views, "met_1")
        found = meter_summaries.quantity(views, asked, Period(START, START + HOUR))
        assert found.count == 9

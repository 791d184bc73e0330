"""Fresh usage: how far days stand is nobody's to see, whatever happens meanwhile."""

from contextlib import closing
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.aggregation import Aggregation
from domain.periods import Period
from projections import fresh_usage, meter_summaries, usage_days
from projections.engine import Engine
from projections.fresh_usage import Standing
from projections.tables import Views
from projections.usage_blocks import SHARES
from tests.projections.book import START, Book, question, used

HOUR = timedelta(hours=1)
DAY = Period(START, START + 24 * HOUR)


def opened(book: Book) -> None:
    """Two customers and a meter by model; positions 1 to 3."""
    book.meter(by=["model"])
    book.customer()
    book.customer("cus_2", "bo")


def total(views: Views, customer: str = "al", meter: str = "met_1") -> object:
    """What a customer used on the first day."""
    return meter_summaries.quantity(views, question(views, meter, customer), DAY).value(DAY)


def written(book: Book) -> int:
    """How many rows of days are written."""
    [(count,)] = book.live.database.writing.rows("SELECT COUNT(*) FROM usage_days")
    return int(count)


def standing(book: Book) -> Standing:
    """How far the days stand."""
    found = fresh_usage.standing(book.live.database.writing)
    assert found is not None
    return found


def test_usage_counts_before_any_day_is_written(book: Book) -> None:
    opened(book)
    book.usage(used("1", HOUR, {"model": "small"}), used("2", 2 * HOUR), used("4", by="bo"))
    book.usage(used("8", HOUR))
    assert written(book) == 0
    for views in book.everywhere():
        assert (total(views), total(views, "bo")) == (11, 4)
        hours = [START, START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
        found = meter_summaries.summaries(views, question(views, "met_1"), hours)
        assert [one.value for one in found] == [9, 2]
        small = question(views, "met_1", only={"model": ("small",)})
        assert meter_summaries.quantity(views, small, DAY).value(DAY) == 1


def test_shares_take_turns_when_enough_is_fresh(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_usage, "ENOUGH_RECORDS", 3)
    opened(book)
    both = [used("1"), used("2", by="bo")]
    first = book.usage(*both, *both)
    second = book.usage(*both)  # three of each are enough, and the next transaction sees it
    assert standing(book).positions == [first - 1] * SHARES
    assert written(book) == 0
    third = book.usage(used("4"))  # only one share has its turn
    assert sorted(set(standing(book).positions)) == [first - 1, second]
    assert written(book) == 1
    book.usage(used("8", by="bo"))
    assert standing(book).positions.count(third) == 1
    assert written(book) == 2
    for views in book.everywhere():
        assert (total(views), total(views, "bo")) == (7, 14)


def test_a_share_of_which_far_too_much_is_fresh_does_not_wait(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_usage, "ENOUGH_RECORDS", 2)
    opened(book)
    book.usage(*[used("1"), used("1", by="bo")] * (2 * fresh_usage.TOO_MANY))
    book.usage(used("1"))
    assert written(book) == 2
    for views in book.everywhere():
        assert total(views) == 5


def test_blocks_of_single_records_are_enough_too(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_usage, "ENOUGH_BLOCKS", 4)
    opened(book)
    for _ in range(9):
        book.usage(used("1"))
    [share] = [share for share, count in enumerate(standing(book).blocks) if count]
    assert standing(book).blocks[share] == 1
    for views in book.everywhere():
        assert total(views) == 9


def test_a_fresh_record_that_is_corrected_settles_its_share_alone(book: Book) -> None:
    opened(book)
    position = book.usage(used("1"), used("2"), used("4", by="bo"))
    book.void(position, row=0)
    assert written(book) == 1
    book.amend(position, row=1, value="16")
    for views in book.everywhere():
        assert (total(views), total(views, "bo")) == (16, 4)
    assert written(book) == 1  # what is fresh of the other one stays so


def test_a_meter_that_appears_or_is_revised_finds_what_is_fresh(book: Book) -> None:
    opened(book)
    book.usage(used("1", HOUR), used("2", 5 * HOUR))
    book.meter("met_2", Aggregation.COUNT)
    book.usage(used("4", 6 * HOUR))
    book.revise(3 * HOUR, value="value", by=["model"])
    book.usage(used("8", 7 * HOUR))
    for views in book.everywhere():
        assert (total(views), total(views, meter="met_2")) == (15, 4)


def test_records_that_waited_join_the_fresh_ones(book: Book) -> None:
    book.meter()
    book.customer()
    book.usage(used("1"), used("2", by="bo"))
    book.usage(used("4"))
    book.customer("cus_2", "bo")
    book.usage(used("8", by="bo"))
    for views in book.everywhere():
        assert (total(views), total(views, "bo")) == (5, 10)


def test_nothing_is_fresh_once_views_have_caught_up(book: Book) -> None:
    opened(book)
    first = book.usage(used("1"))
    ahead = book.usage(used("2"))
    live, path = book.live, book.live.path
    live.close()
    book.live = Engine(path)
    with book.live.database.transaction() as views:
        views.set_meta("position", first)  # as if the last batch had not been folded
        views.execute("DELETE FROM usage_blocks WHERE position=?", (ahead,))
        views.execute("DELETE FROM history WHERE position=?", (ahead,))
    book.live.catch_up(lambda after: book.log[after:])
    assert standing(book) == Standing.at(ahead)
    for views in book.everywhere():
        assert total(views) == 3


def test_what_was_undone_is_not_fresh(book: Book) -> None:
    opened(book)
    book.usage(used("1"))
    lost = replace(book.log[-1], position=book.log[-1].position + 1)
    book.live.database.begin()
    book.live.apply([lost])
    book.live.database.rollback()
    book.live.forget()
    book.usage(used("4"))
    for views in book.everywhere():
        assert total(views) == 5


def test_a_day_beyond_64_bits_is_as_exact_when_it_is_written(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_usage, "ENOUGH_BLOCKS", 1)
    large = "999999999999999999.999999999999"
    opened(book)
    for _ in range(3):
        book.usage(used(large), used("1", HOUR), used(large, by="bo"))
    book.usage(used("1", HOUR, by="bo"))
    for views in book.everywhere():
        assert Fraction(str(total(views))) == 3 * Fraction(large) + 3
        found = usage_days.between(views, 1, 2, 0, 2**20)
        assert [units for *_, units in found] == [3 * 10**30 - 3, 3 * 10**12]


def test_days_of_customers_of_one_group_share_a_row(tmp_path: Path) -> None:
    with closing(Book(tmp_path)) as book:
        opened(book)
        views = book.live.database.writing
        near, far = 5, 5 + usage_days.GROUPS
        days = usage_days.Days()
        with book.live.database.transaction():
            days.add(views, 1, [0, 1, 0], [far, near, near], [0, 0, 1], [7, 8, 9])
            days.write(views)
            days.add(views, 1, [0, 1], [far, near], [0, 0], [1, 8], -1)
            days.write(views)
        assert written(book) == 1
        assert list(usage_days.between(views, 1, near, 0, 23)) == [(0, 1, 1, 9)]
        assert list(usage_days.days_between(views, 1, far, 0, 1)) == []
        with book.live.database.transaction():
            days.add(views, 1, [0], [near], [1], [9], -1)
            days.write(views)
        assert written(book) == 0

"""Held usage: what a writer remembers of its own batches is what stands in their blocks."""

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.aggregation import Aggregation
from projections import fresh_usage, held_usage, usage_blocks
from projections.engine import Engine
from projections.tables import Row, Views
from tests.projections.book import Book, used
from tests.projections.test_fresh_usage import HOUR, opened, total, written


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shares that were read from their blocks, for their turn; two records are enough."""
    monkeypatch.setattr(fresh_usage, "ENOUGH_RECORDS", 2)
    shares: list[int] = []
    of_share = usage_blocks.of_share

    def noted(views: Views, share: int, after: int) -> dict[int, list[Row]]:
        shares.append(share)
        return of_share(views, share, after)

    monkeypatch.setattr(usage_blocks, "of_share", noted)
    return shares


def undone(book: Book, *values: str) -> None:
    """A batch that is folded and then not kept."""
    book.usage(*map(used, values))
    lost = book.log.pop()
    book.log.append(lost)
    views = book.live.database
    views.begin()
    book.live.apply([replace(lost, position=lost.position + 1)])
    views.rollback()
    book.live.forget()


def test_who_has_written_it_need_not_read_it(book: Book, read: list[int]) -> None:
    opened(book)
    for _ in range(5):
        book.usage(used("1"), used("2", HOUR, {"model": "small"}), used("4", by="bo"))
    assert written(book) == 2
    assert read == []
    for views in book.everywhere():
        assert (total(views), total(views, "bo")) == (15, 20)


def test_what_was_undone_is_not_held(book: Book, read: list[int]) -> None:
    opened(book)
    undone(book, "1")
    book.usage(used("4"))
    book.usage(used("8"))
    assert written(book) == 1
    assert read == []
    for views in book.everywhere():
        assert total(views) == 13


def test_a_turn_that_was_undone_is_taken_again_from_memory(book: Book, read: list[int]) -> None:
    opened(book)
    book.usage(used("1"), used("2"))
    book.live.database.begin()
    book.live.apply([replace(book.log[-1], position=book.log[-1].position + 1)])
    assert written(book) == 1
    book.live.database.rollback()
    book.live.forget()
    assert written(book) == 0
    book.usage(used("4"))
    assert written(book) == 1
    assert read == []
    for views in book.everywhere():
        assert total(views) == 7


def test_what_others_wrote_is_read(book: Book, read: list[int]) -> None:
    opened(book)
    book.usage(used("1"))
    mine = book.live
    book.live = Engine(mine.path)
    book.usage(used("2"))
    book.live.close()
    book.live = mine
    mine.forget(usage_only=True)
    book.usage(used("4"))
    assert written(book) == 1
    assert len(read) == 1
    for views in book.everywhere():
        assert total(views) == 7


def test_what_was_written_in_its_own_transaction_is_not_held(book: Book, read: list[int]) -> None:
    opened(book)
    with book.together():
        position = book.usage(used("1"), used("2"))
        book.void(position)
        book.usage(used("4"))
    book.usage(used("8"))
    assert len(read) == 1
    book.usage(used("16"))
    assert len(read) == 1
    for views in book.everywhere():
        assert total(views) == 30


def test_a_transaction_that_brings_nothing_takes_no_turn(book: Book) -> None:
    opened(book)
    book.usage(*map(used, ["1"] * fresh_usage.ENOUGH_RECORDS))
    with book.live.database.transaction():
        book.live.apply([])
    assert written(book) == 0
    book.usage(used("1"))
    assert written(book) == 1
    for views in book.everywhere():
        assert total(views) == fresh_usage.ENOUGH_RECORDS + 1


def test_who_only_looks_takes_no_turn(book: Book, read: list[int]) -> None:
    opened(book)
    book.usage(used("1"))
    with closing(Engine(book.live.path)) as other:  # which the first one never hears of
        other.follow(lambda: len(book.log), lambda after: book.log[after:], lambda _: b"")
    assert written(book) == 0
    book.usage(used("2"))
    book.usage(used("4"))
    assert written(book) == 1
    assert read == []
    for views in book.everywhere():
        assert total(views) == 7


def test_too_much_to_hold_is_read(
    book: Book, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_usage, "MOST", 1)
    opened(book)
    book.usage(used("1"), used("2", HOUR))
    book.usage(used("4"))
    assert written(book) == 1
    assert len(read) == 1
    for views in book.everywhere():
        assert total(views) == 7


STEPS = "use use use undo void group other none look open meter bo".split()
steps = st.lists(st.sampled_from(STEPS), max_size=14)


@settings(max_examples=25)
@given(steps)
def test_whatever_happens_days_come_to_what_the_log_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_usage, "ENOUGH_RECORDS", 2)
        book = Book(tmp_path_factory.mktemp("held"))
        try:
            opened(book)
            for number, step in enumerate(steps):
                _take(book, step, number)
            for views in book.everywhere():
                known = [one.event for one in book.log]
                assert len(known) == views.checkpoint()
        finally:
            book.close()


def _take(book: Book, step: str, number: int) -> None:
    value = str(2**number)
    match step:
        case "use":
            book.usage(used(value), used(value, HOUR, {"model": "small"}))
        case "bo":
            book.usage(used(value, by="bo"), used(value, by="bo"))
        case "undo":
            undone(book, value)
        case "void":
            book.void(book.usage(used(value), used("1")), row=1)
        case "look":
            with closing(Engine(book.live.path)) as other:
                other.catch_up(lambda after: book.log[after:])
        case "none":
            with book.live.database.transaction():
                book.live.apply([])
        case "group":
            with book.together():
                book.void(book.usage(used(value), used("1")), row=1)
                book.usage(used(value), used(value))
        case "meter":
            book.meter(f"met_{number + 2}", Aggregation.COUNT)
        case _:
            mine = book.live
            book.live = Engine(mine.path)
            book.usage(used(value))
            if step == "other":
                book.live.close()
                book.live = mine
                mine.forget(usage_only=True)
            else:
                mine.close()

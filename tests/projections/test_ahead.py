"""Usage folded ahead of its turn: the views are those of folding everything in order."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation
from domain.decider import Recorded
from domain.usage import UsageRecorded
from projections import ahead, usage_days, usage_records
from projections.ahead import Part, Run
from projections.engine import Engine
from projections.tables import ViewsDatabase
from tests.projections.book import Book, used

HOUR = timedelta(hours=1)


class Eager:
    """Folds every part as soon as it is handed over, and counts those that could be."""

    def __init__(self, database: ViewsDatabase, log: list[Recorded], parts: list[Part]) -> None:
        self.most = 3
        self.folded = 0
        self._database = database
        self._log = log
        self._parts = parts

    def parts(self, after: int) -> Iterable[Part]:
        """The parts of the log, from its beginning."""
        assert after == 0
        return self._parts

    def submit(self, part: Part) -> "Future[Run | None]":
        """Fold it against the views as they are now, which may not be those of its turn."""
        with self._database.snapshot() as views:
            run = ahead.fold(views, self._log[part.after : part.until])
        self.folded += run is not None
        future: Future[Run | None] = Future()
        future.set_result(run)
        return future


def parted(log: list[Recorded], most: int, careful: bool) -> Iterator[Part]:
    """The log in parts of at most so many facts, either usage or other ones.

    Whoever is careful does not look beyond those.
    """
    start = 0
    for end in range(1, len(log) + 1):
        kinds = [isinstance(one.event, UsageRecorded) for one in log[start : end + 1]]
        if end == len(log) or len(set(kinds)) > 1 or end - start == most:
            yield Part(start, end, kinds[0], turns=careful and not kinds[0])
            start = end


def same(folder: Path, book: Book, most: int, *, careful: bool) -> int:
    """Fold the log of a book ahead, and compare; how many parts were folded ahead."""
    with closing(Engine(folder / "ahead.db")) as engine:
        others = Eager(engine.database, book.log, list(parted(book.log, most, careful)))
        engine.catch_up_with(others, lambda after, until: book.log[after:until])
        assert list(engine.database.dump()) == list(book.live.database.dump())
    return others.folded


def test_batches_are_folded_ahead_with_numbers_of_their_own(book: Book, tmp_path: Path) -> None:
    book.meter(by=["model"])
    book.meter("met_2", Aggregation.UNIQUE_COUNT, value="user", by=["model"])
    book.customer()
    for hour in range(6):
        model = {"model": "abc"[hour % 3], "user": "xyz"[hour // 2]}
        book.usage(used("1", HOUR * hour, model), used("2", HOUR * 5 * hour, model))
    assert same(tmp_path, book, 1, careful=True) == 6


def test_what_waits_or_needs_what_stands_is_folded_in_its_turn(book: Book, tmp_path: Path) -> None:
    book.meter()
    book.usage(used("1"))  # nobody knows its customer yet
    book.customer()
    book.usage(used("2"))
    book.meter("met_2", Aggregation.MAX)
    book.usage(used("3"))  # a maximum is merged with the one that stands
    assert same(tmp_path, book, 1, careful=True) == 1


def test_what_was_folded_before_a_meter_came_is_folded_again(book: Book, tmp_path: Path) -> None:
    book.meter()
    book.customer()
    book.usage(used("1"))
    book.meter("met_2", by=["model"])
    book.usage(used("2"))  # folded ahead when there was one meter
    assert same(tmp_path, book, 1, careful=False) == 1


def test_more_days_than_are_handed_over_at_once_are_folded_in_their_turn(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.meter()
    book.customer()
    book.usage(used("1"), used("2", HOUR * 30), used("3", HOUR * 60))
    book.usage(used("4"), used("5", HOUR * 31))
    monkeypatch.setattr(usage_days, "OPEN", 2)
    assert same(tmp_path, book, 1, careful=True) == 1


def test_a_run_says_of_every_customer_whom_it_was_taken_for(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_records, "CUSTOMERS_REMEMBERED", 1)
    book.meter()
    book.customer()
    book.customer("cus_2", "bo")
    book.customer("cus_3", "cy")
    for name in ("al", "bo", "cy"):
        book.usage(used("1", by=name))
    with book.live.database.snapshot() as views:
        run = ahead.fold(views, book.log[-3:])
    assert run is not None
    assert list(run.customers) == ["al", "bo", "cy"]


STEPS = st.one_of(
    st.tuples(
        st.just("usage"),
        st.lists(
            st.tuples(
                st.sampled_from(["1", "2.5", "-3", None]),
                st.integers(0, 60),
                st.sampled_from(["a", "b", None]),
                st.sampled_from(["al", "bo", "cy"]),
            ),
            min_size=1,
            max_size=4,
        ),
    ),
    st.tuples(st.just("customer"), st.sampled_from(["al", "bo", "cy"])),
    st.tuples(st.just("meter"), st.sampled_from(list(Aggregation))),
    st.tuples(st.just("revise"), st.integers(1, 60)),
    st.tuples(st.just("void"), st.integers(0, 100)),
)


def happen(book: Book, steps: list[tuple[str, object]]) -> None:
    """Let the steps happen that can."""
    batches: list[int] = []
    for number, (what, detail) in enumerate(steps):
        match what, detail:
            case "usage", list(several):
                records = [
                    used(value, HOUR * hours, {"model": model} if model else None, by=by)
                    for value, hours, model, by in several
                ]
                batches.append(book.usage(*records))
            case "customer", str(name):
                book.customer(f"cus_{number}", name)
            case "meter", Aggregation() as aggregation:
                book.meter(f"met_{number}", aggregation, by=["model"])
            case "revise", int(hours):
                book.revise(HOUR * hours, by=["model"])
            case "void", int(chosen) if batches:
                book.void(batches.pop(chosen % len(batches)))


@settings(max_examples=30)
@given(st.lists(STEPS, max_size=14), st.integers(1, 3), st.booleans())
def test_whatever_happens_the_views_are_those_of_folding_in_order(
    steps: list[tuple[str, object]], most: int, careful: bool
) -> None:
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.meter(by=["model"])
        book.customer()
        happen(book, steps)
        same(Path(folder), book, most, careful=careful)

"""The same facts make the same views in a file and in PostgreSQL: equal dumps, byte for byte."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from app.ledger import Ledger
from domain.aggregation import Aggregation
from domain.decider import Recorded
from projections import engine, views_at
from projections.engine import Engine
from projections.places import Place
from projections.tables import Views
from tests.histories import touched
from tests.histories.steps import case
from tests.histories.telling import tell
from tests.postgres import Server, numbers, running
from tests.projections.book import Book, used

CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = numbers()


@pytest.fixture
def place(postgres: Server) -> Place:
    """A schema that nobody has used."""
    return Place.of(postgres.address(f"views_{next(_numbers)}"))


@pytest.fixture
def views(place: Place) -> Iterator[Engine]:
    """Views in PostgreSQL in which nothing has happened."""
    with closing(Engine(place)) as opened:
        yield opened


def step_by_step(views: Engine, log: list[Recorded]) -> None:
    """Fold each fact in a transaction of its own, as it happened."""
    for one in log:
        with views.database.transaction():
            views.apply([one])


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_random_history_makes_the_same_views(
    seed: int, views: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def compare(ledger: Ledger, _: int) -> None:
        views.catch_up(ledger.store.read)
        live = list(ledger.engine.database.dump())
        assert list(views.database.dump()) == live
        views.start_over()
        step_by_step(views, list(ledger.store.read()))
        assert list(views.database.dump()) == live
        compared.append(ledger.store.head()[0])

    monkeypatch.setattr(touched, "check", compare)
    tell(case(seed))
    assert len(compared) == 1


@pytest.fixture
def told(views: Engine, tmp_path: Path) -> list[Recorded]:
    """A log that is folded into the views."""
    with closing(Book(tmp_path)) as book:
        book.meter(by=["model"])
        book.meter("met_2", Aggregation.UNIQUE_COUNT)
        book.customer()
        book.usage(used("1"), used("2.5", properties={"model": "small"}), used("3", by="bo"))
        book.amend(4, value="7")
        book.void(4, 1)
        step_by_step(views, book.log)
        assert list(views.database.dump()) == list(book.live.database.dump())
        return book.log


def deleted_and_failed(views: Views) -> None:
    """Something is changed, then something goes wrong."""
    views.execute("DELETE FROM history")
    views.execute("SELECT nothing FROM nowhere")


def test_a_part_is_undone_by_itself(views: Engine, told: list[Recorded]) -> None:
    before = list(views.database.dump())
    with views.database.transaction() as writing:
        writing.set_meta("kept", 1)
        with pytest.raises(psycopg.Error), views.database.savepoint():
            deleted_and_failed(writing)
        assert writing.meta("kept") == 1
    assert list(views.database.dump()) == before
    assert views.database.writing.meta("kept") == 1


def test_what_is_undone_was_never_there(views: Engine, told: list[Recorded]) -> None:
    before = list(views.database.dump())
    with pytest.raises(psycopg.Error), views.database.transaction() as writing:
        deleted_and_failed(writing)
    assert list(views.database.dump()) == before


def test_a_snapshot_is_of_one_moment_and_cannot_write(views: Engine, told: list[Recorded]) -> None:
    with views.database.snapshot() as before:
        found = before.rows("SELECT * FROM history ORDER BY subject, position")
        with views.database.transaction() as writing:
            writing.execute("DELETE FROM history")
        assert before.rows("SELECT * FROM history ORDER BY subject, position") == found
        assert list(before.scan("SELECT * FROM history ORDER BY subject, position")) == found
        with views.database.snapshot() as after:
            assert after.rows("SELECT * FROM history") == []
        with pytest.raises(psycopg.Error, match="read-only"):
            before.execute("DELETE FROM objects")


def test_a_long_scan_turns_its_pages_and_may_be_left(views: Engine) -> None:
    rows = [("s", position, "t") for position in range(2_500)]
    with views.database.transaction() as writing:
        writing.insert("history", rows)
    with views.database.snapshot() as found:
        sql = "SELECT * FROM history WHERE position>=? ORDER BY position"
        assert next(found.scan(sql, (7,))) == ("s", 7, "t")
        assert list(found.scan(sql, (0,))) == rows


def test_rebuilt_views_take_the_place_of_those_that_nobody_reads(
    views: Engine, told: list[Recorded]
) -> None:
    place, live = views.path, list(views.database.dump())
    assert isinstance(place, Place)
    aside = engine.rebuild(place, lambda after: told[after:])
    with views.database.transaction() as writing:
        writing.execute("DELETE FROM history")
    with views.database.snapshot() as reading:
        with pytest.raises(BlockingIOError, match="is being read"):
            engine.swap(aside, place)
        assert reading.rows("SELECT * FROM history") == []
    engine.swap(aside, place)
    assert list(views.database.dump()) == live
    with closing(Engine(place)) as again:
        assert list(again.database.dump()) == live
    assert views_at.stamp_of(aside) is None


def test_an_engine_goes_on_with_views_that_were_rebuilt(
    views: Engine, told: list[Recorded]
) -> None:
    place, live = views.path, list(views.database.dump())
    assert isinstance(place, Place)
    aside = engine.rebuild(place, lambda after: told[after:4])
    views.take_over(aside, lambda after: told[after:], lambda _: b"hash")
    assert list(views.database.dump()) == live
    assert views.database.writing.meta("sealed_hash") == b"hash"


def test_views_of_another_version_are_made_anew(place: Place, told: list[Recorded]) -> None:
    other = place.beside("other")
    with closing(Engine(other)) as views:
        step_by_step(views, told)
        views.database.writing.set_meta("stamp", "another")
    with pytest.raises(ValueError, match="of another version"):
        engine.of_same_version(other)
    with closing(Engine(other)) as views:
        assert views.database.writing.checkpoint() == 0
        step_by_step(views, told)
    engine.of_same_version(other).close()


def test_tables_of_somebody_else_are_left_alone(place: Place, postgres: Server) -> None:
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{place.schema}"'.encode())
        connection.execute(f'CREATE TABLE "{place.schema}".theirs (a int)'.encode())
        with pytest.raises(ValueError, match="holds other tables than views of a ledger"):
            Engine(place)
        connection.execute(f'SELECT * FROM "{place.schema}".theirs'.encode())


def test_views_outlive_a_restart_of_their_server(tmp_path: Path) -> None:
    with running() as server:
        place = Place.of(server.address("restarted"))
        with closing(Book(tmp_path)) as book, closing(Engine(place)) as views:
            book.meter()
            step_by_step(views, book.log)
            with views.database.snapshot() as reading:
                assert reading.checkpoint() == 1
            views.database.begin()
            server.stop()
            server.start()
            with pytest.raises(psycopg.Error):
                views.database.writing.set_meta("position", 7)
            with pytest.raises(psycopg.Error):  # it does not go on outside its transaction
                views.database.writing.set_meta("position", 7)
            views.database.rollback()
            views.forget()
            book.customer()
            views.catch_up(lambda after: book.log[after:])
            assert list(views.database.dump()) == list(book.live.database.dump())

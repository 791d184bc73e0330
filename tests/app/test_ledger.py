"""A ledger: opened, caught up after any crash, and held by one process."""

import logging
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app import ledger as ledgers
from app.clock import SystemClock
from app.ledger import Ledger, WrongClock
from app.lock import LedgerInUse
from app.opening import VIEWS
from app.store import Pending, Store
from domain.decider import Envelope
from domain.ledgers import LedgerOpened
from domain.periods import to_us
from domain.products import CreateProduct, Product, ProductCreated
from domain.usage import RecordInput
from projections import current, engine
from tests import marks
from tests.conftest import CLOCK
from tests.scenarios.story import Story

STORY = """
2026-01-01 meter alpaca-tokens: sum of tokens by model
2026-01-01 product "Alpaca.ai"
2026-01-01 price usage: graduated USD, per month, on alpaca-tokens, 0 up to 1000, then 0.04
2026-01-01 use 7 tokens by stranger
2026-01-01 customer alpaca-lover
2026-01-01 subscribe alpaca-lover to usage
2026-01-10 use 3000 tokens by alpaca-lover, model=small
"""
MORE = "2026-01-20 use 500 tokens by alpaca-lover, model=large"


def dump(ledger: Ledger) -> list[str]:
    """Everything in the views."""
    return list(ledger.engine.database.dump())


def rebuilt(ledger: Ledger) -> list[str]:
    """Everything that the views should hold, from nothing but the log."""
    aside = engine.rebuild(ledger.directory / "check.db", ledger.store.read)
    with closing(engine.Engine(aside)) as folded:
        return list(folded.database.dump())


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The folder of a ledger that was closed after its story; a copy of its views lies beside."""
    folder = tmp_path / "told"
    with Ledger(folder, test_clock_at=CLOCK) as ledger:
        story = Story(ledger)
        story.tell(STORY)
    shutil.copy(folder / VIEWS, tmp_path / "older.db")
    with Ledger(folder) as ledger:
        story.ledger = ledger
        story.tell(MORE)
    return folder


# -------------------------------------------------------------------------------------- opening


def test_the_first_event_opens_the_ledger(ledger: Ledger) -> None:
    [opened] = ledger.store.read()
    assert opened.position == 1
    assert opened.event == LedgerOpened(
        id=opened.stream_id, name="main", test_clock_at=CLOCK, opened_at=CLOCK
    )
    assert ledger.state.id == opened.stream_id


def test_a_ledger_keeps_its_name_and_its_clock(tmp_path: Path) -> None:
    with Ledger(tmp_path, name="what if", test_clock_at=CLOCK) as ledger:
        before = ledger.state
    with Ledger(tmp_path) as ledger:
        assert ledger.state == before
        assert (ledger.clock.is_test, ledger.clock.now()) == (True, CLOCK)
        assert ledger.store.head()[0] == 1


def test_a_ledger_of_the_systems_clock_takes_no_test_clock(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert isinstance(ledger.clock, SystemClock)
    with pytest.raises(WrongClock, match="was begun with the system's clock"):
        Ledger(tmp_path, test_clock_at=datetime(2026, 1, 1, tzinfo=UTC))
    with Ledger(tmp_path):
        pass  # refusing it let go of the ledger


@marks.HELD
def test_a_second_one_is_refused_and_harms_nothing(alpaca: Ledger) -> None:
    with pytest.raises(LedgerInUse, match=f"{alpaca.place or alpaca.directory} is in use"):
        Ledger(alpaca.directory)
    assert alpaca.execute_now(CreateProduct(name="still here")).position > 1


def test_ledgers_know_nothing_of_each_other(tmp_path: Path) -> None:
    record = RecordInput(id="r1", event_name="tokens", customer="al", value="1")
    with Ledger(tmp_path / "a") as one, Ledger(tmp_path / "b") as other:
        assert one.state.id != other.state.id
        assert [ledger.record_now([record])[0].status for ledger in (one, other)] == [
            "UNMATCHED",
            "UNMATCHED",
        ]


# ------------------------------------------------------------------------------- read your writes


def test_a_snapshot_stays_as_it_was(alpaca: Ledger) -> None:
    with alpaca.snapshot() as before:
        moment = before.checkpoint()
        done = alpaca.execute_now(CreateProduct(name="new"))
        assert current.get(before, Product, done.subject) is None
        with alpaca.snapshot() as after:
            assert current.get(after, Product, done.subject) is not None
            assert after.checkpoint() == done.position == moment + 1
        assert before.checkpoint() == moment


# ------------------------------------------------------------------------------ after any crash


@marks.VIEWS
def test_lost_views_are_made_again(told: Path) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
    (told / VIEWS).unlink()
    with Ledger(told) as ledger:
        assert dump(ledger) == live == rebuilt(ledger)


@marks.VIEWS
def test_whoever_waits_for_many_events_to_be_folded_is_told(
    told: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tallybook.ledger"):
        engine.remove(told / VIEWS)
        with Ledger(told) as ledger:
            head = ledger.store.head()[0]
        assert caplog.messages == []  # so few are folded at once
        monkeypatch.setattr(ledgers, "WORTH_TELLING", 10)
        engine.remove(told / VIEWS)
        with Ledger(told):
            pass
    assert caplog.messages == [f"folding the ledger into views: {head} of {head} events"]


@marks.VIEWS
def test_views_that_fell_behind_catch_up(told: Path) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
    shutil.copy(told.parent / "older.db", told / VIEWS)
    with Ledger(told) as ledger:
        assert dump(ledger) == live == rebuilt(ledger)


@marks.VIEWS
def test_a_crash_between_the_ledger_and_the_views(told: Path) -> None:
    acknowledged = ProductCreated(
        id="prod_1", name="On disk", description=None, unit_label=None, created_at=CLOCK
    )
    with closing(Store(told)) as store:  # the ledger's commit, and then no views
        [position] = store.append([Pending("prod_1", 1, Envelope(to_us(CLOCK)), acknowledged)])
    with Ledger(told) as ledger, ledger.snapshot() as views:
        assert views.checkpoint() == position
        assert current.get(views, Product, "prod_1") is not None
        assert dump(ledger) == rebuilt(ledger)


@marks.VIEWS
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE meta SET value='another version' WHERE name='stamp'",
        "DELETE FROM meta WHERE name='stamp'",
        "DROP TABLE meta",
        "UPDATE meta SET value=1000 WHERE name='position'",
    ],
    ids=["another version", "no version", "not views", "ahead of the ledger"],
)
def test_views_that_cannot_be_trusted_are_thrown_away(told: Path, damage: str) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
    with closing(sqlite3.connect(told / VIEWS)) as connection, connection:
        connection.execute("DELETE FROM objects WHERE kind='product'")
        connection.execute(damage)
    with Ledger(told) as ledger:
        assert dump(ledger) == live


@marks.VIEWS
def test_a_file_that_is_no_database_is_thrown_away(told: Path) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
    (told / VIEWS).write_bytes(b"these are no views" * 1000)
    with Ledger(told) as ledger:
        assert dump(ledger) == live


@marks.VIEWS
def test_the_views_of_another_ledger_are_thrown_away(told: Path, tmp_path: Path) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
    with Ledger(tmp_path / "other") as other:
        foreign = other.execute_now(CreateProduct(name="Foreign"))
    shutil.copy(tmp_path / "other" / VIEWS, told / VIEWS)
    with Ledger(told) as ledger, ledger.snapshot() as views:
        assert current.get(views, Product, foreign.subject) is None
        assert dump(ledger) == live


@marks.VIEWS
def test_a_rebuild_aside_takes_the_place_of_the_views(told: Path) -> None:
    with Ledger(told) as ledger:
        live = dump(ledger)
        seen: list[int] = []
        aside = engine.rebuild(told / VIEWS, ledger.store.read, seen.append)
        assert seen == [ledger.store.head()[0]]
        assert dump(ledger) == live
    engine.swap(aside, told / VIEWS)
    assert not aside.exists()
    with Ledger(told) as ledger:
        assert dump(ledger) == live

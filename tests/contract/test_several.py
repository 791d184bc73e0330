"""Several processes write one ledger in PostgreSQL: it stays one ledger, whoever writes."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import sleep

import psycopg
import pytest

from app import verification
from app.commands import Command
from app.delivery_marks import marks_of
from app.jobs import Busy
from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import replaying
from app.postgres_following import Follower
from app.postgres_store import PostgresStore
from app.postgres_turns import Superseded
from app.replay import replay
from app.store import Pending
from app.worker import Worker
from domain.customers import CreateCustomer
from domain.decider import Code, Envelope, Rejected
from domain.periods import to_us
from domain.products import CreateProduct
from domain.usage import Status
from projections import engine, fresh_usage, postgres
from projections.places import Place, Unreachable
from tests.app.billed import PRICES, dump, invoices
from tests.app.test_worker import subscription
from tests.app.test_writer import PATIENCE_SECONDS, statuses, tokens
from tests.postgres import Server, numbers
from tests.scenarios.story import Story
from tests.test_scenarios import CLOCK

_numbers = numbers()


@pytest.fixture
def place(postgres: Server) -> Place:
    """Where a ledger will be."""
    return Place.of(postgres.address(f"several_{next(_numbers)}"))


@pytest.fixture
def two(place: Place, tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """The same ledger twice, as two processes have it."""
    with (
        Ledger(tmp_path / "one", place=place, test_clock_at=CLOCK) as one,
        Ledger(tmp_path / "other", place=place) as other,
    ):
        yield one, other
        assert verification.verify_open(one).findings == ()
        assert dump(one) == list(other.engine.database.dump())


def test_each_decides_by_what_the_other_wrote(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    assert statuses(one.record_now([tokens("a")])) == [Status.UNMATCHED]
    assert statuses(other.record_now([tokens("b")])) == [Status.UNMATCHED]
    Story(other).tell("2026-01-01 meter alpaca-tokens: sum of tokens")
    assert statuses(one.record_now([tokens("c")])) == [Status.UNMATCHED]
    Story(one).tell("2026-01-01 customer alpaca-lover")
    for number in range(6):  # to the same hour of the same customer, in turns
        ledger = two[number % 2]
        sent = [tokens(f"d{number}"), tokens("a"), tokens(f"d{max(number - 1, 0)}", "2")]
        conflict = Status.CONFLICT
        assert statuses(ledger.record_now(sent)) == [Status.ACCEPTED, Status.DUPLICATE, conflict]
    positions = [recorded.position for recorded in one.store.read()]
    assert positions == [*range(1, one.store.head()[0] + 1)]


def test_what_was_taken_is_told_however_often_it_comes(two: tuple[Ledger, Ledger]) -> None:
    """Statements are prepared while a turn goes on; of one that is undone nothing is left."""
    one, _ = two
    Story(one).tell(
        "2026-01-01 meter alpaca-tokens: sum of tokens\n2026-01-01 customer alpaca-lover"
    )
    before = one.store.head()[0]
    for number in range(12):
        assert statuses(one.record_now([tokens(f"new-{number}")])) == [Status.ACCEPTED]
        sent = [tokens(f"also-new-{number}"), tokens(f"new-{number}")]
        assert statuses(one.record_now(sent)) == [Status.ACCEPTED, Status.DUPLICATE]
    assert one.store.head()[0] == before + 24


def test_who_only_opens_a_ledger_changes_nothing(
    two: tuple[Ledger, Ledger], place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_usage, "ENOUGH_RECORDS", 2)
    one, _ = two
    Story(one).tell("""
2026-01-01 meter alpaca-tokens: sum of tokens
2026-01-01 customer alpaca-lover
""")
    one.record_now([tokens("a")])
    with Ledger(tmp_path / "third", place=place, test_clock_at=CLOCK):
        pass  # nobody hears of it
    for id in ("b", "c", "d"):
        one.record_now([tokens(id)])
    assert verification.verify_open(one).findings == ()


def product(name: str) -> Command:
    """A product to be made."""
    return CreateProduct(name=name)


def test_a_key_is_used_once_whoever_is_asked(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    done = one.execute_now(product("Alpaca"), "once")
    assert other.execute_now(product("Alpaca"), "once") == done
    with pytest.raises(Rejected) as refused:
        other.execute_now(product("Llama"), "once")
    assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED


def test_what_must_be_unique_is_so_for_both(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    command = CreateCustomer(name="Al", external_id="al")
    one.execute_now(command)
    with pytest.raises(Rejected) as refused:
        other.execute_now(command)
    assert refused.value.code is Code.ALREADY_EXISTS


def test_no_fact_is_recorded_before_an_earlier_one(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    Story(one).tell("2026-03-01 customer alpaca-lover")
    other.execute_now(product("Alpaca"))
    assert other.clock.now() == one.clock.now()
    times = [recorded.envelope.recorded_at_us for recorded in one.store.read()]
    assert times == sorted(times)


def test_views_that_were_lost_behind_the_log_are_folded_by_whoever_writes(
    two: tuple[Ledger, Ledger],
) -> None:
    one, other = two
    one.record_now([tokens("a")])
    one.engine.start_over()
    assert statuses(other.record_now([tokens("a"), tokens("b")])) == [
        Status.DUPLICATE,
        Status.UNMATCHED,
    ]


def test_whoever_keeps_the_ledger_for_too_long_keeps_nobody_waiting_for_ever(
    two: tuple[Ledger, Ledger], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    with psycopg.connect(place.url) as connection:
        connection.execute(f"SELECT pg_advisory_lock({postgres.lock_of(place.turn)})".encode())
        with pytest.raises(Busy, match="another process has kept the schema"):
            two[0].record_now([tokens("a")])
    assert statuses(two[0].record_now([tokens("a")])) == [Status.UNMATCHED]


def test_whoever_stands_still_in_their_turn_is_cut_off(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_IDLE_SECONDS", 1)
    with Ledger(tmp_path, place=place) as one, Ledger(tmp_path, place=place) as other:
        database = one.engine.database
        database.begin()
        database.writing.set_meta("position", 7)
        assert statuses(other.record_now([tokens("a")])) == [Status.UNMATCHED]
        with pytest.raises(psycopg.Error, match="idle-in-transaction"):
            database.writing.set_meta("position", 7)
        database.rollback()
        assert statuses(one.record_now([tokens("a"), tokens("b")])) == [
            Status.DUPLICATE,
            Status.UNMATCHED,
        ]
        dump(one)


def test_an_older_version_neither_writes_to_newer_views_nor_reads_them(
    two: tuple[Ledger, Ledger], place: Place
) -> None:
    one, other = two
    other.engine.database.writing.set_meta("stamp", "another")
    with pytest.raises(Superseded, match="made by another version"):
        one.record_now([tokens("a")])
    with pytest.raises(Unreachable, match="of another version"), one.snapshot():
        pass
    schema = place.beside("views").schema
    with psycopg.connect(place.url) as connection:
        connection.execute(f"ALTER SCHEMA {schema} RENAME TO {schema}_aside".encode())
        connection.commit()
        with pytest.raises(Unreachable, match="of another version"), one.snapshot():
            pass
        connection.execute(f"ALTER SCHEMA {schema}_aside RENAME TO {schema}".encode())
    other.engine.database.writing.set_meta("stamp", engine.stamp())
    assert statuses(other.record_now([tokens("a")])) == [Status.UNMATCHED]


def test_views_are_rebuilt_while_others_write(two: tuple[Ledger, Ledger], place: Place) -> None:
    one, other = two
    one.record_now([tokens("a")])
    with one.engine.database.transaction() as views:
        views.execute("DELETE FROM history")  # they are wrong, and a replay mends them
    with (
        ThreadPoolExecutor() as pool,
        other.snapshot() as reading,
    ):
        before = reading.checkpoint()
        rebuilt = pool.submit(replay, one.directory, place=place)
        answers = [one.record_now([tokens(f"b{number}")]) for number in range(10)]
        assert reading.checkpoint() == before
    assert rebuilt.result(PATIENCE_SECONDS).events >= before
    answers += [other.record_now([tokens(f"c{number}")]) for number in range(3)]
    assert [*map(statuses, answers)] == [[Status.UNMATCHED]] * 13


def test_one_replay_at_a_time(two: tuple[Ledger, Ledger], place: Place) -> None:
    with replaying(place), pytest.raises(LedgerInUse, match="is being replayed already"):
        replay(two[0].directory, place=place)


def patiently(holds: Callable[[], bool]) -> None:
    """Wait until something holds that another thread brings about."""
    for _ in range(PATIENCE_SECONDS * 100):
        if holds():
            return
        sleep(0.01)
    raise AssertionError("it never came to hold")


def duties(*ledgers: Ledger) -> list[bool]:
    """Which of them have the duty."""
    return [isinstance(ledger.follower, Follower) and ledger.follower.on_duty for ledger in ledgers]


def test_each_hears_of_what_the_other_wrote(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    of_all, of_commands = Event(), Event()
    with (
        other.writer.listening(of_all.set, usage=True),
        other.writer.listening(of_commands.set),
    ):
        patiently(lambda: sum(duties(one, other)) == 1)  # so both are there
        patiently(of_all.is_set)  # each looks once by itself
        of_all.clear()
        of_commands.clear()
        one.record_now([tokens("a")])
        assert of_all.wait(PATIENCE_SECONDS)
        assert not of_commands.is_set()
        one.execute_now(product("Alpaca"))
        assert of_commands.wait(PATIENCE_SECONDS)
    one.advance_now(CLOCK + timedelta(days=3))
    patiently(lambda: other.clock.now() == CLOCK + timedelta(days=3))


def test_whoever_lost_the_connection_looks_how_far_the_others_have_come(
    two: tuple[Ledger, Ledger], place: Place
) -> None:
    one, other = two
    patiently(lambda: sum(duties(one, other)) == 1)
    told = Event()
    duty = f"tallybook duty {place.schema}"
    with other.writer.listening(told.set), psycopg.connect(place.url, autocommit=True) as cutting:
        told.clear()
        for sql in (  # who listens without the duty, and then who has it; nobody of another ledger
            (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE query LIKE $$%{duty}'%$$ AND pid <> pg_backend_pid()"
            ),
            (
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                f" AND (classid::bigint << 32) | objid::bigint = {postgres.lock_of(duty)}"
            ),
        ):
            cutting.execute(sql.encode())
        assert told.wait(PATIENCE_SECONDS)
    patiently(lambda: sum(duties(one, other)) == 1)


def test_the_duty_is_taken_over(place: Place, tmp_path: Path) -> None:
    with Ledger(tmp_path, place=place) as staying:
        patiently(lambda: duties(staying) == [True])
    with Ledger(tmp_path, place=place) as going:
        patiently(lambda: duties(going) == [True])
        with Ledger(tmp_path, place=place) as staying:
            assert duties(going, staying) == [True, False]
            going.close()
            patiently(lambda: duties(staying) == [True])


def test_how_far_it_was_told_is_known_to_whoever_takes_over(
    two: tuple[Ledger, Ledger], tmp_path: Path
) -> None:
    one, other = two
    marks = marks_of(one.directory, one.store)
    began = marks.resume()
    Story(one).tell("2026-01-01 customer alpaca-lover")
    assert marks_of(other.directory, other.store).resume() == began
    marks.keep(marks.at(2))
    assert marks_of(other.directory, other.store).resume() == marks.at(2)
    assert not list(tmp_path.glob("*/webhook*"))


def caught_up(worker: Worker) -> None:
    """Let a worker do all that is due."""
    asyncio.run(worker.catch_up())


def test_what_is_due_is_done_once(place: Place, tmp_path: Path) -> None:
    with Ledger(tmp_path, place=place) as ledger:
        story = Story(ledger)
        story.tell(PRICES)
        story.tell("2026-01-01 customer al")
        then = ledger.clock.now() - timedelta(weeks=30, hours=12)
    created = subscription(story.ids["al"], story.prices["weekly"], then)
    with closing(PostgresStore(place, tmp_path)) as store:
        store.append([Pending(created.id, 1, Envelope(to_us(then)), created)])
    with (
        Ledger(tmp_path, place=place) as one,
        Ledger(tmp_path, place=place) as other,
        ThreadPoolExecutor() as pool,
    ):
        workers = [Worker(one), Worker(other)]
        for done in [pool.submit(caught_up, worker) for worker in workers]:
            done.result(PATIENCE_SECONDS)
        issued = [invoice.at for invoice in invoices(one)]
        assert len(issued) == len(set(issued)) == 31
        assert verification.verify_open(one).findings == ()
        dump(one)

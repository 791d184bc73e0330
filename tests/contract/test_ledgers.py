"""A whole ledger in PostgreSQL: told the same stories, it comes to the same bills."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import psycopg
import pytest

from app import health, postgres_store, verification
from app.cli import main
from app.jobs import UsageJob
from app.ledger import Ledger, WrongClock
from app.opening import is_there
from domain.customers import Customer
from domain.products import Product
from domain.usage import RecordInput, Status, UsageRecorded
from projections import current
from projections.places import Place, Unreachable
from tests.app.billed import dump
from tests.app.test_writer import PATIENCE_SECONDS, busy_writer, statuses, tokens
from tests.benchmarks.serving import serving
from tests.contract.between import line
from tests.house import ROOT
from tests.postgres import Server, numbers, running
from tests.scenarios.story import Story
from tests.test_scenarios import CLOCK

_numbers = numbers()


@pytest.fixture
def address(postgres: Server) -> str:
    """The address of a ledger that nobody has begun."""
    return postgres.address(f"ledger_{next(_numbers)}")


@pytest.fixture
def place(address: str) -> Place:
    """The same as a place."""
    return Place.of(address)


@pytest.fixture
def ledger(place: Place, tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger with a meter over `tokens` and a customer."""
    with Ledger(tmp_path, place=place, test_clock_at=CLOCK) as opened:
        story = Story(opened)
        story.tell("2026-01-01 meter alpaca-tokens: sum of tokens")
        story.tell("2026-01-01 customer alpaca-lover")
        yield opened


def test_usage_is_recorded_once_and_for_ever(ledger: Ledger, place: Place, tmp_path: Path) -> None:
    sent = [tokens("a"), tokens("0192f0c1-0000-7000-8000-00000000abcd"), tokens("b")]
    assert statuses(ledger.record_now(sent)) == [Status.ACCEPTED] * 3
    other = RecordInput(id="a", event_name="tokens", customer="alpaca-lover", value="77")
    again = ledger.record_now([*sent, other, tokens("c")])
    assert statuses(again) == [*[Status.DUPLICATE] * 3, Status.CONFLICT, Status.ACCEPTED]
    head = ledger.store.head()
    assert verification.verify(tmp_path, place=place).findings == ()  # while it is served
    ledger.close()
    with Ledger(tmp_path, place=place) as opened:
        assert opened.store.head() == head
        assert statuses(opened.record_now(sent)) == [Status.DUPLICATE] * 3
        dump(opened)


def test_many_at_once_share_commits_and_keep_one_order(ledger: Ledger) -> None:
    with busy_writer(ledger):
        asked = [ledger.writer.submit(UsageJob([tokens(f"r{n}")], None)) for n in range(200)]
    for future in asked:
        assert statuses(future.result(PATIENCE_SECONDS)) == [Status.ACCEPTED]
    assert [one.position for one in ledger.store.read()] == [*range(1, ledger.store.head()[0] + 1)]
    dump(ledger)


def test_another_clock_is_refused(ledger: Ledger, place: Place, tmp_path: Path) -> None:
    ledger.close()
    with pytest.raises(WrongClock, match=f"{place} was begun with a test clock"):
        Ledger(tmp_path, place=place, test_clock_at=CLOCK + timedelta(days=1))


def test_a_text_that_cannot_be_stored_is_not_found(ledger: Ledger) -> None:
    with ledger.snapshot() as views:
        for text in ("\0", "a\0b", "\ud800"):
            assert current.find(views, Product, text) is None
            assert current.select(views, Product, {"name": text}, limit=9) == []
            assert current.owner(views, Customer, "externalId", text) is None


def test_an_answer_that_was_lost_is_looked_up(postgres: Server, tmp_path: Path) -> None:
    with line(postgres.port) as between:
        place = Place.of(postgres.address("unheard", between.port))
        with Ledger(tmp_path, place=place, test_clock_at=CLOCK) as ledger:
            between.cut_after = True
            first = ledger.record_now([tokens("a")])
            assert between.cuts == 1
            again = ledger.record_now([tokens("a"), tokens("b")])
            assert statuses(first) == [Status.UNMATCHED]
            assert statuses(again) == [Status.DUPLICATE, Status.UNMATCHED]
            assert again[0].position == first[0].position
            dump(ledger)


def test_whoever_cannot_look_it_up_looks_before_the_next_write(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "ATTEMPTS", 1)
    with line(postgres.port) as between:
        place = Place.of(postgres.address("unsure", between.port))
        with Ledger(tmp_path, place=place, test_clock_at=CLOCK) as ledger:
            between.cut_after = between.refuses = True
            with pytest.raises(postgres_store.ServerLost, match="does not answer"):
                ledger.record_now([tokens("a")])
            with pytest.raises(Unreachable, match="does not answer"):
                ledger.record_now([tokens("b")])
            between.refuses = False
            assert statuses(ledger.record_now([tokens("a"), tokens("b")])) == [
                Status.DUPLICATE,
                Status.UNMATCHED,
            ]
            assert verification.verify_open(ledger).findings == ()
            dump(ledger)


SENDER = """
import sys
from pathlib import Path
from app.ledger import Ledger
from projections.places import Place, Unreachable
from tests.app.test_writer import tokens
with Ledger(Path(sys.argv[1]), place=Place.of(sys.argv[2])) as ledger:
    number = int(sys.argv[3])
    while True:
        ledger.record_now([tokens(f"r{number}")])
        print(number, flush=True)
        number += 1
"""


def test_what_was_answered_outlives_whoever_is_killed(
    ledger: Ledger, address: str, place: Place, tmp_path: Path
) -> None:
    ledger.close()
    answered = 0
    for _ in range(3):
        program = [sys.executable, "-c", SENDER, str(tmp_path), address, str(answered)]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as sending:
            assert sending.stdout is not None
            heard = [int(next(sending.stdout)) for _ in range(20)]
            sending.kill()
            heard += map(int, sending.stdout)
        answered = heard[-1] + 1
        with Ledger(tmp_path, place=place) as opened:
            sent = [tokens(f"r{number}") for number in range(answered)]
            assert statuses(opened.record_now(sent)) == [Status.DUPLICATE] * answered
            assert verification.verify_open(opened).findings == ()
            dump(opened)
            # One more may have been written that was not answered.
            late = opened.store.identity("default", f"r{answered}")
            answered += late is not None


def test_a_ledger_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    with running() as server:
        place = Place.of(server.address("restarted"))
        with Ledger(tmp_path, place=place, test_clock_at=CLOCK) as ledger:
            ledger.record_now([tokens("a")])
            server.stop()
            assert not health.examine(ledger).ready
            server.start()
            heard = []
            for _ in range(3):  # whoever was connected may fail once, and says so
                with suppress(Exception):
                    heard.append(statuses(ledger.record_now([tokens("b")])))
            assert heard[0] == [Status.UNMATCHED]
            assert heard[1:] == [[Status.DUPLICATE]] * len(heard[1:])
            assert statuses(ledger.record_now([tokens("a"), tokens("c")])) == [
                Status.DUPLICATE,
                Status.UNMATCHED,
            ]
            assert health.examine(ledger).ready
            assert verification.verify_open(ledger).findings == ()
            dump(ledger)


# ------------------------------------------------------------------------------------ verification


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE stored_events SET state=set_byte(state, 9, 0) WHERE notification_id=3", 3),
        ("UPDATE stored_events SET topic=NULL WHERE notification_id=2", 2),
        ("UPDATE event_hashes SET hash='x' WHERE position=3", 3),
        ("DELETE FROM stored_events WHERE notification_id=4", 4),
        ("DELETE FROM usage_identities WHERE id='\\000a'", 4),
        ("UPDATE usage_identities SET row=7 WHERE id='\\000a'", 4),
        ("UPDATE usage_identities SET digest='x' WHERE id='\\000a'", 4),
    ],
)
def test_touched_rows_are_seen(
    ledger: Ledger, place: Place, tmp_path: Path, change: str, code: int
) -> None:
    ledger.record_now([tokens("a"), tokens("b")])
    ledger.close()
    assert verification.verify(tmp_path, place=place).findings == ()
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f'SET search_path TO "{place.schema}"'.encode())
        assert connection.execute(change.encode()).rowcount == 1
    found = verification.verify(tmp_path, place=place).findings
    assert code in [finding.position for finding in found]


# ------------------------------------------------------------------------------------ the commands


def test_the_commands_take_a_database(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--data", str(tmp_path), "--database", address]
    assert main(["replay", *named]) == 2
    assert "there is no ledger in the schema ledger_" in capsys.readouterr().err
    assert not is_there(tmp_path, Place.of(address))
    with Ledger(tmp_path, place=Place.of(address)) as ledger:
        ledger.record_now([tokens("a")])
    assert main(["replay", *named]) == 0
    assert capsys.readouterr().out.startswith("replayed 2 events in ")
    assert main(["verify", "--json", *named]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["events"], said["projections_equal"]) == (True, 2, True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://here/there", "a database is named postgresql://user@host/name?schema=ledger"),
        ("postgresql://here/there?schema=A-b", "schema= takes a letter"),
        ("postgresql://me:secret@here/there?nobody=knows", "the schema tallybook of here/there"),
        ("postgresql://me:secret@127.0.0.1:1/there", "the schema tallybook of 127.0.0.1:1/there"),
    ],
)
def test_a_database_that_is_none_is_refused(
    address: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--data", str(tmp_path), "--database", address]) == 2
    heard = capsys.readouterr().err
    assert said in heard
    assert "secret" not in heard


def test_a_server_serves_a_ledger_in_postgres(address: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--test-clock", "2026-01-01T00:00:00Z", database=address) as server:
        body = [{"id": "a", "eventName": "tokens", "customer": "al", "value": "1"}]
        request = Request(
            f"{server.url}/v1/usage",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urlopen(request) as answer:
            assert json.load(answer)["unmatched"] == 1
    with Ledger(tmp_path, place=Place.of(address)) as ledger:
        assert [one.event.topic for one in ledger.store.read()] == [
            "ledger.opened/1",
            UsageRecorded.topic,
        ]

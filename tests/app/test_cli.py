"""The commands as an operator runs them."""

import json
import re
import signal
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest

from app import checkpoints, verification
from app.cli import main
from app.ledger import Ledger
from app.schema import sdl
from app.settings import settings_from
from domain.aggregation import Aggregation
from domain.customers import CreateCustomer, UpdateCustomer
from domain.invoices import GRACE_DEFAULT
from domain.meters import CreateMeter
from domain.usage import RecordInput
from tests import marks
from tests.benchmarks.serving import serving

Capture = pytest.CaptureFixture[str]


def small_ledger(directory: Path) -> None:
    """A ledger with a meter and three records, one of which waits for its customer."""
    with Ledger(directory) as ledger:
        ledger.execute_now(
            CreateMeter(name="Tokens", event_name="tokens", aggregation=Aggregation.SUM), "meter"
        )
        ledger.record_now(
            [RecordInput(id=f"r-{n}", event_name="tokens", customer="al", value="1") for n in "123"]
        )


def change(directory: Path, sql: str) -> None:
    """Touch what is stored behind the ledger's back."""
    connection = sqlite3.connect(directory / "ledger.db")
    assert connection.execute(sql).rowcount == 1
    connection.commit()
    connection.close()


def test_the_demo_is_loaded_once(tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "--data", str(tmp_path)]) == 0
    loaded = capsys.readouterr().out
    assert main(["demo", "--data", str(tmp_path)]) == 0
    again = capsys.readouterr().out
    assert "loaded" in loaded
    assert "was loaded before" in again
    assert loaded.rpartition(" ")[2] == again.rpartition(" ")[2]


def test_an_untouched_ledger_verifies_before_and_after_a_replay(
    tmp_path: Path, capsys: Capture
) -> None:
    small_ledger(tmp_path)
    assert main(["verify", "--data", str(tmp_path)]) == 0
    before = capsys.readouterr().out
    assert main(["replay", "--data", str(tmp_path)]) == 0
    assert "replayed 3 events" in capsys.readouterr().out
    assert main(["verify", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == before


@marks.TOUCHED
@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDATE stored_events SET state = x'00' WHERE rowid = 2", "CHAIN_BROKEN at position 2"),
        (
            "UPDATE stored_events SET state = CAST(state AS TEXT) WHERE rowid = 2",
            "EVENT_UNREADABLE at position 2",
        ),
        ("UPDATE stored_events SET topic = 'x/1' WHERE rowid = 3", "CHAIN_BROKEN at position 3"),
        ("UPDATE event_hashes SET hash = x'00' WHERE position = 1", "CHAIN_BROKEN at position 1"),
        ("DELETE FROM stored_events WHERE rowid = 2", "POSITION_MISSING at position 2"),
        ("DELETE FROM stored_events WHERE rowid = 3", "HEAD_DIFFERS at position 3"),
        ("DELETE FROM event_hashes WHERE position = 3", "HEAD_DIFFERS at position 3"),
        ("DELETE FROM usage_identities WHERE id = 'r-2'", "IDENTITY_MISSING at position 3"),
        ("UPDATE usage_identities SET position = 2 WHERE id = 'r-2'", "IDENTITY_DIFFERS"),
        ("UPDATE usage_identities SET row = 2 WHERE id = 'r-2'", "IDENTITY_DIFFERS at position 3"),
        ("UPDATE usage_identities SET digest = x'00' WHERE id = 'r-2'", "IDENTITY_DIFFERS"),
        ("INSERT INTO usage_identities VALUES (1, 'r-4', 3, 3, x'00')", "IDENTITY_UNKNOWN: 1"),
        ("DELETE FROM idempotency_keys", "KEY_MISSING at position 2"),
        ("UPDATE idempotency_keys SET subject = 'met_other'", "KEY_DIFFERS at position 2"),
        ("UPDATE idempotency_keys SET position = 1", "KEY_DIFFERS at position 2"),
        ("UPDATE idempotency_keys SET key = 'another'", "KEY_MISSING at position 2"),
    ],
)
def test_whatever_was_touched_is_found(
    tmp_path: Path, capsys: Capture, sql: str, finding: str
) -> None:
    small_ledger(tmp_path)
    change(tmp_path, sql)
    assert main(["verify", "--data", str(tmp_path)]) == 1
    assert finding in capsys.readouterr().out


@marks.TOUCHED
def test_views_that_differ_from_the_ledger_are_found(tmp_path: Path, capsys: Capture) -> None:
    small_ledger(tmp_path)
    connection = sqlite3.connect(tmp_path / "views.db")
    connection.execute("UPDATE usage_unmatched SET value = '2' WHERE row = 0")
    connection.commit()
    connection.close()
    assert main(["verify", "--data", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["events"], found["projections_equal"]) == (False, 3, False)
    [finding] = found["findings"]
    assert (finding["code"], finding["position"]) == ("PROJECTION_DIFFERS", None)
    assert finding["message"].startswith("usage_unmatched: the views say ")


def test_progress_goes_to_standard_error(tmp_path: Path, capsys: Capture) -> None:
    small_ledger(tmp_path)
    assert main(["verify", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    assert main(["verify", "--data", str(tmp_path), "--progress"]) == 0
    assert re.search(r"3 of 3 events, [\d,]+/s, 0 s left", capsys.readouterr().err)


@marks.COMMANDS
def test_a_ledger_is_verified_while_it_is_served(tmp_path: Path, capsys: Capture) -> None:
    small_ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.execute_now(CreateCustomer(name="Al", external_id="al"))
        assert main(["verify", "--data", str(tmp_path)]) == 0
        assert "4 events" in capsys.readouterr().out
        ledger.execute_now(CreateCustomer(name="Bo"))
        assert main(["checkpoint", "--data", str(tmp_path)]) == 0
        assert json.loads(capsys.readouterr().out)["position"] == 5
    assert main(["verify", "--data", str(tmp_path)]) == 0


def test_there_must_be_a_ledger_to_verify(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", "--data", str(tmp_path / "none")]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@marks.HELD
def test_a_ledger_in_use_is_refused_in_words(tmp_path: Path, capsys: Capture) -> None:
    with Ledger(tmp_path):
        assert main(["demo", "--data", str(tmp_path)]) == 2
    assert "is in use by another tallybook process" in capsys.readouterr().err


def test_a_bad_setting_is_named(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYBOOK_PORT", "many")
    assert main(["demo", "--data", str(tmp_path)]) == 2
    assert "TALLYBOOK_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("period", ["an hour", "3600", "P1M", "-PT1S", "P30DT1S"])
def test_a_grace_period_that_is_none_is_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, period: str
) -> None:
    monkeypatch.setenv("TALLYBOOK_GRACE_PERIOD", period)
    assert main(["demo", "--data", str(tmp_path)]) == 2
    assert f"TALLYBOOK_GRACE_PERIOD: {period}" in capsys.readouterr().err


def test_a_grace_period_is_a_duration() -> None:
    for text, hours in (("PT0S", 0), ("PT90M", 1.5), ("P30D", 720)):
        read = settings_from({"TALLYBOOK_GRACE_PERIOD": text})
        assert read.grace == timedelta(hours=hours)
    assert settings_from({}).grace == GRACE_DEFAULT


def test_a_ledger_keeps_the_clock_that_it_was_begun_with(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ledger(tmp_path)
    monkeypatch.setenv("TALLYBOOK_TEST_CLOCK", "2026-01-01T00:00:00Z")
    assert main(["demo", "--data", str(tmp_path)]) == 2
    assert "was begun with the system's clock" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: Capture) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == sdl()


def test_being_told_to_stop_closes_the_ledger(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        for _ in range(1_000):
            if checkpoints.read(tmp_path / checkpoints.FILE):
                break
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=30) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if name.endswith("-wal")] == []
    found = verification.verify(tmp_path)
    assert (found.ok, found.checkpoints) == (True, 1)


def test_keys_of_changes_and_of_what_changed_nothing_verify(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        customer = ledger.execute_now(CreateCustomer(name="Al"), "create").subject
        for name, key in (("Al & Co.", "rename"), ("Al & Co.", "again"), ("Al", None)):
            ledger.execute_now(UpdateCustomer(customer_id=customer, name=name), key)
    assert main(["verify", "--data", str(tmp_path)]) == 0

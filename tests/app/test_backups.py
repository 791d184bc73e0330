"""A copy of a ledger made while it is served, and a ledger made from such a copy."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app import verification, verifier
from app.backups import copied
from app.cli import main
from app.delivery_marks import DELIVERED, Marks
from app.ledger import Ledger
from app.opening import VIEWS
from app.store import CorruptLedger
from domain.usage import Status
from tests import marks
from tests.app.rich import SENT, rich
from tests.app.test_exported_logs import send, send_until

pytestmark = marks.COMMANDS

Capture = pytest.CaptureFixture[str]


def test_a_ledger_is_backed_up_while_it_is_open_and_restored(
    ledger: Ledger, tmp_path: Path, capsys: Capture
) -> None:
    rich(ledger)
    backup, back = tmp_path / "backup", tmp_path / "back"
    assert main(["backup", "--data", str(ledger.directory), "--to", str(backup)]) == 0
    position, head = ledger.store.head()
    said = f"position {position}, head {head.hex()}, verified"
    assert said in capsys.readouterr().out
    assert {path.name for path in backup.iterdir()} == {"ledger.db", "ledger.lock", "views.db"}
    views = list(ledger.engine.database.dump())
    known = ledger.record_now(SENT)
    ledger.close()
    assert main(["restore", "--from", str(backup), "--to", str(back)]) == 0
    assert said in capsys.readouterr().out
    assert verification.verify(back).ok
    with Ledger(back) as restored:
        assert list(restored.engine.database.dump()) == views
        assert restored.record_now(SENT) == known
        assert {one.status for one in known} == {Status.DUPLICATE}


def test_a_backup_made_while_a_writer_writes_is_of_one_moment(
    alpaca: Ledger, tmp_path: Path
) -> None:
    stop = threading.Event()
    sending = threading.Thread(target=send_until, args=(alpaca, stop))
    sending.start()
    made = []
    try:
        for number in range(4):
            send(alpaca, f"m{number}")
            made.append(copied(alpaca.directory, tmp_path / str(number)))
    finally:
        stop.set()
        sending.join()
    for number, one in enumerate(made):
        verified = verification.verify(tmp_path / str(number))
        assert (verified.ok, verified.events, verified.head_hash) == (
            True,
            one.position,
            one.head_hash,
        )
        kept = alpaca.store.hash_at(one.position)
        assert kept is not None
        assert kept.hex() == one.head_hash
    assert [one.position for one in made] == sorted({one.position for one in made})


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no database")])
def test_a_backup_without_views_makes_them(
    alpaca: Ledger, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    views = list(alpaca.engine.database.dump())
    alpaca.close()
    damage(alpaca.directory / VIEWS)
    copied(alpaca.directory, tmp_path / "backup")
    with Ledger(tmp_path / "backup") as backup:
        assert list(backup.engine.database.dump()) == views


def test_how_far_telling_has_come_is_part_of_a_backup(alpaca: Ledger, tmp_path: Path) -> None:
    marks = Marks(alpaca.directory, alpaca.store)
    began = marks.resume()
    send(alpaca, "one")
    marks.keep(marks.at(alpaca.store.head()[0]))
    copied(alpaca.directory, tmp_path / "backup")
    send(alpaca, "two")
    marks.keep(marks.at(alpaca.store.head()[0]))
    copied(tmp_path / "backup", tmp_path / "back")
    with Ledger(tmp_path / "back") as back:
        assert back.store.head()[0] == began.position + 1
        kept = Marks(back.directory, back.store)
        assert kept.resume() == kept.at(back.store.head()[0])
        (back.directory / DELIVERED).unlink()
        assert kept.resume() == began


def test_a_checkpoint_holds_for_the_exported_log_too(
    alpaca: Ledger, tmp_path: Path, capsys: Capture
) -> None:
    send(alpaca, "one")
    assert main(["checkpoint", "--data", str(alpaca.directory)]) == 0
    signed, log = tmp_path / "checkpoint.json", tmp_path / "log.jsonl"
    signed.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["export", "--data", str(alpaca.directory), "--to", str(log)]) == 0
    assert verifier.main([str(log), str(signed)]) == 0
    assert f"head {alpaca.store.head()[1].hex()}" in capsys.readouterr().out
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(line for line in lines if b'"position":2,' not in line))
    assert verifier.main([str(log), str(signed)]) == 1
    assert "position 2 is missing" in capsys.readouterr().out


def test_views_of_another_ledger_are_not_taken_over(alpaca: Ledger, tmp_path: Path) -> None:
    views = list(alpaca.engine.database.dump())
    alpaca.close()
    with Ledger(tmp_path / "other", name="other"):
        pass
    (tmp_path / "other" / VIEWS).replace(alpaca.directory / VIEWS)
    copied(alpaca.directory, tmp_path / "backup")
    with Ledger(tmp_path / "backup") as backup:
        assert list(backup.engine.database.dump()) == views


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("UPDATE stored_events SET state=x'00' WHERE rowid=2", "CHAIN_BROKEN at position 2"),
        ("DELETE FROM stored_events WHERE rowid=3", "POSITION_MISSING"),
        ("DELETE FROM usage_identities", "IDENTITY_MISSING"),
    ],
)
def test_a_copy_that_is_not_what_was_written_is_none(
    alpaca: Ledger, tmp_path: Path, sql: str, code: str, capsys: Capture
) -> None:
    send(alpaca, "one")
    copied(alpaca.directory, tmp_path / "backup")
    with closing(sqlite3.connect(tmp_path / "backup" / "ledger.db")) as connection, connection:
        assert connection.execute(sql).rowcount == 1
    with pytest.raises(CorruptLedger, match=code):
        copied(tmp_path / "backup", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert main(["restore", "--from", str(tmp_path / "backup"), "--to", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_log_that_is_no_database(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.db").write_bytes(b"something else")
    for command in ("backup", "export"):
        arguments = [command, "--data", str(tmp_path / "data"), "--to", str(tmp_path / "copy")]
        assert main(arguments) == 2
        assert "file is not a database" in capsys.readouterr().err
        assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("command", ["backup", "restore", "export"])
def test_there_is_no_ledger(tmp_path: Path, command: str, capsys: Capture) -> None:
    source = "--from" if command == "restore" else "--data"
    arguments = [command, source, str(tmp_path / "none"), "--to", str(tmp_path / "copy")]
    assert main(arguments) == 2
    assert "there is no ledger in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

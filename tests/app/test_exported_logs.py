"""A log that leaves a ledger and comes back: the same bytes, the same answers, or a refusal."""

import base64
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app import verification
from app.backups import copied
from app.cli import main
from app.exports.log_import import imported
from app.exports.log_lines import FORMAT
from app.exports.log_reading import BadLog, read
from app.exports.log_writing import log
from app.ledger import Ledger
from app.lock import LedgerInUse
from app.store import CorruptLedger
from domain.decider import Rejected
from domain.usage import RecordInput, Status
from domain.usage_corrections import VoidUsage
from tests import marks
from tests.app.rich import SENT, rich
from tests.conftest import CLOCK
from tests.house import ROOT

pytestmark = marks.COMMANDS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in which a bit of everything has happened."""
    directory = tmp_path_factory.mktemp("rich")
    with Ledger(directory, test_clock_at=CLOCK) as ledger:
        rich(ledger)
    return directory


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[bytes]:
    """Its log."""
    return list(log(folder))


@pytest.fixture
def copy(lines: list[bytes], tmp_path: Path) -> Iterator[Ledger]:
    """The ledger that is made from it."""
    imported(io.BytesIO(b"".join(lines)), tmp_path / "copy")
    with Ledger(tmp_path / "copy") as ledger:
        yield ledger


def kinds(lines: list[bytes]) -> list[str]:
    """What each line is."""
    return [json.loads(line)["kind"] for line in lines]


def numbers(lines: list[bytes], kind: str) -> list[int]:
    """Which lines are of a kind, the first one being number 1."""
    return [number for number, found in enumerate(kinds(lines), start=1) if found == kind]


# ------------------------------------------------------------------------------- there and back


def test_export_import_export_is_the_same_to_the_byte(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    first, again, copy = tmp_path / "first.jsonl", tmp_path / "again.jsonl", tmp_path / "copy"
    assert main(["export", "--data", str(folder), "--to", str(first)]) == 0
    assert main(["import", "--data", str(copy), str(first)]) == 0
    assert main(["export", "--data", str(copy), "--to", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    said, before = capsys.readouterr().out, verification.verify(folder)
    assert before.head_hash in said
    assert verification.verify(copy) == before
    assert before.ok
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "again.jsonl",
        "copy",
        "first.jsonl",
    ]


def test_a_log_goes_to_standard_output(folder: Path, capfdbinary: Any, lines: list[bytes]) -> None:
    assert main(["export", "--data", str(folder)]) == 0
    assert capfdbinary.readouterr().out == b"".join(lines)


def test_every_kind_of_line_is_there(lines: list[bytes]) -> None:
    found = kinds(lines)
    assert (found[0], found[-1]) == ("log", "end")
    assert set(found[1:-1]) == {"event", "digests", "key"}
    opening = json.loads(lines[0])
    assert (opening["format"], opening["name"], opening["after"]) == (FORMAT, "main", 0)
    event = json.loads(lines[1])
    assert (event["stream"], event["topic"]) == (opening["ledger"], "ledger.opened/1")
    assert base64.b64decode(event["state"])


def test_what_was_sent_before_is_a_duplicate_with_the_first_receipt(
    folder: Path, copy: Ledger
) -> None:
    with Ledger(folder) as original:
        known = original.record_now(SENT)
    assert copy.record_now(SENT) == known
    assert {str(one.status) for one in known} == {"DUPLICATE"}
    (other,) = copy.record_now([replace(SENT[0], value="8")])
    assert (str(other.status), other.position) == ("CONFLICT", known[0].position)


@pytest.mark.parametrize("key", ["void gone", "nothing is left to void"])
def test_a_repeated_key_answers_the_first_result(folder: Path, copy: Ledger, key: str) -> None:
    command = VoidUsage(id="gone", reason="A test" if key == "void gone" else None)
    with Ledger(folder) as original:
        first = original.execute_now(command, key)
    head = copy.store.head()
    assert copy.execute_now(command, key) == first
    with pytest.raises(Rejected) as refused:
        copy.execute_now(VoidUsage(id="another"), key)
    assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert copy.store.head() == head


def test_the_copy_goes_on(copy: Ledger) -> None:
    before = copy.store.head()[0]
    new = RecordInput(id="new", event_name="tokens", customer="al", value="1")
    (receipt,) = copy.record_now([new])
    assert (str(receipt.status), receipt.position) == ("ACCEPTED", before + 1)


def test_a_part_of_a_log_is_read_but_makes_no_ledger(
    folder: Path, tmp_path: Path, lines: list[bytes]
) -> None:
    part = list(log(folder, first=20))
    assert numbers(part, "event")
    assert json.loads(part[1])["position"] == 20
    begin = lines.index(part[1])
    assert part[1:-1] == lines[begin:-1]
    last = next(line for line in reversed(lines[:begin]) if b'"kind":"event"' in line)
    assert json.loads(part[0])["after_hash"] == json.loads(last)["hash"]
    assert [one.line for one in read(io.BytesIO(b"".join(part)))]
    with pytest.raises(BadLog, match="line 1: the log begins at position 20"):
        imported(io.BytesIO(b"".join(part)), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("first", [0, -1, 10_000])
def test_a_position_that_is_not_there(folder: Path, first: int, capsys: Capture) -> None:
    assert main(["export", "--data", str(folder), "--from-position", str(first)]) == 2
    assert f"there is no position {first}" in capsys.readouterr().err


# ------------------------------------------------------------------------ where it may be put


def test_no_export_takes_the_place_of_the_ledger(folder: Path, capsys: Capture) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    target = folder / ".." / folder.name / "ledger.db"
    assert main(["export", "--data", str(folder), "--to", str(target)]) == 2
    assert "inside the directory of the ledger itself" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_export_that_fails_leaves_the_file_before_it(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    copy, file = tmp_path / "copy", tmp_path / "log.jsonl"
    copied(folder, copy)
    assert main(["export", "--data", str(copy), "--to", str(file)]) == 0
    before = file.read_bytes()
    with closing(sqlite3.connect(copy / "ledger.db")) as connection, connection:
        connection.execute("UPDATE stored_events SET topic='x/1' WHERE rowid=30")
    assert main(["export", "--data", str(copy), "--to", str(file)]) == 2
    assert "position 30 is not what was written" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "log.jsonl"}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM usage_identities WHERE id='late'", "usage record 'late' of 'default'"),
        ("DELETE FROM stored_events WHERE rowid=(SELECT MAX(rowid) FROM stored_events)", "ends at"),
        ("DELETE FROM event_hashes WHERE position=5", "position 5 is not what was written"),
        ("UPDATE idempotency_keys SET position=1000 WHERE key='nasty'", "beside it does not"),
    ],
)
def test_a_log_that_cannot_come_back_is_not_exported(
    folder: Path, tmp_path: Path, sql: str, message: str
) -> None:
    copied(folder, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy" / "ledger.db")) as connection, connection:
        assert connection.execute(sql).rowcount == 1
    with pytest.raises(CorruptLedger, match=message):
        list(log(tmp_path / "copy"))


def test_only_an_empty_directory_is_filled(lines: list[bytes], tmp_path: Path) -> None:
    with Ledger(tmp_path / "other"), pytest.raises(ValueError, match="is not empty"):
        imported(io.BytesIO(b"".join(lines)), tmp_path / "other")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(ValueError, match=r"it holds a\.txt"):
        imported(io.BytesIO(b"".join(lines)), tmp_path / "notes")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]


def test_a_killed_import_is_no_ledger_and_is_begun_anew(
    lines: list[bytes], tmp_path: Path, capsys: Capture
) -> None:
    copy, pipe = tmp_path / "copy", tmp_path / "log.jsonl"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "app.cli", "import", "--data", str(copy), str(pipe)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    with pipe.open("wb") as writing:
        writing.writelines(lines[: len(lines) // 2])
        writing.flush()
        while process.poll() is None and not (copy / "unfinished" / "ledger.db").exists():
            time.sleep(0.01)
        process.kill()
        assert process.wait() < 0
    assert {path.name for path in copy.iterdir()} == {"ledger.lock", "unfinished"}
    assert main(["demo", "--data", str(copy)]) == 2
    assert "was interrupted; do it again" in capsys.readouterr().err
    (copy / "views.db").write_bytes(b"moved just before the end")
    done = imported(io.BytesIO(b"".join(lines)), copy)
    assert done.position == json.loads(lines[-1])["position"]
    assert {path.name for path in copy.iterdir()} == {"ledger.db", "ledger.lock", "views.db"}
    assert verification.verify(copy).ok


def test_nobody_serves_what_is_still_being_made(lines: list[bytes], tmp_path: Path) -> None:
    copy = tmp_path / "copy"

    class Asked(io.BytesIO):
        """A log in the middle of which somebody opens the directory."""

        def readline(self, size: int | None = -1, /) -> bytes:
            with pytest.raises(LedgerInUse):
                Ledger(copy)
            return super().readline(size)

    imported(Asked(b"".join(lines)), copy)
    with Ledger(copy) as ledger:
        assert ledger.store.head()[0]


# ------------------------------------------------------------------------- while it is served


def test_a_log_is_that_of_one_moment_while_a_writer_writes(alpaca: Ledger, tmp_path: Path) -> None:
    stop = threading.Event()
    sent = threading.Thread(target=send_until, args=(alpaca, stop))
    sent.start()
    try:
        for number in range(5):
            exported = log(alpaca.directory)
            opening = next(exported)
            send(alpaca, f"m{number}")
            after = alpaca.store.head()[0]
            content = b"".join([opening, *exported])
            done = imported(io.BytesIO(content), tmp_path / str(number))
            assert done.position < after
            assert done.head_hash == alpaca.store.hashes([done.position])[done.position].hex()
    finally:
        stop.set()
        sent.join()


def send_until(ledger: Ledger, stop: threading.Event) -> None:
    """Send usage, one record after another."""
    number = 0
    while not stop.is_set():
        number += 1
        send(ledger, f"s{number}")


def send(ledger: Ledger, id: str) -> None:
    """Send one record."""
    record = RecordInput(id=id, event_name="tokens", customer="alpaca-lover", value="1")
    (receipt,) = ledger.record_now([record])
    assert receipt.status is Status.ACCEPTED

"""Whatever leaves a ledger leaves it while a server in another process writes to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from app import verification
from app.cli import main
from app.exports.journals import Form
from app.exports.subjects import Subject
from tests import marks
from tests.benchmarks.serving import Server

pytestmark = marks.COMMANDS


@contextmanager
def busy(server: Server, name: str) -> Iterator[list[int]]:
    """The positions that the server answers for the records that are sent to it meanwhile."""
    stop, first = threading.Event(), threading.Event()
    positions: list[int] = []

    def send() -> None:
        while not stop.is_set():
            positions.append(send_one(server, f"{name}-{len(positions)}"))
            first.set()

    sending = threading.Thread(target=send)
    sending.start()
    try:
        assert first.wait(60)
        yield positions
    finally:
        stop.set()
        sending.join()


def send_one(server: Server, id: str) -> int:
    """Send one record and return its position."""
    record = {"id": id, "eventName": "alpaca_ai_tokens", "customer": "nobody", "value": "1"}
    body = json.dumps([record]).encode()
    headers = {"content-type": "application/json"}
    with urlopen(Request(f"{server.url}/v1/usage", body, headers), timeout=60) as reply:
        answer = json.load(reply)
    assert answer["unmatched"] == 1
    return int(answer["position"])


def test_a_backup_is_whole_and_has_what_was_answered_before(server: Server, tmp_path: Path) -> None:
    for number in range(3):
        backup = tmp_path / str(number)
        with busy(server, f"backup-{number}") as positions:
            answered = positions[-1]
            assert main(["backup", "--data", str(server.data), "--to", str(backup)]) == 0
        verified = verification.verify(backup)
        assert verified.ok
        assert verified.events >= answered


def test_an_exported_log_is_whole_and_has_what_was_answered_before(
    server: Server, tmp_path: Path
) -> None:
    file, copy = tmp_path / "log.jsonl", tmp_path / "copy"
    with busy(server, "log") as positions:
        answered = positions[-1]
        assert main(["export", "--data", str(server.data), "--to", str(file)]) == 0
    assert main(["import", "--data", str(copy), str(file)]) == 0
    verified = verification.verify(copy)
    assert verified.ok
    assert verified.events >= answered


@pytest.mark.parametrize("subject", Subject)
def test_tables_are_written_meanwhile(server: Server, tmp_path: Path, subject: Subject) -> None:
    file = tmp_path / "table.csv"
    with busy(server, f"csv-{subject}"):
        assert (
            main(["export", "--data", str(server.data), "--csv", subject, "--to", str(file)]) == 0
        )
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") >= 1 + (subject is Subject.USAGE)
    assert (f"csv-{subject}-0" in text) == (subject is Subject.USAGE)


@pytest.mark.parametrize("form", Form)
def test_journals_are_written_meanwhile(server: Server, tmp_path: Path, form: Form) -> None:
    file = tmp_path / "journal.txt"
    with busy(server, f"journal-{form}"):
        arguments = ["export", "--data", str(server.data), "--journal", form, "--to", str(file)]
        assert main(arguments) == 0
    assert "Assets:Receivables" in file.read_text(encoding="utf-8")

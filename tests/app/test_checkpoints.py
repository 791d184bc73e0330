"""Signed checkpoints: what was there once can be shown to be there still, or not."""

import asyncio
import json
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from app import checkpoints, verification, verifier
from app.checkpoints import FILE, PRIVATE_KEY, PUBLIC_KEY, Checkpoint
from app.cli import main
from app.ledger import Ledger
from app.server import create_app
from app.settings import Settings, settings_from
from app.store import Store
from domain.products import CreateProduct
from tests import marks
from tests.app.asking import Asking, client
from tests.app.rewriting import exported, rewritten
from tests.conftest import CLOCK

pytestmark = marks.TOUCHED

__all__ = ["client"]

Capture = pytest.CaptureFixture[str]


def taken(ledger: Ledger) -> Checkpoint:
    """A checkpoint of the ledger as it stands."""
    return checkpoints.take(ledger.store, ledger.directory, CLOCK)


def codes(directory: Path, *signed: Checkpoint) -> list[tuple[int | None, str]]:
    """What verifying against these checkpoints finds."""
    found = verification.verify(directory, signed=signed)
    return [(one.position, one.code) for one in found.findings]


@pytest.fixture
def signed(ledger: Ledger) -> Checkpoint:
    """A checkpoint of a ledger that went on afterwards and was closed."""
    for name in "abc":
        ledger.execute_now(CreateProduct(name=name))
    checkpoint = taken(ledger)
    ledger.execute_now(CreateProduct(name="later"))
    ledger.close()
    return checkpoint


def test_a_checkpoint_says_where_the_ledger_stands(ledger: Ledger) -> None:
    checkpoint = taken(ledger)
    position, head = ledger.store.head()
    assert checkpoint.ledger_id == ledger.state.id
    assert (checkpoint.position, checkpoint.hash) == (position, head.hex())
    assert checkpoint.at == "2026-01-01T00:00:00Z"
    assert checkpoints.wrong(checkpoint, checkpoints.public_key(ledger.directory)) is None


def test_the_key_is_made_once_and_is_its_owners_alone(ledger: Ledger) -> None:
    first, second = taken(ledger), taken(ledger)
    assert first == second
    assert stat.S_IMODE((ledger.directory / PRIVATE_KEY).stat().st_mode) == 0o600
    assert not list(ledger.directory.glob(f"{PRIVATE_KEY}?*"))


@pytest.mark.parametrize(
    "change",
    [{"position": 3}, {"hash": "00" * 32}, {"at": "2025-01-01T00:00:00Z"}, {"signature": "x"}],
    ids=str,
)
def test_a_checkpoint_that_was_touched_proves_nothing(
    ledger: Ledger, signed: Checkpoint, change: dict[str, object]
) -> None:
    touched = msgspec.structs.replace(signed, **change)
    assert codes(ledger.directory, signed) == []
    assert codes(ledger.directory, signed, touched) == [(touched.position, "CHECKPOINT_INVALID")]


def test_the_key_of_another_ledger_is_another_key(ledger: Ledger, signed: Checkpoint) -> None:
    with Ledger(ledger.directory / "other") as other:
        foreign = taken(other)
    assert codes(ledger.directory, foreign) == [(1, "CHECKPOINT_INVALID")]
    (ledger.directory / PUBLIC_KEY).unlink()
    [finding] = verification.verify(ledger.directory, signed=[foreign]).findings
    assert f"it is a checkpoint of {foreign.ledger_id}" in finding.message


def test_a_ledger_that_was_cut_short_is_seen(ledger: Ledger, signed: Checkpoint) -> None:
    with closing(sqlite3.connect(ledger.directory / "ledger.db")) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE rowid >= 4")
        connection.execute("DELETE FROM event_hashes WHERE position >= 4")
    (ledger.directory / "views.db").unlink()
    assert codes(ledger.directory) == []
    assert codes(ledger.directory, signed) == [(4, "CHECKPOINT_DIFFERS")]


def test_a_ledger_that_was_written_anew_is_seen(ledger: Ledger, signed: Checkpoint) -> None:
    rewritten(ledger.directory, 2, lambda event: msgspec.structs.replace(event, name="other"))
    (ledger.directory / "views.db").unlink()
    assert codes(ledger.directory) == []
    assert codes(ledger.directory, signed) == [(4, "CHECKPOINT_DIFFERS")]


# ------------------------------------------------------------------------------- while it serves


def test_one_is_noted_for_each_place_and_a_torn_line_is_mended(ledger: Ledger) -> None:
    path = ledger.directory / FILE

    def note() -> None:
        checkpoints.note(ledger.store, ledger.directory, CLOCK)

    note()
    note()
    assert [one.position for one in checkpoints.read(path)] == [1]
    path.write_bytes(path.read_bytes() + b'{"ledgerId":"led')
    ledger.execute_now(CreateProduct(name="a"))
    note()
    assert [one.position for one in checkpoints.read(path)] == [1, 2]
    assert verification.verify_open(ledger).checkpoints == 2


def test_a_server_notes_them_by_itself(ledger: Ledger) -> None:
    async def serve(period: str) -> None:
        app = create_app(ledger, Settings(checkpoint_period=period))
        async with app.router.lifespan_context(app):
            for _ in range(2):
                await asyncio.to_thread(ledger.execute_now, CreateProduct(name="a"))
                await asyncio.sleep(0.3)

    asyncio.run(serve("PT0S"))
    assert not (ledger.directory / FILE).exists()
    asyncio.run(serve("PT0.01S"))
    positions = [one.position for one in checkpoints.read(ledger.directory / FILE)]
    assert positions[-1] == ledger.store.head()[0]
    assert positions == sorted(set(positions))


def test_how_often_is_a_setting() -> None:
    for text, hours in (("PT0S", 0), ("PT90M", 1.5), ("P30D", 720)):
        read = settings_from({"TALLYBOOK_CHECKPOINT_PERIOD": text})
        assert read.between_checkpoints == timedelta(hours=hours)
    with pytest.raises(ValueError, match="TALLYBOOK_CHECKPOINT_PERIOD: P31D"):
        _ = settings_from({"TALLYBOOK_CHECKPOINT_PERIOD": "P31D"}).between_checkpoints


def test_a_checkpoint_by_graphql_is_the_same(client: Asking) -> None:
    shown = client.data(
        "{ ledger { checkpoint { ledgerId position hash at publicKey signature } } }"
    )["ledger"]["checkpoint"]
    signed = msgspec.convert({**shown, "position": int(shown["position"])}, Checkpoint)
    assert checkpoints.wrong(signed, checkpoints.public_key(client.ledger.directory)) is None
    assert signed.position == client.position


# ------------------------------------------------------------------------------ the command line


def test_by_the_command_line(ledger: Ledger, signed: Checkpoint, capsys: Capture) -> None:
    data = ["--data", str(ledger.directory)]
    assert main(["checkpoint", *data]) == 0
    file = ledger.directory / "kept.jsonl"
    file.write_bytes(capsys.readouterr().out.encode() + signed.line())
    against = ["--checkpoint", str(file), "--public-key", str(ledger.directory / PUBLIC_KEY)]
    assert main(["verify", *data, *against]) == 0
    assert "2 checkpoints hold" in capsys.readouterr().out
    file.write_bytes(msgspec.json.encode({"position": 1}))
    assert main(["verify", *data, *against]) == 2
    assert "line 1 is no checkpoint" in capsys.readouterr().err
    file.write_bytes(b"")
    assert main(["verify", *data, *against]) == 2
    assert "there is no checkpoint in" in capsys.readouterr().err


# ----------------------------------------------------------------------------- the lone verifier


def judged(ledger: Ledger, signed: Checkpoint, capsys: Capture, *more: str) -> str:
    """What the verifier that stands alone says of an export and a checkpoint."""
    log, checkpoint = ledger.directory / "log.jsonl", ledger.directory / "signed.json"
    if not log.exists():
        exported(ledger.directory, log)
    checkpoint.write_bytes(signed.line())
    code = verifier.main([str(log), str(checkpoint), *more])
    said = capsys.readouterr().out
    assert said.startswith("no: " if code else "yes: ")
    return said


def test_the_verifier_says_yes(ledger: Ledger, signed: Checkpoint, capsys: Capture) -> None:
    with closing(Store(ledger.directory)) as store:
        position, head = store.head()
    said = judged(ledger, signed, capsys)
    assert said.startswith(f"yes: {position} events, head {head.hex()}; 1 checkpoints, signed by")
    key = str(ledger.directory / PUBLIC_KEY)
    assert judged(ledger, signed, capsys, "--public-key", key).endswith("by the given key\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:3], "position 4: the log ends before 4, which was signed"),
        (lambda lines: lines[:1] + lines[2:], "position 2 is missing: 3 follows"),
        (lambda lines: [lines[0], {**lines[1], "state": "AAAA"}], "position 2: the event does not"),
        (lambda lines: [lines[0], {**lines[1], "state": "A"}], "position 2: the event cannot be"),
        (lambda lines: [{**lines[0], "version": 2}], "position 1: the event does not hash"),
        (lambda lines: [{"after": 3}, *lines[3:]], "the log begins after position 3"),
        (lambda lines: [*lines[:2], 7], "line 3 of"),
    ],
    ids=["cut", "hole", "changed", "unreadable", "version", "partial", "no object"],
)
def test_the_verifier_names_the_first_bad_position(
    ledger: Ledger, signed: Checkpoint, capsys: Capture, change: object, said: str
) -> None:
    assert callable(change)
    log = ledger.directory / "log.jsonl"
    exported(ledger.directory, log)
    lines = change([json.loads(line) for line in log.read_text().splitlines()])
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert judged(ledger, signed, capsys).startswith(f"no: {said}")


def test_the_verifier_trusts_no_checkpoint_that_was_touched(
    ledger: Ledger, signed: Checkpoint, capsys: Capture
) -> None:
    touched = msgspec.structs.replace(signed, hash="00" * 32)
    assert "is not good" in judged(ledger, touched, capsys)
    with Ledger(ledger.directory / "other") as other:
        foreign = taken(other)
        key = str(other.directory / PUBLIC_KEY)
    assert "of another ledger" in judged(ledger, foreign, capsys)
    assert "signed by another key" in judged(ledger, signed, capsys, "--public-key", key)


def test_the_verifier_sees_a_ledger_that_was_written_anew(
    ledger: Ledger, signed: Checkpoint, capsys: Capture
) -> None:
    rewritten(ledger.directory, 2, lambda event: msgspec.structs.replace(event, name="other"))
    assert judged(ledger, signed, capsys).startswith("no: position 4: another hash was signed")

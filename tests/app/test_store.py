"""The store in a file: what is in it, and on disk. What any store promises: `tests/contract`."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import StoredEvent

from app.chain import GENESIS, chain_hash
from app.identities import IdentityRow, IdentityRun
from app.store import (
    Pending,
    Store,
    TakenError,
)
from domain.decider import Envelope, Event
from domain.periods import EPOCH
from domain.products import ProductCreated
from tests.house import ROOT

UUID = "0192f0c1-0000-7000-8000-00000000abcd"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with closing(Store(tmp_path)) as opened:
        yield opened


def product(name: str) -> Event:
    """Some fact."""
    return ProductCreated(id=name, name=name, description=None, unit_label=None, created_at=EPOCH)


def pending(name: str, version: int = 1) -> Pending:
    """Some fact on its way into a stream of its own."""
    return Pending(name, version, Envelope(7, actor="me"), product(name))


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    """What another program would find in the file."""
    with closing(sqlite3.connect(store.path)) as connection:
        return connection.execute(sql).fetchall()


def first_break(store: Store) -> int | None:
    """The first position whose hash is not that of its stored bytes after the one before."""
    head = GENESIS
    for position, stored, kept in store.stored():
        head = chain_hash(head, stored)
        if head != kept:
            return position
    return None


# ---------------------------------------------------------------------------------------- chain


@pytest.mark.parametrize(
    "change",
    [
        "state = CAST(substr(state, 1, 20) || x'58' || substr(state, 22) AS BLOB)",
        "topic = 'meter.created/1'",
        "originator_id = 'x'",
        "originator_version = 2",
    ],
    ids=["one byte", "topic", "stream", "version"],
)
def test_tampering_is_seen_at_its_position(store: Store, change: str) -> None:
    store.append([pending(name) for name in "abcde"])
    assert first_break(store) is None
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(f"UPDATE stored_events SET {change} WHERE originator_id='c'")
    assert first_break(store) == 3


def test_events_that_change_places_are_seen(store: Store) -> None:
    store.append([pending(name) for name in "abc"])
    with closing(sqlite3.connect(store.path)) as connection, connection:
        for before, after in ((2, 9), (3, 2), (9, 3)):
            connection.execute("UPDATE stored_events SET rowid=? WHERE rowid=?", (after, before))
    assert first_break(store) == 2


def test_every_part_of_an_event_is_in_its_hash_by_its_length(store: Store) -> None:
    store.append([pending("ab"), pending("a")])
    [(_, one, _), (_, other, _)] = store.stored()
    moved = StoredEvent("a", 1, "b" + one.topic, one.state)
    hashes = {chain_hash(GENESIS, stored) for stored in (one, other, moved)}
    assert len({*hashes, chain_hash(b"x" * 32, one)}) == 4


# ----------------------------------------------------------------------------------- identities


def identity(id: str, position: int = 1, source: str = "default") -> IdentityRow:
    """A record's identity."""
    return IdentityRow(source, id, position, 0, b"digest of " + id.encode())


def test_a_uuid_is_kept_as_its_sixteen_bytes_in_its_own_order(store: Store) -> None:
    ids = [f"0192f0c1-0000-7000-8000-{number:012x}" for number in (3, 1, 2)]
    store.append([pending("a")], [identity(id) for id in [*ids, "text"]])
    found = rows(store, "SELECT typeof(id), hex(id) FROM usage_identities ORDER BY source, id")
    kept = [("blob", id.replace("-", "").upper()) for id in sorted(ids)]
    assert found == [("text", b"text".hex()), *kept]


def test_the_letters_of_a_uuid_are_part_of_it(store: Store) -> None:
    store.append([pending("a")], [identity(UUID), identity(UUID.upper())])
    assert len(store.recorded([("default", UUID), ("default", UUID.upper())])) == 2


def test_a_run_of_identities_is_kept_as_its_rows_are(store: Store) -> None:
    ids = [f"0192f0c1-0000-7000-8000-{number * 7919 % 1000:012x}" for number in range(1_000)]
    run = IdentityRun("gateway", 1, bytes.fromhex("".join(ids).replace("-", "")), b"mark")
    singly = [IdentityRow("default", id, 1, row, b"mark") for row, id in enumerate(ids)]
    assert [one._replace(source="default") for one in run.rows()] == singly
    store.append([pending("a")], [*singly, run])
    kept = "SELECT id, position, row, digest FROM usage_identities WHERE source="
    both = [
        rows(store, f"{kept}(SELECT number FROM usage_sources WHERE name='{name}') ORDER BY id")
        for name in ("default", "gateway")
    ]
    assert both[0] == both[1]
    assert len(both[0]) == 1_000
    assert store.identity("gateway", ids[7]) == (1, 7)


def test_a_run_with_an_identity_that_is_taken_writes_nothing(store: Store) -> None:
    run = IdentityRun("default", 2, bytes(16) + bytes.fromhex(UUID.replace("-", "")), bytes(32))
    store.append([pending("a")], [identity(UUID)])
    with pytest.raises(TakenError):
        store.append([pending("b")], [run])
    assert store.identity("default", "00000000-0000-0000-0000-000000000000") is None
    assert store.head()[0] == 1


# ------------------------------------------------------------------------------------- the file


def test_what_is_answered_is_on_disk(store: Store) -> None:
    recorder = store._writing
    with recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2, "2 is FULL"
    assert rows(store, "PRAGMA journal_mode") == [("wal",)]


def test_a_second_process_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app.store import Store;"
        "Store(Path(sys.argv[1])).close(); sys.stdout.write('opened')"
    )

    def other_process() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    with closing(Store(tmp_path)):
        refused = other_process()
    assert refused.returncode != 0
    assert f"{tmp_path} is in use by another tallybook process; stop" in refused.stderr
    assert other_process().stdout == "opened"

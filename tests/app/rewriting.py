"""Write a ledger anew, as somebody would who knows the rule of the chain; and read it as lines."""

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from eventsourcing.persistence import StoredEvent

from app.chain import GENESIS, chain_hash
from app.store import LedgerMapper, Pending

_MAPPER = LedgerMapper()


def rewritten(directory: Path, position: int, change: Callable[[Any], Any]) -> None:
    """Let the event at a position say something else, and have every hash fit again."""

    def changed(pending: Pending) -> None:
        said = change(pending.event)
        assert said != pending.event
        pending.event = said

    with closing(sqlite3.connect(directory / "ledger.db")) as connection, connection:
        rewrite(connection, position, changed)


def rewrite(
    connection: sqlite3.Connection, position: int, change: Callable[[Pending], None]
) -> None:
    """Change a stored event in place, and every hash from there on."""
    pending = _MAPPER.to_domain_event(stored_at(connection, position))
    change(pending)
    state = _MAPPER.to_stored_event(pending).state
    connection.execute("UPDATE stored_events SET state=? WHERE rowid=?", (state, position))
    sql = "SELECT hash FROM event_hashes WHERE position=?"
    before = connection.execute(sql, (position - 1,)).fetchone()
    head = before[0] if before else GENESIS
    (last,) = connection.execute("SELECT MAX(rowid) FROM stored_events").fetchone()
    for at in range(position, last + 1):
        head = chain_hash(head, stored_at(connection, at))
        connection.execute("UPDATE event_hashes SET hash=? WHERE position=?", (head, at))


def stored_at(connection: sqlite3.Connection, position: int) -> StoredEvent:
    """The event at a position as it is stored."""
    columns = "originator_id, originator_version, topic, state"
    sql = f"SELECT {columns} FROM stored_events WHERE rowid=?"
    return StoredEvent(*connection.execute(sql, (position,)).fetchone())


def exported(directory: Path, path: Path) -> None:
    """The log as lines, each event with its stored bytes and its hash."""
    with (
        closing(sqlite3.connect(directory / "ledger.db")) as connection,
        path.open("w", encoding="utf-8") as file,
    ):
        hashes = connection.execute("SELECT position, hash FROM event_hashes ORDER BY position")
        for position, hash in hashes.fetchall():
            stored = stored_at(connection, position)
            line = {
                "kind": "event",
                "position": position,
                "stream": stored.originator_id,
                "version": stored.originator_version,
                "topic": stored.topic,
                "state": base64.b64encode(stored.state).decode(),
                "hash": hash.hex(),
            }
            file.write(f"{json.dumps(line)}\n")

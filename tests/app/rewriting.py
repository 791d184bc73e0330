"""Write a ledger anew, as somebody would who knows the rule of the chain; and read it as lines."""

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from app.chain import GENESIS, chain_hash
from app.store import LedgerMapper, Pending, Store


def rewritten(directory: Path, position: int, change: Callable[[Any], Any]) -> None:
    """Let the event at a position say something else, and have every hash fit again."""
    mapper = LedgerMapper()
    with closing(Store(directory)) as store:
        recorded = store.at(position)
        assert recorded is not None
        said = change(recorded.event)
        assert said != recorded.event
        pending = Pending(recorded.stream_id, recorded.stream_version, recorded.envelope, said)
        state = mapper.to_stored_event(pending).state
    with closing(sqlite3.connect(directory / "ledger.db")) as connection, connection:
        connection.execute("UPDATE stored_events SET state=? WHERE rowid=?", (state, position))
    with closing(Store(directory)) as store:
        hashes = []
        head = GENESIS
        for at, stored, _ in store.stored():
            head = chain_hash(head, stored)
            hashes.append((head, at))
    with closing(sqlite3.connect(directory / "ledger.db")) as connection, connection:
        connection.executemany("UPDATE event_hashes SET hash=? WHERE position=?", hashes)


def exported(directory: Path, path: Path) -> None:
    """The log as lines, each event with its stored bytes and its hash."""
    with closing(Store(directory)) as store, path.open("w", encoding="utf-8") as file:
        for position, stored, hash in store.stored():
            line = {
                "kind": "event",
                "position": position,
                "stream": stored.originator_id,
                "version": stored.originator_version,
                "topic": stored.topic,
                "state": base64.b64encode(stored.state).decode(),
                "hash": (hash or b"").hex(),
            }
            file.write(f"{json.dumps(line)}\n")

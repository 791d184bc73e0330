"""The files of a ledger as they are at one moment, while a server may write to them.

A snapshot reads the log as it is stored, and never holds up the writer. Copies are made by SQLite's
online backup, so that what is still in a `-wal` file is in the copy.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self

from app.chain import GENESIS
from app.identities import ROWS_PER_STATEMENT
from app.store import CorruptLedger, KeyRow
from domain.record_ids import stored_id, written_id
from domain.usage import Identity
from projections.tables import opening

_WAIT_SECONDS = 30


class Kept(NamedTuple):
    """An event as its stored bytes, with the hash that stands beside it."""

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes
    hash: bytes


class Snapshot:
    """The log of one moment. Use it as a context; whatever is written meanwhile is not in it."""

    def __init__(self, path: Path) -> None:
        self._connection = _open(path)
        head = "SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1"
        try:
            self._connection.execute("BEGIN")
            row = self._connection.execute(head).fetchone()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise CorruptLedger(f"{path} cannot be read: {error}") from error
        self.position: int = row[0] if row else 0
        self.hash: bytes = row[1] if row else GENESIS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def events(self, after: int = 0, topics: str = "") -> Iterator[Kept]:
        """Every event after a position, in order; only topics that begin so."""
        rows = self._connection.execute(
            "SELECT stored_events.rowid, originator_id, originator_version, topic, state, hash"
            " FROM stored_events LEFT JOIN event_hashes ON position=stored_events.rowid"
            " WHERE stored_events.rowid>? AND substr(topic, 1, ?)=?"
            " ORDER BY stored_events.rowid",
            (after, len(topics), topics),
        )
        for row in rows:
            yield Kept(*row)

    def at(self, position: int) -> Kept:
        """The event at a position."""
        kept = next(self.events(position - 1), None)
        if kept is None or kept.position != position:
            raise CorruptLedger(f"there is no event at position {position}")
        return kept

    def hash_at(self, position: int) -> bytes:
        """The chain's hash at a position; before the first event it is the genesis."""
        if position == 0:
            return GENESIS
        sql = "SELECT hash FROM event_hashes WHERE position=?"
        row = self._connection.execute(sql, (position,)).fetchone()
        if row is None:
            raise CorruptLedger(f"there is no hash at position {position}")
        return bytes(row[0])

    def keys(self, after: int = 0) -> Iterator[KeyRow]:
        """Every idempotency key that belongs behind an event after a position, in that order."""
        rows = self._connection.execute(
            "SELECT key, digest, subject, position FROM idempotency_keys WHERE position>?"
            " ORDER BY position, key",
            (after,),
        )
        for row in rows:
            yield KeyRow(*row)

    def key(self, key: str) -> KeyRow | None:
        """What an idempotency key was used for."""
        sql = "SELECT key, digest, subject, position FROM idempotency_keys WHERE key=?"
        row = self._connection.execute(sql, (key,)).fetchone()
        return KeyRow(*row) if row else None

    def digests(self, position: int, identities: Sequence[Identity]) -> list[bytes]:
        """What the usage records of one event said, as digests in the order of the records."""
        found: dict[Identity, bytes] = {}
        for start in range(0, len(identities), ROWS_PER_STATEMENT):
            chunk = identities[start : start + ROWS_PER_STATEMENT]
            marks = ",".join("?" * len(chunk))
            rows = self._connection.execute(
                "SELECT name, id, digest FROM usage_identities JOIN usage_sources ON number=source"
                f" WHERE id IN ({marks}) AND position=? AND source IN"
                f" (SELECT number FROM usage_sources WHERE name IN ({marks}))",
                [*(stored_id(id) for _, id in chunk), position, *(name for name, _ in chunk)],
            )
            found |= {(name, written_id(id)): digest for name, id, digest in rows}
        if missing := set(identities) - set(found):
            source, id = min(missing)
            message = f"the identity of usage record {id!r} of {source!r} is not kept"
            raise CorruptLedger(f"at position {position}, {message}")
        return [found[identity] for identity in identities]


def copy(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, and flush the copy to disk.

    Raises `CorruptLedger` when it is no database, or cannot be read.
    """
    with opening(source):
        reading = _open(source)
        try:
            reading.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            reading.close()
            raise CorruptLedger(f"{source} cannot be copied: {error}") from error
    with closing(reading), closing(sqlite3.connect(target)) as writing:
        try:
            reading.backup(writing)
        except sqlite3.DatabaseError as error:
            raise CorruptLedger(f"{source} cannot be copied: {error}") from error


def settle(path: Path) -> None:
    """Bring a database that nobody has open into its one file, which then opens read-only too."""
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    if mode != "delete":
        raise CorruptLedger(f"{path} cannot be brought into one file")


def _open(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_WAIT_SECONDS
    )

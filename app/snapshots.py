"""A ledger as it is at one moment, while a server may write to it.

A snapshot reads the log as it is stored, and never holds up the writer; `postgres_snapshots.py` has
that of a ledger in PostgreSQL. Copies of files are made by SQLite's online backup, so that what is
still in a `-wal` file is in the copy.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

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
        try:
            self._connection.execute("BEGIN")
            self.position, self.hash = self._head()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise CorruptLedger(f"{path} cannot be read: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterable[tuple[Any, ...]]:
        """The rows of a query, as they are read."""
        return self._connection.execute(sql, parameters)

    def _scan(self, sql: str, parameters: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
        """The same for rows of which there may be any number."""
        return self._rows(sql, parameters)

    _kept_id = staticmethod(stored_id)
    _written_id = staticmethod(written_id)
    """How the id of a usage record is kept, and what its sender wrote."""

    def _head(self) -> tuple[int, bytes]:
        """The newest position and its hash."""
        sql = "SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1"
        [(position, hash)] = [*self._rows(sql)] or [(0, GENESIS)]
        return position, hash

    def events(self, after: int = 0, topics: str = "") -> Iterator[Kept]:
        """Every event after a position, in order; only topics that begin so."""
        yield from self._page(after, topics, -1)

    def _page(self, after: int, topics: str, most: int) -> Iterator[Kept]:
        rows = self._rows(
            "SELECT stored_events.rowid, originator_id, originator_version, topic, state, hash"
            " FROM stored_events LEFT JOIN event_hashes ON position=stored_events.rowid"
            " WHERE stored_events.rowid>? AND substr(topic, 1, CAST(? AS INTEGER))=?"
            " ORDER BY stored_events.rowid LIMIT ?",
            (after, len(topics), topics, most),
        )
        for row in rows:
            yield Kept(*row)

    def at(self, position: int) -> Kept:
        """The event at a position."""
        kept = next(self._page(position - 1, "", 1), None)
        if kept is None or kept.position != position:
            raise CorruptLedger(f"there is no event at position {position}")
        return kept

    def hash_at(self, position: int) -> bytes:
        """The chain's hash at a position; before the first event it is the genesis."""
        if position == 0:
            return GENESIS
        sql = "SELECT hash FROM event_hashes WHERE position=?"
        for (hash,) in self._rows(sql, (position,)):
            return bytes(hash)
        raise CorruptLedger(f"there is no hash at position {position}")

    def keys(self, after: int = 0) -> Iterator[KeyRow]:
        """Every idempotency key that belongs behind an event after a position, in that order."""
        rows = self._scan(
            "SELECT key, digest, subject, position FROM idempotency_keys WHERE position>?"
            " ORDER BY position, key",
            (after,),
        )
        for row in rows:
            yield KeyRow(*row)

    def key(self, key: str) -> KeyRow | None:
        """What an idempotency key was used for."""
        sql = "SELECT key, digest, subject, position FROM idempotency_keys WHERE key=?"
        return next((KeyRow(*row) for row in self._rows(sql, (key,))), None)

    def marks(self, position: int, identities: Sequence[Identity]) -> list[bytes]:
        """How the usage records of one event were sent, in the order of the records."""
        found: dict[Identity, bytes] = {}
        for start in range(0, len(identities), ROWS_PER_STATEMENT):
            chunk = identities[start : start + ROWS_PER_STATEMENT]
            marks = ",".join("?" * len(chunk))
            rows = self._rows(
                "SELECT name, id, digest FROM usage_identities JOIN usage_sources ON number=source"
                f" WHERE id IN ({marks}) AND position=? AND source IN"
                f" (SELECT number FROM usage_sources WHERE name IN ({marks}))",
                [*(self._kept_id(id) for _, id in chunk), position, *(name for name, _ in chunk)],
            )
            found |= {(name, self._written_id(id)): mark for name, id, mark in rows}
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

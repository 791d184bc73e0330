"""The floor that the ledger is measured against: the same rows in a bare SQLite table."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from domain.usage import RecordInput

Row = tuple[str, str, str, str, str | None, str | None, str]
COLUMNS = (
    "id TEXT, source TEXT, event_name TEXT, customer TEXT, "
    "timestamp TEXT, value TEXT, properties TEXT"
)
UNIQUE = "CREATE UNIQUE INDEX usage_identity ON usage (source, id)"

NOTE = "one table, unique index on (source, id), WAL, synchronous=FULL, executemany"


class Floor(Protocol):
    """What anybody would write who had to store the rows and refuse an id sent twice."""

    def insert(self, rows: Sequence[Row]) -> None:
        """One transaction with these rows."""


@contextmanager
def floor(path: Path, *, cache_kib: int = 2_000) -> Iterator[Floor]:
    """A new table of usage records, with nothing else around it; SQLite's own size of cache."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")
        connection.execute(f"CREATE TABLE usage ({COLUMNS})")
        connection.execute(UNIQUE)
        yield _InSQLite(connection)


class _InSQLite:
    """The rows in a table of SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, rows: Sequence[Row]) -> None:
        """One transaction with these rows."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO usage VALUES (?,?,?,?,?,?,?)", rows)
        self._connection.execute("COMMIT")


def rows_of(records: Sequence[RecordInput]) -> list[Row]:
    """The records as ready rows."""
    return [
        (
            record.id,
            record.source,
            record.event_name,
            record.customer,
            record.timestamp,
            record.value,
            msgspec.json.encode(record.properties).decode(),
        )
        for record in records
    ]

"""The one door to the views database: opening it, its tables and their version, reading, writing.

Everything in it can be made again from the ledger, so a database of another version is thrown away
and rebuilt, never migrated, and it need not be flushed to disk at every commit.
"""

import fcntl
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from projections.places import Unreachable

_CACHE_KIB = 131_072
_READER_CACHE_KIB = 16_384
_PAGE_BYTES = 8_192
"""A block of usage records fits: with the usual 4,096 most would lie in pages of their own."""
_CHECKPOINT_PAGES = 8_192
_ROWS_PER_STATEMENT = 250
_ROWS_PER_PAGE = 1_000
_META = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID"

IN_MEMORY = Path(":memory:")
"""Where views are that nobody keeps."""

Row = tuple[Any, ...]

_encode = msgspec.msgpack.Encoder().encode


@contextmanager
def opening(path: Path, *, alone: bool = False) -> Iterator[None]:
    """While a database is opened, nobody puts another one in its place; alone, nobody opens one.

    SQLite finds the `-wal` beside a database by its name, and looks for it when it first reads: the
    two must be of one database. It holds for every thread and process. Raises `BlockingIOError`
    when nobody else may be opening one, and somebody is.
    """
    if path == IN_MEMORY:
        yield
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)


class Table:
    """One table: its columns as SQL, and the key that its canonical dump is ordered by.

    A table is clustered by its key, unless the key is its first column as INTEGER PRIMARY KEY.
    """

    def __init__(self, name: str, columns: str, key: str, indexes: Sequence[str] = ()) -> None:
        self.name = name
        self.key = key
        self.columns = dict(column.split(" ", 1) for column in columns.split(", "))
        clustered = "" if "PRIMARY KEY" in columns else f", PRIMARY KEY ({key})"
        options = "WITHOUT ROWID" if clustered else ""
        self._create = f"CREATE TABLE IF NOT EXISTS {name} ({columns}{clustered}) {options}"
        self._indexes = [
            f"CREATE INDEX IF NOT EXISTS {name}_{index.replace(', ', '_')} ON {name} ({index})"
            for index in indexes
        ]

    @property
    def statements(self) -> list[str]:
        """What creates the table and its indexes."""
        return [self._create, *self._indexes]

    def listed(self, views: "Views") -> Iterator[Row]:
        """Every row in the order of the key, as a dump shows it."""
        return views.scan(f"SELECT * FROM {self.name} ORDER BY {self.key}")

    @property
    def replacing(self) -> str:
        """What puts a row in the place of the one with its key."""
        others = [name for name in self.columns if name not in self.key.split(", ")]
        return self.merging(", ".join(f"{name}=excluded.{name}" for name in others))

    def merging(self, changes: str) -> str:
        """What changes the row with the same key instead of inserting another one."""
        return f"ON CONFLICT ({self.key}) DO UPDATE SET {changes}"


_empty: dict[tuple[Table, ...], sqlite3.Connection] = {}
"""Databases in which nothing has happened, to be copied."""
_empty_lock = threading.Lock()


class Rows(Protocol):
    """What a query answers."""

    def fetchall(self) -> list[Row]:
        """All rows that are left."""

    def fetchone(self) -> Row | None:
        """The next row."""

    def __iter__(self) -> Iterator[Row]:
        """The rows as they are read."""


class Connection(Protocol):
    """A connection to a database that takes our SQL."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Run a statement."""


class Views:
    """A connection to the views: a reader's snapshot, or the writer's open transaction."""

    transaction = 0
    """Which of the writer's transactions this is, counted since the views were opened."""

    def __init__(self, connection: Connection, known: dict[Any, Any] | None = None) -> None:
        self._connection = connection
        self.known = known
        """What was looked up, for as long as nobody else can change it; None where they can."""

    def begins(self) -> None:
        """The writer's transaction begins: until it ends nobody else changes anything."""
        self.transaction += 1
        self.known = {}

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, if there is one."""
        found: Row | None = self._connection.execute(sql, parameters).fetchone()
        return found

    def iterate(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query as they are read, of a query that finds a bounded number of them."""
        return iter(self._connection.execute(sql, parameters))

    def scan(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query as they are read, however many there are."""
        return self.iterate(sql, parameters)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Change something."""
        self._connection.execute(sql, parameters)

    def insert(self, table: str, rows: Sequence[Row], on_conflict: str = "") -> None:
        """Insert rows, many to a statement: far fewer crossings into the database than one each."""
        if not rows:
            return
        one = f"({','.join('?' * len(rows[0]))})"
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            chunk = rows[start : start + _ROWS_PER_STATEMENT]
            values = ",".join([one] * len(chunk))
            self._connection.execute(
                f"INSERT INTO {table} VALUES {values} {on_conflict}",
                list(chain.from_iterable(chunk)),
            )

    def by_key(self, table: Table, keys: Sequence[Row]) -> Iterator[Row]:
        """Those rows of a table that have one of these keys, in no order: one seek for each."""
        names = table.key.split(", ")
        marks = f"({','.join('?' * len(names))})"
        found = " AND ".join(f"{table.name}.{name}=wanted.{name}" for name in names)
        for start in range(0, len(keys), _ROWS_PER_STATEMENT):
            some = keys[start : start + _ROWS_PER_STATEMENT]
            values = ",".join([marks] * len(some))
            yield from self._connection.execute(
                f"WITH wanted({table.key}) AS (VALUES {values}) SELECT {table.name}.* FROM wanted"
                f" CROSS JOIN {table.name} ON {found}",
                list(chain.from_iterable(some)),
            )

    def of_many(
        self, sql: str, values: Sequence[Any], parameters: Sequence[Any] = ()
    ) -> Iterator[Row]:
        """The rows of a query about many values at once: `IN :them` is theirs."""
        for start in range(0, len(values), _ROWS_PER_STATEMENT):
            some = values[start : start + _ROWS_PER_STATEMENT]
            marks = sql.replace(":them", f"({','.join('?' * len(some))})")
            yield from self._connection.execute(marks, [*parameters, *some])

    def put(self, table: Table, row: Row) -> None:
        """Put a row in the place of the one with its key, if there is one."""
        marks = ",".join("?" * len(row))
        self.execute(f"INSERT INTO {table.name} VALUES ({marks}) {table.replacing}", row)

    def checkpoint(self) -> int:
        """The ledger position up to which these views are folded."""
        return int(self.meta("position") or 0)

    def set_meta(self, name: str, value: object) -> None:
        """Note something about the views themselves."""
        self.note({name: value})

    def note(self, values: Mapping[str, object]) -> None:
        """Note several things about the views themselves, at once."""
        marks = ",".join(["(?,?)"] * len(values))
        on_conflict = "ON CONFLICT (name) DO UPDATE SET value=excluded.value"
        self.execute(f"INSERT INTO meta VALUES {marks} {on_conflict}", [*chain(*values.items())])

    def meta(self, name: str) -> Any:
        """What was noted, or None."""
        found = self.row("SELECT value FROM meta WHERE name=?", (name,))
        return found[0] if found else None


class ViewsDatabase(ABC):
    """The views of a ledger: one that writes, and read-only snapshots for everybody else."""

    writing: Views
    tables: tuple[Table, ...]
    stamp: str | None = None
    """The version that the views must be of for whoever reads them; None for any."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection; snapshots still open close as they end."""

    @abstractmethod
    def begin(self) -> None:
        """Begin the writer's transaction."""

    @abstractmethod
    def commit(self) -> None:
        """Keep what the writer's transaction changed."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo what the writer's transaction changed."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Views]:
        """A read-only view of one moment, for a whole query; any number at a time."""

    def check_stamp(self, found: object) -> None:
        """Refuse views of another version, which another program may keep here by now."""
        if self.stamp is not None and found != self.stamp:
            raise Unreachable("the views are of another version than this program")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Views]:
        """The writer's transaction: kept at the end of the block, undone when it raises."""
        self.begin()
        try:
            yield self.writing
            self.commit()
        except BaseException:
            self.rollback()
            raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the writer's transaction that is undone by itself when it raises."""
        self.writing.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.writing.known = {}
            self.writing.execute("ROLLBACK TO part")
            self.writing.execute("RELEASE part")
            raise
        self.writing.execute("RELEASE part")

    def dump(self) -> Iterator[str]:
        """The canonical text of everything in the views: equal ledgers have equal dumps."""
        with self.snapshot() as views:
            for table in self.tables:
                yield f"# {table.name}"
                yield from map(line, table.listed(views))


class ViewsFile(ViewsDatabase):
    """Views in a file of SQLite, or in memory."""

    def __init__(self, path: Path, tables: Sequence[Table]) -> None:
        self.path = path
        self.tables = tuple(tables)
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        with opening(path):
            self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._writer.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            if self._writer.execute("PRAGMA schema_version").fetchone() == (0,):
                _copy_empty(self.tables, self._writer)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=NORMAL")
            self._writer.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._writer.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self.writing = Views(self._writer)

    def close(self) -> None:
        with self._idle_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._writer.close()

    def begin(self) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        self.writing.begins()

    def commit(self) -> None:
        self.writing.known = None
        self._writer.execute("COMMIT")

    def rollback(self) -> None:
        self.writing.known = None
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[Views]:
        connection = self._take()
        connection.execute("BEGIN")
        try:
            views = Views(connection, {})
            self.check_stamp(views.meta("stamp"))
            yield views
        finally:
            connection.execute("ROLLBACK")
            self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        with opening(self.path):
            connection = sqlite3.connect(
                f"file:{self.path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA cache_size=-{_READER_CACHE_KIB}")
            connection.execute("SELECT 1 FROM meta").fetchone()
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _copy_empty(tables: tuple[Table, ...], connection: sqlite3.Connection) -> None:
    """Copy the empty tables from those made before: that takes a quarter as long as to make them.

    Views come and go, most of them in memory.
    """
    with _empty_lock:
        if tables not in _empty:
            made = sqlite3.connect(IN_MEMORY, isolation_level=None, check_same_thread=False)
            made.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            for statement in (_META, *(each for table in tables for each in table.statements)):
                made.execute(statement)
            _empty[tables] = made
        _empty[tables].backup(connection)


def line(row: Row) -> str:
    """A row of a dump."""
    return "\t".join(_canonical(value) for value in row)


def stamp_of(path: Path) -> str | None:
    """The version stamp of the views at a path, before anything is assumed about their tables."""
    with opening(path):
        if not path.exists():
            return None
        connection = sqlite3.connect(path)
        try:
            row = connection.execute("SELECT value FROM meta WHERE name='stamp'").fetchone()
        except sqlite3.DatabaseError:
            return None  # not views of ours, or not even a database
        finally:
            connection.close()
    return str(row[0]) if row else None


def _canonical(value: object) -> str:
    """One value of a dump; bytes as hex, so that a dump is text."""
    return f"x{value.hex()}" if isinstance(value, bytes) else repr(value)

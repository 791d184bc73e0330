"""How we speak to PostgreSQL: our SQL in its words, and values that come back as they went in.

Statements are written once, as SQLite has them; what PostgreSQL says otherwise is translated here,
so that nobody else need know.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg import Connection, RawCursor, RawServerCursor
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from projections.places import Place

Row = tuple[Any, ...]

_CONNECT_SECONDS = 10
_PAGE_ROWS = 1_000
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        # SQLite takes the order of such a join as it is written; here the planner finds one.
        (r"\bCROSS JOIN\b", "JOIN"),
        (r"\bIS NOT \?", "IS DISTINCT FROM ?"),
        (r"\bIS \?", "IS NOT DISTINCT FROM ?"),
        (r"\bLIMIT \?", "LIMIT NULLIF(?, -1)"),
        (r"\bIN \(\)", "IN (NULL)"),
        (r"\browid\b", "notification_id"),
    )
)
_TYPES = {"INTEGER": "bigint", "TEXT": 'text COLLATE "C"', "BLOB": "bytea"}
_MARK = re.compile(r"\?(\d*)")

_names = count(1)


@lru_cache(maxsize=4_096)
def translated(sql: str) -> bytes:
    """A statement in PostgreSQL's words.

    >>> translated("SELECT a FROM b WHERE c IS ? AND d>? LIMIT ?").decode()
    'SELECT a FROM b WHERE c IS NOT DISTINCT FROM $1 AND d>$2 LIMIT NULLIF($3, -1)'
    >>> translated("SELECT ?2 FROM a CROSS JOIN b ON c=?1").decode()
    'SELECT $2 FROM a JOIN b ON c=$1'
    """
    for pattern, words in _WORDS:
        sql = pattern.sub(words, sql)
    numbers = count(1)
    return _MARK.sub(lambda mark: f"${mark[1] or next(numbers)}", sql).encode()


def as_table(statement: str) -> bytes:
    """What creates a table or an index, with PostgreSQL's types; texts sort by their bytes.

    >>> as_table("CREATE TABLE a (b INTEGER, c TEXT, PRIMARY KEY (b)) WITHOUT ROWID").decode()
    'CREATE TABLE a (b bigint, c text COLLATE "C", PRIMARY KEY (b)) '
    """
    statement = statement.replace("WITHOUT ROWID", "")
    return re.sub(r"\b(?:INTEGER|TEXT|BLOB)\b", lambda found: _TYPES[found[0]], statement).encode()


def column_type(type: str) -> str:
    """The type of a column, as PostgreSQL has it.

    >>> column_type("INTEGER PRIMARY KEY")
    'bigint'
    """
    return _TYPES[type.partition(" ")[0]].partition(" ")[0]


class _Whole(NumericBinaryLoader):
    """Sums of whole numbers are wider than the numbers, and still whole."""

    def load(self, data: Buffer) -> Any:
        return int(super().load(data))


def adapt(connection: Connection[Any]) -> None:
    """Let every whole number go as 64 bits, as columns have it, and come back as `int`."""
    for type in (int, bool):
        connection.adapters.register_dumper(type, Int8BinaryDumper)
    connection.adapters.register_loader("numeric", _Whole)


def connect(place: Place, search_path: str) -> Connection[Row]:
    """A connection that finds tables in a schema, each statement a transaction by itself."""
    given: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, **conninfo_to_dict(place.url)}
    connection = Connection.connect(**given, autocommit=True, cursor_factory=RawCursor)
    try:
        prepare(connection, search_path)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: Connection[Any], search_path: str) -> None:
    """Let a new connection find tables in a schema, and speak as we do."""
    connection.server_cursor_factory = RawServerCursor
    adapt(connection)
    connection.execute(f'SET search_path TO "{search_path}"'.encode())


class Session:
    """A connection that takes our SQL."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> RawCursor[Row]:
        """Run a statement; what it answers is all here."""
        cursor = RawCursor(self.connection, row_factory=tuple_row)
        return cursor.execute(translated(sql), parameters, binary=True)

    def scan(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query as they are read, within a transaction: some at a time."""
        name = f"scan_{next(_names)}"
        with RawServerCursor(self.connection, name, row_factory=tuple_row) as cursor:
            cursor.itersize = _PAGE_ROWS
            cursor.execute(translated(sql), parameters, binary=True)
            yield from cursor


def lost(error: BaseException) -> bool:
    """Whether an error says that the connection is gone, and not that a statement is wrong."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)

"""How we speak to PostgreSQL: our SQL in its words, and values that come back as they went in.

Statements are written once, as SQLite has them; what PostgreSQL says otherwise is translated here,
so that nobody else need know.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from psycopg import Connection, ProgrammingError, RawCursor
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from projections.places import Place

Row = tuple[Any, ...]

LOCK_SECONDS = 30
"""How long whoever writes waits for somebody else who does."""
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""After how long a server that says nothing is taken for gone; an address may say otherwise."""
_IDLE_SECONDS = 20
"""How long somebody who writes may say nothing, before the server takes them for gone.

That is before others have given up waiting for them.
"""
_PAGE_ROWS = 1_000
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        # SQLite takes the order of such a join as it is written; here the planner finds one.
        (r"\bCROSS JOIN\b", "JOIN"),
        (r"/\*(ORDER BY .*?)\*/", r"\1"),
        (r"\bIS NOT \?", "IS DISTINCT FROM ?"),
        (r"\bIS \?", "IS NOT DISTINCT FROM ?"),
        (r"\bLIMIT \?", "LIMIT NULLIF(?, -1)"),
        (r"\bIN \(\)", "IN (NULL)"),
        (r"\browid\b", "notification_id"),
    )
)
_TYPES = {"INTEGER": "bigint", "TEXT": 'text COLLATE "C"', "BLOB": "bytea"}
_TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")
_BYTES = re.compile(r"(\w+) BLOB\b")
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

    Bytes are packed already: to compress them takes longer than to write them.

    >>> as_table("CREATE TABLE a (b INTEGER, c TEXT, PRIMARY KEY (b)) WITHOUT ROWID").decode()
    'CREATE TABLE a (b bigint, c text COLLATE "C", PRIMARY KEY (b)) '
    """
    statement = statement.replace("WITHOUT ROWID", "")
    table = _TABLE.match(statement)
    created = re.sub(r"\b(?:INTEGER|TEXT|BLOB)\b", lambda found: _TYPES[found[0]], statement)
    if table is not None:
        for column in _BYTES.findall(statement):
            created += f"; ALTER TABLE {table[1]} ALTER COLUMN {column} SET STORAGE EXTERNAL"
    return created.encode()


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
    """Let every whole number go as 64 bits, as columns have it, and come back as `int`.

    Arrays go as the bytes they are: as text, those of bytes would be twice as long.
    """
    for type in (int, bool):
        connection.adapters.register_dumper(type, Int8BinaryDumper)
    connection.adapters.register_dumper(list, ListBinaryDumper)
    connection.adapters.register_loader("numeric", _Whole)


def parameters(place: Place) -> dict[str, Any]:
    """How a connection to a place is made; it need not wait for long.

    Raises `ValueError` when the address names something that PostgreSQL does not know.
    """
    try:
        given = conninfo_to_dict(place.url)
    except ProgrammingError as error:
        raise ValueError(f"{place}: {error}") from error
    return {**_PATIENCE, **given, "cursor_factory": RawCursor}


def connect(place: Place, search_path: str) -> Connection[Row]:
    """A connection that finds tables in a schema, each statement a transaction by itself."""
    connection = Connection.connect(**parameters(place), autocommit=True)
    try:
        prepare(connection, search_path)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: Connection[Any], search_path: str) -> None:
    """Let a new connection find tables in a schema, and speak as we do."""
    adapt(connection)
    connection.execute(f'SET search_path TO "{search_path}"'.encode())


def prepare_writing(connection: Connection[Any], place: Place) -> None:
    """Let a new connection write. What is answered must be on disk, and every text storable.

    Raises `ValueError` where it cannot be so.
    """
    names = ("fsync", "server_encoding", "synchronous_commit")
    sql = f"SELECT {', '.join(f'current_setting($${name}$$)' for name in names)}"
    fsync, encoding, synchronous = connection.execute(sql.encode()).fetchone() or ("", "", "")
    if fsync != "on":
        raise ValueError(f"{place}: the server runs with fsync=off, and may lose bills")
    if encoding != "UTF8":
        raise ValueError(f"{place}: the database is not encoded as UTF8")
    if synchronous == "off":
        connection.execute(b"SET synchronous_commit TO on")
    # What others wrote before a turn began must be seen in it.
    connection.execute(b"SET default_transaction_isolation TO 'read committed'")
    # Whoever is cut off, or stands still, keeps nobody else from writing for ever.
    idle = f"SET idle_in_transaction_session_timeout TO '{_IDLE_SECONDS}s'"
    connection.execute(idle.encode())


def waiting_for(*turns: str) -> str:
    """What takes these turns for as long as a transaction lasts, one statement after the other."""
    wait = [f"SET LOCAL lock_timeout TO '{LOCK_SECONDS}s'"]
    wait += [f"SELECT pg_advisory_xact_lock({lock_of(turn)})" for turn in turns]
    return "; ".join(wait)


def lock_of(turn: str) -> str:
    """The number of a lock, as SQL.

    >>> lock_of("tallybook acme")
    "hashtextextended('tallybook acme', 0)"
    """
    return f"hashtextextended('{turn}', 0)"


def exists(connection: Connection[Any], table: str) -> bool:
    """Whether there is a table of this name."""
    found = connection.execute(b"SELECT to_regclass($1)", (table,)).fetchone()
    return found is not None and found[0] is not None


class Session:
    """A connection that takes our SQL."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> RawCursor[Row]:
        """Run a statement; what it answers is all here."""
        cursor = RawCursor(self.connection, row_factory=tuple_row)
        # A statement whose text is never the same again is not worth preparing.
        prepare = False if sql.startswith(("DECLARE", "FETCH", "CLOSE")) else None
        return cursor.execute(translated(sql), parameters, binary=True, prepare=prepare)

    def scan(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query as they are read, some at a time.

        Whoever reads no further leaves the rest to the end of the transaction.
        """
        if self.connection.info.transaction_status is TransactionStatus.IDLE:
            yield from self.execute(sql, parameters)
            return
        name = f"scan_{next(_names)}"
        self.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}", parameters)
        while page := self.execute(f"FETCH {_PAGE_ROWS} FROM {name}").fetchall():
            yield from page
        self.execute(f"CLOSE {name}")

"""The views of a ledger in PostgreSQL: a schema of their own beside the ledger's.

The tables and what is in them are the same as in a file (`tables.py`), so that both have the same
canonical dump. A rebuild fills another schema, which then takes the name of this one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import msgspec
import psycopg
from psycopg import Connection
from psycopg.errors import LockNotAvailable, UndefinedTable
from psycopg_pool import ConnectionPool

from projections import postgres
from projections.places import Place, Unreachable
from projections.postgres import Session
from projections.postgres_writing import Writing, rows_of_each
from projections.tables import Row, Table, Views, ViewsDatabase

_READERS = 40
_WAIT_SECONDS = 5
"""How long a reader waits for a connection."""
_RECONNECT_SECONDS = 10
_PATIENCE_MS = 200
"""How long a swap waits for readers, while new ones wait for it."""
_META = b"CREATE TABLE meta (name text PRIMARY KEY, value bytea)"

# A swap waits until nobody holds this, and nobody sees tables of before it and after it at once.
_SNAPSHOT = b"""BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    LOCK TABLE meta IN ACCESS SHARE MODE; SELECT value FROM meta WHERE name='stamp'"""

_AWAY = ("08", "57P", "25P03", "53300")
"""How the codes begin by which a server says that it goes, or lets nobody in."""

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


class PostgresViews(Views):
    """A connection to views in PostgreSQL."""

    def __init__(
        self, session: Session, tables: Sequence[Table], known: dict[Any, Any] | None = None
    ) -> None:
        super().__init__(session, known)
        self._session = session
        self._types = {
            table.name: [postgres.column_type(type) for type in table.columns.values()]
            for table in tables
        }

    def scan(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query as they are read, however many there are."""
        return self._session.scan(sql, parameters)

    def insert(self, table: str, rows: Sequence[Row], on_conflict: str = "") -> None:
        """Insert rows as columns, so that it is the same statement however many there are."""
        if not rows:
            return
        types = self._types[table]
        arrays = ",".join(f"?::{type}[]" for type in types)
        columns = [
            list(map(_text, column)) if type == "text" else list(column)
            for type, column in zip(types, zip(*rows, strict=True), strict=True)
        ]
        sql = f"INSERT INTO {table} SELECT * FROM unnest({arrays}) {on_conflict}"
        self._session.execute(sql, columns)

    def by_key(self, table: Table, keys: Sequence[Row]) -> Iterator[Row]:
        """Those rows of a table that have one of these keys, in no order: one seek for each."""
        if not keys:
            return iter(())
        names = table.key.split(", ")
        types = dict(zip(table.columns, self._types[table.name], strict=True))
        arrays = ",".join(f"?::{types[name]}[]" for name in names)
        found = " AND ".join(f"{name}=wanted.wanted_{name}" for name in names)
        wanted = ",".join(f"wanted_{name}" for name in names)
        # Kept apart by OFFSET, so that the planner seeks each and never reads the whole table.
        sql = (
            f"SELECT one.* FROM unnest({arrays}) AS wanted({wanted}) , LATERAL"
            f" (SELECT * FROM {table.name} WHERE {found} OFFSET 0) AS one"
        )
        return iter(
            self._session.execute(sql, [list(column) for column in zip(*keys, strict=True)])
        )

    def of_many(
        self, sql: str, values: Sequence[Any], parameters: Sequence[Any] = ()
    ) -> Iterator[Row]:
        """The rows of a query about many values at once: `IN :them` is theirs."""
        if not values:
            return iter(())
        of_all = sql.replace("IN :them", "= ANY(?)")
        return iter(self._session.execute(of_all, [*parameters, list(values)]))

    def note(self, values: Mapping[str, object]) -> None:
        """Note several things about the views themselves, at once."""
        super().note({name: _encode(value) for name, value in values.items()})

    def meta(self, name: str) -> Any:
        """What was noted, or None."""
        found = super().meta(name)
        return None if found is None else _decode(found)


def _text(value: str | None) -> str | None:
    """A text, of whichever enumeration it is a member."""
    return None if value is None else str(value)


class ViewsSchema(ViewsDatabase):
    """Views in a schema, which is made when it is missing.

    Whoever writes has its turn for the length of a transaction, and others wait for it.
    """

    def __init__(self, place: Place, tables: Sequence[Table]) -> None:
        self.place = place
        self.tables = tuple(tables)
        with _opening(place):
            self._session = Writing(place)
            try:
                self._create(place)
            except BaseException:
                self._session.connection.close()
                raise
        self.writing = PostgresViews(self._session, self.tables)
        self._pool = _readers(place)

    def _create(self, place: Place) -> None:
        """Create the tables, all in one transaction, when they are not there yet."""
        connection = self._session.connection
        if postgres.exists(connection, f'"{place.schema}".meta'):
            return  # asking for each index would wait for whoever writes
        with connection.transaction():
            # What is in the tables can be made again from the ledger; that they are there is kept.
            connection.execute(b"SET LOCAL synchronous_commit TO on")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{place.schema}"'.encode())
            connection.execute(_META)
            for table in self.tables:
                for statement in table.statements:
                    connection.execute(postgres.as_table(statement))

    def close(self) -> None:
        """Close every connection; snapshots still open close as they end."""
        self._pool.close()
        self._session.connection.close()

    @property
    def session(self) -> Writing:
        """The connection that writes."""
        return self._session

    def begin(self) -> None:
        """Begin the writer's transaction, once nobody else writes."""
        turn = postgres.waiting_for(self.place.turn)
        # What is in the views can be made again from the ledger.
        self._session.begin(f"{turn}; SET LOCAL synchronous_commit TO off")
        self.writing.begins()

    def begin_group(self, sql: str) -> list[Row]:
        """Begin a transaction that writes the ledger too, as `Writing.begin` does."""
        assert self.place.log, "a group is written to a ledger and its own views"
        turns = (self.place.turn, f"tallybook {self.place.log}")
        rows = self._session.begin(f"{postgres.waiting_for(*turns)}; {sql}")
        self.writing.begins()
        return rows[len(turns) :]  # each lock has answered, too

    def commit_group(self, channel: str, told: str) -> None:
        """Keep what a group changed and wrote; whoever listens is told, with the commit."""
        self.writing.known = None
        self._session.commit(f"NOTIFY {channel}, '{told}'" if told else "")

    def commit(self) -> None:
        """Keep what the writer's transaction changed."""
        self.writing.known = None
        self._session.commit()

    @staticmethod
    def decoded(value: bytes) -> Any:
        """What was noted about the views, as it is kept."""
        return _decode(value)

    def rollback(self) -> None:
        """Undo what the writer's transaction changed."""
        self.writing.known = None
        self._session.rollback()

    @contextmanager
    def snapshot(self) -> Iterator[Views]:
        """A read-only view of one moment, for a whole query; any number at a time."""
        self._pool.open()
        with answering(self.place), self._pool.connection() as connection:
            self._begin_reading(connection)
            try:
                yield PostgresViews(Session(connection), self.tables, {})
            finally:
                with suppress(psycopg.Error):  # it was lost, and is not handed out again
                    connection.execute(b"ROLLBACK")

    def _begin_reading(self, connection: Connection[Any]) -> None:
        try:
            found = rows_of_each(connection.execute(_SNAPSHOT))
        except UndefinedTable:  # another version is just making its own
            found = []
        self.check_stamp(_decode(found[0][0]) if found else None)


def _readers(place: Place) -> ConnectionPool[Connection[Any]]:
    """Connections that read; one that was lost is replaced before it is handed out."""

    def configure(connection: Connection[Any]) -> None:
        connection.autocommit = True
        postgres.prepare(connection, place.schema)

    return ConnectionPool(
        kwargs=postgres.parameters(place),
        connection_class=Connection[Any],
        min_size=1,
        max_size=_READERS,
        open=False,
        timeout=_WAIT_SECONDS,
        configure=configure,
        check=ConnectionPool.check_connection,
        reconnect_timeout=_RECONNECT_SECONDS,
        name=place.schema,
    )


@contextmanager
def answering(place: Place) -> Iterator[None]:
    """Say in our words that a database went away: raises `Unreachable`."""
    try:
        yield
    except psycopg.Error as error:
        if went_away(error):
            raise Unreachable(f"{place} does not answer: {error}") from error
        raise


def went_away(error: BaseException) -> bool:
    """Whether an error says that there is no connection, or soon none any more."""
    state = getattr(error, "sqlstate", None)
    if state is None:  # no server has said it
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return str(state).startswith(_AWAY)


@contextmanager
def _opening(place: Place) -> Iterator[None]:
    """Say in our words what cannot be opened, and why not: raises `ConnectionError`."""
    try:
        yield
    except psycopg.Error as error:
        raise ConnectionError(f"{place} cannot be opened: {error}") from error


def stamp_of(place: Place) -> str | None:
    """The version stamp of the views in a schema, before anything is assumed about its tables."""
    with _opening(place), closing(postgres.connect(place, place.schema)) as connection:
        if not postgres.exists(connection, f'"{place.schema}".meta'):
            return None
        stamp = PostgresViews(Session(connection), ()).meta("stamp")
        return None if stamp is None else str(stamp)


def remove(place: Place) -> None:
    """Remove the views in a schema, in a turn. Raises `ValueError` when it holds something else."""
    with closing(postgres.connect(place, place.schema)) as connection, connection.transaction():
        connection.execute(postgres.waiting_for(place.turn).encode())
        _drop(connection, place)


def _drop(connection: Connection[Row], place: Place) -> None:
    sql = b"SELECT 1 FROM pg_tables WHERE schemaname=$1 LIMIT 1"
    found = connection.execute(sql, (place.schema,)).fetchone()
    if found is not None and not postgres.exists(connection, f'"{place.schema}".meta'):
        raise ValueError(f"{place} holds other tables than views of a ledger")
    connection.execute(f'DROP SCHEMA IF EXISTS "{place.schema}" CASCADE'.encode())


def swap(aside: Place, place: Place, last: Callable[[], None] = lambda: None) -> None:
    """Put rebuilt views in the place of the old ones, in one transaction.

    `last` is done to them while nobody else writes. Raises `BlockingIOError` when somebody is just
    reading the old ones; then nothing is changed.
    """
    turns = [place.turn, f"tallybook {place.log}"] if place.log else [place.turn]
    with closing(postgres.connect(place, place.schema)) as connection:
        try:
            with connection.transaction():
                connection.execute(postgres.waiting_for(*turns).encode())
                last()
                connection.execute(f"SET LOCAL lock_timeout TO {_PATIENCE_MS}".encode())
                old = f'"{place.schema}".meta'
                if postgres.exists(connection, old):
                    connection.execute(f"LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE".encode())
                _drop(connection, place)
                rename = f'ALTER SCHEMA "{aside.schema}" RENAME TO "{place.schema}"'
                connection.execute(rename.encode())
        except LockNotAvailable as error:
            raise BlockingIOError(f"{place} is being read") from error

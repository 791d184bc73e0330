"""The event store in PostgreSQL: a schema of the ledger's own, behind what `Store` promises.

Built on the `eventsourcing` library's PostgreSQL recorder with its table lock. What is ours besides
identities, keys and the chain: bytes go as bytes, positions follow the head so that what failed
leaves no hole, and a COMMIT whose answer was lost is looked up before anything is decided again.
"""

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection, Cursor, RawCursor
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import ConnectionPool

from app.identities import Identities
from app.lock import LedgerInUse
from app.postgres_rows import (
    NAMES,
    TABLES,
    end_of,
    insert_events,
    insert_identities,
    insert_keys,
    kept_id,
    keys_are_there,
    written_id,
)
from app.priors import priors
from app.store import KeyRow, LedgerMapper, Pending, Store, TakenError
from domain.record_ids import stored_id, stored_ids
from domain.usage import Identity, Prior
from projections import postgres
from projections.places import Place, Unreachable
from projections.postgres import Session
from projections.postgres_tables import went_away

_READERS = 20
_WAIT_SECONDS = 5
"""How long a reader waits for a connection."""
_RECONNECT_SECONDS = 20
ATTEMPTS = 20
PAUSE_S = 0.5
"""How often, and how far apart, a server that went away is asked what it has."""

_log = logging.getLogger("tallybook.ledger")


class ServerLost(Unreachable):
    """The database does not answer; whether what was sent is written, nobody knows yet."""


def is_there(place: Place) -> bool:
    """Whether a place holds a ledger. Raises `ConnectionError` when nobody can say."""
    try:
        with closing(postgres.connect(place, place.schema)) as connection:
            return postgres.exists(connection, f'"{place.schema}".event_hashes')
    except psycopg.OperationalError as error:
        raise ConnectionError(f"{place} cannot be opened: {error}") from error


@contextmanager
def opening(place: Place) -> Iterator[None]:
    """Make what is missing, and bring views up to date, while no other process does.

    Whoever serves the ledger already goes on. Raises `ConnectionError` when it cannot be reached.
    """
    lock = postgres.lock_of(f"tallybook opening {place.schema}")
    try:
        connection = postgres.connect(place, place.schema)
    except psycopg.OperationalError as error:
        raise ConnectionError(f"{place} cannot be opened: {error}") from error
    with closing(connection):
        found = connection.execute(f"SELECT pg_try_advisory_lock({lock})".encode()).fetchone()
        if found != (True,):
            _log.info("another process opens %s; waiting until it has", place)
            connection.execute(f"SELECT pg_advisory_lock({lock})".encode())
        yield


@contextmanager
def replaying(place: Place) -> Iterator[None]:
    """One replay at a time. Raises `LedgerInUse`."""
    lock = postgres.lock_of(f"tallybook replay {place.schema}")
    with closing(postgres.connect(place, place.schema)) as connection:
        found = connection.execute(f"SELECT pg_try_advisory_lock({lock})".encode()).fetchone()
        if found != (True,):
            raise LedgerInUse(f"{place} is being replayed already")
        yield


@contextmanager
def answering(place: Place) -> Iterator[None]:
    """Say in our words that a database went away: raises `Unreachable`."""
    try:
        yield
    except (OperationalError, InterfaceError, psycopg.Error) as error:
        if is_away(error):
            raise Unreachable(f"{place} does not answer: {error}") from error
        raise


def is_away(error: BaseException) -> bool:
    """Whether an error says that there is no connection, or soon none any more."""
    if isinstance(error, OperationalError | InterfaceError):  # the library's, with the cause in it
        return error.__cause__ is None or is_away(error.__cause__)
    return isinstance(error, psycopg.Error) and went_away(error)


class _Writing:
    """A connection that writes to the log alone, in the shape of the library's pool."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: Connection[Any] | None = None

    def open(self, *_: object) -> None:
        """A connection is made when it is needed."""

    def close(self) -> None:
        """Let go of the connection; the next use makes another one."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """The connection, a new one if the last was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        yield self._connection

    def _connect(self) -> Connection[Any]:
        connection: Connection[Any] = postgres.connect(self._place, self._place.schema)
        try:
            postgres.prepare_writing(connection, self._place)
        except BaseException:
            connection.close()
            raise
        # The library's statements are made for its own kind of cursor and row.
        connection.cursor_factory = Cursor
        connection.row_factory = dict_row
        return connection


class _Datastore(PostgresDatastore):
    """The library's datastore over our connections, and never in its function mode."""

    def __init__(self, place: Place, pool: Any) -> None:
        super().__init__("", "", "", "", "", schema=place.schema, originator_id_type="text")
        self.pool = pool
        self.place = place

    def register_type_adapters(self) -> None:
        """Look for no types: those of the function mode, which nobody needs."""


def _readers(place: Place) -> ConnectionPool[Connection[Any]]:
    """Connections that cannot write; one that was lost is replaced before it is handed out."""

    def configure(connection: Connection[Any]) -> None:
        connection.autocommit = True
        postgres.prepare(connection, place.schema)
        connection.execute(b"SET default_transaction_read_only TO on")

    return ConnectionPool(
        kwargs={**postgres.parameters(place), "cursor_factory": Cursor, "row_factory": dict_row},
        connection_class=Connection[Any],
        min_size=1,
        max_size=_READERS,
        open=False,
        timeout=_WAIT_SECONDS,
        configure=configure,
        check=ConnectionPool.check_connection,
        reconnect_timeout=_RECONNECT_SECONDS,
        name="tallybook-ledger",
    )


_SELECT: Any = inspect.unwrap(PostgresApplicationRecorder.select_notifications)


class PostgresLedgerRecorder(PostgresApplicationRecorder):
    """The library's recorder, with identities, keys and the chain in the same transaction.

    It sends no pipeline, in which large inserts hang, and tries nothing twice: a second try cannot
    know what became of the first one. Whoever writes has their turn, as a group has.
    """

    def __init__(self, datastore: _Datastore) -> None:
        super().__init__(datastore)
        self._place = datastore.place
        # Its function writes without the lock: readers would miss events, and the chain would fork.
        del self.sql_create_statements[self.create_insert_function_statement_index]

    def select_notifications(self, *args: Any, **kwargs: Any) -> Sequence[Notification]:
        """A page of events. Whoever reads while the server is away hears so at once."""
        with answering(self._place):
            found: Sequence[Notification] = _SELECT(self, *args, **kwargs)
            return found

    def create_table(self) -> None:
        """The library's events table and ours; texts sort by their bytes in both."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{self._place.schema}"'.encode())
            for statement in TABLES:
                cursor.execute(postgres.as_table(statement))
        super().create_table()

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Events, and everything that must be true together with them."""
        with self.datastore.get_connection() as connection, connection.transaction():
            connection.execute(postgres.waiting_for(self._place.turn).encode())
            c = RawCursor(connection, row_factory=tuple_row)
            hashes = insert_events(c, stored_events, end_of(c))
            insert_identities(c, kwargs.get("identities", ()), {})
            insert_keys(c, kwargs.get("keys", ()))
        return [position for position, _ in hashes]

    def kept(
        self, stored_events: Sequence[StoredEvent], keys: Sequence[KeyRow]
    ) -> list[int] | None:
        """Where these events stand, or None when they were not written.

        Nothing is on its way any more: it waits for whoever is still writing.
        """
        with self.datastore.transaction(commit=False) as lock:
            lock.execute(postgres.waiting_for(self._place.turn).encode())
            c = RawCursor(lock.connection, row_factory=tuple_row)
            if not stored_events:
                return [] if keys_are_there(c, keys) else None
            first = stored_events[0]
            sql = b"""SELECT notification_id, state FROM stored_events
                WHERE originator_id=$1 AND originator_version=$2"""
            row = c.execute(sql, (first.originator_id, first.originator_version)).fetchone()
            if row is None or row[1] != first.state:
                return None
            return [row[0] + number for number in range(len(stored_events))]


class PostgresStore(Store):
    """One ledger's schema: append to it, read it in order, look identities up.

    `directory` has what is not the ledger's own: the keys that sign, and marks of deliveries.
    """

    typed = True

    def __init__(self, place: Place, directory: Path, *, exclusive: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "ledger.in.postgres"  # where a file would be, and none is
        self.place = place
        self._lock = None
        self._mapper = LedgerMapper()
        self._pool = _readers(place)
        self._held = _Writing(place)
        try:
            # Typed as a file's recorders are, which promise the same to everything a store calls.
            self._writing: Any = None
            if exclusive:
                self._writing = PostgresLedgerRecorder(_Datastore(place, self._held))
                if not self._is_made():
                    self._writing.create_table()
            self._reading: Any = PostgresLedgerRecorder(_Datastore(place, self._pool))
        except BaseException as error:
            self.close()
            if isinstance(error, PersistenceError):
                raise ConnectionError(f"{place} cannot be opened: {error}") from error
            raise

    @staticmethod
    def kept_ids(ids: Sequence[str]) -> list[bytes | str]:
        """How the ids of usage records are kept."""
        return [kept_id(id) for id in stored_ids(ids)]

    def close(self) -> None:
        """Let go of the connections, and with them of the ledger."""
        self._pool.close()
        self._held.close()

    def _is_made(self) -> bool:
        """Whether every table is there: to make it again would wait for whoever writes."""
        with self._held.connection() as connection:
            sql = b"SELECT count(*) FROM pg_tables WHERE schemaname=$1 AND tablename = ANY($2)"
            c = RawCursor(connection, row_factory=tuple_row)
            return c.execute(sql, (self.place.schema, NAMES)).fetchone() == (len(NAMES),)

    def rest(self) -> None:
        """Let go of the connection of who writes to the log alone; the next use makes another."""
        self._held.close()

    def noted(self, name: str) -> bytes | None:
        """What was noted beside the log by whichever process."""
        rows = self._select("SELECT content FROM notes WHERE name=?", (name,))
        return rows[0][0] if rows else None

    def note(self, name: str, content: bytes) -> None:
        """Note something beside the log; on return the disk has it."""
        sql = b"""INSERT INTO notes VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET content=excluded.content"""
        with self._held.connection() as connection:
            RawCursor(connection).execute(sql, (name, content))

    def insert_group(
        self,
        connection: Connection[Any],
        events: Sequence[Pending],
        keys: Sequence[KeyRow],
        end: tuple[int, bytes],
    ) -> list[tuple[int, bytes]]:
        """Write a group after the log's end, in a transaction that somebody else ends.

        The answer is its part of the chain.
        """
        c = RawCursor(connection, row_factory=tuple_row)
        hashes = insert_events(c, [self._mapper.to_stored_event(one) for one in events], end)
        insert_keys(c, keys)
        return hashes

    def hashes(self, positions: Sequence[int]) -> dict[int, bytes]:
        """The chain's hashes at these positions."""
        sql = "SELECT position, hash FROM event_hashes WHERE position = ANY(?)"
        return dict(self._select(sql, (list(positions),)))

    def identity(self, source: str, id: str) -> tuple[int, int] | None:
        """Where a usage record stands: (position, row)."""
        rows = self._select(
            "SELECT position, row FROM usage_identities WHERE id=? AND source="
            "(SELECT number FROM usage_sources WHERE name=?)",
            (kept_id(stored_id(id)), source),
        )
        return rows[0] if rows else None

    def recorded(self, identities: Sequence[Identity]) -> dict[Identity, Prior]:
        """Those of the identities that are taken, with what they were taken by."""
        ids = self.kept_ids([id for _, id in identities])
        rows = self._select(
            "SELECT name, id, position, row, digest FROM usage_identities JOIN usage_sources"
            " ON number=source WHERE id = ANY(?) AND source IN"
            " (SELECT number FROM usage_sources WHERE name = ANY(?))",
            (ids, list({source for source, _ in identities})),
        )
        return priors(self, [((name, written_id(id)), *place) for name, id, *place in rows])

    def _insert(
        self,
        stored: Sequence[StoredEvent],
        identities: Identities,
        keys: Sequence[KeyRow],
    ) -> list[int]:
        try:
            positions = self._writing.insert_events(stored, identities=identities, keys=keys)
        except IntegrityError as error:
            raise TakenError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            positions = self._kept(stored, keys, error)
        return list(positions)

    def _kept(
        self, stored: Sequence[StoredEvent], keys: Sequence[KeyRow], error: PersistenceError
    ) -> Sequence[int]:
        """Where events stand of which no answer came. Raises the error when they were not written.

        Raises `ServerLost` when nobody can say.
        """
        for _ in range(ATTEMPTS):
            try:
                kept: Sequence[int] | None = self._writing.kept(stored, keys)
            except (OperationalError, InterfaceError):
                sleep(PAUSE_S)  # it restarts
                continue
            if kept is None:
                raise error
            return kept
        raise ServerLost(f"{self.place} does not answer") from error

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with answering(self.place), self._reading.datastore.get_connection() as connection:
            return Session(connection).execute(sql, parameters).fetchall()

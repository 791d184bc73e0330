"""The event store in PostgreSQL: a schema of the ledger's own, behind what `Store` promises.

Built on the `eventsourcing` library's PostgreSQL recorder with its table lock. What is ours besides
identities, keys and the chain: bytes go as bytes, positions follow the head so that what failed
leaves no hole, and a COMMIT whose answer was lost is looked up before anything is decided again.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
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
    TABLES,
    insert_events,
    insert_identities,
    insert_keys,
    kept_id,
    written_id,
)
from app.store import KeyRow, LedgerMapper, Store, TakenError
from domain.record_ids import stored_id, stored_ids
from domain.usage import Identity, Prior
from projections import postgres
from projections.places import Place
from projections.postgres import Session

_READERS = 20
_WAIT_SECONDS = 5
"""How long a reader waits for a connection."""
_LOCK_SECONDS = 30
"""How long a write waits for another one to end."""
_LOOKS = 5
_LOOK_S = 0.1
"""How often, and how far apart, it is looked whether nobody holds the ledger."""
_ATTEMPTS = 20
_PAUSE_S = 0.5
"""How often, and how far apart, a server that went away is asked what it has."""


class ServerLost(Exception):
    """The database does not answer; whether what was sent is written, nobody knows yet."""


def is_there(place: Place) -> bool:
    """Whether a place holds a ledger. Raises `ConnectionError` when nobody can say."""
    try:
        with closing(postgres.connect(place, place.schema)) as connection:
            return postgres.exists(connection, f'"{place.schema}".event_hashes')
    except psycopg.OperationalError as error:
        raise ConnectionError(f"{place} cannot be opened: {error}") from error


class _Writing:
    """The one connection that writes, in the shape of the library's pool: it holds the ledger.

    The server lets go of the ledger with the connection, so whoever lost it writes no more. The
    next write connects again, and holds the ledger again or is refused.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: Connection[Any] | None = None

    def open(self, *_: object) -> None:
        """A connection is made when it is needed."""

    def close(self) -> None:
        """Let go of the ledger."""
        if self._connection is not None:
            with suppress(psycopg.Error):  # lost, and with it the ledger
                self._connection.execute(b"SELECT pg_advisory_unlock_all()")
            self._connection.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """The connection, a new one if the last was lost. Raises `LedgerInUse`."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        yield self._connection

    def _connect(self) -> Connection[Any]:
        connection: Connection[Any] = postgres.connect(self._place, self._place.schema)
        try:
            self._hold(connection)
            self._check(connection)
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{self._place.schema}"'.encode())
        except BaseException:
            connection.close()
            raise
        # The library's statements are made for its own kind of cursor and row.
        connection.cursor_factory = Cursor
        connection.row_factory = dict_row
        return connection

    def _hold(self, connection: Connection[Any]) -> None:
        """Hold the ledger for as long as the connection lasts."""
        sql = b"SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
        for _ in range(_LOOKS):
            held = connection.execute(sql, (f"tallybook {self._place.schema}",)).fetchone()
            if held and held[0]:
                return
            sleep(_LOOK_S)  # whoever was killed holds it until the server has noticed
        message = "is in use by another tallybook process; stop that one first"
        raise LedgerInUse(f"{self._place} {message}")

    def _check(self, connection: Connection[Any]) -> None:
        """What is answered must be on disk, and every text storable."""
        if _setting(connection, "fsync") != "on":
            raise ValueError(f"{self._place}: the server runs with fsync=off, and may lose bills")
        if _setting(connection, "server_encoding") != "UTF8":
            raise ValueError(f"{self._place}: the database is not encoded as UTF8")
        if _setting(connection, "synchronous_commit") == "off":
            connection.execute(b"SET synchronous_commit TO on")


def _setting(connection: Connection[Any], name: str) -> str:
    row = connection.execute(b"SELECT current_setting($1)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


class _Datastore(PostgresDatastore):
    """The library's datastore over our connections, and never in its function mode."""

    def __init__(self, place: Place, pool: Any) -> None:
        super().__init__(
            "", "", "", "", "", schema=place.schema, originator_id_type="text",
            lock_timeout=_LOCK_SECONDS,
        )  # fmt: skip
        self.pool = pool


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
        reconnect_timeout=_ATTEMPTS,
        name="tallybook-ledger",
    )


class PostgresLedgerRecorder(PostgresApplicationRecorder):
    """The library's recorder, with identities, keys and the chain in the same transaction.

    It sends no pipeline, in which large inserts hang, and tries nothing twice: a second try cannot
    know what became of the first one.
    """

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore)
        # Its function writes without the lock: readers would miss events, and the chain would fork.
        del self.sql_create_statements[self.create_insert_function_statement_index]

    # Whoever reads while the server is away hears so, and does not wait for ten attempts.
    select_notifications = inspect.unwrap(PostgresApplicationRecorder.select_notifications)

    def create_table(self) -> None:
        """The library's events table and ours; texts sort by their bytes in both."""
        with self.datastore.transaction(commit=True) as cursor:
            for statement in TABLES:
                cursor.execute(postgres.as_table(statement))
        super().create_table()

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Events, and everything that must be true together with them."""
        with self.datastore.get_connection() as connection, connection.transaction():
            lock = connection.cursor()
            self._lock_table(lock)
            self._notify_channel(lock)
            c = RawCursor(connection, row_factory=tuple_row)
            positions = insert_events(c, stored_events)
            insert_identities(c, kwargs.get("identities", ()))
            insert_keys(c, kwargs.get("keys", ()))
        return positions

    def kept(
        self, stored_events: Sequence[StoredEvent], keys: Sequence[KeyRow]
    ) -> list[int] | None:
        """Where these events stand, or None when they were not written.

        Nothing is on its way any more: it waits for whoever is still writing.
        """
        with self.datastore.transaction(commit=False) as lock:
            self._lock_table(lock)
            c = RawCursor(lock.connection, row_factory=tuple_row)
            if not stored_events:
                sql = b"SELECT digest FROM idempotency_keys WHERE key=$1 AND position=$2"
                found = [c.execute(sql, (key.key, key.position)).fetchone() for key in keys]
                wanted = [(key.digest,) for key in keys]
                return [] if found == wanted else None
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
        self._unsure = False
        self._pool = _readers(place)
        self._held = _Writing(place)
        try:
            # Typed as a file's recorders are, which promise the same to everything a store calls.
            self._writing: Any = None
            if exclusive:
                self._writing = PostgresLedgerRecorder(_Datastore(place, self._held))
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

    def head(self) -> tuple[int, bytes]:
        """The newest position and its hash; (0, GENESIS) for an empty ledger."""
        if self._unsure:
            self._settle()
        return super().head()

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
            "SELECT name, id, position, digest FROM usage_identities JOIN usage_sources"
            " ON number=source WHERE id = ANY(?) AND source IN"
            " (SELECT number FROM usage_sources WHERE name = ANY(?))",
            (ids, list({source for source, _ in identities})),
        )
        return {(name, written_id(id)): Prior(at, digest) for name, id, at, digest in rows}

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
        for _ in range(_ATTEMPTS):
            try:
                kept: Sequence[int] | None = self._writing.kept(stored, keys)
            except (OperationalError, InterfaceError, LedgerInUse):
                sleep(_PAUSE_S)  # it restarts, or has not let go of the connection that was lost
                continue
            if kept is None:
                raise error
            return kept
        self._unsure = True
        raise ServerLost(f"{self.place} does not answer") from error

    def _settle(self) -> None:
        """Wait for what may still be on its way, so that the head is what was written."""
        with closing(postgres.connect(self.place, self.place.schema)) as connection:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout TO '{_LOCK_SECONDS}s'".encode())
                connection.execute(b"LOCK TABLE stored_events IN EXCLUSIVE MODE")
            self._unsure = False

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._reading.datastore.get_connection() as connection:
            return Session(connection).execute(sql, parameters).fetchall()

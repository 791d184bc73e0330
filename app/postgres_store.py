"""The event store in PostgreSQL: a schema of the ledger's own, behind what `Store` promises.

Built on the `eventsourcing` library's PostgreSQL recorder with its table lock. What is ours besides
identities, keys and the chain: bytes go as bytes, positions follow the head so that what failed
leaves no hole, and a COMMIT whose answer was lost is looked up before anything is decided again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

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

from app.chain import GENESIS, chain_hash
from app.identities import DIGEST_BYTES, Identities, IdentityRow, IdentityRun
from app.lock import LedgerInUse
from app.store import CorruptLedger, KeyRow, LedgerMapper, Store, TakenError
from domain.record_ids import ID_BYTES, stored_id, stored_ids, written_id
from domain.usage import Identity, Prior
from projections import postgres
from projections.places import Place
from projections.postgres import Row, Session, translated

_READERS = 20
_LOCK_SECONDS = 30
"""How long a write waits for another one to end."""
_STATEMENT_BYTES = 2 * 1024 * 1024
"""Events that go in one statement, of which the last may make it larger."""
_ATTEMPTS = 20
_PAUSE_S = 0.5
"""How often, and how far apart, a server that went away is asked what it has."""

_HEAD = "SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS event_hashes (position INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS usage_sources (number INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    """CREATE TABLE IF NOT EXISTS usage_identities (source INTEGER, id BLOB, position INTEGER,
    row INTEGER, digest BLOB, PRIMARY KEY (source, id))""",
    """CREATE TABLE IF NOT EXISTS idempotency_keys (key TEXT PRIMARY KEY, digest BLOB,
    subject TEXT, position INTEGER)""",
)
_EVENTS = b"""INSERT INTO stored_events
    (originator_id, originator_version, topic, state, notification_id)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[])"""
_HASHES = b"INSERT INTO event_hashes SELECT * FROM unnest($1::bigint[], $2::bytea[])"
_IDENTITIES = b"""INSERT INTO usage_identities
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[])"""
_KEYS = b"""INSERT INTO idempotency_keys
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[])"""
_SOURCE = b"""INSERT INTO usage_sources SELECT coalesce(max(number), 0) + 1, $1 FROM usage_sources
    ON CONFLICT DO NOTHING"""


class ServerLost(Exception):
    """The database does not answer; whether what was sent is written, nobody knows yet."""


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
        held = connection.execute(sql, (f"tallybook {self._place.schema}",)).fetchone()
        if not (held and held[0]):
            place = self._place
            raise LedgerInUse(
                f"{place} is in use by another tallybook process; stop that one first"
            )

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

    def create_table(self) -> None:
        """The library's events table and ours."""
        super().create_table()
        with self.datastore.transaction(commit=True) as cursor:
            for statement in _TABLES:
                cursor.execute(postgres.as_table(statement))

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Events, and everything that must be true together with them."""
        with self.datastore.get_connection() as connection, connection.transaction():
            lock = connection.cursor()
            self._lock_table(lock)
            self._notify_channel(lock)
            c = RawCursor(connection, row_factory=tuple_row)
            positions = _insert_events(c, stored_events)
            _insert_identities(c, kwargs.get("identities", ()))
            keys: Sequence[KeyRow] = kwargs.get("keys", ())
            if keys:
                rows = [(one.key, one.digest, one.subject, one.position) for one in keys]
                c.execute(_KEYS, _columns(rows))
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


def _insert_events(c: RawCursor[Row], stored_events: Sequence[StoredEvent]) -> list[int]:
    """Events after the head, each with its link of the chain."""
    found = c.execute(translated(_HEAD), binary=True).fetchone()
    before, head = found or (0, GENESIS)
    end = c.execute(b"SELECT max(notification_id) FROM stored_events").fetchone()
    if end is not None and (end[0] or 0) != before:
        message = f"event {(end[0] or 0) + 1} would follow {before}: the log has a hole"
        raise CorruptLedger(message)
    portion: list[Row] = []
    size, hashes = 0, list[Row]()
    for position, stored in enumerate(stored_events, start=before + 1):
        head = chain_hash(head, stored)
        hashes.append((position, head))
        id, version = stored.originator_id, stored.originator_version
        portion.append((id, version, stored.topic, stored.state, position))
        size += len(stored.state)
        if size >= _STATEMENT_BYTES:
            c.execute(_EVENTS, _columns(portion))
            portion, size = [], 0
    if portion:
        c.execute(_EVENTS, _columns(portion))
    if hashes:
        c.execute(_HASHES, _columns(hashes))
    return [position for position, _ in hashes]


def _insert_identities(c: RawCursor[Row], identities: Identities) -> None:
    """The identities in the order of their index."""
    if not identities:
        return
    numbers: dict[str, int] = {}
    for name in sorted({identity.source for identity in identities}):
        c.execute(_SOURCE, (name,))
        c.execute(b"SELECT number FROM usage_sources WHERE name=$1", (name,))
        [numbers[name]] = c.fetchone() or ()
    singles = [one for one in identities if isinstance(one, IdentityRow)]
    ids = [_kept_id(id) for id in stored_ids([one.id for one in singles])]
    rows = [
        (numbers[source], id, position, row, digest)
        for (source, _, position, row, digest), id in zip(singles, ids, strict=True)
    ]
    for run in identities:
        if isinstance(run, IdentityRun):
            rows += _rows_of(run, numbers[run.source])
    rows.sort(key=lambda row: row[:2])
    c.execute(_IDENTITIES, _columns(rows))


def _rows_of(run: IdentityRun, source: int) -> Iterator[tuple[int, bytes, int, int, bytes]]:
    """The identities of a run, one by one."""
    for row in range(len(run.ids) // ID_BYTES):
        id = run.ids[row * ID_BYTES : (row + 1) * ID_BYTES]
        digest = run.digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
        yield source, _kept_id(id), run.position, row, digest


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as columns, each of which goes as one array of bytes."""
    return [list(column) for column in zip(*rows, strict=True)]


def _kept_id(id: bytes | str) -> bytes:
    """An id in one column of bytes: texts before the bytes of UUIDs, each in its own order."""
    return b"\0" + id.encode() if isinstance(id, str) else b"\1" + id


def _written_id(kept: bytes) -> str:
    """The id as its sender wrote it."""
    return kept[1:].decode() if kept[0] == 0 else written_id(kept[1:])


class PostgresStore(Store):
    """One ledger's schema: append to it, read it in order, look identities up.

    `directory` has what is not the ledger's own: the keys that sign, and marks of deliveries.
    """

    def __init__(self, place: Place, directory: Path, *, exclusive: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "ledger.db"
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
                self._writing.create_table()
            self._reading: Any = PostgresLedgerRecorder(_Datastore(place, self._pool))
        except BaseException as error:
            self.close()
            if isinstance(error, PersistenceError):
                raise ConnectionError(f"{place} cannot be opened: {error}") from error
            raise

    def close(self) -> None:
        """Let go of the connections, and with them of the ledger."""
        self._pool.close()
        self._held.close()

    def hashes(self, positions: Sequence[int]) -> dict[int, bytes]:
        """The chain's hashes at these positions."""
        sql = "SELECT position, hash FROM event_hashes WHERE position = ANY(?)"
        return dict(self._select(sql, (list(positions),)))

    def identity(self, source: str, id: str) -> tuple[int, int] | None:
        """Where a usage record stands: (position, row)."""
        rows = self._select(
            "SELECT position, row FROM usage_identities WHERE id=? AND source="
            "(SELECT number FROM usage_sources WHERE name=?)",
            (_kept_id(stored_id(id)), source),
        )
        return rows[0] if rows else None

    def recorded(self, identities: Sequence[Identity]) -> dict[Identity, Prior]:
        """Those of the identities that are taken, with what they were taken by."""
        ids = [_kept_id(id) for id in stored_ids([id for _, id in identities])]
        rows = self._select(
            "SELECT name, id, position, digest FROM usage_identities JOIN usage_sources"
            " ON number=source WHERE id = ANY(?) AND source IN"
            " (SELECT number FROM usage_sources WHERE name = ANY(?))",
            (ids, list({source for source, _ in identities})),
        )
        return {(name, _written_id(id)): Prior(at, digest) for name, id, at, digest in rows}

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
        raise ServerLost(f"{self.place} does not answer") from error

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._reading.datastore.get_connection() as connection:
            return Session(connection).execute(sql, parameters).fetchall()

"""The one door to the event store: events, identities and the hash chain in one transaction.

Built on the `eventsourcing` library's SQLite recorder, mapper and event store. What is ours: stored
names instead of class paths, msgpack, and three tables that are written together with the events:
the identities of usage records, the idempotency keys of commands, and the chain.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from eventsourcing.persistence import (
    IntegrityError,
    Mapper,
    PersistenceError,
    StoredEvent,
    Transcoder,
)
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)
from msgspec.msgpack import Decoder

from app.chain import GENESIS, Stored, chain_hash
from app.identities import ROWS_PER_STATEMENT, Identities, insert_identities
from app.lock import hold
from app.priors import Taken, priors
from domain import decider, money
from domain.decider import Envelope, Event, Recorded
from domain.record_ids import stored_id, stored_ids, written_id
from domain.usage import Identity, Prior

PAGE_EVENTS = 500
"""Events read at a time: fewer would spend the time on queries."""
PAGE_SIZES = 10_000
_CACHE_KIB = 262_144
_SYNCHRONOUS_FULL = 2
_CHECKPOINT_PAGES = 16_384

# An id keeps its own byte order; `digest` holds the mark of how a record was sent (`priors.py`).
_TABLES = (
    "CREATE TABLE IF NOT EXISTS event_hashes (position INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS usage_sources (number INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    """CREATE TABLE IF NOT EXISTS usage_identities (source INTEGER, id, position INTEGER,
    row INTEGER, digest BLOB, PRIMARY KEY (source, id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS idempotency_keys (key TEXT PRIMARY KEY, digest BLOB,
    subject TEXT, position INTEGER) WITHOUT ROWID""",
)


class CorruptLedger(Exception):
    """What is stored cannot be what was written."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An idempotency key: the digest of the input it came with, and what came of it."""

    key: str
    digest: bytes
    subject: str
    position: int


class Pending:
    """An event on its way into a stream, in the shape that the library's mapper takes."""

    __slots__ = ("envelope", "event", "originator_id", "originator_version")

    def __init__(self, stream_id: str, version: int, envelope: Envelope, event: Event) -> None:
        self.originator_id = stream_id
        self.originator_version = version
        self.envelope = envelope
        self.event = event


class MsgpackTranscoder(Transcoder):
    """State on disk: msgpack of (envelope, payload), the payload left undecoded on read."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=money.encode_number)
        self._decoder = msgspec.msgpack.Decoder(tuple[Envelope, msgspec.Raw])

    def encode(self, obj: Any) -> bytes:
        """The bytes of (envelope, payload)."""
        return self._encoder.encode(obj)

    def decode(self, data: bytes) -> tuple[Envelope, msgspec.Raw]:
        """The envelope and the payload's bytes."""
        return self._decoder.decode(data)


class LedgerMapper(Mapper[str]):
    """Between facts and stored events, by registered topic; retired versions are upcast on read."""

    def __init__(self) -> None:
        super().__init__(transcoder=MsgpackTranscoder())
        self._decoders: dict[str, Decoder[Event]] = {}

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The event under its topic, with its envelope beside its payload."""
        event: Event = domain_event.event
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=event.topic,
            state=self.transcoder.encode((domain_event.envelope, event)),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The event as its newest version."""
        envelope, event = self.decode(stored_event.topic, stored_event.state)
        id, version = str(stored_event.originator_id), stored_event.originator_version
        return Pending(id, version, envelope, event)

    def decode(self, topic: str, state: bytes) -> tuple[Envelope, Event]:
        """The fact in stored bytes, as its newest version, and what is known beside it."""
        envelope, payload = self.transcoder.decode(state)
        return envelope, self._payload(topic, payload)

    def _payload(self, topic: str, payload: msgspec.Raw) -> Event:
        """Decode by topic, through the upcasters when the topic is a retired one."""
        if topic in decider.UPCASTERS:
            data: dict[str, Any] = msgspec.msgpack.decode(payload)
            while topic in decider.UPCASTERS:
                topic, data = decider.UPCASTERS[topic](data)
            payload = msgspec.Raw(msgspec.msgpack.encode(data))
        if topic not in self._decoders:
            if topic not in decider.EVENTS:
                raise CorruptLedger(f"no event type is registered under {topic!r}")
            self._decoders[topic] = Decoder(decider.EVENTS[topic], dec_hook=money.decode_number)
        return self._decoders[topic].decode(payload)


class _Pool(SQLiteConnectionPool):
    """Connections that keep what they acknowledge, and say so themselves."""

    def _create_connection(self) -> SQLiteConnection:
        # The library's own way keeps one prepared statement; ours are many, and long.
        connection = sqlite3.connect(
            self.db_name, uri=True, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"cache_size=-{_CACHE_KIB}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if connection.execute("PRAGMA synchronous").fetchone()[0] != _SYNCHRONOUS_FULL:
            raise CorruptLedger("this SQLite does not keep synchronous=FULL")
        return SQLiteConnection(connection, max_age=self.max_age)


class _Datastore(SQLiteDatastore):
    """The library's datastore over our connections."""

    def __init__(self, db_name: str, pool_size: int, max_overflow: int) -> None:
        super().__init__(db_name, originator_id_type="text")
        self.pool = _Pool(
            db_name=db_name, pool_size=pool_size, max_overflow=max_overflow, pool_timeout=30
        )


class LedgerRecorder(SQLiteApplicationRecorder):
    """The library's recorder, with identities, keys and the chain in the same transaction."""

    def construct_create_table_statements(self) -> list[str]:
        """The library's events table and ours."""
        return [*super().construct_create_table_statements(), *_TABLES]

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Events, then everything that must be true together with them."""
        positions = super()._insert_events(c, stored_events)
        assert positions is not None
        _extend_chain(c, positions, stored_events)
        insert_identities(c, kwargs.get("identities", ()))
        for key in kwargs.get("keys", ()):
            row = (key.key, key.digest, key.subject, key.position)
            c.execute("INSERT INTO idempotency_keys VALUES (?,?,?,?)", row)
        return positions


def _extend_chain(
    c: SQLiteCursor, positions: Sequence[int], stored_events: Sequence[StoredEvent]
) -> None:
    """One link for each event, from the head as it is in this transaction."""
    c.execute("SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1")
    row = c.fetchone()
    before, head = (row[0], row[1]) if row else (0, GENESIS)
    for position, stored in zip(positions, stored_events, strict=True):
        if position != before + 1:
            raise CorruptLedger(f"event {position} would follow {before}: the log has a hole")
        before, head = position, chain_hash(head, stored)
        c.execute("INSERT INTO event_hashes VALUES (?,?)", (position, head))


class Store:
    """One ledger's file: append to it, read it in order, look identities up.

    `append` is for the one writer; everything else may be called from any thread.
    """

    typed = False
    """Whether the database lets each column hold values of its type only."""
    kept_ids = staticmethod(stored_ids)
    """How the ids of usage records are kept."""

    def __init__(self, directory: Path, *, exclusive: bool = True) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "ledger.db"
        self._lock = hold(directory / "ledger.lock") if exclusive else None
        self._mapper = LedgerMapper()
        # One connection for the writer, so that its page cache stays warm; others for readers.
        self._writing = LedgerRecorder(_Datastore(str(self.path), pool_size=1, max_overflow=0))
        self._writing.create_table()
        readers = _Datastore(f"file:{self.path}?mode=ro", pool_size=8, max_overflow=32)
        self._reading = LedgerRecorder(readers)

    def close(self) -> None:
        """Let go of the files and of the lock."""
        self._reading.datastore.close()
        self._writing.datastore.close()
        if self._lock is not None:
            self._lock.close()

    def append(
        self,
        events: Sequence[Pending],
        identities: Identities = (),
        keys: Sequence[KeyRow] = (),
    ) -> list[int]:
        """Write events and what goes with them in one transaction; return once it is on disk.

        A key may come without an event: what it asked for was true already.

        Raises `TakenError` when an identity, a key or a stream version is taken already.
        """
        stored = [self._mapper.to_stored_event(event) for event in events]
        return self._insert(stored, identities, keys)

    def take(
        self,
        events: Sequence[Stored],
        identities: Identities,
        keys: Sequence[KeyRow],
    ) -> list[int]:
        """Write events from another copy of this log, byte for byte, as `append` does."""
        stored = [
            StoredEvent(str(one.originator_id), one.originator_version, one.topic, one.state)
            for one in events
        ]
        return self._insert(stored, identities, keys)

    def _insert(
        self,
        stored: Sequence[StoredEvent],
        identities: Identities,
        keys: Sequence[KeyRow],
    ) -> list[int]:
        try:
            positions = self._writing.insert_events(stored, identities=identities, keys=keys)
        except (IntegrityError, sqlite3.IntegrityError) as error:
            raise TakenError(str(error)) from error
        return list(positions or ())

    def head(self) -> tuple[int, bytes]:
        """The newest position and its hash; (0, GENESIS) for an empty ledger."""
        rows = self._select(
            "SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1"
        )
        return (rows[0][0], rows[0][1]) if rows else (0, GENESIS)

    def read(self, after: int = 0, stop: int | None = None) -> Iterator[Recorded]:
        """Every event after a position, in order, a page at a time."""
        while True:
            page = self._reading.select_notifications(
                after, PAGE_EVENTS, stop, inclusive_of_start=False
            )
            for notification in page:
                yield self._recorded(notification.id, notification)
            if len(page) < PAGE_EVENTS:
                return
            after = page[-1].id

    def sizes(self, after: int) -> Iterator[tuple[int, str, int]]:
        """Of every event after a position, in order: its position, topic and stored bytes."""
        while True:
            page = self._select(
                "SELECT rowid, topic, length(state) FROM stored_events WHERE rowid>?"
                " ORDER BY rowid LIMIT ?",
                (after, PAGE_SIZES),
            )
            for row in page:
                yield row[0], row[1], row[2]
            if len(page) < PAGE_SIZES:
                return
            after = page[-1][0]

    def at(self, position: int) -> Recorded | None:
        """The event at one position."""
        page = self._reading.select_notifications(position, 1, position)
        return self._recorded(position, page[0]) if page else None

    def stored(self, after: int = 0) -> Iterator[tuple[int, StoredEvent, bytes | None]]:
        """Every event as its stored bytes, with the hash that stands beside it."""
        while True:
            page = self._reading.select_notifications(after, PAGE_EVENTS, inclusive_of_start=False)
            hashes = self.hashes([notification.id for notification in page])
            for notification in page:
                yield notification.id, notification, hashes.get(notification.id)
            if len(page) < PAGE_EVENTS:
                return
            after = page[-1].id

    def hashes(self, positions: Sequence[int]) -> dict[int, bytes]:
        """The chain's hashes at these positions."""
        marks = ",".join("?" * len(positions))
        sql = f"SELECT position, hash FROM event_hashes WHERE position IN ({marks})"
        return {row[0]: row[1] for row in self._select(sql, positions)}

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash at one position."""
        return self.hashes([position]).get(position)

    def identity(self, source: str, id: str) -> tuple[int, int] | None:
        """Where a usage record stands: (position, row)."""
        rows = self._select(
            "SELECT position, row FROM usage_identities WHERE id=? AND source="
            "(SELECT number FROM usage_sources WHERE name=?)",
            (stored_id(id), source),
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def recorded(self, identities: Sequence[Identity]) -> dict[Identity, Prior]:
        """Those of the identities that are taken, with what they were taken by."""
        found: list[Taken] = []
        for start in range(0, len(identities), ROWS_PER_STATEMENT):
            chunk = identities[start : start + ROWS_PER_STATEMENT]
            marks = ",".join("?" * len(chunk))
            rows = self._select(
                "SELECT name, id, position, row, digest FROM usage_identities JOIN usage_sources "
                f"ON number=source WHERE id IN ({marks}) AND source IN "
                f"(SELECT number FROM usage_sources WHERE name IN ({marks}))",
                [*(stored_id(id) for _, id in chunk), *(source for source, _ in chunk)],
            )
            found += [((name, written_id(id)), *place) for name, id, *place in rows]
        return priors(self, found)

    def key(self, key: str) -> KeyRow | None:
        """What an idempotency key was used for."""
        rows = self._select("SELECT * FROM idempotency_keys WHERE key=?", (key,))
        return KeyRow(*rows[0]) if rows else None

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query, at one moment. Raises `CorruptLedger` when they cannot be read."""
        try:
            return self._select(sql, parameters)
        except PersistenceError as error:
            raise CorruptLedger(f"the ledger cannot be read: {error}") from error

    def decoded(self, position: int, stored: Stored) -> Recorded:
        """A stored event as the fact that it is, in its newest version."""
        id, version = str(stored.originator_id), stored.originator_version
        return self._recorded(position, StoredEvent(id, version, stored.topic, stored.state))

    def envelope(self, state: bytes) -> Envelope:
        """What is known beside the fact in these stored bytes, which stays undecoded."""
        envelope: Envelope = self._mapper.transcoder.decode(state)[0]
        return envelope

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._reading.datastore.transaction(commit=False) as cursor:
            cursor.execute(sql, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows

    def _recorded(self, position: int, stored: StoredEvent) -> Recorded:
        pending = self._mapper.to_domain_event(stored)
        return Recorded(
            position,
            pending.originator_id,
            pending.originator_version,
            pending.envelope,
            pending.event,
        )


class TakenError(Exception):
    """An identity, a key or a stream version is in the ledger already."""

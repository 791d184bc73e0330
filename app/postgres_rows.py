"""The tables of a ledger in PostgreSQL, and how events and what goes with them get into them."""

import re
from collections.abc import Sequence
from struct import Struct
from typing import Any

from eventsourcing.persistence import StoredEvent
from psycopg import RawCursor

from app.chain import GENESIS, chain_hash
from app.identities import Identities, IdentityRow, IdentityRun
from app.store import CorruptLedger, KeyRow
from domain.record_ids import ID_BYTES, stored_ids
from domain.record_ids import written_id as written
from projections.postgres import Row

_STATEMENT_BYTES = 2 * 1024 * 1024
"""Events that go in one statement, of which the last may make it larger."""

_ENDS = b"""SELECT (SELECT max(notification_id) FROM stored_events), position, hash
    FROM (SELECT) AS one
    LEFT JOIN (SELECT * FROM event_hashes ORDER BY position DESC LIMIT 1) AS newest ON true"""
TABLES = (
    # As the library makes it, but for the order of its texts, and without a sequence to count.
    """CREATE TABLE IF NOT EXISTS stored_events (originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL, topic TEXT, state BLOB, notification_id INTEGER NOT NULL,
    PRIMARY KEY (originator_id, originator_version))""",
    "CREATE TABLE IF NOT EXISTS event_hashes (position INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS usage_sources (number INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    """CREATE TABLE IF NOT EXISTS usage_identities (source INTEGER, id BLOB, position INTEGER,
    row INTEGER, digest BLOB, PRIMARY KEY (source, id))""",
    """CREATE TABLE IF NOT EXISTS idempotency_keys (key TEXT PRIMARY KEY, digest BLOB,
    subject TEXT, position INTEGER)""",
    # What whoever has the duty keeps for who takes it over.
    "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, content BLOB NOT NULL)",
)
NAMES = [re.findall(r"EXISTS (\w+)", table)[0] for table in TABLES]
_EVENTS = b"""INSERT INTO stored_events
    (originator_id, originator_version, topic, state, notification_id)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[])"""
_HASHES = b"INSERT INTO event_hashes SELECT * FROM unnest($1::bigint[], $2::bytea[])"
_IDENTITIES = b"COPY usage_identities FROM STDIN (FORMAT BINARY)"
_COPY_HEAD, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_NUMBER = Struct("!iq").pack
"""A whole number as a field of a row that is copied: its length before it."""
_LENGTH = Struct("!i").pack
_FIELDS = Struct("!h").pack(5)
_KEYS = b"""INSERT INTO idempotency_keys
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[])"""
_NUMBER_OF = b"SELECT number FROM usage_sources WHERE name=$1"
_SOURCE = b"""INSERT INTO usage_sources SELECT coalesce(max(number), 0) + 1, $1 FROM usage_sources
    ON CONFLICT DO NOTHING"""


def insert_events(
    c: RawCursor[Row], stored_events: Sequence[StoredEvent]
) -> list[tuple[int, bytes]]:
    """Events after the head, each with its link of the chain; which those are is the answer."""
    [end, before, head] = c.execute(_ENDS, binary=True).fetchone() or (None, None, None)
    before, head = before or 0, head or GENESIS
    if (end or 0) != before:
        message = f"event {(end or 0) + 1} would follow {before}: the log has a hole"
        raise CorruptLedger(message)
    portion: list[Row] = []
    size, hashes = 0, list[tuple[int, bytes]]()
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
    return hashes


def insert_identities(c: RawCursor[Row], identities: Identities) -> None:
    """The identities in the order of their index."""
    if not identities:
        return
    numbers: dict[str, int] = {}
    for name in sorted({identity.source for identity in identities}):
        known = c.execute(_NUMBER_OF, (name,)).fetchone()
        if known is None:
            c.execute(_SOURCE, (name,))
            known = c.execute(_NUMBER_OF, (name,)).fetchone()
        [numbers[name]] = known or ()
    singles = [one for one in identities if isinstance(one, IdentityRow)]
    ids = stored_ids([one.id for one in singles])
    rows = [
        b"".join((*_before(numbers[source], kept_id(id)), *_place(position, row), *_last(mark)))
        for (source, _, position, row, mark), id in zip(singles, ids, strict=True)
    ]
    for run in identities:
        if isinstance(run, IdentityRun):
            rows += _rows_of(run, numbers[run.source])
    rows.sort()  # by source and id, those of one length, as the index has them
    # Copied, which takes half the time of an insertion.
    with c.copy(_IDENTITIES) as copy:
        copy.write(b"".join((_COPY_HEAD, *rows, _COPY_END)))


def insert_keys(c: RawCursor[Row], keys: Sequence[KeyRow]) -> None:
    """The idempotency keys of commands."""
    if keys:
        rows = [(one.key, one.digest, one.subject, one.position) for one in keys]
        c.execute(_KEYS, _columns(rows))


def keys_are_there(c: RawCursor[Row], keys: Sequence[KeyRow]) -> bool:
    """Whether these idempotency keys were written, and not by somebody else for something else."""
    sql = b"SELECT digest FROM idempotency_keys WHERE key=$1 AND position=$2"
    found = [c.execute(sql, (key.key, key.position)).fetchone() for key in keys]
    return found == [(key.digest,) for key in keys]


def _rows_of(run: IdentityRun, source: int) -> list[bytes]:
    """The identities of a run as they are copied, of which only id and row differ."""
    ids = [run.ids[at : at + ID_BYTES] for at in range(0, len(run.ids), ID_BYTES)]
    first = b"".join(_before(source, kept_id(ids[0])))[:-ID_BYTES]
    position, _ = _place(run.position, 0)
    last = b"".join(_last(run.mark))
    rows = [position + _NUMBER(8, row) + last for row in range(len(ids))]
    return [first + id + row for id, row in zip(ids, rows, strict=True)]


def _before(source: int, id: bytes) -> tuple[bytes, ...]:
    """What an identity that is copied begins with: its source, and its id as it is kept."""
    return _FIELDS, _NUMBER(8, source), _LENGTH(len(id)), id


def _place(position: int, row: int) -> tuple[bytes, bytes]:
    """Where its record stands."""
    return _NUMBER(8, position), _NUMBER(8, row)


def _last(mark: bytes) -> tuple[bytes, bytes]:
    """How it was sent."""
    return _LENGTH(len(mark)), mark


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as columns, each of which goes as one array of bytes."""
    return [list(column) for column in zip(*rows, strict=True)]


def kept_id(id: bytes | str) -> bytes:
    """An id in one column of bytes: texts before the bytes of UUIDs, each in its own order."""
    return b"\0" + id.encode() if isinstance(id, str) else b"\1" + id


def written_id(kept: bytes) -> str:
    """The id as its sender wrote it."""
    return kept[1:].decode() if kept[0] == 0 else written(kept[1:])

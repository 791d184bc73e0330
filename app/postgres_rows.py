"""The tables of a ledger in PostgreSQL, and how events and what goes with them get into them."""

import re
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

from eventsourcing.persistence import StoredEvent
from psycopg import RawCursor

from app.chain import GENESIS, chain_hash
from app.identities import Identities, IdentityRow, IdentityRun
from app.store import CorruptLedger, KeyRow
from domain.record_ids import ID_BYTES, stored_ids
from domain.record_ids import written_id as written
from projections.postgres import Row, translated

_STATEMENT_BYTES = 2 * 1024 * 1024
"""Events that go in one statement, of which the last may make it larger."""

_HEAD = "SELECT position, hash FROM event_hashes ORDER BY position DESC LIMIT 1"
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
_SOURCE = b"""INSERT INTO usage_sources SELECT coalesce(max(number), 0) + 1, $1 FROM usage_sources
    ON CONFLICT DO NOTHING"""


def insert_events(
    c: RawCursor[Row], stored_events: Sequence[StoredEvent]
) -> list[tuple[int, bytes]]:
    """Events after the head, each with its link of the chain; which those are is the answer."""
    found = c.execute(translated(_HEAD), binary=True).fetchone()
    before, head = found or (0, GENESIS)
    end = c.execute(b"SELECT max(notification_id) FROM stored_events").fetchone()
    if end is not None and (end[0] or 0) != before:
        message = f"event {(end[0] or 0) + 1} would follow {before}: the log has a hole"
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
        c.execute(_SOURCE, (name,))
        c.execute(b"SELECT number FROM usage_sources WHERE name=$1", (name,))
        [numbers[name]] = c.fetchone() or ()
    singles = [one for one in identities if isinstance(one, IdentityRow)]
    ids = [kept_id(id) for id in stored_ids([one.id for one in singles])]
    rows = [
        (numbers[source], id, _NUMBER(8, position) + _NUMBER(8, row), mark)
        for (source, _, position, row, mark), id in zip(singles, ids, strict=True)
    ]
    for run in identities:
        if isinstance(run, IdentityRun):
            rows += _rows_of(run, numbers[run.source])
    rows.sort()
    # Copied, which takes half the time of an insertion.
    with c.copy(_IDENTITIES) as copy:
        copy.write(b"".join((_COPY_HEAD, *map(_copied, rows), _COPY_END)))


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


_Copied = tuple[int, bytes, bytes, bytes]
"""An identity on its way: its source, its id as it is kept, its place as fields, its mark."""


def _rows_of(run: IdentityRun, source: int) -> Iterator[_Copied]:
    """The identities of a run, one by one."""
    position = _NUMBER(8, run.position)
    for row in range(len(run.ids) // ID_BYTES):
        id = run.ids[row * ID_BYTES : (row + 1) * ID_BYTES]
        yield source, b"\1" + id, position + _NUMBER(8, row), run.mark


def _copied(row: _Copied) -> bytes:
    """An identity as it is copied into its table."""
    source, id, place, mark = row
    return b"".join(
        (_FIELDS, _NUMBER(8, source), _LENGTH(len(id)), id, place, _LENGTH(len(mark)), mark)
    )


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as columns, each of which goes as one array of bytes."""
    return [list(column) for column in zip(*rows, strict=True)]


def kept_id(id: bytes | str) -> bytes:
    """An id in one column of bytes: texts before the bytes of UUIDs, each in its own order."""
    return b"\0" + id.encode() if isinstance(id, str) else b"\1" + id


def written_id(kept: bytes) -> str:
    """The id as its sender wrote it."""
    return kept[1:].decode() if kept[0] == 0 else written(kept[1:])

"""The tables of a ledger in PostgreSQL, and how events and what goes with them get into them."""

import re
from collections.abc import Sequence
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
_OF_RUN = f"""INSERT INTO usage_identities
    SELECT $1, '\\x01'::bytea || substr($3, at * {ID_BYTES} + 1, {ID_BYTES}), $2, at, $4
    FROM generate_series(0, length($3) / {ID_BYTES} - 1) AS at""".encode()
"""The identities of a run, which the database takes apart; sorted, it would take longer."""
_SINGLES = b"""INSERT INTO usage_identities
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[])"""
_KEYS = b"""INSERT INTO idempotency_keys
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[])"""
_NUMBER_OF = b"SELECT number FROM usage_sources WHERE name=$1"
_SOURCE = b"""INSERT INTO usage_sources SELECT coalesce(max(number), 0) + 1, $1 FROM usage_sources
    ON CONFLICT DO NOTHING"""


def end_of(c: RawCursor[Row]) -> tuple[int, bytes]:
    """Where the log ends: (position, hash). Raises `CorruptLedger` when events are missing."""
    [events, hashes, head] = c.execute(_ENDS, binary=True).fetchone() or (None, None, None)
    return without_hole(events, hashes), head or GENESIS


def without_hole(events: int | None, hashes: int | None) -> int:
    """The head, where the last event and the last hash stand. Raises `CorruptLedger`."""
    if (events or 0) != (hashes or 0):
        message = f"event {(events or 0) + 1} would follow {hashes or 0}: the log has a hole"
        raise CorruptLedger(message)
    return events or 0


def insert_events(
    c: RawCursor[Row], stored_events: Sequence[StoredEvent], end: tuple[int, bytes]
) -> list[tuple[int, bytes]]:
    """Events after the end of the log, each with its link of the chain, which is the answer."""
    before, head = end
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


def insert_identities(c: RawCursor[Row], identities: Identities, numbers: dict[str, int]) -> None:
    """The identities; `numbers` are those of sources that are known, to which others are added."""
    for name in sorted({identity.source for identity in identities} - numbers.keys()):
        numbers[name] = _number_of(c, name)
    singles = [one for one in identities if isinstance(one, IdentityRow)]
    if singles:
        ids = stored_ids([one.id for one in singles])
        rows = [
            (numbers[source], kept_id(id), position, row, mark)
            for (source, _, position, row, mark), id in zip(singles, ids, strict=True)
        ]
        c.execute(_SINGLES, _columns(sorted(rows)))
    for run in identities:
        if isinstance(run, IdentityRun):
            c.execute(_OF_RUN, (numbers[run.source], run.position, run.ids, run.mark))


def _number_of(c: RawCursor[Row], source: str) -> int:
    """The small number of a source, which it keeps for ever."""
    known = c.execute(_NUMBER_OF, (source,)).fetchone()
    if known is None:
        c.execute(_SOURCE, (source,))
        known = c.execute(_NUMBER_OF, (source,)).fetchone()
    [number] = known or ()
    return int(number)


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


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as columns, each of which goes as one array of bytes."""
    return [list(column) for column in zip(*rows, strict=True)]


def kept_id(id: bytes | str) -> bytes:
    """An id in one column of bytes: texts before the bytes of UUIDs, each in its own order."""
    return b"\0" + id.encode() if isinstance(id, str) else b"\1" + id


def written_id(kept: bytes) -> str:
    """The id as its sender wrote it."""
    return kept[1:].decode() if kept[0] == 0 else written(kept[1:])

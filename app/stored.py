"""What lies in the ledger's file, read as it lies there: it may be anything, and nothing stops it.

Reading for use is `store.py`'s. Here columns come as the bytes they are, with whether they are of
the type that was written, so that a ledger which somebody touched can be read to its end.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from app.store import Store
from domain.usage import Identity

_BEFORE_ALL = -(2**63)
_PER_QUERY = 250
_BATCHES_ONE_BY_ONE = 100
"""After a batch whose ids do not lie side by side, so many are not even tried."""
PAGE_EVENTS = 100
"""Events read at a time: their usage records, 100,000 at most, are held in memory together."""


class Row(msgspec.Struct, frozen=True):
    """An event as it lies in the file, in the shape that `chain.Stored` has.

    It is not readable when a column is of another type than was written. `hash` is what stands
    beside it, None when that is no hash.
    """

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes
    hash: bytes | None
    readable: bool


class Ends(NamedTuple):
    """Where the log ends, and its hashes begin and end: an empty one from 1 to 0."""

    log_end: int
    chain_start: int
    chain_end: int


Kept = tuple[object, object, object]
"""(position, row, digest) of an identity that is kept, as the file says: of any type."""


def ends(store: Store) -> Ends:
    """Where the ledger begins and ends, at one moment."""
    [row] = store.select(
        "SELECT (SELECT MAX(rowid) FROM stored_events), MIN(position), MAX(position)"
        " FROM event_hashes"
    )
    return Ends(row[0] or 0, 1 if row[1] is None else row[1], row[2] or 0)


def ledger_id(store: Store) -> str:
    """The id of the ledger itself, of a fork its own; empty when that cannot be read.

    The streams of ledgers lie side by side in the index, however long the log is.
    """
    rows = store.select(
        f"SELECT {_text(store, 'originator_id')} FROM stored_events"
        " WHERE originator_id>='led_' AND originator_id<'led`' AND originator_version=1"
        " AND (topic LIKE 'ledger.opened/%' OR topic LIKE 'ledger.forked/%')"
        " ORDER BY rowid DESC LIMIT 1"
    )
    return (rows[0][0] or b"").decode(errors="replace") if rows else ""


def hash_at(store: Store, position: int) -> bytes | None:
    """The hash that stands at a position, if it is one."""
    sql = f"SELECT hash FROM event_hashes WHERE position=? AND {_is(store, 'hash', 'blob')}"
    rows = store.select(sql, (position,))
    return rows[0][0] if rows else None


def pages(store: Store, after: int, until: int) -> Iterator[list[Row]]:
    """The events after a position and up to another one, a page at a time; 0 is before all."""
    after = after or _BEFORE_ALL
    sql = _page(store)
    while True:
        page = [_row(*row) for row in store.select(sql, (after, until, PAGE_EVENTS))]
        if page:
            yield page
        if len(page) < PAGE_EVENTS:
            return
        after = page[-1].position


def _page(store: Store) -> str:
    typed = (
        _is(store, column, type)
        for column, type in (
            ("originator_id", "text"),
            ("originator_version", "integer"),
            ("topic", "text"),
            ("state", "blob"),
        )
    )
    return f"""SELECT e.rowid, {" AND ".join(typed)}, {_text(store, "originator_id")},
        CAST(originator_version AS BIGINT), {_text(store, "topic")}, {_blob(store, "state")},
        CASE WHEN {_is(store, "h.hash", "blob")} THEN h.hash END
        FROM stored_events e LEFT JOIN event_hashes h ON h.position=e.rowid
        WHERE e.rowid>? AND e.rowid<=? ORDER BY e.rowid LIMIT ?"""


def _is(store: Store, column: str, type: str) -> str:
    """The condition that a column holds what was written there, and not something else."""
    return f"{column} IS NOT NULL" if store.typed else f"typeof({column})='{type}'"


def _text(store: Store, column: str) -> str:
    """A column of text as the bytes that it is."""
    return f"convert_to({column}, 'UTF8')" if store.typed else f"CAST({column} AS BLOB)"


def _blob(store: Store, column: str) -> str:
    """A column of bytes, also where it holds something else."""
    return column if store.typed else f"CAST({column} AS BLOB)"


def _row(
    position: int,
    typed: int,
    stream: bytes | None,
    version: int | None,
    topic: bytes | None,
    state: bytes | None,
    hash: bytes | None,
) -> Row:
    try:
        id, name = (stream or b"").decode(), (topic or b"").decode()
    except UnicodeDecodeError:
        return Row(position, "", 0, "", b"", hash, readable=False)
    readable = bool(typed) and (version or 0) >= 0
    return Row(position, id, version or 0, name, state or b"", hash, readable)


class Identities:
    """Looks up the identities of usage records, by ranges for as long as ids come in order.

    Ids that carry their time lie side by side in the index, and reading them in one go takes a
    third of the time of looking each of them up.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._one_by_one = 0

    def of(self, wanted: Sequence[Identity]) -> list[Kept | None]:
        """What the file says of each, in their order; None for what is not kept."""
        ids = self._store.kept_ids([id for _, id in wanted])
        names = sorted({source for source, _ in wanted})
        name = _text(self._store, "name")
        sources = self._store.select(
            f"SELECT {name}, number FROM usage_sources WHERE name IN ({_marks(names)})", names
        )
        numbers = {name.decode(): number for name, number in sources}
        if len(names) == 1 and names[0] in numbers and not self._one_by_one:
            found = self._between(numbers[names[0]], ids)
            if found is not None:
                return list(map(found.get, ids))
        self._one_by_one = (self._one_by_one or _BATCHES_ONE_BY_ONE) - 1
        asked = [(numbers.get(source), id) for (source, _), id in zip(wanted, ids, strict=True)]
        return self._each(asked)

    def _between(
        self, source: object, ids: Sequence[bytes | str]
    ) -> dict[bytes | str, Kept] | None:
        """What lies between the first id and the last; None when that is much more than these."""
        if not all(isinstance(id, bytes) for id in ids):
            return None
        ordered = sorted(ids)
        most = 2 * len(ids)
        rows = self._store.select(
            f"SELECT id, position, row, {_blob(self._store, 'digest')} FROM usage_identities"
            " WHERE source=? AND id>=? AND id<=? LIMIT ?",
            (source, ordered[0], ordered[-1], most),
        )
        return {row[0]: tuple(row)[1:] for row in rows} if len(rows) < most else None

    def _each(self, asked: Sequence[tuple[object, bytes | str]]) -> list[Kept | None]:
        found: list[Kept | None] = [None] * len(asked)
        for start in range(0, len(asked), _PER_QUERY):
            chunk = asked[start : start + _PER_QUERY]
            marks = "?::bigint,?::bytea" if self._store.typed else "?,?"
            values = ",".join(f"({start + at},{marks})" for at in range(len(chunk)))
            rows = self._store.select(
                f"WITH wanted(at, number, one) AS (VALUES {values})"
                f" SELECT at, position, row, {_blob(self._store, 'digest')} FROM wanted CROSS JOIN"
                " usage_identities ON source=number AND id=one",
                [*chain.from_iterable(chunk)],
            )
            for at, position, row, digest in rows:
                found[at] = (position, row, digest)
        return found


def count_identities(store: Store, until: int) -> int:
    """How many identities are kept that were not brought by an event after a position."""
    [row] = store.select(
        f"SELECT COUNT(*) FROM usage_identities WHERE NOT ({_is(store, 'position', 'integer')}"
        " AND position>? AND position<=(SELECT MAX(position) FROM event_hashes))",
        (until,),
    )
    return int(row[0])


def keys(store: Store, wanted: Sequence[str]) -> dict[str, tuple[object, object]]:
    """Those of the idempotency keys that are kept, each with its subject and position."""
    found: dict[str, tuple[object, object]] = {}
    for start in range(0, len(wanted), _PER_QUERY):
        chunk = wanted[start : start + _PER_QUERY]
        rows = store.select(
            f"SELECT key, {_text(store, 'subject')}, position FROM idempotency_keys"
            f" WHERE key IN ({_marks(chunk)})",
            chunk,
        )
        for key, subject, position in rows:
            found[key] = (subject, position)
    return found


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))

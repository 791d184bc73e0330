"""How the identities of usage records go into the store: many at a time, in their index's order."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

from domain.record_ids import ID_BYTES, stored_ids, written_ids

ROWS_PER_STATEMENT = 250
"""Identities that one statement holds; fewer would spend the time on statements."""

# The database takes the columns apart by itself, while other threads go on.
_INSERT_RUN = f"""WITH RECURSIVE rows(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM rows LIMIT ?5)
    INSERT INTO usage_identities SELECT ?1, substr(?3, at * {ID_BYTES} + 1, {ID_BYTES}), ?2, at, ?4
    FROM rows ORDER BY 2"""


class IdentityRow(NamedTuple):
    """The identity of one usage record: who it is, where it stands, how it was sent."""

    source: str
    id: str
    position: int
    row: int
    mark: bytes


class IdentityRun(NamedTuple):
    """The identities of all records of an event: UUIDs of one source that were sent alike."""

    source: str
    position: int
    ids: bytes
    mark: bytes

    def rows(self) -> list[IdentityRow]:
        """The same one by one."""
        return [
            IdentityRow(self.source, id, self.position, row, self.mark)
            for row, id in enumerate(written_ids(self.ids))
        ]


class Cursor(Protocol):
    """The store's open transaction."""

    def execute(self, statement: str, parameters: Any = (), /) -> object:
        """Run a statement."""

    def fetchone(self) -> Any:
        """The next row of the last one."""


Identities = Sequence[IdentityRow | IdentityRun]


def place_among(identities: Identities, source: str, id: str) -> tuple[int, int] | None:
    """Where the record with this identity stands, if it is among these: (position, row)."""
    runs = (one.rows() if isinstance(one, IdentityRun) else [one] for one in identities)
    found = (one for one in chain.from_iterable(runs) if (one.id, one.source) == (id, source))
    return next(((one.position, one.row) for one in found), None)


def insert_identities(c: Cursor, identities: Identities) -> None:
    """The identities in the order of their index, many to a statement."""
    numbers = _source_numbers(c, {identity.source for identity in identities})
    singles = [one for one in identities if isinstance(one, IdentityRow)]
    ids = stored_ids([one.id for one in singles])
    rows = [
        (numbers[source], id, position, row, mark)
        for (source, _, position, row, mark), id in zip(singles, ids, strict=True)
    ]
    rows.sort(key=_identity_order)
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = rows[start : start + ROWS_PER_STATEMENT]
        c.execute(_insert_of(len(chunk)), list(chain.from_iterable(chunk)))
    for run in identities:
        if isinstance(run, IdentityRun):
            of_run = (run.position, run.ids, run.mark, len(run.ids) // ID_BYTES)
            c.execute(_INSERT_RUN, (numbers[run.source], *of_run))


def _identity_order(row: tuple[int, bytes | str, int, int, bytes]) -> tuple[int, bool, Any]:
    """As the index has it: by source, texts before bytes."""
    return row[0], isinstance(row[1], bytes), row[1]


@cache
def _insert_of(rows: int) -> str:
    """The statement that inserts so many identities."""
    return f"INSERT INTO usage_identities VALUES {','.join(['(?,?,?,?,?)'] * rows)}"


def _source_numbers(c: Cursor, names: set[str]) -> dict[str, int]:
    """A small number for each source, kept for ever."""
    numbers: dict[str, int] = {}
    for name in sorted(names):
        c.execute("INSERT OR IGNORE INTO usage_sources (name) VALUES (?)", (name,))
        c.execute("SELECT number FROM usage_sources WHERE name=?", (name,))
        numbers[name] = c.fetchone()[0]
    return numbers

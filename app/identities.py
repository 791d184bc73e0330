"""How the identities of usage records go into the store: many at a time, in their index's order."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

from domain.record_ids import stored_ids

ROWS_PER_STATEMENT = 250
"""Identities that one statement holds; fewer would spend the time on statements."""


class IdentityRow(NamedTuple):
    """The identity of one usage record: who it is, where it stands, what it said."""

    source: str
    id: str
    position: int
    row: int
    digest: bytes


class Cursor(Protocol):
    """The store's open transaction."""

    def execute(self, statement: str, parameters: Any = (), /) -> object:
        """Run a statement."""

    def fetchone(self) -> Any:
        """The next row of the last one."""


def insert_identities(c: Cursor, identities: Sequence[IdentityRow]) -> None:
    """The identities in the order of their index, many to a statement."""
    numbers = _source_numbers(c, {identity[0] for identity in identities})
    ids = stored_ids([identity[1] for identity in identities])
    rows = [
        (numbers[source], id, position, row, digest)
        for (source, _, position, row, digest), id in zip(identities, ids, strict=True)
    ]
    rows.sort(key=_identity_order)
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = rows[start : start + ROWS_PER_STATEMENT]
        c.execute(_insert_of(len(chunk)), list(chain.from_iterable(chunk)))


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

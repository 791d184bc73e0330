"""Where two views differ: what `verify` says of views that are not those folded from the ledger."""

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import NamedTuple

import msgspec

from projections.tables import Row, Table, Views, line

_ROWS_PER_PAGE = 1_000
_encode = msgspec.msgpack.Encoder().encode


class Difference(NamedTuple):
    """A row in which two databases differ, as text; None where one of them has no more."""

    table: str
    one: str | None
    other: str | None


def first_difference(one: Views, other: Views, tables: Sequence[Table]) -> Difference | None:
    """The first place where two canonical dumps would differ, without writing either as text."""
    for table in tables:
        pages = (_pages(table.listed(one)), _pages(table.listed(other)))
        nothing: list[Row] = []
        for ours, theirs in zip_longest(*pages, fillvalue=nothing):
            if _encode(ours) == _encode(theirs):  # which tells 1 from 1.0, as a dump does
                continue
            for mine, yours in zip_longest(map(line, ours), map(line, theirs)):
                if mine != yours:
                    return Difference(table.name, mine, yours)
    return None


def _pages(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while page := list(islice(rows, _ROWS_PER_PAGE)):
        yield page

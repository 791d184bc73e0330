"""The tables as Parquet, for programs that read columns: the same rows as CSV, with types.

Numbers are exact DECIMAL(38, 12). What is no such number, because it has more digits or never ends,
is null there and stands as text in the column `as_text`. Instants are microseconds in UTC. Needs
the extra `parquet`; nothing else in Tallybook does.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from app.exports.spreadsheets import SHEETS, Cell, Sheet
from app.exports.standing_views import standing_views
from app.exports.subjects import Subject
from app.opening import Home
from domain.money import format_decimal
from domain.periods import Period, to_us
from projections.places import Place

ROWS_PER_GROUP = 20_000
"""Rows that are held in memory, and written together."""
DIGITS, PLACES = 38, 12
AS_TEXT = "as_text"

_WHOLE = frozenset("position row price_version".split())
_NUMBERS = frozenset(
    "value quantity exact_amount amount subtotal total balance_applied amount_paid"
    " amount_credited amount_due".split()
)
_INSTANTS = frozenset("at timestamp period_start period_end".split())
_PLAIN = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?")

Rows = Sequence[Sequence[Cell]]


def parquet(
    directory: Path, subject: Subject, period: Period | None, place: Place | None = None
) -> Iterator[bytes]:
    """A table of a ledger as Parquet, a part at a time, as it is when the first part is read.

    Raises `ValueError` when the extra is not installed.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # nor does this part
    except ImportError as error:
        message = "--parquet needs the extra of that name: pip install '.[parquet]'"
        raise ValueError(message) from error
    return _written(pa, pq, Home(directory, place), SHEETS[subject], period)


def _written(pa: Any, pq: Any, home: Home, sheet: Sheet, period: Period | None) -> Iterator[bytes]:
    """The file, a group of rows at a time."""
    makers = [(name, *_typed(pa, name)) for name in sheet.columns]
    fields = [(name, type) for name, type, _ in makers]
    numbers = [index for index, name in enumerate(sheet.columns) if name in _NUMBERS]
    if numbers:
        fields.append((AS_TEXT, pa.string()))
    schema = pa.schema(fields)
    sink = _Sink()
    with standing_views(*home) as views:
        rows = iter(sheet.rows(home, views, period))
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            while group := list(islice(rows, ROWS_PER_GROUP)):
                arrays = [
                    pa.array([made(row[index]) for row in group], type)
                    for index, (_, type, made) in enumerate(makers)
                ]
                if numbers:
                    texts = _as_texts(sheet.columns, numbers, group)
                    arrays.append(pa.array(texts, pa.string()))
                writer.write_table(pa.table(arrays, schema=schema), ROWS_PER_GROUP)
                yield sink.taken()
    yield sink.taken()


def _typed(pa: Any, name: str) -> tuple[Any, Callable[[Cell], object]]:
    """The type of a column, and what a cell becomes in it; all else is text."""
    if name in _WHOLE:
        return pa.int64(), lambda cell: cell
    if name in _NUMBERS:
        return pa.decimal128(DIGITS, PLACES), exact
    if name in _INSTANTS or name.endswith("_at"):
        return pa.timestamp("us", tz="UTC"), _microseconds
    return pa.string(), lambda cell: None if cell is None else str(cell)


def _microseconds(cell: Cell) -> int | None:
    assert cell is None or isinstance(cell, datetime), "an instant"
    return None if cell is None else to_us(cell)


def exact(cell: Cell) -> Decimal | None:
    """A number as a DECIMAL(38, 12); None for what would not be exact in one.

    >>> exact("-3.50"), exact(Fraction(1, 3)), exact("three"), exact(10**26)
    (Decimal('-3.500000000000'), None, None, None)
    """
    if isinstance(cell, str) and not _PLAIN.fullmatch(cell):
        return None
    if cell is None or isinstance(cell, datetime):
        return None
    scaled = Fraction(cell) * 10**PLACES
    if scaled.denominator != 1 or abs(scaled.numerator) >= 10**DIGITS:
        return None
    return Decimal(f"{scaled.numerator}E-{PLACES}")


def _as_texts(columns: Sequence[str], numbers: Sequence[int], rows: Rows) -> list[str | None]:
    """For each row what its number columns cannot hold, by their names; None for nothing."""
    found: list[str | None] = []
    for row in rows:
        said = {
            columns[index]: _text(row[index])
            for index in numbers
            if row[index] is not None and exact(row[index]) is None
        }
        found.append(msgspec.json.encode(said).decode() if said else None)
    return found


def _text(cell: Cell) -> str:
    """A number as exactly as it can be written, be it as a fraction."""
    if isinstance(cell, Fraction):
        shown = format_decimal(cell)
        return shown if Fraction(shown) == cell else str(cell)
    return format_decimal(cell) if isinstance(cell, Decimal) else str(cell)


class _Sink(io.RawIOBase):
    """Takes what is written, and hands it on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """It is written to."""
        return True

    def write(self, data: Any) -> int:
        """Keep a part until it is taken."""
        part = bytes(data)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        """How much was written in all."""
        return self._written

    def taken(self) -> bytes:
        """What was written since it was last asked."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

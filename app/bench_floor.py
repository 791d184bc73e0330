"""The floor that `tallybook bench` compares with: what the disk and the bare database do.

One table of the same rows, with a unique index on the identity, in SQLite with WAL and
`synchronous=FULL`: what anybody would write who had to keep usage records and refuse those that
were sent twice. In PostgreSQL the rows of a batch go as arrays, which is the fastest way but for
COPY, and that refuses nothing by itself.
"""

import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Self

import msgspec

from app.clock import new_record_id
from projections.places import Place

_PAGE_BYTES = 4_096
_TABLE = (
    "CREATE TABLE usage (id TEXT, source TEXT, event_name TEXT, customer TEXT, timestamp TEXT,"
    " value TEXT, properties TEXT)"
)
_INDEX = "CREATE UNIQUE INDEX usage_identity ON usage (source, id)"
Row = tuple[str, str, str, str, str, str, str]


class Timing(msgspec.Struct, frozen=True):
    """How long something took that was done many times, in seconds: usually, and at worst."""

    p50: float
    p99: float

    @classmethod
    def of(cls, taken: Sequence[float]) -> Self:
        """Of every single time."""
        ordered = sorted(taken)
        places = [math.ceil(len(ordered) * percent / 100) - 1 for percent in (50, 99)]
        return cls(*(ordered[max(0, place)] for place in places))


class Floor(msgspec.Struct, frozen=True):
    """How long one flush takes, and how many rows a second are inserted, in batches and singly."""

    flush: Timing
    batched: float
    single: float
    database: str = "SQLite"


def measure(directory: Path, seconds: float, batch: int, place: Place | None = None) -> Floor:
    """Measure each for so long, in a directory, and a schema, that nobody else uses."""
    flush = Timing.of(_repeated(seconds, _flushing(directory / "flush")))
    with _in_file(directory / "floor.db") if place is None else _in_schema(place) as insert:
        batched, single = (
            size / _mean(_repeated(seconds, _inserting(insert, size))) for size in (batch, 1)
        )
    return Floor(flush, batched, single, "SQLite" if place is None else "PostgreSQL")


Insert = Callable[[Sequence["Row"]], None]
"""Inserts rows in a transaction of their own."""


@contextmanager
def _in_file(path: Path) -> Iterator[Insert]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", _TABLE, _INDEX):
            connection.execute(statement)

        def insert(rows: Sequence[Row]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO usage VALUES (?,?,?,?,?,?,?)", rows)
            connection.execute("COMMIT")

        yield insert


@contextmanager
def _in_schema(place: Place) -> Iterator[Insert]:
    from projections import postgres  # only whoever uses it need have installed what it needs

    arrays = ",".join(f"${number}::text[]" for number in range(1, 8))
    sql = f"INSERT INTO usage SELECT * FROM unnest({arrays})".encode()
    floor = place.beside("floor")
    with closing(postgres.connect(floor, floor.schema)) as connection:
        try:
            for statement in (f'CREATE SCHEMA "{floor.schema}"', _TABLE, _INDEX):
                connection.execute(statement.encode())
            yield lambda rows: _send(connection.execute, sql, rows)
        finally:
            connection.execute(f'DROP SCHEMA IF EXISTS "{floor.schema}" CASCADE'.encode())


def _send(execute: Callable[..., object], sql: bytes, rows: Sequence["Row"]) -> None:
    execute(sql, [list(column) for column in zip(*rows, strict=True)])


def _repeated(seconds: float, once: Callable[[], float]) -> list[float]:
    """How long each took, as often as there is time for."""
    taken, end = [once()], perf_counter() + seconds
    while perf_counter() < end:
        taken.append(once())
    return taken


def _flushing(path: Path) -> Callable[[], float]:
    """Appends a page to a file, and times until the disk has it."""

    def once() -> float:
        with path.open("ab") as file:
            started = perf_counter()
            file.write(bytes(_PAGE_BYTES))
            file.flush()
            os.fsync(file.fileno())
            return perf_counter() - started

    return once


def ascending() -> Iterator[str]:
    """UUIDv7 one after the other, cheaply made: nobody else makes any that begin like these."""
    begin = new_record_id()[:-12]
    return (f"{begin}{number:012x}" for number in count())


def _inserting(insert: Insert, size: int) -> Callable[[], float]:
    """Inserts rows that are made beforehand, and times the transaction."""
    ids = ascending()

    def once() -> float:
        rows = _rows(ids, size)
        started = perf_counter()
        insert(rows)
        return perf_counter() - started

    return once


def _rows(ids: Iterator[str], size: int) -> list[Row]:
    at, properties = "2026-01-01T00:00:00Z", '{"model":"large"}'
    return [
        (next(ids), "default", "tokens", f"customer-{n}", at, str(n), properties)
        for n in range(size)
    ]


def _mean(taken: Sequence[float]) -> float:
    return sum(taken) / len(taken)

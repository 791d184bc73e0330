"""The floor that `tallybook bench` compares with: what the disk and bare SQLite do on this machine.

One table of the same rows, with a unique index on the identity, WAL and `synchronous=FULL`: what
anybody would write who had to keep usage records and refuse those that were sent twice.
"""

import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Self

import msgspec

from app.clock import new_record_id

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


def measure(directory: Path, seconds: float, batch: int) -> Floor:
    """Measure each for so long, in a directory that nobody else uses."""
    flush = Timing.of(_repeated(seconds, _flushing(directory / "flush")))
    with closing(sqlite3.connect(directory / "floor.db", isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", _TABLE, _INDEX):
            connection.execute(statement)
        batched, single = (
            size / _mean(_repeated(seconds, _inserting(connection, size))) for size in (batch, 1)
        )
    return Floor(flush, batched, single)


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


def _inserting(connection: sqlite3.Connection, size: int) -> Callable[[], float]:
    """Inserts rows that are made beforehand, and times the transaction."""

    ids = ascending()

    def once() -> float:
        rows = _rows(ids, size)
        started = perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO usage VALUES (?,?,?,?,?,?,?)", rows)
        connection.execute("COMMIT")
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

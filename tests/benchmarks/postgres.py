"""Part p: the ledger in PostgreSQL, beside `COPY` of the same rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from projections.places import Place
from tests import postgres
from tests.benchmarks import batches, group_commit, report
from tests.benchmarks.floor import COLUMNS, UNIQUE, Floor, Row
from tests.benchmarks.workload import Ids, Records, Sizes, business

TITLE = "Batches through the ledger in PostgreSQL"
TOGETHER = "Group commit in PostgreSQL"
_BATCHES = 200
_SIZE = 1_000
_FULL = 1_000_000


def run(directory: Path, sizes: Sizes) -> None:
    """Measure in a server of our own, and print the tables; say so where there is none."""
    if report.lacks_postgres(TITLE):
        return
    rows: list[list[str]] = []
    kinds: tuple[Ids, ...] = ("time-ordered", "random")
    per_slice = max(1, _BATCHES * sizes.records // _FULL // sizes.slices)
    with postgres.running(on_disk=True) as server:
        for ids in sizes.some(kinds):
            place = Place.of(server.address(f"batches_{ids.replace('-', '_')}"))
            records = Records(ids, sizes.customers, sizes.among(sizes.slices * per_slice * _SIZE))
            with business(directory / ids, sizes, place) as subject, _copying(place) as bare:
                measured = batches.measure(
                    subject.ledger, bare, records, sizes.slices, per_slice, _SIZE
                )
            rows.append(batches.row(f"{_SIZE:,}, {ids} ids", _SIZE * per_slice, measured))
        place = Place.of(server.address("group_commit"))
        with business(directory / "together", sizes, place) as subject:
            together = group_commit.rows(subject.ledger, sizes)
    report.table(
        TITLE,
        "Timed: `ledger.record_now(batch)` until the answer. Floor: `COPY` of the same rows, ready "
        "as text,\ninto one table with a unique index on (source, id), one transaction for each "
        "batch, same server.\nSlices of both alternate; the ratio is the median of their ratios.",
        ["batch", "ledger", "floor", "ratio to floor", "batch p50", "batch p99"],
        rows,
    )
    report.table(TOGETHER, group_commit.NOTE, group_commit.COLUMNS, together)


@contextmanager
def _copying(place: Place) -> Iterator[Floor]:
    """A new table of usage records beside the ledger, with nothing else around it."""
    with psycopg.connect(place.url) as connection:
        connection.execute("CREATE SCHEMA floor")
        connection.execute("SET search_path TO floor")
        connection.execute(f"CREATE TABLE usage ({COLUMNS})".encode())
        connection.execute(UNIQUE.encode())
        connection.commit()
        yield _Copied(connection)
        connection.execute("DROP SCHEMA floor CASCADE")


class _Copied:
    """The rows copied into a table of PostgreSQL."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def insert(self, rows: Sequence[Row]) -> None:
        """One transaction with these rows."""
        with self._connection.cursor() as cursor, cursor.copy("COPY usage FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self._connection.commit()

"""Part r: reading a ledger from a replica of its server while it is written."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep

import psycopg

from projections.places import Place
from tests import postgres
from tests.benchmarks import report
from tests.benchmarks.workload import Business, Records, Sizes, business

TITLE = "Reading from a replica"
_SCHEMA = "followed"
_PART = 20
"""The ledger is one in so many of the large one's size."""
_SIZE = 1_000
_ALONE = 20
"""How many batches are written while nobody reads."""
_MOMENT_S = 0.0002


def run(directory: Path, sizes: Sizes) -> None:
    """Export the log from either server, and print the table; say so where there is none."""
    if report.lacks_postgres(TITLE):
        return
    held = sizes.records // _PART
    with postgres.running(on_disk=True) as server:
        address = server.address(_SCHEMA)
        place = Place.of(address)
        with business(directory / "followed", sizes, place) as subject:
            writing = _Writing(subject, sizes, min(_SIZE, held))
            for _ in range(max(1, held // writing.size)):
                writing.batch()
            with postgres.running(follows=server, on_disk=True) as other:
                followed = other.address(_SCHEMA)
                alone = writing.rate_of(_ALONE)
                rows = [["nobody", "", report.rate(alone), report.ratio(1)]]
                for label, read in (("the server itself", address), ("its replica", followed)):
                    there = writing.written
                    with _exporting(read, directory / f"from {label}") as process:
                        rate, seconds = writing.rate_beside(process)
                    row = [label, report.rate(there / seconds), report.rate(rate)]
                    rows.append([*row, report.ratio(rate / alone)])
                behind = [_behind(writing, place, Place.of(followed)) for _ in range(sizes.asked)]
    report.table(
        TITLE,
        f"`tallybook export` of {held:,} records and more, while batches of {writing.size:,} are "
        "written; both\nservers, the export and who writes on this machine. A replica has what "
        f"was answered after {report.millis(report.percentile(behind, 50))}\n(p50) and "
        f"{report.millis(report.percentile(behind, 99))} (p99), when nobody reads.",
        ["exported from", "records exported", "records written meanwhile", "ratio to nobody"],
        rows,
    )


class _Writing:
    """Who writes batches, and how fast."""

    def __init__(self, subject: Business, sizes: Sizes, size: int) -> None:
        self.size = size
        self.written = 0
        self._ledger = subject.ledger
        self._records = Records("time-ordered", sizes.customers, sizes.among(sizes.records))

    def batch(self) -> None:
        """Write one, and wait for its answer."""
        self._ledger.record_now(self._records.batch(self.size))
        self.written += self.size

    def rate_of(self, batches: int) -> report.PerSecond:
        """Records a second, of so many batches."""
        start = perf_counter()
        for _ in range(batches):
            self.batch()
        return batches * self.size / (perf_counter() - start)

    def rate_beside(self, process: "subprocess.Popen[bytes]") -> tuple[report.PerSecond, float]:
        """Records a second until a process ends, and how many seconds it took."""
        start, batches = perf_counter(), 0
        while process.poll() is None:
            self.batch()
            batches += 1
        seconds = perf_counter() - start
        assert process.returncode == 0, "the export failed"
        return batches * self.size / seconds, seconds


@contextmanager
def _exporting(address: str, aside: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that exports the log from there."""
    arguments = ["export", "--data", str(aside), "--database", address]
    command = [sys.executable, "-m", "app.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        yield process


def _behind(writing: _Writing, place: Place, replica: Place) -> float:
    """How long after its answer a batch is seen by who reads from the replica."""
    with psycopg.connect(place.url) as server, psycopg.connect(replica.url) as other:
        other.autocommit = True
        writing.batch()
        start = perf_counter()
        row = server.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        while True:
            sql = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            if other.execute(sql, row).fetchone() == (True,):
                return perf_counter() - start
            sleep(_MOMENT_S)

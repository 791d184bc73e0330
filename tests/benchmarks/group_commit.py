"""Part b: many clients with one record each, beside one commit for each request."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from app.ledger import Ledger
from domain.usage import RecordInput, Status
from tests.benchmarks import report
from tests.benchmarks.workload import Records, Sizes, business

TITLE = "Group commit"
NOTE = (
    "Timed: each client awaits `ledger.record([one])` in a loop; all clients share one event\n"
    "loop. One client after the other answer means one commit for each request."
)
COLUMNS = ("clients", "requests", "ratio to one commit per request")
_ALONE = 30
"""Requests of a slice that are sent one after the other."""
_EACH = 60
"""Requests that each client sends in a slice."""


def run(directory: Path, sizes: Sizes) -> None:
    """Let one client and many clients take turns, and print the table."""
    with business(directory / "group-commit", sizes) as subject:
        report.table(TITLE, NOTE, COLUMNS, rows(subject.ledger, sizes))


def rows(ledger: Ledger, sizes: Sizes) -> list[list[str]]:
    """What one client and many clients reach in a ledger, taking turns."""
    alone: list[report.PerSecond] = []
    together: list[report.PerSecond] = []
    total = sizes.slices * (_ALONE + sizes.clients * _EACH)
    records = Records("time-ordered", sizes.customers, total)
    for _ in range(sizes.slices):
        one = [records.batch(_ALONE)]
        many = [records.batch(_EACH) for _ in range(sizes.clients)]
        alone.append(asyncio.run(_send(ledger, one)))
        together.append(asyncio.run(_send(ledger, many)))
    ratio = report.median_ratio(together, alone)
    return [
        ["1", report.rate(median(alone)), report.ratio(1)],
        [f"{sizes.clients}", report.rate(median(together)), report.ratio(ratio)],
    ]


async def _send(ledger: Ledger, clients: Sequence[Sequence[RecordInput]]) -> report.PerSecond:
    """Requests a second, when each client sends its records one by one."""
    started = perf_counter()
    await asyncio.gather(*(_client(ledger, records) for records in clients))
    return sum(map(len, clients)) / (perf_counter() - started)


async def _client(ledger: Ledger, records: Sequence[RecordInput]) -> None:
    for record in records:
        receipts = await ledger.record([record], None)
        assert receipts[0].status is Status.ACCEPTED, receipts

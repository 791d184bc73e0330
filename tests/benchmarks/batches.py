"""Part a: batches of usage records through the ledger, beside bare inserts of the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from domain.usage import Status
from tests.benchmarks import report
from tests.benchmarks.floor import NOTE, floor, rows_of
from tests.benchmarks.workload import Ids, Records, Sizes, business

TITLE = "Batches through the ledger"
_BATCHES = {1: 500, 100: 250, 1_000: 200}
"""How many batches of each size a full run writes."""
_FULL = 1_000_000


@dataclass
class Measured:
    """Seconds of each slice, by the ledger and by the floor, and of each batch by the ledger."""

    ledger: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)


def run(directory: Path, sizes: Sizes) -> None:
    """Measure every size with both kinds of ids, and print the table."""
    rows: list[list[str]] = []
    kinds: tuple[Ids, ...] = ("time-ordered", "random")
    for size, full in _BATCHES.items():
        for ids in kinds:
            per_slice = max(1, full * sizes.records // _FULL // sizes.slices)
            place = directory / f"batches-{size}-{ids}"
            measured = _measure(place, sizes, size, ids, per_slice)
            rows.append(_row(f"{size:,}, {ids} ids", size * per_slice, measured))
    report.table(
        TITLE,
        "Timed: `ledger.record_now(batch)` until the answer (decided, on disk, folded into the\n"
        f"views). Floor: {NOTE};\nthe rows are made beforehand. Slices of both alternate; the "
        "ratio is the median of their ratios.",
        ["batch", "ledger", "floor", "ratio to floor", "batch p50", "batch p99"],
        rows,
    )


def _measure(directory: Path, sizes: Sizes, size: int, ids: Ids, per_slice: int) -> Measured:
    directory.mkdir()
    measured = Measured()
    records = Records(ids, sizes.customers, sizes.slices * per_slice * size)
    with business(directory, sizes) as subject, floor(directory / "floor.db") as bare:

        def through_the_ledger() -> None:
            for batch in batches:
                started = perf_counter()
                receipts = subject.ledger.record_now(batch)
                measured.batches.append(perf_counter() - started)
                assert receipts[-1].status is Status.ACCEPTED, receipts[-1]

        def bare_inserts() -> None:
            for one in rows:
                bare.insert(one)

        for turn in range(sizes.slices):
            batches = [records.batch(size) for _ in range(per_slice)]
            rows = [rows_of(batch) for batch in batches]
            both: Sequence[tuple[list[float], Callable[[], None]]] = [
                (measured.ledger, through_the_ledger),
                (measured.floor, bare_inserts),
            ]
            for seconds, work in both if turn % 2 else reversed(both):
                started = perf_counter()
                work()
                seconds.append(perf_counter() - started)
    return measured


def _row(label: str, slice_records: int, measured: Measured) -> list[str]:
    return [
        label,
        report.rate(slice_records / median(measured.ledger)),
        report.rate(slice_records / median(measured.floor)),
        report.ratio(report.median_ratio(measured.floor, measured.ledger)),
        report.millis(report.percentile(measured.batches, 50)),
        report.millis(report.percentile(measured.batches, 99)),
    ]

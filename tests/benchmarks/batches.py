"""Part a: batches of usage records through the ledger, beside bare inserts of the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from app.ledger import Ledger
from domain.usage import Status
from tests.benchmarks import report
from tests.benchmarks.floor import NOTE, Floor, floor, rows_of
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
    for size, full in sizes.some(tuple(_BATCHES.items())):
        for ids in kinds:
            per_slice = max(1, full * sizes.records // _FULL // sizes.slices)
            place = directory / f"batches-{size}-{ids}"
            place.mkdir()
            records = Records(ids, sizes.customers, sizes.among(sizes.slices * per_slice * size))
            with business(place, sizes) as subject, floor(place / "floor.db") as bare:
                measured = measure(subject.ledger, bare, records, sizes.slices, per_slice, size)
            rows.append(row(f"{size:,}, {ids} ids", size * per_slice, measured))
    report.table(
        TITLE,
        "Timed: `ledger.record_now(batch)` until the answer (decided, on disk, folded into the\n"
        f"views). Floor: {NOTE};\nthe rows are made beforehand. Slices of both alternate; the "
        "ratio is the median of their ratios.",
        ["batch", "ledger", "floor", "ratio to floor", "batch p50", "batch p99"],
        rows,
    )


def measure(
    ledger: Ledger, bare: Floor, records: Records, slices: int, per_slice: int, size: int
) -> Measured:
    """Let the ledger and the floor take turns at the same batches, slice by slice."""
    measured = Measured()

    def through_the_ledger() -> None:
        for batch in batches:
            started = perf_counter()
            receipts = ledger.record_now(batch)
            measured.batches.append(perf_counter() - started)
            assert receipts[-1].status is Status.ACCEPTED, receipts[-1]

    def bare_inserts() -> None:
        for one in rows:
            bare.insert(one)

    for turn in range(slices):
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


def row(label: str, slice_records: int, measured: Measured) -> list[str]:
    """What was measured of one kind of batch."""
    return [
        label,
        report.rate(slice_records / median(measured.ledger)),
        report.rate(slice_records / median(measured.floor)),
        report.ratio(report.median_ratio(measured.floor, measured.ledger)),
        report.millis(report.percentile(measured.batches, 50)),
        report.millis(report.percentile(measured.batches, 99)),
    ]

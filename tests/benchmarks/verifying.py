"""Part g: verifying the whole ledger, as it is done while a server writes."""

from pathlib import Path
from time import perf_counter

from app import verification
from tests.benchmarks import report
from tests.benchmarks.workload import Business, Sizes

TITLE = "Verification of the ledger"


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Verify the large ledger while it is open, and print the table."""
    started = perf_counter()
    found = verification.verify_open(large.ledger)
    seconds = perf_counter() - started
    report.table(
        TITLE,
        "Timed: `verification.verify_open`: chain, identities, keys, views folded aside and\n"
        "compared with the live ones, invoices derived again.",
        ["records", "events", "seconds", "events a second", "records a second", "findings"],
        [
            [
                f"{sizes.records:,}",
                f"{found.events:,}",
                f"{seconds:.2f}",
                report.rate(found.events / seconds),
                report.rate(sizes.records / seconds),
                f"{len(found.findings)}",
            ]
        ],
    )
    assert found.ok, found.findings

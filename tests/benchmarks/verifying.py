"""Part g: verifying the whole ledger, as it is done while a server writes."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from app import folding_ahead, verification
from app.verification import Verification
from tests.benchmarks import report
from tests.benchmarks.workload import Business, Sizes

TITLE = "Verification of the ledger"


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Verify the large ledger while it is open, and print the table."""
    ledger = large.ledger
    ways: list[tuple[str, Callable[[], Verification]]] = [
        ("one process", lambda: verification.verify_open(ledger))
    ]
    if folding_ahead.worth_it(ledger.store):
        ways.append(("all processors", lambda: verification.verify(ledger.directory)))
    rows: list[list[str]] = []
    for label, verify in ways:
        started = perf_counter()
        found = verify()
        seconds = perf_counter() - started
        rows.append(
            [
                f"{sizes.records:,}, {label}",
                f"{found.events:,}",
                f"{seconds:.2f}",
                report.rate(found.events / seconds),
                report.rate(sizes.records / seconds),
                f"{len(found.findings)}",
            ]
        )
        assert found.ok, found.findings
    report.table(
        TITLE,
        "Timed: `verify_open`, as `ledgerVerification` asks for it, and `verify`, as\n"
        "`tallybook verify` does: chain, identities, keys, views folded aside and compared with\n"
        "the live ones, invoices derived again.",
        ["records", "events", "seconds", "events a second", "records a second", "findings"],
        rows,
    )

"""Part e: folding the whole ledger anew, and whether it says the same."""

import hashlib
from pathlib import Path
from time import perf_counter

from app.ledger import VIEWS
from projections import engine
from projections.engine import Engine
from tests.benchmarks import report
from tests.benchmarks.workload import Business, Sizes

TITLE = "Rebuild of the views"


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Rebuild the large ledger's views beside the live ones, and print the table."""
    ledger = large.ledger
    started = perf_counter()
    aside = engine.rebuild(directory / VIEWS, ledger.store.read)
    seconds = perf_counter() - started
    rebuilt = Engine(aside)
    try:
        same = fingerprint(rebuilt) == fingerprint(ledger.engine)
    finally:
        rebuilt.close()
        engine.remove(aside)
    report.table(
        TITLE,
        "Timed: `engine.rebuild`, from opening empty views to closing the full ones. Afterwards\n"
        "the canonical dumps of both are compared.",
        ["records", "events", "seconds", "records a second", "dump"],
        [
            [
                f"{sizes.records:,}",
                f"{ledger.store.head()[0]:,}",
                f"{seconds:.2f}",
                report.rate(sizes.records / seconds),
                "identical" if same else "DIFFERENT",
            ]
        ],
    )
    assert same, "a rebuild says something else than the live views"


def fingerprint(views: Engine) -> str:
    """The hash of the canonical dump."""
    digest = hashlib.sha256()
    for line in views.database.dump():
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()

"""Part e: folding the whole ledger anew, and whether it says the same."""

import hashlib
from functools import partial
from pathlib import Path
from time import perf_counter

from app.folding_ahead import folders
from app.opening import VIEWS
from projections import engine
from projections.engine import Engine
from tests.benchmarks import report
from tests.benchmarks.workload import Business, Sizes

TITLE = "Rebuild of the views"


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Rebuild the large ledger's views beside the live ones, and print the table."""
    ledger = large.ledger
    store, views = ledger.store, directory / VIEWS
    floor = _seconds_to_read(large)
    rows: list[list[str]] = []
    with_others = partial(folders, store)
    for label, others in (("one process", None), ("all processors", with_others)):
        started = perf_counter()
        aside = engine.rebuild(views, store.read, None, others, store.read)
        seconds = perf_counter() - started
        rebuilt = Engine(aside)
        try:
            same = fingerprint(rebuilt) == fingerprint(ledger.engine)
        finally:
            rebuilt.close()
            engine.remove(aside)
        rows.append(
            [
                f"{sizes.records:,}, {label}",
                f"{store.head()[0]:,}",
                f"{seconds:.2f}",
                report.rate(sizes.records / seconds),
                f"{seconds / floor:.1f}",
                "identical" if same else "DIFFERENT",
            ]
        )
        assert same, "a rebuild says something else than the live views"
    report.table(
        TITLE,
        "Timed: `engine.rebuild`, from opening empty views to closing the full ones. Floor:\n"
        f"reading and decoding every event, and nothing else ({floor:.2f} s). Afterwards the\n"
        "canonical dumps of both are compared.",
        ["records", "events", "seconds", "records a second", "times the floor", "dump"],
        rows,
    )


def _seconds_to_read(large: Business) -> float:
    started = perf_counter()
    for _ in large.ledger.store.read():
        pass
    return perf_counter() - started


def fingerprint(views: Engine) -> str:
    """The hash of the canonical dump."""
    digest = hashlib.sha256()
    for line in views.database.dump():
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()

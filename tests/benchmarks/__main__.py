"""Measure the promises that have a figure: `python -m tests.benchmarks`, or `make bench`.

Every ratio compares with something measured in the same run, slice by slice, because machines are
noisy and no two are alike.
"""

import argparse
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from tests.benchmarks import (
    batches,
    billing,
    explaining,
    group_commit,
    latency,
    many_items,
    over_http,
    postgres,
    processes,
    rebuild,
    replicas,
    scale,
    small_queries,
    verifying,
)
from tests.benchmarks.workload import QUICK, Business, Ids, Sizes, business

Alone = Callable[[Path, Sizes], None]
Asking = Callable[[Path, Sizes, Business], None]

ALONE: Mapping[str, Alone] = {
    "batches": batches.run,
    "group-commit": group_commit.run,
    "http": over_http.run,
    "billing": billing.run,
    "small-queries": small_queries.run,
    "postgres": postgres.run,
    "processes": processes.run,
    "replicas": replicas.run,
}
"""The parts that make a ledger each."""
LONG: Mapping[str, Alone] = {"scale": scale.run}
"""Those that take so long that they are measured only when asked for."""
ASKING: Mapping[str, Asking] = {
    "latency": latency.run,
    "many-items": many_items.run,
    "rebuild": rebuild.run,
    "verify": verifying.run,
    "explain": explaining.run,
}
"""The parts that ask one large ledger, which is filled once."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, by default everything."""
    parsed = _parser().parse_args(arguments)
    sizes = QUICK if parsed.quick else Sizes()
    if parsed.records:
        sizes = replace(sizes, records=parsed.records)
    if parsed.filled:
        sizes = replace(sizes, filled=parsed.filled)
    if parsed.ids:
        sizes = replace(sizes, ids=parsed.ids)
    wanted = parsed.only or [*ALONE, *ASKING]
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.machine()}"
    )
    with tempfile.TemporaryDirectory(dir=parsed.directory, prefix="tallybook-") as name:
        directory = Path(name)
        alone = {**ALONE, **LONG}
        for part in (part for part in alone if part in wanted):
            alone[part](directory, sizes)
        asking = [part for part in ASKING if part in wanted]
        if asking:
            with business(directory / "large", sizes) as large:
                latency.fill(large, sizes, sizes.records)
                for part in asking:
                    ASKING[part](directory, sizes, large)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--records", type=int, help="records in the large ledger")
    parser.add_argument("--filled", type=int, help="records in the ledger of the part scale")
    parser.add_argument("--ids", choices=get_args(Ids), help="only these in the part scale")
    parser.add_argument(
        "--only", action="append", choices=[*ALONE, *LONG, *ASKING], help="a part; may be repeated"
    )
    parser.add_argument("--directory", type=Path, help="where the ledgers are put meanwhile")
    return parser


if __name__ == "__main__":
    main()

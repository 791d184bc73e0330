"""Printing what was measured: tables of absolute figures, each beside its ratio."""

import math
from collections.abc import Sequence
from statistics import median

from tests import postgres

PerSecond = float
"""How many of something were done in a second."""


def table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table: what was measured, what exactly was timed, and the figures."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    print(f"\n## {title}\n\n{note}\n")
    for cells in (columns, ["-" * width for width in widths], *rows):
        first, *others = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        print(f"| {' | '.join([first, *others])} |")


def lacks_postgres(title: str) -> bool:
    """Whether no PostgreSQL is installed; then that is what stands under the title."""
    lacks = postgres.binaries() is None
    if lacks:
        print(f"\n## {title}\n\n{postgres.MISSING}")
    return lacks


def rate(value: PerSecond) -> str:
    """A number a second, such as `12,345/s`."""
    return f"{value:,.0f}/s"


def millis(seconds: float) -> str:
    """A duration in milliseconds."""
    return f"{seconds * 1000:.2f} ms"


def ratio(value: float) -> str:
    """One figure over another."""
    return f"{value:.2f}x"


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of neighbours: a machine that slows down slows both of a pair."""
    return median(a / b for a, b in zip(above, below, strict=True))

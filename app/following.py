"""Saying on a terminal how far something that takes long has come."""

import sys
from time import perf_counter

from app.reading import Progress


def meter() -> Progress | None:
    """A meter for whoever sits at a terminal; others need not be told."""
    return Meter() if sys.stderr.isatty() else None


class Meter:
    """Says on standard error how far reading the log is, how fast, and how long it will take.

    Again and again in one line; or, with another beginning and end, in a line each time.
    """

    def __init__(self, every: int = 1, begin: str = "\r", end: str = "") -> None:
        self._started = self._said = perf_counter()
        self._every, self._begin, self._end = every, begin, end

    def __call__(self, position: int, until: int) -> None:
        """Say it every so many seconds, and at the end."""
        now = perf_counter()
        if now - self._said < self._every and position < until:
            return
        self._said = now
        speed = position / max(now - self._started, 0.001)
        left = (until - position) / speed
        bar = f"[{'#' * (20 * position // max(until, 1)):<20}]"
        said = f"{bar} {position:,} of {until:,} events, {speed:,.0f}/s, {left:.0f} s left"
        sys.stderr.write(f"{self._begin}{said:<92}{self._end}")
        sys.stderr.flush()

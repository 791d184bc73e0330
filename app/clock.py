"""The one door to time and chance: what time it is for a ledger, and new ids."""

import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BITS = 80
_RANDOM_BYTES = _RANDOM_BITS // 8
_HALF = _RANDOM_BITS // 2
_HALF_ONES = (1 << _HALF) - 1
_DRAWN_AT_ONCE = 256 * _RANDOM_BYTES
"""Asking the system for chance costs more than an id, so it is asked for many ids at a time."""


class Clock(Protocol):
    """What time it is for one ledger."""

    @property
    def is_test(self) -> bool:
        """Whether somebody moves this clock by hand."""
        ...

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    is_test = False

    def now(self) -> datetime:
        """The machine's present instant, in UTC."""
        return datetime.now(UTC)


class TestClock:
    """A clock that stands still until it is set."""

    is_test = True
    __test__ = False  # its name is the domain's; it is no test case for a collector

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The instant that the clock was last set to."""
        return self._at

    def set(self, at: datetime) -> None:
        """Move the clock to an instant, where it stands still again."""
        self._at = at

    def advance(self, at: datetime) -> None:
        """Move the clock on to an instant, unless it is past it already."""
        with self._lock:
            self._at = max(self._at, at)


class _Ids:
    """128-bit ids, time first, each greater than the one before it in this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was drawn: another process may have drawn the same."""
        self._lock = threading.Lock()
        self._last = 0
        self._drawn = b""
        self._used = 0

    def next(self) -> int:
        """The next id: milliseconds and 80 random bits, or one more than the last."""
        with self._lock:
            used = self._used
            if used >= len(self._drawn):
                self._drawn, used = secrets.token_bytes(_DRAWN_AT_ONCE), 0
            self._used = after = used + _RANDOM_BYTES
            chance = int.from_bytes(self._drawn[used:after])
            drawn = (time.time_ns() // 1_000_000) << _RANDOM_BITS | chance
            last = self._last
            self._last = drawn = drawn if drawn > last else last + 1
            return drawn


_ids = _Ids()
if hasattr(os, "register_at_fork"):  # where there is none, no process has two copies of them
    os.register_at_fork(after_in_child=_ids.begin)


def new_id(prefix: str) -> str:
    """A new sortable id that says what it names, such as `cus_06evt3q9…`."""
    number = _ids.next()
    high, low = number >> _HALF & _HALF_ONES, number & _HALF_ONES  # small numbers are shifted fast
    p = _PAIRS
    return (
        f"{prefix}_{_time_text(number >> _RANDOM_BITS)}"
        f"{p[high >> 30]}{p[high >> 20 & 1023]}{p[high >> 10 & 1023]}{p[high & 1023]}"
        f"{p[low >> 30]}{p[low >> 20 & 1023]}{p[low >> 10 & 1023]}{p[low & 1023]}"
    )


@lru_cache(maxsize=8)
def _time_text(millis: int) -> str:
    """How an id begins: many are made in the same millisecond."""
    return "".join([_PAIRS[millis >> shift & 1023] for shift in range(40, -1, -10)])


def new_record_id() -> str:
    """A new UUIDv7 for a usage record: time first, so that identities stay local on disk."""
    number = _ids.next()
    millis, tail = number >> _RANDOM_BITS, number & ((1 << 74) - 1)
    bits = millis << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | (tail & ((1 << 62) - 1))
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret(size: int) -> bytes:
    """So many random bytes that nobody can guess."""
    return secrets.token_bytes(size)


def scattered(pause: timedelta) -> timedelta:
    """A pause, up to a fifth of it shorter by chance, so that many do not come back at once."""
    return pause - pause * secrets.randbelow(1_000) / 5_000

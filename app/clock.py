"""The one door to time and chance: what time it is for a ledger, and new ids."""

import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BITS = 80
_RANDOM_BYTES = _RANDOM_BITS // 8
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
            chance = int.from_bytes(self._chance())
            drawn = (time.time_ns() // 1_000_000) << _RANDOM_BITS | chance
            self._last = drawn if drawn > self._last else self._last + 1
            return self._last

    def _chance(self) -> bytes:
        """Random bytes that were not used yet."""
        if self._used >= len(self._drawn):
            self._drawn, self._used = secrets.token_bytes(_DRAWN_AT_ONCE), 0
        self._used += _RANDOM_BYTES
        return self._drawn[self._used - _RANDOM_BYTES : self._used]


_ids = _Ids()
if hasattr(os, "register_at_fork"):  # where there is none, no process has two copies of them
    os.register_at_fork(after_in_child=_ids.begin)


def new_id(prefix: str) -> str:
    """A new sortable id that says what it names, such as `cus_06evt3q9…`."""
    number = _ids.next()
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


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

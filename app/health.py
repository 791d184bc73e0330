"""Whether a ledger can be served just now, found out for whoever decides where requests go.

A server that nobody sends to any more must notice by itself that it is well again: a disk that
failed is tried anew, and views that lag behind are folded by the writer.
"""

import os
from enum import StrEnum
from pathlib import Path
from time import sleep

import msgspec

from app.jobs import BetweenJob, Busy, Closed
from app.ledger import Ledger

PROBE = "ledger.probe"
"""A file that is written to see whether the disk takes anything."""

_PROBE_BYTES = 65_536
_LOOKS = 10
_PAUSE_MS = 20


class Check(StrEnum):
    """What must be well."""

    SERVING = "serving"
    WRITER = "writer"
    DISK = "disk"
    VIEWS = "views"


class Health(msgspec.Struct, frozen=True):
    """The position that queries see, and why the ledger cannot be served, by what is not well."""

    position: int | None
    problems: dict[Check, str]

    @property
    def ready(self) -> bool:
        """Whether it can be served."""
        return not self.problems


def examine(ledger: Ledger, *, stopping: bool = False) -> Health:
    """Look at everything that a request needs. It may take a fifth of a second."""
    problems: dict[Check, str] = {}
    if stopping or ledger.closed:
        return Health(None, {Check.SERVING: "the server is shutting down"})
    if ledger.writer.measures.stopped:
        problems[Check.WRITER] = "the writer has died; start the server again"
    if trouble := _trouble(ledger):
        problems[Check.DISK] = f"the ledger cannot be written: {trouble}"
    try:
        position, head = _caught_up(ledger)
    except Exception as error:  # noqa: BLE001  # whatever it is, nothing can be asked
        problems[Check.VIEWS] = f"the views cannot be read: {error}"
        return Health(None, problems)
    if position < head:
        problems[Check.VIEWS] = f"the views are at position {position} of {head}"
        _fold(ledger)
    return Health(position, problems)


def _trouble(ledger: Ledger) -> str | None:
    """Why the ledger could not be written the last time, unless it could be now."""
    measures = ledger.writer.measures
    if measures.trouble is None:
        return None
    try:
        _probe(ledger.directory / PROBE)
    except OSError as error:
        return f"{measures.trouble}; {error.strerror}"
    if measures.trouble is not None:
        measures.well()
    return None


def _probe(path: Path) -> None:
    """Write a file to the disk and remove it. Raises `OSError`."""
    try:
        with path.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _caught_up(ledger: Ledger) -> tuple[int, int]:
    """Where the views stand, and where the ledger stood: a commit on its way may take a moment."""
    head, _ = ledger.store.head()
    position = _folded(ledger)
    for _ in range(_LOOKS):
        if position >= head:
            break
        sleep(_PAUSE_MS / 1_000)
        position = _folded(ledger)
    return position, head


def _folded(ledger: Ledger) -> int:
    with ledger.snapshot() as views:
        return views.checkpoint()


def _fold(ledger: Ledger) -> None:
    """Have the writer fold what the views miss; the next look will see it."""

    def fold() -> None:
        ledger.engine.forget()
        ledger.engine.catch_up(ledger.store.read)

    try:
        ledger.writer.submit(BetweenJob(fold))
    except (Busy, Closed):
        return  # whoever waits writes, and that folds it too

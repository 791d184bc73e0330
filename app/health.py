"""Whether ledgers can be served just now, found out for whoever decides where requests go.

A server that nobody sends to any more must notice by itself that it is well again: a disk that
failed is tried anew, and views that lag behind are folded by the writer.
"""

import logging
import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from time import sleep

import msgspec
from msgspec.structs import replace

from app.jobs import BetweenJob, Busy, Closed, ReadOnly
from app.ledger import Ledger
from app.logs import fields
from app.served import Served

PROBE = "ledger.probe"
"""A file that is written to see whether the disk takes anything."""

_PROBE_BYTES = 65_536
_LOOKS = 10
_PAUSE_MS = 20
_AT_ONCE = 32
"""How many ledgers are looked at at a time."""

_log = logging.getLogger("tallybook.health")


class Check(StrEnum):
    """What must be well."""

    SERVING = "serving"
    OTHERS = "others"
    WRITER = "writer"
    DISK = "disk"
    VIEWS = "views"


class Health(msgspec.Struct, frozen=True):
    """The position that queries see, and why the ledger cannot be served, by what is not well."""

    position: int | None
    problems: dict[Check, str]
    some: bool = False
    """Whether some ledger of the server can be served, if not each."""

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


def examine_all(served: Served, *, stopping: bool = False) -> Health:
    """Look at every ledger of a server, all at once: one whose database is away takes seconds.

    The position is that of the first one. Of the others it is only said how many cannot be
    served, for anybody may ask this; which, and why, is logged when it changes.
    """
    names = [name for name in served.ledgers if name != served.default]
    with ThreadPoolExecutor(min(_AT_ONCE, 1 + len(names)), "tallybook-health") as pool:
        first = pool.submit(examine, served.ledger, stopping=stopping)
        others = {name: pool.submit(examine, served.ledgers[name]) for name in names}
    found = first.result()
    if stopping:
        return found
    wrong = {name: "; ".join(one.result().problems.values()) for name, one in others.items()}
    wrong |= dict.fromkeys(served.closed_ones, "it could not be opened")
    _log_changes(served.ailing, wrong)
    served.ailing = {name for name, why in wrong.items() if why}
    some = found.ready or len(served.ailing) < len(wrong)
    if not served.ailing:
        return replace(found, some=some)
    count = f"{len(served.ailing)} of {1 + len(wrong)} ledgers cannot be served; see the log"
    return Health(found.position, {**found.problems, Check.OTHERS: count}, some)


def _log_changes(before: Collection[str], wrong: Mapping[str, str]) -> None:
    """Say once that a ledger fell ill, and once that it is well again."""
    for name, why in sorted(wrong.items()):
        if why and name not in before:
            _log.error("a ledger cannot be served: %s", why, extra=fields(ledger=name))
        elif not why and name in before:
            _log.warning("a ledger can be served again", extra=fields(ledger=name))


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
    except (Busy, Closed, ReadOnly):
        return  # whoever writes folds it too

"""Replaying a ledger with all processors: other processes fold the usage that comes next.

How a run of usage is folded ahead of its turn is told in `projections/ahead.py`. Here are the
processes, and how the ledger is parted among them.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from app.store import Store
from projections import ahead, engine
from projections.ahead import Part, Run
from projections.tables import ViewsDatabase

PART_BYTES = 8_000_000
"""How much of the log a process folds at a time: some 90,000 usage records."""
WORTH_BYTES = 200_000
"""Less than this is folded in its place sooner than it is handed over."""
PART_EVENTS = 5_000

_USAGE = "usage.recorded/"
_TURNING = ("meter.", "customer.")

_opened: tuple[Store, ViewsDatabase] | None = None
"""In a process that folds ahead: the ledger, and the views that are being made."""


class Folders:
    """Processes that fold usage of one ledger ahead of its turn."""

    def __init__(self, store: Store, pool: ProcessPoolExecutor, processes: int) -> None:
        self._store = store
        self._pool = pool
        self.most = processes + 2

    def parts(self, after: int) -> Iterator[Part]:
        """The ledger after a position: runs of usage, and what stands between them."""
        part = Part(after, after, is_usage=True, turns=False)
        size = 0
        for position, topic, length in self._store.sizes(after):
            is_usage = topic.startswith(_USAGE)
            full = size >= PART_BYTES or position - part.after > PART_EVENTS
            if part.until > part.after and (is_usage != part.is_usage or full):
                yield _worth(part, size)
                part, size = Part(part.until, part.until, is_usage, turns=False), 0
            turns = part.turns or topic.startswith(_TURNING)
            part = Part(part.after, position, is_usage, turns)
            size += length
        if part.until > part.after:
            yield _worth(part, size)

    def submit(self, part: Part) -> "Future[Run | None]":
        """Have a part folded by the next process that has the time."""
        return self._pool.submit(_fold, part.after, part.until)


@contextmanager
def folders(store: Store, views: Path) -> Iterator[Folders]:
    """Processes that fold ahead for the views that are being made at a path."""
    processes = os.cpu_count() or 1
    # Not forked: the server that may be asking has threads.
    context = get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_open, initargs=(store.path.parent, views)
    ) as pool:
        yield Folders(store, pool, processes)


def _worth(part: Part, size: int) -> Part:
    return part if size >= WORTH_BYTES else part._replace(is_usage=False)


def _open(directory: Path, views: Path) -> None:
    global _opened  # noqa: PLW0603  # what a process keeps between the parts it is given
    _opened = Store(directory, exclusive=False), engine.of_same_version(views)


def _fold(after: int, until: int) -> Run | None:
    assert _opened is not None, "the process was opened when it began"
    store, database = _opened
    with database.snapshot() as views:
        return ahead.fold(views, store.read(after, until))

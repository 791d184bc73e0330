"""Replaying a ledger with all processors: other processes fold the usage that comes next.

How a run of usage is folded ahead of its turn is told in `projections/ahead.py`. Here are the
processes, and how the ledger is parted among them.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from app import identity_checks, stored
from app.identity_checks import Identities, Wrong
from app.opening import open_store
from app.sizes import of_log
from app.store import Store
from domain.decider import Recorded
from projections import ahead, engine
from projections.ahead import Part, Run, Unfit
from projections.places import Place, Where
from projections.tables import ViewsDatabase

PART_BYTES = 24_000_000
"""How much of the log a process folds at a time: some 250,000 usage records."""
WORTH_BYTES = 200_000
"""Less than this is folded in its place sooner than it is handed over."""
PART_EVENTS = 5_000
LEDGER_BYTES = 50_000_000
"""A ledger smaller than this is replayed sooner by one process."""

T = TypeVar("T")

_USAGE = "usage.recorded/"
_TURNING = ("meter.", "customer.")

_opened: tuple[Store, ViewsDatabase] | None = None
"""In a process that folds ahead: the ledger, and the views that are being made."""


class Examined(NamedTuple):
    """What a run of usage comes to, and how the identities of its records are kept."""

    run: Run
    identities: Identities


class Processes(Generic[T]):
    """Processes that do something with one ledger's usage ahead of its turn."""

    def __init__(
        self, store: Store, pool: ProcessPoolExecutor, work: Callable[[int, int], T], most: int
    ) -> None:
        self.most = most
        self._store = store
        self._pool = pool
        self._work = work

    def parts(self, after: int, until: int | None = None) -> Iterator[Part]:
        """The ledger from one position to another: runs of usage, and what stands between."""
        part = Part(after, after, is_usage=True, turns=False)
        size = 0
        for position, topic, length in self._store.sizes(after):
            if until is not None and position > until:
                break
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

    def submit(self, part: Part) -> "Future[T]":
        """Have it done with a part by the next process that has the time."""
        return self._pool.submit(self._work, part.after, part.until)


Folders: TypeAlias = Processes[Run | None]
"""Processes that fold usage."""
Examiners: TypeAlias = Processes[Examined | None]
"""Processes that fold usage, and look for the identities of its records."""


def folders(
    store: Store, views: Where, place: Place | None = None
) -> AbstractContextManager[Folders]:
    """Processes that fold ahead for the views that are being made somewhere."""
    return _processes(store, views, place, _fold)


def examiners(
    store: Store, views: Where, place: Place | None = None
) -> AbstractContextManager[Examiners]:
    """Processes that verify ahead, and fold for the views that are being made somewhere."""
    return _processes(store, views, place, _examine)


@contextmanager
def _processes(
    store: Store, views: Where, place: Place | None, work: Callable[[int, int], T]
) -> Iterator[Processes[T]]:
    processes = os.cpu_count() or 1
    # A copy of this process is there at once; one that has threads is not safe to copy, and
    # connections to a server would be shared.
    alone = threading.active_count() == 1 and place is None
    can_fork = sys.platform == "linux" and alone
    with ProcessPoolExecutor(
        processes,
        mp_context=get_context("fork" if can_fork else "spawn"),
        initializer=_open,
        initargs=(store.path.parent, place, views),
    ) as pool:
        yield Processes(store, pool, work, processes + 2)


def worth_it(store: Store, place: Place | None = None) -> bool:
    """Whether there are processors to share the work, and enough of it."""
    return (os.cpu_count() or 1) > 1 and of_log(store, place) >= LEDGER_BYTES


def _worth(part: Part, size: int) -> Part:
    return part if size >= WORTH_BYTES else part._replace(is_usage=False)


def _open(directory: Path, place: Place | None, views: Where) -> None:
    global _opened  # noqa: PLW0603  # what a process keeps between the parts it is given
    _opened = open_store(directory, place, exclusive=False), engine.of_same_version(views)


def _fold(after: int, until: int) -> Run | None:
    assert _opened is not None, "the process was opened when it began"
    store, database = _opened
    with database.snapshot() as views:
        return ahead.fold(views, store.read(after, until))


def _examine(after: int, until: int) -> Examined | None:
    assert _opened is not None, "the process was opened when it began"
    store, database = _opened
    kept_of, kept, wrong = stored.Identities(store), 0, list[Wrong]()

    def looked_up() -> Iterator[Recorded]:
        nonlocal kept
        for recorded in store.read(after, until):
            if recorded.envelope.idempotency_key is not None:
                raise Unfit("its key has to be looked up, too")
            found = identity_checks.check(kept_of, [recorded])
            kept += found.kept
            wrong.extend(found.wrong)
            yield recorded

    with database.snapshot() as views:
        run = ahead.fold(views, looked_up())
    return None if run is None else Examined(run, Identities(kept, wrong))

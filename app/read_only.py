"""A ledger that another process writes, or another machine: here it is only asked.

It is for servers that answer questions beside the one that writes: on its files, on its PostgreSQL,
or on a replica of that. Nothing of it is changed, and nobody is held up.
"""

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

from app import facts, live_views
from app.announcements import Announcements
from app.clock import Clock, SystemClock, TestClock
from app.jobs import READ_ONLY, Job, ReadOnly
from app.ledger import Ledger
from app.listeners import Listeners
from app.measures import Measures
from app.opening import is_there, open_store, views_of
from domain.ledgers import LedgerState
from domain.periods import from_us
from projections import current
from projections.places import Place, Unreachable
from projections.standing_views import StandingViews
from projections.tables import Views

T = TypeVar("T")

LOOK_SECONDS = 0.05
"""How often it is looked how far the ledger has come, while somebody waits to know."""

_log = logging.getLogger("tallybook.ledger")


class ReadOnlyLedger(Ledger):
    """A ledger that is there already, and that this process only asks; it has no engine.

    Raises `ValueError` when there is none. Raises `Unreachable` when no views of this version are
    there, or they lag behind the log and nobody mends that for ten seconds: it may be tried again.
    """

    def __init__(self, directory: Path, *, place: Place | None = None) -> None:
        self.directory = directory
        self.place = place
        self._closed = False
        if not is_there(directory, place):
            where = place or directory
            raise ValueError(f"there is no ledger in {where}: start the server that writes it")
        self._views = StandingViews(views_of(directory, place))
        with ExitStack() as opened:
            opened.callback(self._views.close)
            self.store = open_store(directory, place, exclusive=False)
            opened.callback(self.store.close)
            self.state = self._wait_for_views()
            opened.pop_all()
        kept = self.state.clock_at
        self.clock: Clock = TestClock(kept) if kept else SystemClock()
        self.writer = NoWriter(self.clock)
        self.follower = self._onlooker = Onlooker(self, self.writer)
        self.announcements = Announcements(self.writer)

    def _wait_for_views(self) -> LedgerState:
        """Wait until the views are where the log was. Raises `Unreachable` if they do not come."""
        head, _ = self.store.head()
        with live_views.caught_up(self.snapshot, head) as views:
            if (position := views.checkpoint()) < head:
                said = f"the views in {self.place or self.directory} are at {position} of {head}"
                raise Unreachable(f"{said}: the server that writes the ledger must fold them first")
            state: LedgerState = current.ledger(views).state
            return state

    def close(self) -> None:
        """Let go of everything; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._onlooker.close()
            self._views.close()
            self.store.close()

    def snapshot(self) -> AbstractContextManager[Views]:
        """The views as they are now, for a whole query."""
        return self._views.snapshot()


class NoWriter(Listeners):
    """Who stands in a writer's place where nothing is written, and says so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.measures = Measures(())
        self._clock = clock

    def submit(self, job: Job[T]) -> "Future[T]":
        """Raises `ReadOnly`."""
        raise ReadOnly(READ_ONLY)

    async def ask(self, job: Job[T]) -> T:
        """Raises `ReadOnly`."""
        raise ReadOnly(READ_ONLY)

    def asking(self, job: Job[T]) -> "asyncio.Future[T]":
        """Raises `ReadOnly`."""
        raise ReadOnly(READ_ONLY)

    def close(self) -> None:
        """There is nothing to answer."""

    def set_clock(self, recorded_at_us: int) -> None:
        """Time stands where the newest event was recorded, on a test clock; it never goes back."""
        if isinstance(self._clock, TestClock):
            self._clock.advance(from_us(recorded_at_us))


class Onlooker:
    """Looks how far a ledger has come, in a thread of its own, and tells whoever listens.

    A replica cannot be listened to, and files tell nobody, so it has to look.
    """

    def __init__(self, ledger: Ledger, writer: NoWriter) -> None:
        self._ledger = ledger
        self._writer = writer
        self._seen = 0
        self._away = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tallybook-onlooker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            if self._writer.heard or self._ledger.clock.is_test:
                try:
                    self._look()
                    self._away = False
                except Exception as error:  # noqa: BLE001  # whatever it is, it may pass
                    if not self._away:
                        _log.warning("the ledger cannot be read: %s", error)
                    self._away = True

    def _look(self) -> None:
        with self._ledger.snapshot() as views:
            position = views.checkpoint()
        if position != self._seen:
            self._seen = position
            if self._ledger.clock.is_test:
                self._writer.set_clock(facts.recorded_at_us(self._ledger.store, position))
            self._writer.tell(usage_only=False)

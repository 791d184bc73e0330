"""One ledger wired together: the store, the views folded from it, its clock and its writer."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from app import facts, worker
from app.announcements import Announcements
from app.clock import Clock, SystemClock, TestClock, new_id
from app.commands import Command, Done
from app.jobs import BetweenJob, Receipt, UsageJob
from app.logs import note
from app.opening import following, open_store, opening, turns_of, views_of
from app.store import Pending
from app.writer import Writer
from domain import ledgers
from domain.decider import Envelope
from domain.invoices import GRACE_DEFAULT
from domain.ledgers import LedgerState
from domain.periods import format_instant, to_us
from domain.usage import RecordInput
from projections import current
from projections.engine import Engine
from projections.places import Place
from projections.tables import Views

if TYPE_CHECKING:
    from app.postgres_following import Follower
    from app.read_only import NoWriter, Onlooker

WORTH_TELLING = 1_000
"""So many events not folded yet take seconds, in which whoever starts a server wants to be told."""

_log = logging.getLogger("tallybook.ledger")


class WrongClock(Exception):
    """Another clock was asked for than the one that the ledger was begun with."""


class Ledger:
    """One business's ledger, held by this process: everything takes the ledger it works on.

    It is in files in its directory, or in PostgreSQL when a place there is named; then only what is
    beside a ledger is in the directory. Opening it folds into the views whatever a crash left
    unfolded. Raises `LedgerInUse` when another process holds it, `WrongClock` when it was begun
    with another kind of clock.
    """

    def __init__(
        self,
        directory: Path,
        *,
        place: Place | None = None,
        name: str = "main",
        test_clock_at: datetime | None = None,
        queue_limit: int = 1_000,
        grace: timedelta = GRACE_DEFAULT,
    ) -> None:
        self.directory = directory
        self.place = place
        self._closed = False
        with opening(place):
            self.store = open_store(directory, place)
            try:
                self.engine = Engine(views_of(directory, place))
            except BaseException:
                self.store.close()
                raise
            try:
                self.state = self._open(name, test_clock_at)
            except BaseException:
                self.engine.close()
                self.store.close()
                raise
        kept = self.state.clock_at
        self.clock: Clock = TestClock(kept) if kept else SystemClock()
        origin = new_id("proc")
        turns = turns_of(self.store, self.engine, origin)
        self.writer: Writer | NoWriter = Writer(
            self.store, self.engine, turns, self.clock, queue_limit, grace
        )
        self.follower: Follower | Onlooker | None = following(
            place, self.store, self.writer, origin
        )
        self.announcements = Announcements(self.writer)

    @property
    def closed(self) -> bool:
        """Whether it is closed, or is being closed."""
        return self._closed

    def close(self) -> None:
        """Answer what waits, then let go of everything; closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.follower is not None:
                self.follower.close()
            self.writer.close()
            self.engine.seal(self.store.hash_at)
        finally:  # a database may have gone away
            self.engine.close()
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def snapshot(self) -> AbstractContextManager[Views]:
        """The views as they are now, for a whole query."""
        return self.engine.database.snapshot()

    def position_at(self, at_us: int) -> int:
        """The last position that was recorded by an instant; 0 when none was."""
        low, high = 0, self.store.head()[0]
        while low < high:  # what is recorded later stands later
            middle = (low + high + 1) // 2
            by_then = facts.recorded_at_us(self.store, middle) <= at_us
            low, high = (middle, high) if by_then else (low, middle - 1)
        return low

    def take_over(self, views: Path) -> None:
        """Go on with views that were rebuilt aside: whoever reads or writes need not wait.

        Raises `BlockingIOError` or `Busy` when it cannot be just now.
        """
        read, hash_at = self.store.read, self.store.hash_at
        job = BetweenJob(lambda: self.engine.take_over(views, read, hash_at))
        self.writer.submit(job).result()

    # ------------------------------------------------------------------------------- commands

    async def execute(self, command: Command, *, key: str | None, actor: str | None) -> Done:
        """Carry out a command. Raises `Rejected`, or `Busy` when too much waits already."""
        done = await self.writer.ask(worker.job(command, key=key, actor=actor))
        note(position=done.position)
        return done

    async def advance(self, to: datetime, actor: str | None) -> Sequence[str]:
        """Move the test clock on; the ids of the invoices drafted or issued on the way.

        Raises `Rejected`, or `Busy`. Whatever ends it early, the clock stands where it got to.
        """
        portion = await self.writer.ask(worker.advance(to, actor))
        touched = dict.fromkeys(portion.invoices)
        while portion.more:
            portion = await self.writer.ask(worker.advance(to, actor, portion))
            touched |= dict.fromkeys(portion.invoices)
        return list(touched)

    async def record(self, records: Sequence[RecordInput], actor: str | None) -> Sequence[Receipt]:
        """Record usage; one receipt for each record in the order sent. Raises `Busy`."""
        return await self.recording(records, actor) if records else []

    def recording(
        self, records: Sequence[RecordInput], actor: str | None
    ) -> "asyncio.Future[Sequence[Receipt]]":
        """Record usage, one record at least: it waits for the writer. Raises `Busy`."""
        return self.writer.asking(UsageJob(records, actor))

    def execute_now(self, command: Command, key: str | None = None) -> Done:
        """Carry out a command and wait, for callers without an event loop."""
        return self.writer.submit(worker.job(command, key=key, actor=None)).result()

    def advance_now(self, to: datetime) -> Sequence[str]:
        """Move the test clock on and wait, for callers without an event loop."""
        return asyncio.run(self.advance(to, None))

    def record_now(self, records: Sequence[RecordInput]) -> Sequence[Receipt]:
        """Record usage and wait, for callers without an event loop."""
        return self.writer.submit(UsageJob(records, None)).result() if records else []

    # -------------------------------------------------------------------------------- opening

    def _open(self, name: str, test_clock_at: datetime | None) -> LedgerState:
        if self.store.head()[0] == 0:
            self._begin(name, test_clock_at)
        head = self._head()

        def told(position: int) -> None:
            if head - begun > WORTH_TELLING:
                _log.info("folding the ledger into views: %s of %s events", position, head)

        begun = self.engine.database.writing.checkpoint()
        self.engine.follow(self._head, self.store.read, self.store.hash_at, told)
        views = self.engine.database.writing
        state: LedgerState = current.ledger(views).state
        if test_clock_at not in (None, state.test_clock_at):
            kept = state.test_clock_at
            clock = f"a test clock at {format_instant(kept)}" if kept else "the system's clock"
            raise WrongClock(f"{self.place or self.directory} was begun with {clock}, and keeps it")
        return state

    def _head(self) -> int:
        return self.store.head()[0]

    def _begin(self, name: str, test_clock_at: datetime | None) -> None:
        """Write the first event of the log."""
        at = test_clock_at or SystemClock().now()
        command = ledgers.OpenLedger(name=name, test_clock_at=test_clock_at)
        id = new_id("led")
        events = ledgers.decide(None, command, ledgers.Facts(id=id, at=at))
        envelope = Envelope(to_us(at))
        self.store.append([Pending(id, 1, envelope, event) for event in events])

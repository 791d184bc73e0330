"""What waits for the writer of a ledger: usage to be judged and commands to be decided."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from domain.decider import Rejected
from domain.usage import RecordInput, Status

if TYPE_CHECKING:
    from app.writer import Group

T = TypeVar("T")

READ_ONLY = "this server only answers questions; send it to the one that writes the ledger"
"""What is said to whoever wants to change something where nothing is written."""


class Busy(Exception):
    """Too many requests wait already; nothing of this one was written."""


class Closed(Exception):
    """The ledger is being closed; nothing of this request was written."""


class ReadOnly(Exception):
    """Here the ledger is only asked; nothing of this request was written."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What became of one usage record, and the ledger position that holds it."""

    id: str
    source: str
    status: Status
    position: int | None
    error: Rejected | None


class Job(Generic[T]):
    """One request that waits for the writer, and for its answer."""

    weight = 1
    """How many records it brings."""

    def __init__(self, actor: str | None) -> None:
        self.actor = actor
        self.loop: asyncio.AbstractEventLoop | None = None
        self._future: Future[T] | asyncio.Future[T] | None = None
        self._held: tuple[T | None, BaseException | None] | None = None

    def for_thread(self) -> "Future[T]":
        """What a thread waits on for the answer."""
        self._future = Future()
        return self._future

    def for_loop(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[T]":
        """What a coroutine of this loop waits on for the answer."""
        self.loop = loop
        self._future = loop.create_future()
        return self._future

    def answer(self, result: T) -> None:
        """Hold the answer ready; it is given once the transaction is on disk."""
        self._held = (result, None)

    def fail(self, error: BaseException) -> None:
        """Hold a refusal or a failure ready as the answer."""
        self._held = (None, error)

    def deliver(self) -> None:
        """Give the answer that is held ready, unless the asker has given up waiting."""
        if self._held is None:
            self.fail(Closed("the writer stopped before it came to this request"))
        assert self._held is not None, "it fails at least"
        result, error = self._held
        waiting = self._future
        # A thread may give up at any moment, so it is asked and held in one step; a coroutine
        # gives up only in its own loop, which is where this runs for it.
        if isinstance(waiting, Future):
            gone = not waiting.set_running_or_notify_cancel()
        else:
            gone = waiting is None or waiting.done()
        if waiting is None or gone:
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(cast("T", result))

    @property
    def held(self) -> T | None:
        """The answer that is held ready; None for a refusal or a failure."""
        return self._held[0] if self._held is not None else None


class UsageJob(Job[Sequence[Receipt]]):
    """Usage records to be accepted, each judged by itself."""

    def __init__(self, records: Sequence[RecordInput], actor: str | None) -> None:
        super().__init__(actor)
        self.records = records
        self.weight = len(records)


class BetweenJob(Job[T]):
    """Something that is done between two transactions: `run` has the writer's thread to itself."""

    def __init__(self, run: "Callable[[], T]") -> None:
        super().__init__(None)
        self.run = run

    def carry_out(self) -> None:
        """Do it, and hold what came of it ready as the answer."""
        try:
            self.answer(self.run())
        except Exception as error:  # noqa: BLE001  # whatever it was, the asker is told
            self.fail(error)


class CommandJob(Job[T]):
    """A command: `run` decides it against the state as of its turn in the group."""

    def __init__(self, run: "Callable[[Group], T]", actor: str | None) -> None:
        super().__init__(actor)
        self.run = run


def batches(jobs: Sequence[Job[Any]]) -> Iterable[list[Any]]:
    """Commands singly, neighbouring usage of the same actor together."""
    batch: list[Any] = []
    before = False
    for job in jobs:
        usage = isinstance(job, UsageJob)
        if batch and not (usage and before and batch[-1].actor == job.actor):
            yield batch
            batch = []
        batch.append(job)
        before = usage
    if batch:
        yield batch

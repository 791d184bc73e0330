"""Wakes those who follow a ledger whenever it has moved on; what is new they read by themselves.

Nothing is queued for anybody: a follower keeps the position that it has come to, and no more. The
writer hands over at most one call for each event loop, and none while nobody follows.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from app.listeners import Listeners

T = TypeVar("T")

PACE_SECONDS = 0.05
"""The shortest time between two wakings: a busy writer is followed in strides, not step by step."""
READERS = 2
"""How many followers of one event loop read at a time, so that requests find a thread too."""


class Board:
    """Where the followers of one event loop learn that the ledger has moved."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.followers = 0
        self._loop = loop
        self._moved = asyncio.Event()
        self._called = False
        self._rested_at = loop.time()
        self._turns = asyncio.Semaphore(READERS)
        self._reading: dict[Hashable, asyncio.Task[Any]] = {}

    def tell(self) -> None:
        """The ledger has moved. For the writer's thread: most of the time this does nothing."""
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._wake)

    def moving(self) -> asyncio.Event:
        """What is set when the ledger moves next: taken before reading, it misses nothing."""
        return self._moved

    async def read(self, key: Hashable, function: Callable[[], T]) -> T:
        """Read off the event loop; who asks the same thing at the same time shares the answer."""
        task = self._reading.get(key)
        if task is None:
            task = self._loop.create_task(self._in_turn(function))
            self._reading[key] = task
            task.add_done_callback(partial(self._read, key))
        answer: T = await asyncio.shield(task)  # one asker may leave, the others wait on
        return answer

    async def _in_turn(self, function: Callable[[], T]) -> T:
        async with self._turns:
            return await asyncio.to_thread(function)

    def _read(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._reading.get(key) is task:
            del self._reading[key]
        if not task.cancelled():
            task.exception()  # whoever asked has it; nobody is left to ask when all have gone

    def _wake(self) -> None:
        now = self._loop.time()
        if now < self._rested_at:
            self._loop.call_at(self._rested_at, self._wake)
            return
        self._rested_at = now + PACE_SECONDS
        self._called = False  # before anybody reads: what is written from here on is told again
        moved, self._moved = self._moved, asyncio.Event()
        self._reading.clear()  # what was read before does not know what is new
        moved.set()


class Announcements:
    """Who follows one ledger."""

    def __init__(self, writer: Listeners) -> None:
        self._writer = writer
        self._boards: dict[asyncio.AbstractEventLoop, tuple[Board, ExitStack]] = {}

    @contextmanager
    def following(self) -> Iterator[Board]:
        """The board of the running event loop, for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        if loop not in self._boards:
            board, listening = Board(loop), ExitStack()
            listening.enter_context(self._writer.listening(board.tell, usage=True))
            self._boards[loop] = board, listening
        board, listening = self._boards[loop]
        board.followers += 1
        try:
            yield board
        finally:
            board.followers -= 1
            if not board.followers:
                del self._boards[loop]
                listening.close()

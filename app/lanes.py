"""Reading off the event loop by lanes, so that whoever asks much leaves threads to the others."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Lanes:
    """So many read at a time; the others wait for a lane, in the order in which they came."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    async def take(self, function: Callable[[], T]) -> T:
        """Call it in a thread when a lane is free. Who does not wait for the end keeps it."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(None, copy_context().run, function)
        except BaseException:
            self._free.release()
            raise
        running.add_done_callback(self._done)
        return await asyncio.shield(running)  # a thread goes on, whoever has left meanwhile

    def _done(self, running: "asyncio.Future[T]") -> None:
        self._free.release()
        if not running.cancelled():
            running.exception()  # whoever asked has it, or has left

"""One event loop for whatever is asked one after the other: to make one takes longer than to ask.

A loop has threads that wait for the database. What `asyncio.run` promises holds here, too: when it
answers, no task is left.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_kept: list[asyncio.Runner] = []


def run(asked: Coroutine[Any, Any, T]) -> T:
    """The answer, as `asyncio.run` gives it."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(asked)
    if not _kept:
        _kept.append(asyncio.Runner())
    [runner] = _kept
    try:
        return runner.run(asked)
    finally:
        if left := asyncio.all_tasks(runner.get_loop()):
            runner.run(_end(left))


async def _end(tasks: set["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def close() -> None:
    """Let go of the loop and of its threads."""
    while _kept:
        _kept.pop().close()

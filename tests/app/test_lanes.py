"""What is live reads in lanes: so many at a time, whoever leaves meanwhile."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from app.lanes import Lanes
from app.ledger import Ledger
from app.schema import Context
from app.schema.streams import Answer, answers
from projections.tables import Views

HEAVY = """{ a: customers { nodes { id } } b: customers { nodes { id } } ledger { position }
    c: ledgerEvents(first: 20) { nodes { data } } }"""


class Counting:
    """Counts who is in it, and how many there were at most."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Inside for as long as the block lasts."""
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1


def test_a_hundred_heavy_queries_read_two_at_a_time(
    alpaca: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, snapshot = Counting(), alpaca.snapshot

    @contextmanager
    def counted() -> Iterator[Views]:
        with counting.one(), snapshot() as views:
            threading.Event().wait(0.001)
            yield views

    monkeypatch.setattr(alpaca, "snapshot", counted)

    async def ask_all() -> list[list[Answer]]:
        lanes = Lanes(2)
        asked = (answers(Context(alpaca, lanes=lanes), HEAVY, None, None) for _ in range(100))
        return await asyncio.gather(*map(everything, asked))

    found = asyncio.run(ask_all())
    assert counting.most == 2
    assert all(len(several) == 1 and several[0].executed for several in found)
    assert not any("errors" in several[0].content for several in found)


async def everything(found: AsyncGenerator[Answer, None]) -> list[Answer]:
    """All answers of an operation."""
    return [answer async for answer in found]


def test_who_leaves_keeps_the_turn_until_the_thread_has_ended() -> None:
    counting, begun, go_on = Counting(), threading.Event(), threading.Event()

    def wait() -> None:
        with counting.one():
            begun.set()
            assert go_on.wait(30)

    async def leave() -> None:
        lanes = Lanes(1)
        first = asyncio.create_task(lanes.take(wait))
        assert await asyncio.to_thread(begun.wait, 30)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        second, left = asyncio.create_task(lanes.take(wait)), asyncio.create_task(lanes.take(wait))
        await asyncio.sleep(0.01)
        assert (counting.inside, counting.most) == (1, 1)
        left.cancel()  # it has not had a turn at all, and keeps none
        go_on.set()
        await second
        assert await lanes.take(lambda: "free") == "free"

    asyncio.run(leave())
    assert counting.most == 1


def test_what_fails_gives_its_turn_back() -> None:
    def fail() -> Any:
        raise KeyError("lost")

    async def ask() -> str:
        lanes = Lanes(1)
        for _ in range(3):
            with pytest.raises(KeyError, match="lost"):
                await lanes.take(fail)
        return await lanes.take(lambda: "free")

    assert asyncio.run(ask()) == "free"

"""Objects that one request asks for at the same time are read at once."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from app.jobs import Busy
from app.ledger import Ledger
from app.schema import Context
from projections import current
from tests import marks
from tests.app.rich import rich

pytestmark = marks.HTTP


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Generator[Ledger]:
    from tests.conftest import CLOCK

    with Ledger(tmp_path_factory.mktemp("told") / "ledger", test_clock_at=CLOCK) as opened:
        yield rich(opened)


def test_objects_asked_for_at_the_same_time_are_read_together(told: Ledger) -> None:
    reads: list[int] = []

    class Counted(Context):
        async def _load_objects(self, keys: Any) -> list[Any]:
            reads.append(len(keys))
            return await super()._load_objects(keys)

    customer = current.KINDS["cus"].state

    async def go() -> None:
        context = Counted(told, "tester")
        await asyncio.gather(*(context.find(customer, f"cus_{n % 3}") for n in range(5)))
        await context.find(customer, "cus_1")

    asyncio.run(go())
    assert reads == [5, 1]


def test_who_asked_first_and_gives_up_leaves_the_others_their_answers(told: Ledger) -> None:
    with told.snapshot() as views:
        found = current.select(views, current.KINDS["cus"].state, {}, limit=2)
    ids = [one.state.id for one in found]
    customer = current.KINDS["cus"].state

    async def go(rounds: int) -> list[Any]:
        context = Context(told, "tester")
        asking = [asyncio.create_task(context.find(customer, id)) for id in (*ids, "cus_x")]
        for _ in range(rounds):
            await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.wait(asking, timeout=5)
        assert asking[0].cancelled()
        again = await context.find(customer, ids[0])
        return [again, *(one.result() for one in asking[1:])]

    for rounds in (1, 2, 3, 4):
        first, second, none = asyncio.run(go(rounds))
        assert ([first.id, second.id], none) == (ids, None)


def test_a_read_that_fails_fails_for_all(told: Ledger) -> None:
    class Broken(Context):
        async def _load_objects(self, keys: Any) -> list[Any]:
            raise Busy("too many")

    async def go() -> list[Any]:
        context = Broken(told, "tester")
        asking = (context.find(current.KINDS["cus"].state, f"cus_{n}") for n in range(3))
        return await asyncio.gather(*asking, return_exceptions=True)

    assert [type(one) for one in asyncio.run(go())] == [Busy] * 3

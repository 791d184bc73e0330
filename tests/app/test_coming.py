"""What is there at once is known to be, and what is not is waited for as ever."""

import asyncio

import pytest

from app.web.coming import Coming


async def at_once() -> str:
    return "here"


async def later(event: asyncio.Event) -> str:
    await event.wait()
    await asyncio.sleep(0)
    return "later"


def test_what_is_there_is_there() -> None:
    async def wait() -> tuple[bool, str, str]:
        coming = Coming(at_once())
        return coming.is_there, await coming, await coming

    assert asyncio.run(wait()) == (True, "here", "here")


def test_what_is_not_is_waited_for() -> None:
    async def wait() -> tuple[bool, str]:
        event = asyncio.Event()
        coming = Coming(later(event))
        asyncio.get_running_loop().call_soon(event.set)
        return coming.is_there, await coming

    assert asyncio.run(wait()) == (False, "later")


def test_it_may_take_too_long() -> None:
    ended: list[str] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("told")

    async def wait() -> None:
        async with asyncio.timeout(0):
            await Coming(never())

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    assert ended == ["told"]


def test_it_may_have_an_answer_to_being_given_up() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "still"
        return "never"

    async def wait() -> str:
        async def inner() -> str:
            return await Coming(stubborn())

        task = asyncio.create_task(inner())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(wait()) == "still"


def test_what_fails_at_once_fails_at_once() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        Coming(fail())

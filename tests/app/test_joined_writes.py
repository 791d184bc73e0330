"""The head of an answer and its content leave in one piece, and nothing waits for long."""

import asyncio
from typing import Any

from app.web.joined_writes import JoinedWrites


class Taken(asyncio.Transport):
    """A connection that notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def test_two_parts_are_one_piece() -> None:
    async def answer() -> list[bytes]:
        taken = Taken()
        joined = JoinedWrites(taken, asyncio.get_running_loop())
        joined.write(b"head ")
        assert taken.pieces == []
        joined.write(b"content")
        return taken.pieces

    assert asyncio.run(answer()) == [b"head content"]


def test_a_part_that_nothing_follows_leaves_by_itself() -> None:
    async def answer() -> list[bytes]:
        taken = Taken()
        joined = JoinedWrites(taken, asyncio.get_running_loop())
        for part in (b"1", b"2", b"3"):
            joined.write(part)
        await asyncio.sleep(0)
        return taken.pieces

    assert asyncio.run(answer()) == [b"12", b"3"]


def test_what_waits_is_sent_before_the_connection_is_closed_but_not_when_it_is_cut() -> None:
    async def answer(*, cut: bool) -> tuple[list[bytes], bool]:
        taken = Taken()
        joined = JoinedWrites(taken, asyncio.get_running_loop())
        joined.write(b"last")
        (joined.abort if cut else joined.close)()
        await asyncio.sleep(0)
        return taken.pieces, taken.closed

    assert asyncio.run(answer(cut=False)) == ([b"last"], True)
    assert asyncio.run(answer(cut=True)) == ([], True)


def test_a_websocket_takes_the_connection_over() -> None:
    async def answer() -> tuple[bool, list[bytes]]:
        taken = Taken()
        joined = JoinedWrites(taken, asyncio.get_running_loop())
        joined.write(b"before")
        return joined.alone() is taken, taken.pieces

    assert asyncio.run(answer()) == (True, [b"before"])

"""A request may say what it must see: the position of an earlier answer, from whichever process.

What a process answers, all processes of a database see. So this mostly waits for nothing: only for
views that are behind, or for a replica; and a test clock is where it was at that position.
"""

import asyncio

from app import facts
from app.ledger import Ledger
from app.offers import RETRY_AFTER_SECONDS, Refused

HEADER = "x-tallybook-position"
PATIENCE_SECONDS = 5.0
"""How long a request waits for its position."""

_DIGITS = 18


def must_look(ledger: Ledger) -> bool:
    """Whether a request must look what time it is: another process may have moved the clock."""
    return ledger.follower is not None and ledger.clock.is_test


async def seen(ledger: Ledger, text: str) -> None:
    """Wait until queries see a position, as the header has it. Raises `Refused` naming that."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise Refused(400, "BAD_USER_INPUT", f"{HEADER} must be a position of the ledger")
    wanted = int(text)
    if await asyncio.to_thread(_seen, ledger, wanted) >= wanted:
        return
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _reached(ledger, wanted)
    except TimeoutError:
        message = f"{HEADER}: the ledger has not come to {wanted} yet"
        retry = {"retry-after": RETRY_AFTER_SECONDS}
        raise Refused(503, "POSITION_NOT_REACHED", message, retry) from None


async def _reached(ledger: Ledger, wanted: int) -> None:
    """Look again whenever the ledger has moved."""
    with ledger.announcements.following() as board:
        while True:
            moving = board.moving()
            if await asyncio.to_thread(_seen, ledger, wanted) >= wanted:
                return
            await moving.wait()


def _seen(ledger: Ledger, wanted: int) -> int:
    """The position that queries see; a test clock that others moved on stands where it was then."""
    with ledger.snapshot() as views:
        position = views.checkpoint()
    if position >= wanted and must_look(ledger):
        ledger.writer.set_clock(facts.recorded_at_us(ledger.store, position))
    return position

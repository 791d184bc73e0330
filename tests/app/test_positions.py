"""A request that names a position sees it, or is told that it cannot."""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from app.announcements import Board
from app.ledger import Ledger
from app.web import positions
from tests.app.http import Talking
from tests.app.test_writer import tokens

QUERY = {"query": "{ ledger { position } }"}


def asked(ledger: Ledger, position: object, talking: Talking | None = None) -> httpx.Response:
    """The answer to a query that must see a position."""
    headers = {positions.HEADER: str(position)}
    return (talking or Talking(ledger)).request("POST", "/graphql", json=QUERY, headers=headers)


def test_what_is_there_is_answered_at_once(ledger: Ledger) -> None:
    [receipt] = ledger.record_now([tokens("a")])
    answer = asked(ledger, receipt.position)
    assert answer.json()["data"] == {"ledger": {"position": str(receipt.position)}}


def test_a_position_that_comes_is_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(asking: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        task = asyncio.create_task(asking)
        await waiting.wait()
        await ledger.record([tokens("a")], None)
        return await task

    waiting, following = asyncio.Event(), ledger.announcements.following

    def noticed() -> AbstractContextManager[Board]:
        waiting.set()
        return following()

    monkeypatch.setattr(ledger.announcements, "following", noticed)
    head = ledger.store.head()[0]
    answer = asked(ledger, head + 1, Talking(ledger, run=lambda asking: asyncio.run(both(asking))))
    assert answer.json()["data"] == {"ledger": {"position": str(head + 1)}}


def test_a_position_that_does_not_come_is_named(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "PATIENCE_SECONDS", 0.01)
    answer = asked(ledger, 999)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    message = "x-tallybook-position: the ledger has not come to 999 yet"
    assert answer.json() == {"error": {"code": "POSITION_NOT_REACHED", "message": message}}
    assert not ledger.announcements._boards


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "\u0661", "9" * 19])
def test_what_is_no_position_is_refused(ledger: Ledger, text: str) -> None:
    headers = [(positions.HEADER.encode(), text.encode())]
    answer = Talking(ledger).request("POST", "/graphql", json=QUERY, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BAD_USER_INPUT"

"""Who is connected to be told what happens: counted, bounded, and let go when the server stops."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from app.ledger import Ledger
from app.schema import Context
from app.schema.streams import Answer, answers
from app.settings import Settings


class Operation(msgspec.Struct, frozen=True):
    """What is to be carried out."""

    query: str
    operation_name: str | None = msgspec.field(name="operationName", default=None)
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


class TooMany(Exception):
    """There are as many subscribers as there may be."""


class Live:
    """The subscribers of one server."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self.settings = settings
        self.sockets = Places(settings.live_limit)
        self.operations = Places(settings.live_limit)
        self.ending = asyncio.Event()
        self._ledger = ledger

    def answers(
        self, operation: Operation, *, may_change: bool = True
    ) -> AsyncGenerator[Answer, None]:
        """Carry out one operation, with a context of its own."""
        context = Context(self._ledger, "graphql", streams=True)
        asked = operation.query, operation.variables, operation.operation_name
        return answers(context, *asked, may_change=may_change)

    def end(self) -> None:
        """Let every event stream go; for when the server stops."""
        self.ending.set()


class Places:
    """So many may be here at a time."""

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self._limit = limit

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as the block lasts. Raises `TooMany`."""
        if self.taken >= self._limit:
            raise TooMany(f"{self._limit} are here already")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def refused() -> dict[str, Any]:
    """The error for an operation that finds no place."""
    message = "there are as many live operations as there may be; end one, or try again later"
    return {"message": message, "extensions": {"code": "TOO_BUSY"}}


def encoded(content: object) -> str:
    """An answer as JSON in one line; half of a surrogate pair is escaped, as it was sent."""
    return json.dumps(content, separators=(",", ":"))

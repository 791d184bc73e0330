"""Who is connected to be told what happens: counted, bounded, and let go when the server stops."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from app.callers import Caller
from app.lanes import Lanes
from app.offers import RETRY_AFTER_SECONDS, Refused
from app.schema import Context
from app.schema.streams import Answer, answers
from app.settings import Settings
from app.web.asked import Asked
from app.web.documents import Documents

READERS = 2
"""How many answers read at a time, so that requests find a thread too however many are live."""


class Live:
    """The subscribers of one server."""

    def __init__(self, settings: Settings, documents: Documents) -> None:
        self.settings = settings
        self.sockets = Places(settings.live_limit)
        self.operations = Places(settings.live_limit)
        self.lanes = Lanes(READERS)
        self.ending = asyncio.Event()
        self._documents = documents

    def answers(
        self, asked: Asked, context: Context, *, may_change: bool = True
    ) -> AsyncGenerator[Answer, None]:
        """Carry out one operation, with a context of its own. Raises `Refused`."""
        context.caller.begin()
        text = self._documents.text_of(asked.query, asked.document_id, asked.extensions)
        found = answers(context, text, asked.variables, asked.operation_name, may_change=may_change)
        return _while_let_in(found, context.caller)

    def end(self) -> None:
        """Let every event stream go; for when the server stops."""
        self.ending.set()


async def _while_let_in(
    found: AsyncGenerator[Answer, None], caller: Caller
) -> AsyncGenerator[Answer, None]:
    """The answers, for as long as whoever gets them may ask."""
    async with aclosing(found):
        async for answer in found:
            try:
                caller.go_on()
            except Refused as refused:
                yield Answer({"data": None, "errors": [problem(refused)]}, executed=False)
                return
            yield answer


class Places:
    """So many may be here at a time."""

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self._limit = limit

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as the block lasts. Raises `Refused`."""
        if self.taken >= self._limit:
            message = f"there are {self._limit} of them already; end one, or try again later"
            raise Refused(429, "TOO_BUSY", message, {"retry-after": RETRY_AFTER_SECONDS})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def problem(refused: Refused) -> dict[str, Any]:
    """A refusal as an error of GraphQL."""
    return {"message": refused.message, "extensions": {"code": refused.code}}

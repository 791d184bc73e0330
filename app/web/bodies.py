"""The bodies of requests: read whole, bounded and in time, before anything else looks at them."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import adapters
from app.compressed import plain
from app.offers import Refused
from app.settings import Settings
from app.web.coming import Coming
from app.web.whole import Whole

LINGER_SECONDS = 1
"""How long a refused body is let go by, for a client that only listens when it has sent it."""

_MOST_DIGITS = 18


class BodyLimit:
    """Read a request's body before anything else, and refuse it as soon as it is too large or slow.

    Usage may come compressed; then its limit is that of what it is inflated to, too.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on with its whole body, or answer 408 or 413.

        A small body is nearly always there already: then nothing is waited for here.
        """
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        length, encoding, in_chunks = _announced(scope)
        announced = length is not None or in_chunks
        if scope["method"] in ("GET", "HEAD", "OPTIONS") and not announced:
            return self._app(scope, receive, send)
        is_usage = scope["path"].startswith(("/v1/", "/api/v1/"))
        settings = self._settings
        limit = settings.ingest_limit_bytes if is_usage else settings.body_limit_bytes
        body = _Body(receive, settings, limit)
        try:
            body.begin(length or "")
        except ClientDisconnect:
            return _nothing()
        except Refused as refused:
            return body.refuse(adapters.refusal(Request(scope), refused), scope, send)
        if body.content is not None and not (is_usage and encoding):
            return self._app(scope, Whole(body.content, receive), send)
        return self._wait(body, encoding if is_usage else "", scope, receive, send)

    async def _wait(
        self, body: "_Body", encoding: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass the request on when its body has come, and is no longer compressed."""
        try:
            content = await body.read()
            if encoding:
                content = plain(content, encoding, body.limit)
        except ClientDisconnect:
            return  # half a body is never taken for a whole one
        except Refused as refused:
            answer = adapters.refusal(Request(scope), refused)
            await body.refuse(answer, scope, send)
            return
        await self._app(scope, Whole(content, receive), send)


async def turned_away(
    answer: Response, settings: Settings, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request without a look at its body, of which nothing is kept."""
    body = _Body(receive, settings, limit=0, more=_is_announced(scope))
    await body.refuse(answer, scope, send)


def _is_announced(scope: Scope) -> bool:
    """Whether a body comes with a request."""
    length, _, in_chunks = _announced(scope)
    return length is not None or in_chunks


class _Body:
    """A body on its way."""

    def __init__(
        self, receive: Receive, settings: Settings, limit: int, *, more: bool = True
    ) -> None:
        self._receive = receive
        self._settings = settings
        self.limit = limit
        self.content: bytes | None = None
        """All of it, when it was there at once."""
        self._more = more

    def begin(self, announced: str) -> None:
        """Read what is there. Raises `ClientDisconnect`, or `Refused` when it is too large.

        One that is announced as too large is refused before any of it is read: a client that asks
        first never sends it.
        """
        if announced.isascii() and announced.isdecimal():
            digits = announced.lstrip("0")
            if len(digits) > _MOST_DIGITS or int(digits or "0") > self.limit:
                raise self._too_large()
        self._first = Coming(self._receive())
        if self._first.is_there:  # as a small body nearly always is
            part = self._part_of(self._first.result)
            if not self._more and len(part) <= self.limit:
                self.content = part

    async def read(self) -> bytes:
        """The whole body. Raises `ClientDisconnect`, or `Refused` when it is too large or slow."""
        return await self._read_in_time(self._first) if self.content is None else self.content

    async def _read_in_time(self, coming: Awaitable[Message]) -> bytes:
        """The whole body, which is still on its way."""
        now = asyncio.get_running_loop().time
        started = now()
        idle, until = self._settings.body_idle_seconds, self._settings.body_deadline_seconds
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout_at(started + min(idle, until)) as deadline:
                while True:
                    part = self._part_of(await coming)
                    size += len(part)
                    if size > self.limit:
                        raise self._too_large()
                    parts.append(part)
                    if not self._more:
                        break
                    deadline.reschedule(min(started + until, now() + idle))
                    coming = self._receive()
        except TimeoutError:
            message = "the body took too long, or paused for too long"
            raise Refused(408, "REQUEST_TIMEOUT", message) from None
        return b"".join(parts)

    async def refuse(self, answer: Response, scope: Scope, send: Send) -> None:
        """Answer, and let what is still on its way go by for a while, keeping nothing of it.

        A connection closed on bytes that nobody has read is reset, and the answer with it.
        """
        if not self._more:
            await answer(scope, self._receive, send)
            return
        answer.headers["connection"] = "close"

        async def send_and_wait(message: Message) -> None:
            is_body = message["type"] == "http.response.body"
            await send({**message, "more_body": True} if is_body else message)

        await answer(scope, self._receive, send_and_wait)
        with suppress(ClientDisconnect, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._more:
                    self._part_of(await self._receive())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _part_of(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    def _too_large(self) -> Refused:
        message = f"the body is larger than {self.limit} bytes"
        return Refused(413, "BODY_TOO_LARGE", message)


def _announced(scope: Scope) -> tuple[str | None, str, bool]:
    """What the headers say of the body: its length, how it is encoded, whether it is in chunks."""
    length, encoding, in_chunks = None, "", False
    for name, value in scope["headers"]:
        if name == b"content-length" and length is None:
            length = value.decode("latin-1")
        elif name == b"content-encoding" and not encoding:
            encoding = value.decode("latin-1")
        elif name == b"transfer-encoding":
            in_chunks = True
    return length, encoding, in_chunks


async def _nothing() -> None:
    """Half a body is never taken for a whole one, and nobody is there to be told."""

"""The schema as event streams, by the protocol graphql-sse with a connection for each operation.

Whoever accepts `text/event-stream` gets every answer of one operation as an event `next`, and at
the end an event `complete`. A stream that ends without it was cut off, and may be asked for again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.offers import Refused
from app.schema.streams import Answer
from app.web import asked
from app.web.answers import encoded
from app.web.graphql import context_of, refusal
from app.web.live import Live
from app.web.negotiation import OFFERED

EVENT_STREAM = "text/event-stream"

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that waits for more would hold back what is new
]
_PING = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"


class EventStreams:
    """Answers requests that accept an event stream, and hands on all others."""

    def __init__(self, app: ASGIApp, live: Live) -> None:
        self._app = app
        self._live = live

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["method"] in ("GET", "POST") and is_wanted(_accepted(scope)):
            return self._serve(scope, receive, send)
        return self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a stream."""
        request = Request(scope, receive)
        try:
            if scope["method"] == "GET":
                wanted = asked.by_get(request.query_params)
            else:
                content_type = request.headers.get("content-type", "")
                wanted = asked.by_post(content_type, await request.body())
            with self._live.operations.one():
                context = context_of(request, streams=True, lanes=self._live.lanes)
                answers = self._live.answers(wanted, context, may_change=scope["method"] == "POST")
                with context.ledger.writer.measures.live("event_stream") as count:
                    await self._stream(answers, count, receive, send)
        except Refused as refused:
            await refusal(refused)(scope, receive, send)

    async def _stream(
        self,
        answers: AsyncGenerator[Answer, None],
        count: Callable[[], None],
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the answers until there are no more, the client goes, or the server stops."""

        async def write(part: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        gone = asyncio.create_task(_disconnected(receive))
        ending = asyncio.create_task(self._live.ending.wait())
        async with aclosing(answers):
            coming = asyncio.create_task(anext(answers, None))
            try:
                last = b""
                while await self._first(coming, gone, ending):
                    if not coming.done():
                        await write(_PING)
                        continue
                    answer = coming.result()
                    if answer is None:
                        last = _COMPLETE
                        break
                    await write(_event(answer))
                    count()
                    coming = asyncio.create_task(anext(answers, None))
                await write(last, more=False)
            finally:
                for task in (coming, gone, ending):
                    task.cancel()
                await asyncio.gather(coming, gone, ending, return_exceptions=True)

    async def _first(
        self, coming: "asyncio.Task[Answer | None]", *ends: "asyncio.Task[object]"
    ) -> bool:
        """Wait for an answer, or until it is time for a ping; False when it is to end."""
        seconds = self._live.settings.live_ping_seconds
        await asyncio.wait({coming, *ends}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return not any(end.done() for end in ends)


def _accepted(scope: Scope) -> str:
    """What a request accepts."""
    for name, value in scope["headers"]:
        if name == b"accept":
            accepted: str = value.decode("latin-1")
            return accepted
    return ""


def is_wanted(accept: str) -> bool:
    """Whether a client would rather have an event stream than a single answer.

    >>> is_wanted("text/event-stream, multipart/mixed")
    True
    >>> is_wanted("application/json, text/event-stream")
    False
    >>> is_wanted("application/json;q=0.5, text/event-stream")
    True
    """
    if EVENT_STREAM not in accept.lower():
        return False  # as nearly everybody sends it
    streamed, plain = (0, 0), (0, 0)
    for place, part in enumerate(accept.lower().split(",")):
        kind, *parameters = (one.strip() for one in part.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        rank = _thousandths(weight), -place
        if kind == EVENT_STREAM:
            streamed = max(streamed, rank)
        elif kind in OFFERED:
            plain = max(plain, rank)
    return streamed[0] > 0 and streamed > plain


def _thousandths(weight: str) -> int:
    """A weight between 0 and 1 as HTTP has it; what is none counts as 0."""
    whole, _, rest = weight.partition(".")
    digits = (whole + rest.ljust(3, "0"))[:4]
    return min(int(digits), 1000) if digits.isascii() and digits.isdigit() else 0


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(answer: Answer) -> bytes:
    """One answer as an event; without data when nothing was carried out."""
    content = dict(answer.content)
    if not answer.executed:
        del content["data"]
    return b"event: next\ndata: %b\n\n" % encoded(content)

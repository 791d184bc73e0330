"""The schema as event streams, by the protocol graphql-sse with a connection for each operation.

Whoever accepts `text/event-stream` gets every answer of one operation as an event `next`, and at
the end an event `complete`. A stream that ends without it was cut off, and may be asked for again.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.ingest import kind_of, refusal
from app.offers import UNREADABLE, Refused
from app.schema.streams import Answer
from app.web.live import Live, Operation, TooMany, encoded

EVENT_STREAM = "text/event-stream"
PLAIN = {"application/json", "application/graphql-response+json"}
"""What an operation is answered as by itself, for clients that accept either."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that waits for more would hold back what is new
]
_PING = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"
_BODY = msgspec.json.Decoder(Operation)


class EventStreams:
    """Answers requests that accept an event stream, and hands on all others."""

    def __init__(self, app: ASGIApp, live: Live) -> None:
        self._app = app
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        method = scope["method"]
        if method not in ("GET", "POST") or not wanted(request.headers.get("accept", "")):
            await self._app(scope, receive, send)
            return
        try:
            operation = _of_address(request) if method == "GET" else await _of_body(request)
            with self._live.operations.one():
                answers = self._live.answers(operation, may_change=method == "POST")
                await self._stream(answers, receive, send)
        except Refused as refused:
            await refusal(refused)(scope, receive, send)
        except TooMany as error:
            too_many = Refused(429, "TOO_BUSY", str(error), {"retry-after": "1"})
            await refusal(too_many)(scope, receive, send)

    async def _stream(
        self, answers: AsyncGenerator[Answer, None], receive: Receive, send: Send
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


def wanted(accept: str) -> bool:
    """Whether a client would rather have an event stream than a single answer.

    >>> wanted("text/event-stream, multipart/mixed")
    True
    >>> wanted("application/json, text/event-stream")
    False
    >>> wanted("application/json;q=0.5, text/event-stream")
    True
    """
    streamed, plain = (0, 0), (0, 0)
    for place, part in enumerate(accept.lower().split(",")):
        kind, *parameters = (one.strip() for one in part.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        rank = _thousandths(weight), -place
        if kind == EVENT_STREAM:
            streamed = max(streamed, rank)
        elif kind in PLAIN:
            plain = max(plain, rank)
    return streamed[0] > 0 and streamed > plain


def _thousandths(weight: str) -> int:
    """A weight between 0 and 1 as HTTP has it; what is none counts as 0."""
    whole, _, rest = weight.partition(".")
    digits = (whole + rest.ljust(3, "0"))[:4]
    return min(int(digits), 1000) if digits.isascii() and digits.isdigit() else 0


async def _of_body(request: Request) -> Operation:
    """What a POST asks for. Raises `Refused`."""
    if kind_of(request) != "application/json":
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "an operation comes as application/json")
    try:
        return _BODY.decode(await request.body())
    except UNREADABLE as error:
        raise Refused(400, "BAD_REQUEST", f"the body is no operation: {error}") from error


def _of_address(request: Request) -> Operation:
    """What a GET asks for, as browsers' own event streams do. Raises `Refused`."""
    given: Mapping[str, str] = {name: text for name, text in request.query_params.items() if text}
    parts: dict[str, object] = dict(given)
    try:
        for name in ("variables", "extensions"):
            if name in given:
                parts[name] = json.loads(given[name])
        return msgspec.convert(parts, Operation)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "BAD_REQUEST", f"the address has no operation: {error}") from error


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(answer: Answer) -> bytes:
    """One answer as an event; without data when nothing was carried out."""
    content = dict(answer.content)
    if not answer.executed:
        del content["data"]
    return f"event: next\ndata: {encoded(content)}\n\n".encode()

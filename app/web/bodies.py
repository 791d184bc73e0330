"""The bodies of requests: read whole and bounded before anything else looks at them."""

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import adapters
from app.compressed import plain
from app.offers import Refused
from app.settings import Settings


class BodyLimit:
    """Read a request's body before anything else, and refuse it as soon as it is too large.

    Usage may come compressed; then its limit is that of what it is inflated to, too.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 413."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        is_usage = scope["path"].startswith(("/v1/", "/api/v1/"))
        settings, request = self._settings, Request(scope)
        limit = settings.ingest_limit_bytes if is_usage else settings.body_limit_bytes
        try:
            body = await _read(receive, limit)
            if is_usage:
                body = plain(body, request.headers.get("content-encoding", ""), limit)
        except ClientDisconnect:
            return  # half a body is never taken for a whole one
        except Refused as refused:
            await adapters.refusal(request, refused)(scope, receive, send)
            return
        whole: Message = {"type": "http.request", "body": body, "more_body": False}
        given = False

        async def receive_whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return whole

        await self._app(scope, receive_whole, send)


async def _read(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `ClientDisconnect`, or `Refused` as soon as it exceeds the limit."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refused(413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)

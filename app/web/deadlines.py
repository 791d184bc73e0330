"""Connections that cannot be held open for nothing: how many there may be, how long and how large.

The server beneath knows a limit for idle connections only. Here the head of a request has a size,
and a deadline by which all of it must have come, and an answer one by which it must be taken;
bodies have theirs in `app/web/bodies.py`. Who sends a byte a second, or nothing at all, is told so
and let go. This is what does not depend on who reads requests: h11, which is all Python, in
`app/web/h11_deadlines.py`, or httptools in `app/web/httptools_deadlines.py`.
"""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.server import ServerState

from app.settings import Settings
from app.web.joined_writes import JoinedWrites

REFUSED_HEAD = {
    400: ("BAD_REQUEST", "this is no HTTP request"),
    431: ("HEADERS_TOO_LARGE", "the request line and the headers are too large together"),
    501: ("NOT_IMPLEMENTED", "this transfer encoding is not known here"),
}
"""How a request is refused that cannot even be read, by what is wrong with it."""

HEADER_LINE = len(b": \r\n")
"""The bytes of a header beside its name and its value."""


class Deadlines(asyncio.Protocol):
    """One connection, held to the settings; whoever reads its requests is mixed in."""

    settings: ClassVar[Settings]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    server_state: ServerState
    cycle: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._until_head: asyncio.TimerHandle | None = None
        self._until_taken: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------- connecting

    def connection_made(  # type: ignore[override]  # of a TCP server it is always this kind
        self, transport: asyncio.Transport
    ) -> None:
        """Somebody connected; who is one too many is told so at once."""
        # Anything that has not been taken yet is noticed, not only a lot of it.
        transport.set_write_buffer_limits(high=0)
        super().connection_made(JoinedWrites(transport, self.loop))
        if CLOSE_HEADER in self.server_state.default_headers:
            self.cut_off()
        elif len(self.server_state.connections) > self.settings.connections_limit:
            self._refuse(503, "TOO_BUSY", "there are too many connections already; try again")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_awaiting_head()
        self._stop_awaiting_taking()
        super().connection_lost(exc)

    def _become_websocket(self) -> None:
        """From here on it is no HTTP, and has limits of its own."""
        self._stop_awaiting_head()
        self._stop_awaiting_taking()
        self.transport.set_write_buffer_limits()
        if isinstance(self.transport, JoinedWrites):
            self.transport = self.transport.alone()

    # ---------------------------------------------------------------------------------- reading

    def _refuse_head(self, status: int) -> None:
        """What came cannot be read: say what is wrong with it, in our own shape."""
        status = status if status in REFUSED_HEAD else 400
        self._refuse(status, *REFUSED_HEAD[status])

    def _await_head(self) -> None:
        if self._until_head is None and not self.transport.is_closing():
            seconds = self.settings.header_deadline_seconds
            self._until_head = self.loop.call_later(seconds, self._no_head)

    def _stop_awaiting_head(self) -> None:
        if self._until_head is not None:
            self._until_head.cancel()
            self._until_head = None

    def _no_head(self) -> None:
        """The head did not come in time; who sent nothing at all need not be told."""
        if self._has_begun_head():
            self._refuse(408, "REQUEST_TIMEOUT", "the headers took too long")
        else:
            self.transport.close()

    def _has_begun_head(self) -> bool:
        """Whether a part of the next head has come."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------- writing

    def _flush(self) -> None:
        """Send what waits to be sent in one piece with more."""
        if isinstance(self.transport, JoinedWrites):
            self.transport.flush()

    def _say_that_it_is_the_last(self) -> None:
        """No more requests after the one that is being answered, and its client is told."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]

    def cut_off(self) -> None:
        """The server ends: whoever was not answered by now is not."""
        self._refuse(503, "SHUTTING_DOWN", "the server is shutting down")

    def pause_writing(self) -> None:
        """Something could not be sent, since the client does not take it."""
        super().pause_writing()
        seconds = self.settings.answer_deadline_seconds
        self._until_taken = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Everything was taken."""
        self._stop_awaiting_taking()
        super().resume_writing()

    def _stop_awaiting_taking(self) -> None:
        if self._until_taken is not None:
            self._until_taken.cancel()
            self._until_taken = None

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without asking the application, and close."""
        self._stop_awaiting_head()
        content = msgspec.json.encode({"error": {"code": code, "message": message}})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            CLOSE_HEADER,
        ]
        self._write_refusal(status, headers, content)
        self.transport.close()

    def _write_refusal(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> None:
        """Write an answer, unless another one is on its way already."""
        raise NotImplementedError


def deadlines(settings: Settings) -> type[Deadlines]:
    """The protocol of connections that are held to these settings.

    Raises `ValueError` when they ask for httptools and it is not installed.
    """
    has_httptools = find_spec("httptools") is not None
    if settings.http == "httptools" and not has_httptools:
        message = "TALLYBOOK_HTTP: httptools is not installed; it comes with tallybook[fast]"
        raise ValueError(message)
    kind = _by_h11() if settings.http == "h11" or not has_httptools else _by_httptools()
    return type(kind.__name__, (kind,), {"settings": settings})


def _by_h11() -> type[Deadlines]:
    from app.web.h11_deadlines import H11Deadlines

    return H11Deadlines


def _by_httptools() -> type[Deadlines]:
    from app.web.httptools_deadlines import HttptoolsDeadlines

    return HttptoolsDeadlines

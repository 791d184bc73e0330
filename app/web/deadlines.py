"""Connections that cannot be held open for nothing: how many there may be, how long and how large.

The server beneath knows a limit for idle connections only. Here the head of a request has a size,
and a deadline by which all of it must have come, and an answer one by which it must be taken;
bodies have theirs in `app/web/bodies.py`. Who sends a byte a second, or nothing at all, is told so
and let go.
"""

import asyncio
from typing import Any, ClassVar

import h11
import msgspec
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from app.settings import Settings

_LINE = len(b": \r\n")
_REFUSED_HEAD = {
    400: ("BAD_REQUEST", "this is no HTTP request"),
    431: ("HEADERS_TOO_LARGE", "the request line and the headers are too large together"),
    501: ("NOT_IMPLEMENTED", "this transfer encoding is not known here"),
}
"""How a request is refused that cannot even be read, by what is wrong with it."""


class _Reader(h11.Connection):
    """Reads requests, none with a head larger than is allowed, however it came."""

    def __init__(self, limit: int) -> None:
        super().__init__(h11.SERVER, limit)
        self._limit = limit
        self.status = 400
        """What to answer when a request cannot be read."""

    def next_event(self) -> Any:
        """What comes next. Raises `h11.RemoteProtocolError` for what cannot be read."""
        try:
            return self._held(super().next_event())
        except h11.RemoteProtocolError as error:
            self.status = error.error_status_hint
            raise

    def _held(self, event: Any) -> Any:
        """Unfinished, a head is held to the limit while it comes; but it may come in one piece."""
        if isinstance(event, h11.Request) and _size(event) > self._limit:
            raise h11.RemoteProtocolError("too large", error_status_hint=431)
        return event


def _size(request: h11.Request) -> int:
    """The bytes of a request's line and headers."""
    lines = sum(len(name) + len(value) + _LINE for name, value in request.headers)
    return len(request.method) + len(request.target) + lines


class Deadlines(H11Protocol):
    """One connection, held to the settings."""

    settings: ClassVar[Settings]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _Reader = _Reader(self.settings.header_limit_bytes)
        self._until_head: asyncio.TimerHandle | None = None
        self._until_taken: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------- connecting

    def connection_made(  # type: ignore[override]  # of a TCP server it is always this kind
        self, transport: asyncio.Transport
    ) -> None:
        """Somebody connected; who is one too many is told so at once."""
        # Anything that has not been taken yet is noticed, not only a lot of it.
        transport.set_write_buffer_limits(high=0)
        super().connection_made(transport)
        if CLOSE_HEADER in self.server_state.default_headers:
            self.cut_off()
        elif len(self.connections) > self.settings.connections_limit:
            self._refuse(503, "TOO_BUSY", "there are too many connections already; try again")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_awaiting_head()
        self._stop_awaiting_taking()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on it is no HTTP, and has limits of its own."""
        self._stop_awaiting_head()
        self._stop_awaiting_taking()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    # ---------------------------------------------------------------------------------- reading

    def data_received(self, data: bytes) -> None:
        """Something came. The deadline of a head is not put off by a bit of it."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_awaiting_head()
        elif self._until_head is None and not self.transport.is_closing():
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """What came cannot be read: say what is wrong with it, in our own shape."""
        status = self.conn.status if self.conn.status in _REFUSED_HEAD else 400
        self._refuse(status, *_REFUSED_HEAD[status])

    def _await_head(self) -> None:
        seconds = self.settings.header_deadline_seconds
        self._until_head = self.loop.call_later(seconds, self._no_head)

    def _stop_awaiting_head(self) -> None:
        if self._until_head is not None:
            self._until_head.cancel()
            self._until_head = None

    def _no_head(self) -> None:
        """The head did not come in time; who sent nothing at all need not be told."""
        if self.conn.trailing_data[0]:
            self._refuse(408, "REQUEST_TIMEOUT", "the headers took too long")
        else:
            self.transport.close()

    # ---------------------------------------------------------------------------------- writing

    def on_response_complete(self) -> None:
        """It was answered; a request that nobody has read to its end is the last one."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def shutdown(self) -> None:
        """No more requests after the one that is being answered, and its client is told."""
        super().shutdown()
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
        answer = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        try:
            for event in (answer, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # an answer is on its way already, or was asked for without its content
        self.transport.close()


def deadlines(settings: Settings) -> type[Deadlines]:
    """The protocol of connections that are held to these settings."""
    return type("Deadlines", (Deadlines,), {"settings": settings})

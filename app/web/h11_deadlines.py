"""Connections whose requests h11 reads: all Python, and so wherever Tallybook runs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from app.web.deadlines import HEADER_LINE, Deadlines


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
    lines = sum(len(name) + len(value) + HEADER_LINE for name, value in request.headers)
    return len(request.method) + len(request.target) + lines


class H11Deadlines(Deadlines, H11Protocol):
    """One connection, held to the settings."""

    transport: asyncio.Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _Reader = _Reader(self.settings.header_limit_bytes)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on it is no HTTP, and has limits of its own."""
        self._become_websocket()
        super().handle_websocket_upgrade(event)

    def data_received(self, data: bytes) -> None:
        """Something came. The deadline of a head is not put off by a bit of it."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_awaiting_head()
        else:
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """What came cannot be read."""
        self._refuse_head(self.conn.status)

    def _has_begun_head(self) -> bool:
        return bool(self.conn.trailing_data[0])

    def on_response_complete(self) -> None:
        """It was answered; a request that nobody has read to its end is the last one."""
        self._flush()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def shutdown(self) -> None:
        """No more requests after the one that is being answered, and its client is told."""
        super().shutdown()
        self._say_that_it_is_the_last()

    def _write_refusal(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> None:
        answer = h11.Response(
            status_code=status, headers=list(headers), reason=STATUS_PHRASES[status]
        )
        try:
            for event in (answer, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # an answer is on its way already, or was asked for without its content

"""Websockets: who does not read is cut off.

A subscriber's answers wait until its socket takes them. One that is still connected but reads
nothing would hold its socket for ever, and would not let the server stop.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.events import CloseConnection

from app.settings import Settings

GOING_AWAY = 1001
"""How a websocket is closed when the server stops: its client may come back at once."""


class Stalled:
    """Cuts a connection off when nothing can be written to it for too long."""

    def __init__(self, transport: asyncio.Transport, seconds: int) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    @property
    def now(self) -> bool:
        """Whether the client leaves something unread that was written."""
        return self._timer is not None

    def begin(self) -> None:
        """What was written is not read: the client has so long to read on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._transport.abort)

    def end(self) -> None:
        """It has been read, or the client is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Websocket(WSProtocol):
    """A websocket. What is written must be read before anything else is written."""

    seconds: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """It begins."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        self._stalled = Stalled(transport, self.seconds)

    def pause_writing(self) -> None:
        """The client is slow to read."""
        super().pause_writing()
        self._stalled.begin()

    def resume_writing(self) -> None:
        """It has read everything."""
        super().resume_writing()
        self._stalled.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._stalled.end()

    def shutdown(self) -> None:
        """The server stops: say so, and do not wait for whoever does not read."""
        if self._stalled.now:
            self.transport.abort()
        elif self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            closing = CloseConnection(code=GOING_AWAY, reason="the server stops")
            self.transport.write(self.conn.send(closing))
            self.transport.close()
        else:
            super().shutdown()


def websockets(settings: Settings) -> dict[str, Any]:
    """How uvicorn is to serve websockets, held to these settings."""
    return {
        "ws": type("Websocket", (Websocket,), {"seconds": settings.answer_deadline_seconds}),
        "ws_max_size": settings.body_limit_bytes,
        "ws_ping_interval": settings.live_ping_seconds,
        "ws_ping_timeout": settings.live_ping_seconds,
        "ws_per_message_deflate": False,  # a few bytes could be inflated to any number
    }

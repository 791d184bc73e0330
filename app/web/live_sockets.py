"""The sockets of those who are told what happens: who does not read is cut off.

A subscriber's answers wait until its socket takes them. One that is still connected but reads
nothing would hold its socket for ever, and would not let the server stop.
"""

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.events import CloseConnection

from app.settings import Settings
from app.web.live import Live

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


class HTTPSocket(H11Protocol):
    """An HTTP connection."""

    stalled_seconds = 20

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """It begins."""
        super().connection_made(transport)
        self._stalled = Stalled(transport, self.stalled_seconds)

    def pause_writing(self) -> None:
        """The client is slow to read."""
        super().pause_writing()
        self._stalled.begin()

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        self._stalled.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._stalled.end()

    def shutdown(self) -> None:
        """The server stops; whoever does not read would hold it up."""
        if self._stalled.now:
            self.transport.abort()
        else:
            super().shutdown()


class WebsocketSocket(WSProtocol):
    """A websocket. What is written must be read before anything else is written."""

    stalled_seconds = 20

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """It begins."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        self._stalled = Stalled(transport, self.stalled_seconds)

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


class LiveServer(uvicorn.Server):
    """A server that lets event streams go before it waits for its answers to be read."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Stop."""
        self._live.end()
        await super().shutdown(sockets)


def server(app: ASGIApp, live: Live, settings: Settings, **options: Any) -> LiveServer:
    """The server of an application, ready to run."""
    cut_off = {"stalled_seconds": settings.stalled_seconds}
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=type("HTTP", (HTTPSocket,), cut_off),
        ws=type("Websocket", (WebsocketSocket,), cut_off),
        ws_max_size=settings.body_limit_bytes,
        ws_ping_interval=settings.live_ping_seconds,
        ws_ping_timeout=settings.live_ping_seconds,
        ws_per_message_deflate=False,  # a few bytes could be inflated to any number
        log_level="warning",
        access_log=False,
        server_header=False,
        **options,
    )
    return LiveServer(config, live)

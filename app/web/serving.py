"""Serving until told to stop: everything accepted is answered first, the rest is refused.

Told twice, the process ends at once, as if it were killed: what was acknowledged is on the disk.
"""

import asyncio
import signal
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from app.settings import Settings
from app.web.deadlines import Deadlines, deadlines
from app.web.live import Live
from app.web.live_sockets import websockets

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What tells a server to stop: Ctrl+C, and whoever supervises it."""
_AFTER_CUTTING_OFF_SECONDS = 1


def serve(app: Any, settings: Settings) -> bool:
    """Serve until told to stop, by a signal; whether it could begin at all."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=deadlines(settings),
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds + _AFTER_CUTTING_OFF_SECONDS,
        log_level="warning",
        log_config=None,  # its lines go the way of ours
        access_log=False,
        server_header=False,
        **websockets(settings),
    )
    server = _Server(config, settings.shutdown_seconds, app.state.live)
    server.run()
    return server.started


def end_on_signals() -> None:
    """Let a signal be a normal end, which closes whatever is open on the way out."""
    for one in SIGNALS:
        signal.signal(one, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _be_killed_by_the_next()
    raise SystemExit(0)


def _be_killed_by_the_next() -> None:
    for one in SIGNALS:
        signal.signal(one, signal.SIG_DFL)


class _Server(uvicorn.Server):
    """A server that can be told to stop, and told twice."""

    def __init__(self, config: uvicorn.Config, shutdown_seconds: int, live: Live) -> None:
        super().__init__(config)
        self._shutdown_seconds = shutdown_seconds
        self._live = live

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to stop."""
        _be_killed_by_the_next()
        super().handle_exit(sig, frame)

    async def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Take no more connections, and say so to those that are there; answer what was accepted.

        From here on every answer says that it is the last one of its connection, and whoever
        follows the ledger is let go.
        """
        state = self.server_state
        state.default_headers = [*state.default_headers, CLOSE_HEADER]
        self._live.end()
        asyncio.get_running_loop().call_later(self._shutdown_seconds, self._cut_off)
        await super().shutdown(*args, **kwargs)

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Deadlines):
                connection.cut_off()

"""The head of an answer and its content leave in one piece, which costs one call of the system."""

import asyncio
from typing import Any


class JoinedWrites(asyncio.Transport):
    """A connection on which what is written waits for what follows it at once.

    At most one part waits, and never past the present round of the event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._waiting = b""
        self._called = False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Send it with the part that waits; when none does, it waits itself."""
        if self._waiting:
            self._transport.write(self._waiting + data)
            self._waiting = b""
            return
        self._waiting = bytes(data)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._at_the_end)

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._transport.write(waiting)

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._waiting = b""
        self._transport.abort()

    def alone(self) -> asyncio.Transport:
        """The connection itself, for whoever writes otherwise from now on."""
        self.flush()
        return self._transport

    def is_closing(self) -> bool:
        """Whether it is closed, or will be as soon as everything is sent."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more from the other side for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the other side again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """How much may wait to be taken before the writer is paused."""
        self._transport.set_write_buffer_limits(high, low)

    def _at_the_end(self) -> None:
        self._called = False
        self.flush()

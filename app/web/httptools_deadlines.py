"""Connections whose requests httptools reads, at a fraction of the cost of reading them in Python.

It reads ahead of the answers and is lenient where h11 is not. So it is given what came in small
pieces, and none while a whole request waits for its answer; and a head that it takes is looked at
once more. What is no request is refused when those before it have been answered.
"""

from collections.abc import Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.web.deadlines import HEADER_LINE, Deadlines

PIECE = 4_096
"""Bytes that are read at a time: so many requests at most are known before they are answered."""


class _Unreadable(Exception):
    """A head is refused; the reader makes it an error of its own."""


class HttptoolsDeadlines(Deadlines, HttpToolsProtocol):
    """One connection, held to the settings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = b""
        """What came and is not read yet."""
        self._pending = 0
        """How many bytes were read since a head, a part of a body or a request was whole."""
        self._in_head = False
        self._in_body = False
        self._over = False
        """Whether nothing more is read as HTTP."""
        self._status = 400
        self._refused = False
        """Whether what came cannot be read, and is refused when its turn comes."""
        self._serving: Any = None
        """The request that is being answered; `cycle` is the newest one."""

    # ------------------------------------------------------------------------------- connecting

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, also for the request that is being answered."""
        self._over = True
        if self._answering():
            self._serving.disconnected = True
            self._serving.message_event.set()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """From here on it is no HTTP, and has limits of its own."""
        self._over = True
        if self._answering():
            self.transport.close()  # who opens a websocket waits for the answers before it
            return
        self._become_websocket()
        super().handle_websocket_upgrade()

    def _as_if_it_had_not_asked(self, rest: bytes) -> None:
        """Somebody offers another protocol, which is refused by answering in this one.

        The reader takes what follows for that protocol, so another one reads the request again.
        """
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        begin = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self._waiting = b"".join([begin, *lines, b"\r\n", rest, self._waiting])
        self._in_head = False

    # ---------------------------------------------------------------------------------- reading

    def data_received(self, data: bytes) -> None:
        """Something came. The deadline of a head is not put off by a bit of it."""
        self._waiting = self._waiting + data if self._waiting else data
        self._unset_keepalive_if_required()
        self._read_on()

    def _read_on(self) -> None:
        """Read what waits, for as long as no whole request is there that must be answered first."""
        while self._waiting and self._may_read():
            piece, self._waiting = self._waiting[:PIECE], self._waiting[PIECE:]
            self._pending += len(piece)
            self._read(piece)
            if self._pending > self.settings.header_limit_bytes and not self._over:
                self._status = 400 if self._in_body else 431
                self.send_400_response("")
        if self._over:
            self._waiting = b""
        elif self._waiting:
            self.flow.pause_reading()
        if self._over or self._in_body or self._answering():
            self._stop_awaiting_head()
        else:
            self._await_head()

    def _read(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._as_if_it_had_not_asked(piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _may_read(self) -> bool:
        closed = self._over or self.transport.is_closing()
        return not closed and not self.pipeline and (self._in_body or not self._answering())

    def _answering(self) -> bool:
        return self._serving is not None and not self._serving.response_complete

    def _has_begun_head(self) -> bool:
        return self._pending > 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole; what the reader is too lenient for is refused."""
        self._pending = 0
        self._look_at_head()
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # it is read again
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        if not self.parser.should_upgrade():
            self.headers = []  # what comes behind the body is not one of the request's headers

    def _look_at_head(self) -> None:
        """Raises `_Unreadable` for a head that is too large, or is none by the rules of HTTP."""
        size = len(self.parser.get_method()) + len(self.url)
        hosts, codings = 0, []
        for name, value in self.headers:
            size += len(name) + len(value) + HEADER_LINE
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                codings.append(value.lower())
        version = self.parser.get_http_version()
        if size > self.settings.header_limit_bytes:
            self._status = 431
        elif codings not in ([], [b"chunked"]):
            self._status = 501
        elif self.parser.get_method() == b"CONNECT":
            pass  # this is no proxy, and there is no address in it
        elif version in ("1.0", "1.1") and hosts <= 1 and (hosts or version == "1.0"):
            return
        raise _Unreadable

    def on_body(self, body: bytes) -> None:
        """A part of a body came."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._pending = 0
        if not self._in_body:
            return  # it is read again
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What came cannot be read: it is refused when what came before it has been answered."""
        self._over = True
        if self._in_body and self.pipeline:
            self.pipeline.popleft()  # the rest of its body will never be read
        elif self._in_body or not self._answering():
            self._refuse_head(self._status)
            return
        self._refused = True

    # ---------------------------------------------------------------------------------- writing

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._serving = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """It was answered; a request that nobody has read to its end is the last one."""
        self._flush()
        super().on_response_complete()
        if self._answering() or self.transport.is_closing():
            return
        if self._refused:
            self._refuse_head(self._status)
        elif self._in_body:
            self.transport.close()
        elif self._waiting or self._in_head:
            self._unset_keepalive_if_required()
            self._read_on()

    def shutdown(self) -> None:
        """No more requests after those that are being answered, and their client is told."""
        super().shutdown()
        self._say_that_it_is_the_last()

    def _write_refusal(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes
    ) -> None:
        self._over = True
        self.pipeline.clear()
        if self._answering():
            serving, self._serving.disconnected = self._serving, True
            serving.message_event.set()
            if serving.response_started:
                return  # an answer is on its way already
            if serving.scope["method"] == "HEAD":
                content = b""
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", content]))

"""Requests as bytes on a socket: whole ones, and those that lie about what follows."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

PATIENCE_S = 30.0
"""How long an answer may take before it counts as none."""
_LINE = "{}: {}\r\n"


@dataclass(frozen=True)
class Asked:
    """A request before it is written down."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def with_body(self, body: bytes) -> "Asked":
        """The same with another body."""
        return replace(self, body=body)

    def with_headers(self, headers: Mapping[str, str]) -> "Asked":
        """The same with more headers, or others."""
        return replace(self, headers={**self.headers, **headers})

    def written(self) -> bytes:
        """The request as it goes over the wire, by somebody who tells the truth."""
        return self._head({"content-length": str(len(self.body))}) + self.body

    def lying(self, random: Random) -> bytes:
        """The request by somebody who does not."""
        size = len(self.body)
        kind = random.randrange(9)
        lengths = (size + 10, max(0, size - 5), -1, 10**30, "x", "", "1, 2", "+5", "0x10")
        if kind < 5:
            said = {"content-length": str(random.choice(lengths))}
            return self._head(said) + self.body
        if kind == 5:
            return self._head({"content-length": "1", "Content-Length": str(size)}) + self.body
        chunks = random.choice((b"%x\r\n%b\r\n0\r\n\r\n", b"%x\r\n%b", b"-%x\r\n%b\r\n", b"g%x%b"))
        chunked = chunks % (size, self.body)
        if kind == 6:
            both = {"transfer-encoding": "chunked", "content-length": str(size)}
            return self._head(both) + chunked
        return self._head({"transfer-encoding": "chunked"}) + chunked

    def _head(self, more: Mapping[str, str]) -> bytes:
        lines = {"host": "localhost", "connection": "close", **self.headers, **more}
        begin = f"{self.method} {self.path} HTTP/1.1\r\n"
        text = begin + "".join(_LINE.format(name, value) for name, value in lines.items())
        return text.encode("latin-1", "replace") + b"\r\n"


@dataclass(frozen=True)
class Answer:
    """What came back; a status of 0 when nothing did."""

    status: int
    head: bytes
    body: bytes


def exchange(port: int, sent: bytes, patience: float = PATIENCE_S) -> Answer:
    """Send bytes and read what comes back until the server ends it, or for so long.

    Raises `TimeoutError` when that is as long as anybody waits.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line:
        with suppress(ConnectionError):  # refused before all of it was read
            line.sendall(sent)
        line.settimeout(patience)
        try:
            while part := line.recv(65_536):
                received += part
        except ConnectionError:
            pass  # what came before still counts
        except TimeoutError:
            if patience == PATIENCE_S:
                raise
    head, _, body = received.partition(b"\r\n\r\n")
    first = head.split(b" ", 2)
    return Answer(int(first[1]) if len(first) > 1 else 0, head, body)

"""Talk to a server byte by byte, as no well-behaved client would."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

READERS = ["h11", "httptools"]
"""Who can read the requests of a server."""
GIVE_UP_SECONDS = 30
"""How long a test waits for what must happen at once, or after a short deadline."""


def installed(reader: str) -> str:
    """The reader, when it can be had; else the test is skipped, since it is an extra."""
    if find_spec(reader) is None:
        pytest.skip(f"{reader} is not installed: it comes with the extra `fast`")
    return reader


@dataclass(frozen=True)
class Reply:
    """One answer: its status, its headers and its content."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def code(self) -> str:
        """The code of a refusal."""
        found: str = json.loads(self.content)["error"]["code"]
        return found


class Wire:
    """One connection to a server."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self.socket = socket.create_connection((address.hostname, address.port), GIVE_UP_SECONDS)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        """Send bytes as they are."""
        self.socket.sendall(data)
        return self

    def is_open(self, data: bytes) -> bool:
        """Whether the other side still takes this. Raises `TimeoutError` when it does neither."""
        with suppress(ConnectionError):
            self.socket.sendall(data)
            return True
        return False

    def reply(self) -> Reply:
        """The next answer, which tells its length. Raises `ConnectionError` for none."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(self._read) < int(headers["content-length"]):
            self._more()
        length = int(headers["content-length"])
        content, self._read = self._read[:length], self._read[length:]
        return Reply(int(first.split()[1]), headers, content)

    def continued(self) -> None:
        """Wait until told to go on with the body. Raises `ConnectionError` when it is over."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 100 "), head

    def rest(self) -> bytes:
        """Everything until the other side closes; an error when it does not before we give up."""
        with suppress(ConnectionResetError):
            while data := self.socket.recv(65_536):
                self._read += data
        rest, self._read = self._read, b""
        return rest

    def _more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError(f"closed after {self._read!r}")
        self._read += data


def post(body: bytes, *headers: str, path: str = "/graphql", length: int | None = None) -> bytes:
    """A whole request, or one that announces another length than its body has."""
    announced = len(body) if length is None else length
    lines = [
        f"POST {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {announced}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def asking(query: str, **variables: Any) -> bytes:
    """The body of a request of GraphQL."""
    return json.dumps({"query": query, "variables": variables}).encode()

"""A real HTTP server that is told of facts, and behaves as badly as a test wants."""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.delivery_marks import Marks
from app.ledger import Ledger
from app.settings import Settings
from app.webhooks import Delivery, read_hook

PATIENCE_SECONDS = 30
"""How long a test waits for what must happen at once, before it fails instead of hanging."""
KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
TOKEN = "what-only-we-know"
"""A part of the URL that is nobody else's business."""


@dataclass(frozen=True)
class Told:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The body as JSON."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    @property
    def position(self) -> int:
        """Which fact it is about."""
        return int(self.said["position"])

    @property
    def is_signed(self) -> bool:
        """Whether the signature is that of the specification, computed by the book (RFC 2104)."""
        id, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        block = KEY.ljust(64, b"\0")
        inner = sha256(bytes(b ^ 0x36 for b in block) + f"{id}.{at}.".encode() + self.body)
        outer = sha256(bytes(b ^ 0x5C for b in block) + inner.digest())
        return (
            self.headers["webhook-signature"] == f"v1,{base64.b64encode(outer.digest()).decode()}"
        )


Answer = Callable[["_Handler"], None]
"""What a receiver does with a request."""


class Receiving:
    """What was told so far, and how the next requests are answered: with 204 unless planned."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.answers: deque[int | Answer] = deque()
        self.released = threading.Event()
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiving = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/{TOKEN}?key={TOKEN}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and let go of whoever was kept waiting."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def positions(self) -> list[int]:
        """The facts that were told, in the order in which they came in."""
        return [one.position for one in self.told]

    def wait_for_all(self, ledger: Ledger) -> list[int]:
        """What was told, once all facts about invoices were, and that is written down."""
        last = positions(ledger)[-1]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while Marks(ledger.directory, ledger.store).resume().position < last:
            assert time.monotonic() < deadline, f"only {self.positions} came"
            time.sleep(0.01)
        return self.positions

    def note(self, told: Told) -> int | Answer:
        """Keep a request; return how to answer it."""
        with self._changed:
            self.told.append(told)
            self._changed.notify_all()
            return self.answers.popleft() if self.answers else 204

    def wait_for(self, count: int) -> list[Told]:
        """The requests, once there are so many."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.told) >= count, PATIENCE_SECONDS)
        assert enough, f"only {self.positions} came"
        return list(self.told)

    def wait_for_position(self, position: int) -> list[Told]:
        """The requests, once a fact was told."""
        with self._changed:
            there = self._changed.wait_for(lambda: position in self.positions, PATIENCE_SECONDS)
        assert there, f"only {self.positions} came"
        return list(self.told)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiving: Receiving

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked is gone: nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:  # the library's name
        """Take a request, and answer as planned."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.receiving.note(Told(self.path, headers, body))
        if isinstance(answer, int):
            self.send_response(answer)
            self.end_headers()
        else:
            answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def hang(handler: _Handler) -> None:
    """Answer nothing before the test says so, then 204."""
    handler.server.receiving.released.wait(PATIENCE_SECONDS)
    handler.send_response(204)
    handler.end_headers()


def drip(handler: _Handler) -> None:
    """Answer a line of the head at a time, and never come to its end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.receiving.released.wait(0.01):
        handler.wfile.write(b"a: b\r\n")


def drop(handler: _Handler) -> None:
    """Answer nothing at all."""
    handler.close_connection = True


def babble(handler: _Handler) -> None:
    """Answer with what is no HTTP, and repeats the request."""
    handler.wfile.write(f"{handler.path}\r\n\r\n".encode())


def redirect(handler: _Handler) -> None:
    """Send it elsewhere."""
    handler.send_response(307)
    handler.send_header("location", "/elsewhere")
    handler.end_headers()


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    """A receiver that takes everything."""
    receiver = Receiving()
    yield receiver
    receiver.close()


def settings(url: str, types: str = "invoice.*") -> Settings:
    """The settings of a server that tells somebody."""
    return Settings(webhook_url=url, webhook_secret=SECRET, webhook_types=types)


@contextmanager
def telling(ledger: Ledger, url: str, types: str = "invoice.*") -> Iterator[None]:
    """Tell the facts of a ledger for as long as the block lasts."""
    hook = read_hook(settings(url, types))
    assert hook is not None
    delivery = Delivery(ledger, hook)
    delivery.start()
    try:
        yield
    finally:
        delivery.stop()


def positions(ledger: Ledger, kind: str = "invoice.", after: int = 0) -> list[int]:
    """Where in a ledger the facts of a kind stand."""
    facts = ledger.store.read(after)
    return [one.position for one in facts if one.event.topic.startswith(kind)]

"""A small HTTP client in a process of its own, so that it takes no time from the server's.

`python -m tests.benchmarks.http_client` reads one JSON order from standard input and prints
how long it took: every connection sends its requests one after the other and keeps alive.
"""

import re
import selectors
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from time import perf_counter

import msgspec

from tests.benchmarks.workload import Ids, Records

MUTATION = (
    "mutation Record($input: RecordUsageInput!) "
    "{ recordUsage(input: $input) { accepted position userErrors { code } } }"
)
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_AT_ONCE = 65_536
_LENGTH = re.compile(rb"(?im)^content-length: *([0-9]+)")
PATHS = {"bulk": "/v1/usage", "graphql": "/graphql"}


class Order(msgspec.Struct, frozen=True):
    """What to send: `requests` to each of the `clients`, `size` records in each request.

    Whether everything was accepted is not `checked` where nothing is kept. The records are as close
    together in time as those `among` which they are, in a month; 0 is as many as are sent.
    """

    host: str
    port: int
    kind: str
    customers: int
    clients: int
    requests: int
    size: int
    ids: Ids = "time-ordered"
    first: int = 0
    checked: bool = True
    among: int = 0


class Sent(msgspec.Struct, frozen=True):
    """When the first was sent, by a clock of the whole machine, and the seconds that it took.

    All together, and each by itself.
    """

    at: float
    seconds: float
    latencies: list[float]

    @property
    def span(self) -> tuple[float, float]:
        """When it began, and when it ended."""
        return self.at, self.at + self.seconds


class Refused(Exception):
    """The server did not accept what it should have."""


def send(order: Order) -> Sent:
    """Make all requests, then send them and time only that."""
    total = order.clients * order.requests * order.size
    records = Records(order.ids, order.customers, max(total, order.among), order.first)
    accepted = b'"accepted":%d,' % order.size if order.checked else b"accepted"
    with ExitStack() as stack:
        clients = [
            _Client(
                stack.enter_context(socket.create_connection((order.host, order.port))),
                [_request(order, records) for _ in range(order.requests)],
                accepted,
            )
            for _ in range(order.clients)
        ]
        watching = stack.enter_context(selectors.DefaultSelector())
        for client in clients:
            watching.register(client.socket, _READ, client)
        started = perf_counter()
        for client in clients:
            _watch(watching, client, client.begin())
        while watching.get_map():
            for key, events in watching.select():
                client = key.data
                _watch(watching, client, client.go_on() if events & _WRITE else client.read())
        seconds = perf_counter() - started
    return Sent(started, seconds, [one for client in clients for one in client.latencies])


def _watch(watching: selectors.BaseSelector, client: "_Client", events: int) -> None:
    """Wait for what a client waits for; one that waits for nothing has done."""
    if events == 0:
        watching.unregister(client.socket)
    elif watching.get_key(client.socket).events != events:
        watching.modify(client.socket, events, client)


class _Client:
    """One connection, which sends each request after the answer to the one before.

    It does as little as can be done, so that what is measured is the server.
    """

    def __init__(
        self, connection: socket.socket, requests: Sequence[bytes], expected: bytes
    ) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.latencies: list[float] = []
        self._requests = iter(requests)
        self._expected = expected
        self._left = memoryview(b"")
        self._answer = b""
        self._started = 0.0

    def begin(self) -> int:
        """Send the next request; the answer is what to wait for, 0 when there is none."""
        request = next(self._requests, None)
        if request is None:
            return 0
        self._started = perf_counter()
        self._left = memoryview(request)
        return self.go_on()

    def go_on(self) -> int:
        """Send what is left of a request."""
        with suppress(BlockingIOError):
            while self._left:
                self._left = self._left[self.socket.send(self._left) :]
        return _WRITE if self._left else _READ

    def read(self) -> int:
        """Read an answer, or a part of it; when it is whole, the next request is sent."""
        part = self.socket.recv(_AT_ONCE)
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if part and (not end or len(body) < _length(head)):
            return _READ
        self.latencies.append(perf_counter() - self._started)
        if self._expected not in body and self._expected not in body.replace(b" ", b""):
            raise Refused(self._answer[:1_000].decode())
        self._answer = b""
        return self.begin()


def _request(order: Order, records: Records) -> bytes:
    """One whole request, as it goes over the wire."""
    content: object = {"records": records.batch(order.size)}
    if order.kind == "graphql":
        content = {"query": MUTATION, "variables": {"input": content}}
    body = msgspec.json.encode(content)
    return _head(order, PATHS[order.kind], body) + body


def _head(order: Order, path: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {order.host}:{order.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()


def _length(head: bytes) -> int:
    """The length of the body that follows."""
    found = _LENGTH.search(head)
    if found is None:
        raise Refused(f"an answer without a length:\n{head.decode()}")
    return int(found[1])


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    print(msgspec.json.encode(send(asked)).decode())

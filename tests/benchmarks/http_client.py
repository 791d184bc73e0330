"""A small HTTP client in a process of its own, so that it takes no time from the server's.

`python -m tests.benchmarks.http_client` reads one JSON order from standard input and prints
how long it took: every connection sends its requests one after the other and keeps alive.
"""

import asyncio
import sys
from collections.abc import Sequence
from time import perf_counter

import msgspec

from tests.benchmarks.workload import Ids, Records

MUTATION = (
    "mutation Record($input: RecordUsageInput!) "
    "{ recordUsage(input: $input) { accepted position userErrors { code } } }"
)
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


async def send(order: Order) -> Sent:
    """Make all requests, then send them and time only that."""
    total = order.clients * order.requests * order.size
    records = Records(order.ids, order.customers, max(total, order.among), order.first)
    requests = [
        [_request(order, records) for _ in range(order.requests)] for _ in range(order.clients)
    ]
    connections = [
        await asyncio.open_connection(order.host, order.port) for _ in range(order.clients)
    ]
    accepted = b'"accepted":%d,' % order.size if order.checked else b"accepted"
    started = perf_counter()
    latencies = await asyncio.gather(
        *(
            _converse(reader, writer, theirs, accepted)
            for (reader, writer), theirs in zip(connections, requests, strict=True)
        )
    )
    seconds = perf_counter() - started
    for _, writer in connections:
        writer.close()
        await writer.wait_closed()
    return Sent(started, seconds, [one for some in latencies for one in some])


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


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    requests: Sequence[bytes],
    expected: bytes,
) -> list[float]:
    """Send requests over one connection, each after the answer to the one before."""
    latencies: list[float] = []
    for request in requests:
        started = perf_counter()
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_length(head))
        latencies.append(perf_counter() - started)
        if expected not in body.replace(b" ", b""):
            raise Refused((head + body[:1_000]).decode())
    return latencies


def _length(head: bytes) -> int:
    """The length of the body that follows."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise Refused(f"an answer without a length:\n{head.decode()}")


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    print(msgspec.json.encode(asyncio.run(send(asked))).decode())

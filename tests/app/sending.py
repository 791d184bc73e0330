"""A real server that counts, and something between it and a client that loses what a test wants."""

import json
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app import client as sender
from tests.benchmarks.serving import Server, serving

PATIENCE_SECONDS = 30
"""How long a test waits for what must happen at once, before it fails instead of hanging."""
EVENT_NAME = "sent_tokens"
ALWAYS = {"start": "2020-01-01T00:00:00Z", "end": "2040-01-01T00:00:00Z"}
_numbers = count(1)

Answer = tuple[int, dict[str, str]]
"""A status and headers that are answered without asking the server."""
Plan = Callable[[list[dict[str, Any]]], Answer | None]
"""What to do with a request: an answer, or None to pass it on. Raises `Lost` for no answer."""


class Lost(Exception):
    """The connection ends without an answer."""


class Counting:
    """A server that sums what was sent, and says how often it counted."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.meter = self.ask(
            "mutation($input: CreateMeterInput!) { createMeter(input: $input) { meter { id } } }",
            input={"name": "Sent", "eventName": EVENT_NAME, "aggregation": "SUM"},
        )["createMeter"]["meter"]["id"]

    def ask(self, query: str, **variables: object) -> Any:
        """What GraphQL answers."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
            return json.load(reply)["data"]

    def customer(self) -> tuple[str, str]:
        """A new customer: the name to send with, and the id to ask with."""
        name = f"customer-{next(_numbers)}"
        made = self.ask(
            "mutation($input: CreateCustomerInput!)"
            " { createCustomer(input: $input) { customer { id } } }",
            input={"name": name, "externalId": name},
        )
        return name, made["createCustomer"]["customer"]["id"]

    def counted(self, customer_id: str) -> tuple[int, str | None]:
        """How many records of a customer count, and their sum."""
        (summary,) = self.ask(
            """query($meter: ID!, $customer: ID!, $period: PeriodInput!) {
              usageSummary(meterId: $meter, customerId: $customer, period: $period) {
                value recordCount
              }
            }""",
            meter=self.meter,
            customer=customer_id,
            period=ALWAYS,
        )["usageSummary"]
        return int(summary["recordCount"]), summary["value"]


class Between:
    """Passes requests on to a server, unless a plan says otherwise; keeps what came, and when."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self.plans: deque[Plan] = deque()
        self.always: Plan = pass_on
        self.seen: list[tuple[float, list[dict[str, Any]]]] = []
        self.keys: list[str | None] = []
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.between = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ids(self) -> list[list[str]]:
        """The ids in each request."""
        return [[record["id"] for record in records] for _, records in self.seen]

    def note(self, records: list[dict[str, Any]], key: str | None) -> Plan:
        """Keep a request, and return what to do with it."""
        with self._changed:
            self.seen.append((time.monotonic(), records))
            self.keys.append(key)
            self._changed.notify_all()
            return self.plans.popleft() if self.plans else self.always

    def wait_for(self, requests: int) -> None:
        """Return once so many requests have come by."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.seen) >= requests, PATIENCE_SECONDS)
        assert enough, f"only {len(self.seen)} requests came"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    between: Between

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked is gone: nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:  # the library's name
        """Take a request, and pass it on or not."""
        body = self.rfile.read(int(self.headers["content-length"]))
        records = [json.loads(line) for line in body.splitlines()]
        plan = self.server.between.note(records, self.headers["authorization"])
        try:
            planned = plan(records)
        except Lost:
            return
        status, headers, content = (*planned, b"{}") if planned else self.passed_on(body)
        if plan is lose_the_reply:
            return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the server answers."""
        headers = {"content-type": self.headers["content-type"]}
        url = f"{self.server.between.server_url}{self.path}"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
            return reply.status, {}, reply.read()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def pass_on(records: list[dict[str, Any]]) -> Answer | None:
    """Ask the server."""
    return None


def lose_the_reply(records: list[dict[str, Any]]) -> Answer | None:
    """Ask the server, and then say nothing."""
    return None


def be_down(records: list[dict[str, Any]]) -> Answer | None:
    """Say nothing, and do not ask the server either."""
    raise Lost


def answering(status: int, **headers: str) -> Plan:
    """Answer so."""
    return lambda records: (status, {name.replace("_", "-"): v for name, v in headers.items()})


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Counting]:
    """A server of its own for the tests of a file."""
    with serving(tmp_path_factory.mktemp("counting")) as server:
        yield Counting(server)


@pytest.fixture
def between(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """A way to that server on which things go wrong; clients here try again at once."""
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(sender, "LOOK_S", 0.05)
    passing = Between(counting.url)
    yield passing
    passing.close()


def on_disk(spool: Path) -> list[str]:
    """The ids in a spool."""
    return [json.loads(line)["id"] for line in spool.read_bytes().splitlines()]


@contextmanager
def waiting(happens: Callable[[], bool]) -> Iterator[None]:
    """After the block, wait until something is so."""
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


CHILD = """
import sys
from pathlib import Path
from app.client import Client

url, spool, customer, source, number = sys.argv[1:]
client = Client(url, source=source, spool=Path(spool), durable=True, batch_records=7)
for each in range(int(number)):
    print(client.record({event!r}, customer, 1), flush=True)
client.close()
""".replace("{event!r}", repr(EVENT_NAME))
"""A process that sends, and says each id once it is safe."""


def child(url: str, spool: Path, customer: str, number: int, source: str = "child") -> list[str]:
    """The command of a process that records so many."""
    arguments = [url, str(spool), customer, source, str(number)]
    return [sys.executable, "-c", CHILD, *arguments]

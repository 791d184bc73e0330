"""A server that is told to stop under load answers what it accepted, and writes nothing else."""

import json
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.ledger import Ledger
from tests.app.sockets import GIVE_UP_SECONDS, READERS, Reply, Wire, asking, installed, post
from tests.benchmarks.serving import Server, serving

SENDERS = 12
ENOUGH = 150
"""How many answers there are before the server is told to stop."""

RECORD = """mutation($input: RecordUsageInput!) {
  recordUsage(input: $input) { receipts { id status position } }
}"""

BODY = asking("{ ledger { name } }")


@dataclass
class Load:
    """Clients that send one record after the other, until nobody answers any more."""

    server: Server
    keep_alive: bool
    sent: set[str] = field(default_factory=set)
    answered: dict[str, int] = field(default_factory=dict)
    """The position that each answered record stands at."""
    refused: list[Reply] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Clients at work in here; at the end they have noticed that nobody answers."""
        threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            self.server.process.kill()  # if it did not stop; the clients end in any case
            for one in threads:
                one.join()

    def _send(self, sender: int) -> None:
        number = 0
        try:
            while True:
                with Wire(self.server.url) as wire:
                    number = self._converse(wire, sender, number)
        except ConnectionError:
            return

    def _converse(self, wire: Wire, sender: int, number: int) -> int:
        """Send over one connection for as long as it is kept; the number of the next record."""
        while True:
            id = f"{sender}-{number}"
            number += 1
            self.sent.add(id)
            record = {"id": id, "eventName": "tokens", "customer": "llama", "value": "1"}
            reply = wire.send(post(asking(RECORD, input={"records": [record]}))).reply()
            if reply.status == 503:
                self.refused.append(reply)
                return number
            assert reply.status == 200, reply
            (receipt,) = json.loads(reply.content)["data"]["recordUsage"]["receipts"]
            self.answered[id] = int(receipt["position"])
            if len(self.answered) >= ENOUGH:
                self.enough.set()
            if reply.headers.get("connection") == "close" or not self.keep_alive:
                return number


def recorded(data: Path, ids: Iterable[str]) -> dict[str, int]:
    """Those of the records that the ledger holds, and where."""
    with Ledger(data) as ledger:
        found = ledger.store.recorded([("default", id) for id in ids])
    return {id: prior.position for (_, id), prior in found.items()}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    """Each of those who can read requests."""
    return installed(request.param)


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "new"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_what_was_answered_is_written_and_nothing_else_is(
    tmp_path: Path, number: signal.Signals, keep_alive: bool, reader: str
) -> None:
    with serving(tmp_path, http=reader) as server:
        load = Load(server, keep_alive)
        with load.going_on():
            assert load.enough.wait(GIVE_UP_SECONDS)
            server.process.send_signal(number)
            assert server.process.wait(GIVE_UP_SECONDS) == 0
    assert {one.code for one in load.refused} <= {"SHUTTING_DOWN"}
    assert recorded(tmp_path, load.sent) == load.answered


@pytest.fixture
def uploading(tmp_path: Path, reader: str) -> Iterator[tuple[Server, Wire]]:
    """A server, and a connection with half a request, which it has begun to serve."""
    with serving(tmp_path, http=reader) as server, Wire(server.url) as wire:
        wire.send(post(b"", "expect: 100-continue", length=len(BODY)))
        wire.continued()
        wire.send(BODY[:10])
        yield server, wire


def told_to_stop(server: Server) -> None:
    """Tell it, and wait until it takes no more connections."""
    server.process.terminate()
    with suppress(ConnectionError):
        while True:
            with Wire(server.url) as wire:
                assert wire.send(post(BODY)).reply().status in (200, 503)


def test_what_is_on_its_way_is_answered_and_nobody_else_is_let_in(
    uploading: tuple[Server, Wire],
) -> None:
    server, wire = uploading
    with Wire(server.url) as waiting:
        assert waiting.send(post(BODY)).reply().status == 200
        told_to_stop(server)
        assert waiting.rest() == b""
    assert server.process.poll() is None
    reply = wire.send(BODY[10:]).reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert server.process.wait(GIVE_UP_SECONDS) == 0


def test_told_twice_it_ends_at_once(uploading: tuple[Server, Wire]) -> None:
    server, wire = uploading
    told_to_stop(server)
    assert server.process.poll() is None
    server.process.terminate()
    assert server.process.wait(GIVE_UP_SECONDS) == -signal.SIGTERM
    assert wire.rest() == b""


def test_nobody_keeps_it_from_ending(tmp_path: Path, reader: str) -> None:
    with serving(tmp_path, http=reader, shutdown_seconds=1) as server, Wire(server.url) as wire:
        wire.send(post(b"", "expect: 100-continue", length=len(BODY)))
        wire.continued()
        server.process.terminate()
        reply = wire.reply()
        assert (reply.status, reply.code) == (503, "SHUTTING_DOWN")
        assert server.process.wait(GIVE_UP_SECONDS) == 0

"""A server that is told to stop under load answers what it accepted, and writes nothing else."""

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.ledger import Ledger
from tests.app.sockets import GIVE_UP_SECONDS, Reply, Wire, asking, post
from tests.benchmarks.serving import Server, serving

SENDERS = 12
ENOUGH = 150
"""How many answers there are before the server is told to stop."""

RECORD = """mutation($input: RecordUsageInput!) {
  recordUsage(input: $input) { receipts { id status position } }
}"""


@dataclass
class Load:
    """Clients that send one record after the other, until nobody answers any more."""

    server: Server
    keep_alive: bool
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


def recorded(data: Path) -> dict[str, int]:
    """The records that the ledger holds, and where."""
    with Ledger(data) as ledger:
        head = ledger.store.head()[0]
    with sqlite3.connect(f"file:{data / 'ledger.db'}?mode=ro", uri=True) as database:
        found = dict(database.execute("SELECT id, position FROM identities").fetchall())
    database.close()
    assert max(found.values()) <= head
    return found


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "new"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_what_was_answered_is_written_and_nothing_else_is(
    tmp_path: Path, number: signal.Signals, keep_alive: bool
) -> None:
    with serving(tmp_path) as server:
        load = Load(server, keep_alive)
        with load.going_on():
            assert load.enough.wait(GIVE_UP_SECONDS)
            server.process.send_signal(number)
            assert server.process.wait(GIVE_UP_SECONDS) == 0
    assert {one.code for one in load.refused} <= {"SHUTTING_DOWN"}
    assert recorded(tmp_path) == load.answered

"""Several servers of one ledger, and clients that send to whichever answers.

`python -m tests.contract.fleet` tries at length what the tests try shortly, or `make processes`.
"""

import argparse
import http.client
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

from app import verification
from app.ledger import Ledger
from app.web import positions
from domain.usage import UsageRecorded
from projections.places import Place
from tests.app.billed import dump
from tests.benchmarks.serving import Server as Serving
from tests.benchmarks.serving import serving
from tests.contract.between import Line, line
from tests.postgres import Server, running
from tests.scenarios.story import Story

PROCESSES = 4
CLIENTS = 32
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
WHEN = "2026-01-01T00:00:00Z"
PATIENCE_S = 60
MAY_BE_SENT_AGAIN = {"TOO_BUSY", "UNAVAILABLE", "SHUTTING_DOWN"}

_TOLD = """
2026-01-01 meter alpaca-tokens: sum of tokens
2026-01-01 customer alpaca-lover
"""


class Broken(Exception):
    """What should not be, however the servers are treated."""


class Fleet:
    """Servers of one ledger, each in a process of its own, with a line to their database."""

    def __init__(self, database: Server, between: Line, directory: Path) -> None:
        self.database = database
        self.between = between
        self.place = Place.of(database.address("fleet"))
        self.directory = directory
        self.servers: list[Serving] = []
        self._stack = ExitStack()

    @contextmanager
    def serving(self, processes: int) -> Iterator[None]:
        """So many servers, all started at once, until the block ends."""
        with self._stack:
            with ThreadPoolExecutor(processes) as pool:
                self.servers = list(pool.map(lambda _: self.start(), range(processes)))
            with self.opened() as ledger:
                Story(ledger).tell(_TOLD)
            yield

    def start(self) -> Serving:
        """One server more, which has the directory with the others."""
        address = self.database.address("fleet", self.between.port)
        started = serving(self.directory, "--test-clock", WHEN, database=address)
        return self._stack.enter_context(started)

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        """The ledger in this process, beside the servers."""
        with Ledger(self.directory, place=self.place, test_clock_at=CLOCK) as ledger:
            yield ledger

    def check(self, ids: set[str]) -> None:
        """The ledger is one and whole, and has these records, each once. Raises `Broken`."""
        with self.opened() as ledger:
            found = verification.verify_open(ledger).findings
            if found:
                raise Broken(f"it does not verify: {found}")
            dump(ledger)
            facts = list(ledger.store.read())
            if [one.position for one in facts] != [*range(1, len(facts) + 1)]:
                raise Broken("its positions have a hole")
            kept = Counter(
                record.id
                for one in facts
                if isinstance(one.event, UsageRecorded)
                for record in one.event.records
            )
            if lost := ids - set(kept):
                raise Broken(f"{len(lost)} records are lost, such as {min(lost)}")
            if doubled := [id for id, times in kept.items() if times > 1]:
                raise Broken(f"{len(doubled)} records are doubled, such as {min(doubled)}")


@contextmanager
def fleet(processes: int = PROCESSES) -> Iterator[Fleet]:
    """A fleet with a database of its own."""
    with (
        running() as database,
        line(database.port) as between,
        tempfile.TemporaryDirectory() as name,
    ):
        made = Fleet(database, between, Path(name))
        with made.serving(processes):
            yield made


class Client:
    """Sends usage to one of the servers until it is answered; counts what became of it."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet = fleet
        self._number = number
        self._connection: http.client.HTTPConnection | None = None
        self._address = ""
        self.counted = Counter[str]()
        self.refused = Counter[str]()

    def send(self, ids: Sequence[str]) -> int:
        """Send records until they are answered; the position of the answer. Raises `Broken`."""
        body = json.dumps([record(id) for id in ids]).encode()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            said = self._asked(body)
            if said is not None:
                self.counted.update(
                    {name: said[name] for name in ("accepted", "duplicates", "conflicts")}
                )
                return int(said["position"])
            self._number += 1
            time.sleep(0.02)
        raise Broken(f"nobody answered for {PATIENCE_S} s: {self.refused}")

    def sees(self, position: int) -> int:
        """The position that the next server sees, when it must see one at least."""
        url = self._fleet.servers[(self._number + 1) % len(self._fleet.servers)].url
        asked = json.dumps({"query": "{ ledger { position } }"}).encode()
        headers = {"content-type": "application/json", positions.HEADER: str(position)}
        with urlopen(Request(f"{url}/graphql", asked, headers), timeout=PATIENCE_S) as answer:
            return int(json.load(answer)["data"]["ledger"]["position"])

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    def send_all(self, requests: Sequence[Sequence[str]]) -> None:
        """Send one after the other, then hang up. Raises `Broken`."""
        try:
            for ids in requests:
                self.send(ids)
        finally:
            self.close()

    def _asked(self, body: bytes) -> "dict[str, int] | None":
        """What one server answered; None when it may be sent again."""
        servers = self._fleet.servers
        address = servers[self._number % len(servers)].url.removeprefix("http://")
        if self._connection is None or self._address != address:
            self.close()
            self._address = address
            self._connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        headers = {"content-type": "application/json"}
        try:
            self._connection.request("POST", "/v1/usage", body, headers)
            answer = self._connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self.refused["cut off"] += 1
            return None
        if answer.status == 200:
            return dict(content)
        code = content["error"]["code"]
        if code not in MAY_BE_SENT_AGAIN:
            raise Broken(f"{answer.status} {content}")
        self.refused[code] += 1
        return None


def record(id: str) -> dict[str, str]:
    """A usage record as it is sent."""
    said = {"id": id, "eventName": "tokens", "customer": "alpaca-lover", "value": "1"}
    return said | {"timestamp": WHEN}


def all_at_once(clients: Sequence[Client], work: Sequence[Sequence[Sequence[str]]]) -> None:
    """Each client sends its own requests, beside the others. Raises `Broken`."""
    with ThreadPoolExecutor(len(clients)) as pool:
        sent = [pool.submit(one.send_all, its) for one, its in zip(clients, work, strict=True)]
    for one in sent:
        one.result()


def same_ids(fleet: Fleet, count: int, at_once: int, name: str = "same") -> list[Client]:
    """All clients send the same records, each in an order of its own; the clients are answered."""
    ids = [f"{name}-{number}" for number in range(count)]
    clients, work = [Client(fleet, number) for number in range(CLIENTS)], []
    for number in range(CLIENTS):
        mine = random.Random(number).sample(ids, count)
        work.append([mine[first : first + at_once] for first in range(0, count, at_once)])
    all_at_once(clients, work)
    fleet.check(set(ids))
    return clients


def their_own(fleet: Fleet, clients: int, requests: int, name: str) -> list[Client]:
    """Each client sends single records of its own, each of them again after the next."""
    sending = [Client(fleet, number) for number in range(clients)]
    work, ids = [], set[str]()
    for number in range(clients):
        mine = [f"{name}-{number}-{one}" for one in range(requests)]
        ids |= set(mine)
        work.append([[id] for pair in zip(mine, [mine[0], *mine], strict=False) for id in pair])
    all_at_once(sending, work)
    fleet.check(ids)
    return sending


@contextmanager
def dropping(between: Line, drops: int) -> Iterator[threading.Event]:
    """While the block lasts, COMMITs or their answers are dropped; the event is set after so many.

    Of four the last is dropped before it arrives.
    """
    enough, ended = threading.Event(), threading.Event()
    until = between.cuts + drops

    def drop() -> None:
        while between.cuts < until and not ended.is_set():
            if not (between.cut_after or between.cut_before):
                between.cut_before = between.cuts % 4 == 3
                between.cut_after = not between.cut_before
            time.sleep(0.01)
        between.cut_before = between.cut_after = False
        if between.cuts >= until:
            enough.set()

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        yield enough
    finally:
        ended.set()
        thread.join()


def dropped_commits(fleet: Fleet, drops: int) -> None:
    """So many COMMITs are dropped while clients send. Raises `Broken`."""
    rounds = 0
    with dropping(fleet.between, drops) as enough:
        while not enough.is_set():
            their_own(fleet, 4, max(drops // 4, 2), f"dropped-{fleet.between.cuts}-{rounds}")
            rounds += 1


@contextmanager
def meanwhile(seconds: float, disturb: "threading.Thread") -> Iterator[None]:
    """After a moment, something happens beside the block."""
    time.sleep(seconds)
    disturb.start()
    yield
    disturb.join()


def killed(fleet: Fleet, count: int, at_once: int, name: str = "killed") -> None:
    """A server is killed while all clients send, and another one started. Raises `Broken`."""

    def kill() -> None:
        gone = fleet.servers[0]
        gone.process.kill()
        gone.process.wait()
        fleet.servers[0] = fleet.start()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(same_ids, fleet, count, at_once, name)
        with meanwhile(0.3, threading.Thread(target=kill)):
            sending.result()


def restarted(fleet: Fleet, clients: int, requests: int, name: str = "restarted") -> Counter[str]:
    """The database restarts while clients send; what they were refused. Raises `Broken`."""

    def restart() -> None:
        fleet.database.stop()
        time.sleep(0.5)
        fleet.database.start()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_sent_through, fleet, clients, requests, name)
        with meanwhile(0.3, threading.Thread(target=restart)):
            refused = sending.result()
    if any(server.process.poll() is not None for server in fleet.servers):
        raise Broken("a server did not outlive its database")
    return refused


def _sent_through(fleet: Fleet, clients: int, requests: int, name: str) -> Counter[str]:
    sending = their_own(fleet, clients, requests, name)
    return sum((one.refused for one in sending), Counter())


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything at length."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.fleet")
    parser.add_argument("--ids", type=int, default=10_000)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args(arguments)
    with fleet() as made:
        clients = same_ids(made, asked.ids, 500)
        counted = sum((one.counted for one in clients), Counter[str]())
        print(f"{PROCESSES} processes, {CLIENTS} clients, the same {asked.ids} ids: {counted}")
        if counted["accepted"] != asked.ids:
            return 1
        dropped_commits(made, asked.drops)
        print(f"{made.between.cuts} COMMITs dropped: nothing lost, nothing doubled")
        for number in range(asked.kills):
            killed(made, asked.ids // 5, 100, f"killed-{number}")
            restarted(made, 16, 20, f"restarted-{number}")
        print(f"killed {asked.kills} times, the database too: nothing lost, nothing doubled")
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        raise SystemExit(main())

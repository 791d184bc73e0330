"""Send a server what nobody should: `python -m tests.fuzz --requests 20000`, or `make fuzz`.

Each request is judged by itself: no 5xx, no internal error, no end without an answer, and never
more than a second of the server's CPU. Afterwards the server is still ready, and its ledger
verifies. What fails is printed as it was sent.
"""

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from app import verification
from tests.benchmarks.serving import Server, serving
from tests.fuzz import usage
from tests.fuzz.documents import Documents
from tests.fuzz.wire import Answer, Asked, exchange
from tests.house import ROOT

CPU_S = 1.0
"""The CPU that one answer may take."""
_LIE_PATIENCE_S = 0.1
_SHOWN = 3_000
_MOST_FAILURES = 10
_ID = re.compile(rb"\b(?:led|met|prod|price|cus|sub|inv|ii)_[0-9a-z]{26}\b")
_TELLS = re.compile(rb'Traceback|File \\?"|"INTERNAL"|sqlite3|AssertionError')
_SEEDING = """{ meters { nodes { id } } products { nodes { id } } prices { nodes { id } }
customers { nodes { id } } subscriptions { nodes { id } } ledger { id } }"""


@dataclass
class Found:
    """What came back: how often which status, what was wrong, and the CPU of the dearest answer."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    dearest: float = 0.0


class Fuzz:
    """Asks one server."""

    def __init__(self, server: Server, seed: int, *, timed: bool) -> None:
        self.found = Found()
        self._port = urlsplit(server.url).port or 0
        self._process = server.process
        self._random = Random(seed)
        self._timed = timed
        self._documents = Documents((ROOT / "schema.graphql").read_text(encoding="utf-8"))
        seeding = Asked("GET", f"/graphql?query={_SEEDING.replace(chr(10), ' ')}", {}, b"")
        self._learn(exchange(self._port, _spaced(seeding).written()))

    def run(self, requests: int) -> None:
        """Send so many, until too many went wrong."""
        for _ in range(requests):
            self._one()
            if len(self.found.failures) >= _MOST_FAILURES or self._process.poll() is not None:
                return

    def _one(self) -> None:
        random = self._random
        graphql = random.random() < 0.5
        asked = self._documents.ask(random) if graphql else usage.ask(random)
        lies = asked.method == "POST" and random.random() < 0.03
        sent = asked.lying(random) if lies else asked.written()
        before = self._cpu()
        try:
            answer = exchange(self._port, sent, *([_LIE_PATIENCE_S] if lies else []))
        except TimeoutError:
            self._fail("no answer", sent)
            return
        spent = self._cpu() - before
        self.found.dearest = max(self.found.dearest, spent)
        self.found.statuses[asked.path.partition("?")[0][:24], answer.status] += 1
        if wrong := judged(answer, lies=lies):
            self._fail(f"{wrong}: {answer.body[:_SHOWN]!r}", sent)
        if spent > CPU_S:
            self._fail(f"{spent:.2f} s of CPU", sent)
        self._learn(answer)

    def _fail(self, what: str, sent: bytes) -> None:
        self.found.failures.append(f"{what}\n  {sent[:_SHOWN]!r} ({len(sent)} bytes)")

    def _learn(self, answer: Answer) -> None:
        for id in _ID.findall(answer.body):
            self._documents.learn(id.decode())

    def _cpu(self) -> float:
        """Seconds of CPU that the server took so far, where the system tells."""
        if not self._timed:
            return 0.0
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        ticks = stat.rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _spaced(asked: Asked) -> Asked:
    return Asked(asked.method, asked.path.replace(" ", "%20"), asked.headers, asked.body)


def judged(answer: Answer, *, lies: bool) -> str | None:
    """What is wrong with an answer. Who lies about the length of a body may get none."""
    if answer.status >= 500:
        return f"status {answer.status}"
    if answer.status == 0 and not lies:
        return "no status"
    if found := _TELLS.search(answer.body):
        return f"it tells {found[0]!r}"
    return None


def fuzz(directory: Path, requests: int, seed: int, *, timed: bool) -> Found:
    """Serve the demo from an empty directory, send so many requests, then verify the ledger."""
    with serving(directory, "--demo", "--log-level", "error") as server:
        fuzzing = Fuzz(server, seed, timed=timed)
        fuzzing.run(requests)
        found = fuzzing.found
        ended = server.process.poll()
        ready = None if ended is not None else exchange(fuzzing._port, _READY.written()).status
    if ready != 200:
        found.failures.append(f"afterwards it is not ready: {ready}, exit code {ended}")
    verified = verification.verify(directory)
    found.failures += [f"{one.code}: {one.message}" for one in verified.findings]
    return found


_READY = Asked("GET", "/readyz", {}, b"")


def main(arguments: Sequence[str] | None = None) -> int:
    """Send what is asked for, and say how it went; 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="how many (default 20,000)")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    options = parser.parse_args(arguments)
    timed = Path("/proc/self/stat").exists()
    with tempfile.TemporaryDirectory(prefix="tallybook-") as name:
        found = fuzz(Path(name) / "ledger", options.requests, options.seed, timed=timed)
    for (path, status), count in sorted(found.statuses.items()):
        print(f"{path:24} {status} {count:8,}")
    cpu = f", the dearest answer took {found.dearest:.2f} s of CPU" if timed else ""
    print(f"{found.statuses.total():,} requests, {len(found.failures)} failures{cpu}")
    print(*found.failures, sep="\n")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Kill a ledger under load and count what it lost or doubled: `python -m tests.app.crash`.

A child process records usage from several threads and reports each batch only once it was answered.
The parent kills it at a seeded moment, opens the ledger again and compares. Every third life loses
its views beforehand and is killed while it starts, so that catching up is interrupted too. What the
batches hold follows from their numbers alone, so the parent can send all of them again.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from itertools import count
from pathlib import Path

from app import verification
from app.ledger import VIEWS, Ledger
from app.store import Store
from domain import customers, meters
from domain.aggregation import Aggregation
from domain.periods import Period, parse_instant
from domain.usage import RecordInput, Status, UsageRecorded
from projections import engine, meter_summaries
from projections.meter_summaries import Question
from projections.usage_records import customer_ref, meters_over
from tests.house import ROOT

THREADS = 4
LIVES = 5
"""How often one ledger is killed before the next run begins with a new one."""
DAY = Period(
    start=parse_instant("2026-01-01T00:00:00Z", ("start",)),
    end=parse_instant("2026-01-02T00:00:00Z", ("end",)),
)
CUSTOMERS = ("ann", "bob", "cyd")
_EVENT_NAME = "tokens"
_DEADLINE_S = 60

Batch = tuple[int, int, int]
"""(life, thread, number) of a batch; its records follow from it."""


class Broken(Exception):
    """A promise was broken; the message says which."""


@dataclass
class Story:
    """What a ledger has promised so far: the positions it answered for each batch."""

    directory: Path
    answered: dict[Batch, list[int]] = field(default_factory=dict)
    lives: int = 0

    def note(self, batch: Batch, positions: list[int]) -> None:
        """Keep an answer; a second one for the same batch must say the same."""
        if self.answered.setdefault(batch, positions) != positions:
            raise Broken(f"batch {batch} was at {self.answered[batch]}, now at {positions}")


def records(batch: Batch) -> list[RecordInput]:
    """The records of a batch, each worth 1."""
    chance = blake2b(repr(batch).encode(), digest_size=2).digest()
    return [
        RecordInput(
            id=f"{batch[0]}-{batch[1]}-{batch[2]}-{row}",
            event_name=_EVENT_NAME,
            customer=CUSTOMERS[(row + chance[1]) % len(CUSTOMERS)],
            timestamp=f"2026-01-01T{row % 24:02}:00:00Z",
            value="1",
        )
        for row in range(1 + chance[0] % 50)
    ]


# --------------------------------------------------------------------------- the one that is killed


def child(directory: Path, life: int) -> None:
    """Record usage until killed, or until nobody reads the answers any more."""
    saying = threading.Lock()

    def say(what: object) -> None:
        with saying:
            print(json.dumps(what), flush=True)

    def work(thread: int) -> None:
        for number in count():
            batch = (life, thread, number)
            say([batch, _positions(ledger, batch)])
            if number % 5 == 4:  # as a sender would who missed the last answer
                say([batch, _positions(ledger, batch)])

    say("opening")
    with Ledger(directory) as ledger:
        threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _positions(ledger: Ledger, batch: Batch) -> list[int]:
    """Send a batch, and say where each of its records stands."""
    receipts = ledger.record_now(records(batch))
    wrong = [one for one in receipts if one.status not in (Status.ACCEPTED, Status.DUPLICATE)]
    if wrong:
        raise Broken(f"batch {batch} was answered {wrong[0]}")
    return [one.position or 0 for one in receipts]


# ------------------------------------------------------------------------------ the one that kills


def run(runs: int, seed: int, directory: Path) -> int:
    """Kill that often and check after each time; return how many records were answered.

    Raises `Broken` when the ledger lost or doubled anything; a note says the seed.
    """
    chance = random.Random(seed)
    answered = 0
    story: Story | None = None
    for number in range(runs):
        if story is None or story.lives == LIVES:
            story = _begin(directory / f"ledger-{number}")
        before = len(story.answered)
        try:
            _live_and_die(story, chance, starting=number % 3 == 2)
            answered += sum(map(len, list(story.answered.values())[before:]))
            _check(story)
        except Exception as error:
            error.add_note(f"seen in run {number + 1} with --seed {seed}")
            raise
    return answered


def _begin(directory: Path) -> Story:
    with Ledger(directory) as ledger:
        ledger.execute_now(
            meters.CreateMeter(name="Tokens", event_name=_EVENT_NAME, aggregation=Aggregation.SUM)
        )
        for name in CUSTOMERS:
            ledger.execute_now(customers.CreateCustomer(name=name, external_id=name))
    return Story(directory)


def _live_and_die(story: Story, chance: random.Random, *, starting: bool) -> None:
    """One life of the child: until it has given some answers, or just after it began to start."""
    answers = 0 if starting else chance.randint(1, 60)
    pause = chance.uniform(0, 0.06 if starting else 0.01)
    if starting:
        engine.remove(story.directory / VIEWS)
    module = [sys.executable, "-m", "tests.app.crash"]
    process = subprocess.Popen(
        [*module, "--child", str(story.directory), "--life", str(story.lives)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    story.lives += 1
    assert process.stdout is not None
    watchdog = threading.Timer(_DEADLINE_S, process.kill)
    watchdog.start()
    try:
        with process.stdout as answering:
            heard = [answering.readline() for _ in range(1 + answers)]
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            heard += answering.readlines()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    if not all(line.endswith("\n") for line in heard[: 1 + answers]):
        raise Broken(f"the child ended by itself after {heard[-1:]}")
    for line in heard[1:]:
        if line.endswith("\n"):  # the last one may have been cut short
            (life, thread, number), positions = json.loads(line)
            story.note((life, thread, number), positions)


def _check(story: Story) -> None:
    """Open the ledger again and hold it to everything that it answered."""
    with Ledger(story.directory):
        pass
    found = verification.verify(story.directory)
    if not found.ok:
        raise Broken(f"verify says {found.findings}")
    _compare(story, _places(story.directory))
    sent = _send_again(story)
    places = _places(story.directory)
    _compare(story, places)
    if len(places) != sent:
        raise Broken(f"{sent} records were sent, {len(places)} are there")


def _places(directory: Path) -> dict[str, tuple[int, int]]:
    """Where each record stands in the log, which must be where its identity says."""
    places: dict[str, tuple[int, int]] = {}
    with closing(Store(directory)) as store:
        for recorded in store.read():
            if isinstance(recorded.event, UsageRecorded):
                for row, record in enumerate(recorded.event.records):
                    place = (recorded.position, row)
                    if record.id in places:
                        raise Broken(f"{record.id} is at {places[record.id]} and at {place}")
                    places[record.id] = place
        for id, place in places.items():
            if store.identity("default", id) != place:
                raise Broken(f"{id} is at {place}; its identity: {store.identity('default', id)}")
    return places


def _compare(story: Story, places: dict[str, tuple[int, int]]) -> None:
    """Everything that was answered is where the answer said."""
    for batch, positions in story.answered.items():
        for record, position in zip(records(batch), positions, strict=True):
            if record.id not in places:
                raise Broken(f"{record.id} was answered at {position} and is lost")
            if places[record.id][0] != position:
                raise Broken(f"{record.id} was answered at {position}, is at {places[record.id]}")


def _send_again(story: Story) -> int:
    """Send every batch again, and those that nobody heard of; return how many records that is."""
    total = 0
    with Ledger(story.directory) as ledger:
        for batch in [*story.answered, *_unheard(story)]:
            receipts = ledger.record_now(records(batch))
            statuses = {one.status for one in receipts}
            allowed = [{Status.DUPLICATE}]
            if batch not in story.answered:
                allowed.append({Status.ACCEPTED})  # it was not written at all, never a part of it
            if statuses not in allowed:
                raise Broken(f"batch {batch} sent again is answered {sorted(statuses)}")
            story.note(batch, [one.position or 0 for one in receipts])
            total += len(receipts)
        if _summed(ledger) != total:
            raise Broken(f"{total} records of 1 each add up to {_summed(ledger)}")
    return total


def _unheard(story: Story) -> Iterator[Batch]:
    """The batch of each thread that may have been under way when it was killed."""
    for life in range(story.lives):
        for thread in range(THREADS):
            heard = [batch[2] for batch in story.answered if batch[:2] == (life, thread)]
            yield life, thread, max(heard, default=-1) + 1


def _summed(ledger: Ledger) -> Decimal:
    """What the usage of all customers adds up to."""
    total = Decimal(0)
    with ledger.snapshot() as views:
        over = meters_over(views, _EVENT_NAME)
        for name in CUSTOMERS:
            ref = customer_ref(views, name)
            assert ref is not None
            asked = Question(meter=over[0], meters=over, customer_ref=ref)
            quantity = meter_summaries.quantity(views, asked, DAY).value(DAY)
            assert isinstance(quantity, Decimal)
            total += quantity
    return total


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, check, and say how it went; a traceback when anything was lost or doubled."""
    parser = argparse.ArgumentParser(prog="tests.app.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often to kill (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="which moments to kill at")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--life", type=int, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.child is not None:
        child(parsed.child, parsed.life)
        return
    with tempfile.TemporaryDirectory(prefix="tallybook-") as directory:
        answered = run(parsed.runs, parsed.seed, Path(directory))
    print(f"killed {parsed.runs} times: {answered:,} records answered, 0 lost, 0 doubled")


if __name__ == "__main__":
    main()

"""Kill a ledger under load and count what it lost or doubled: `python -m tests.app.crash`.

A child process (`killed.py`) records usage from several threads while another one moves the clock
on, so that invoices fall due, and reports what it did only once that was answered. The parent kills
it at a seeded moment, opens the ledger again and compares. Some lives lose their views beforehand
and are killed while they start, others while they replay. What batches hold follows from their
numbers alone, so the parent can send them again; and in the end each record is billed once.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

from app import verification
from app.ledger import Ledger
from app.opening import VIEWS
from app.store import Store
from domain.invoices import Invoice
from domain.periods import Period
from domain.rating import LineKind
from domain.usage import Status, UsageRecorded
from projections import current, engine, meter_summaries
from projections.meter_summaries import Question
from projections.usage_records import customer_ref, meters_over
from tests.app.killed import (
    A_DAY,
    BEGIN,
    CUSTOMERS,
    EVENT_NAME,
    THREADS,
    Batch,
    Broken,
    Life,
    child,
    records,
)
from tests.forked import PROCESSES
from tests.scenarios.story import Story as Told

TOLD = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Tokens"
2026-01-01 price daily: 1 USD, per day, on tokens
2026-01-01 price desk: 9 USD, per day
"""
DAY = Period(BEGIN, BEGIN + A_DAY)
"""When everything is used, so that all of it but the first comes late."""
LIVES = (Life.WORKING, Life.WORKING, Life.STARTING, Life.WORKING, Life.REPLAYING)
"""The lives of one ledger, until the next one begins."""

_DEADLINE_S = 60


class Silent(Broken):
    """The child says nothing, or nothing any more."""


@dataclass
class Story:
    """What a ledger has promised so far: the positions it answered for each batch, and its time."""

    directory: Path
    answered: dict[Batch, list[int]] = field(default_factory=dict)
    clock: datetime = BEGIN
    lives: int = 0
    heard: int = 0

    def note(self, batch: Batch, positions: list[int]) -> None:
        """Keep an answer; a second one for the same batch must say the same."""
        if self.answered.setdefault(batch, positions) != positions:
            raise Broken(f"batch {batch} was at {self.answered[batch]}, now at {positions}")


@dataclass
class Counted:
    """How many records were answered before a kill, and how many invoices there are in the end."""

    records: int = 0
    invoices: int = 0


def run(runs: int, seed: int, directory: Path, most: int = 60) -> Counted:
    """Kill that often, each time after at most so many answers, and check; how much there was.

    Raises `Broken` when the ledger lost or doubled anything; a note says the seed.
    """
    chance = random.Random(seed)
    counted = Counted()
    for first in range(0, runs, len(LIVES)):
        story = _begin(directory / f"ledger-{first}")
        kinds = LIVES[: runs - first]
        for number, (kind, after) in enumerate(pairwise([*kinds, None])):
            try:
                _live_and_die(story, chance, kind or Life.WORKING, most)
                _check(story, verified=after is not Life.WORKING)
                if after is None:
                    counted.invoices += _check_billed(story)
                    counted.records += story.heard
                    shutil.rmtree(story.directory)
            except Exception as error:
                error.add_note(f"seen in run {first + number + 1} with --seed {seed}")
                raise
    return counted


def _begin(directory: Path) -> Story:
    with Ledger(directory, test_clock_at=BEGIN) as ledger:
        told = Told(ledger)
        told.tell(TOLD)
        for name in CUSTOMERS:
            told.tell(f"2026-01-01 customer {name}\n2026-01-01 subscribe {name} to daily, desk x 1")
    return Story(directory)


def _live_and_die(story: Story, chance: random.Random, kind: Life, most: int) -> None:
    """One life of the child: until it has given some answers, or some time after its beginning."""
    answers = chance.randint(1, most) if kind is Life.WORKING else 0
    pause = chance.uniform(0, 0.01 if kind is Life.WORKING else 0.06)
    if kind is Life.STARTING:
        engine.remove(story.directory / VIEWS)
    hearing, saying = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(
        target=child, args=(saying, story.directory, story.lives, kind), daemon=True
    )
    process.start()
    saying.close()
    story.lives += 1
    try:
        for _ in range(1 + answers):
            _hear(story, hearing)
        time.sleep(pause)
        process.kill()
        with suppress(Silent):  # everything that it said is heard
            while True:
                _hear(story, hearing)
    finally:
        process.kill()
        process.join()
        hearing.close()


def _hear(story: Story, hearing: Connection) -> None:
    """Hear one answer. Raises `Silent` when there will be none."""
    if not hearing.poll(_DEADLINE_S):
        raise Silent("the child says nothing any more")
    try:
        batch, answer = hearing.recv()
    except (EOFError, OSError):  # the last one may have been cut short
        raise Silent("the child ended by itself") from None
    if isinstance(answer, str):
        raise Broken(f"the child met {answer}")
    if batch is None:
        story.clock = max(story.clock, answer)
    else:
        story.heard += len(answer) if batch not in story.answered else 0
        story.note(batch, answer)


def _check(story: Story, *, verified: bool = True) -> None:
    """Open the ledger again and hold it to everything that it answered.

    The views are verified before they are made anew, and in the end.
    """
    with Ledger(story.directory) as ledger:
        if ledger.clock.now() < story.clock:
            raise Broken(f"the clock stood at {story.clock}, stands at {ledger.clock.now()}")
    if verified and not (found := verification.verify(story.directory)).ok:
        raise Broken(f"verify says {found.findings}")
    _compare(story, _places(story.directory))
    _send_again(story)
    places = _places(story.directory)
    _compare(story, places)
    sent = sum(map(len, story.answered.values()))
    if len(places) != sent:
        raise Broken(f"{sent} records were sent, {len(places)} are there")


def _check_billed(story: Story) -> int:
    """Go on for some days; then each day of each customer, and each record, is billed once."""
    with Ledger(story.directory) as ledger:
        ledger.advance_now(ledger.clock.now() + 3 * A_DAY)
        days = (ledger.clock.now() - timedelta(hours=2) - BEGIN) // A_DAY
        with ledger.snapshot() as views:
            found = [one.state for one in current.select(views, Invoice, {}, limit=-1)]
    issued = [one for one in found if one.statement is not None and one.at <= BEGIN + days * A_DAY]
    billed: dict[str, list[datetime]] = {}
    for one in issued:
        billed.setdefault(one.subscription_id, []).append(one.at)
    expected = [BEGIN + number * A_DAY for number in range(days + 1)]
    if len(billed) != len(CUSTOMERS) or any(sorted(one) != expected for one in billed.values()):
        raise Broken(f"until {expected[-1]} it was billed at {billed}")
    numbers = sorted(one.number or 0 for one in found if one.statement is not None)
    if numbers != list(range(1, len(numbers) + 1)):
        raise Broken(f"the numbers of the invoices are {numbers}")
    used = sum(
        line.quantity
        for one in found
        if one.statement
        for line in one.statement.lines
        if line.kind in (LineKind.USAGE, LineKind.ADJUSTMENT)
    )
    if used != (sent := len(_places(story.directory))):
        raise Broken(f"{sent} records were sent, {used} are billed")
    return len(issued)


def _places(directory: Path) -> dict[str, int]:
    """Where each record stands in the log, once."""
    places: dict[str, int] = {}
    with closing(Store(directory)) as store:
        for recorded in store.read():
            if isinstance(recorded.event, UsageRecorded):
                for record in recorded.event.records:
                    if record.id in places:
                        at = (places[record.id], recorded.position)
                        raise Broken(f"{record.id} is in two places: {at}")
                    places[record.id] = recorded.position
    return places


def _compare(story: Story, places: dict[str, int]) -> None:
    """Everything that was answered is where the answer said."""
    for batch, positions in story.answered.items():
        for record, position in zip(records(batch), positions, strict=True):
            if record.id not in places:
                raise Broken(f"{record.id} was answered at {position} and is lost")
            if places[record.id] != position:
                raise Broken(f"{record.id} was answered at {position}, is at {places[record.id]}")


def _send_again(story: Story) -> None:
    """Send every batch of this life again, and those that nobody heard of."""
    lived = [batch for batch in story.answered if batch[0] == story.lives - 1]
    with Ledger(story.directory) as ledger:
        for batch in [*lived, *_unheard(story)]:
            receipts = ledger.record_now(records(batch))
            statuses = {one.status for one in receipts}
            allowed = [{Status.DUPLICATE}]
            if batch not in story.answered:
                allowed.append({Status.ACCEPTED})  # it was not written at all, never a part of it
            if statuses not in allowed:
                raise Broken(f"batch {batch} sent again is answered {sorted(statuses)}")
            story.note(batch, [one.position or 0 for one in receipts])
        total = sum(map(len, story.answered.values()))
        if _summed(ledger) != total:
            raise Broken(f"{total} records of 1 each add up to {_summed(ledger)}")


def _unheard(story: Story) -> Iterator[Batch]:
    """The batch of each thread that may have been under way when it was killed."""
    life = story.lives - 1
    for thread in range(THREADS):
        heard = [batch[2] for batch in story.answered if batch[:2] == (life, thread)]
        yield life, thread, max(heard, default=-1) + 1


def _summed(ledger: Ledger) -> Decimal:
    """What the usage of all customers adds up to."""
    total = Decimal(0)
    with ledger.snapshot() as views:
        over = meters_over(views, EVENT_NAME)
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
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tallybook-") as directory:
        counted = run(parsed.runs, parsed.seed, Path(directory))
    print(
        f"killed {parsed.runs:,} times: {counted.records:,} records answered, "
        f"{counted.invoices:,} invoices, 0 lost, 0 doubled"
    )


if __name__ == "__main__":
    main()

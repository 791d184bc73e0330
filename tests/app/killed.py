"""The process that is killed: what it does until then, and how it says what was answered."""

import threading
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from app.ledger import Ledger
from app.replay import replay
from domain.periods import parse_instant
from domain.usage import RecordInput, Status

THREADS = 3
BEGIN = parse_instant("2026-01-01T00:00:00Z", ("begin",))
A_DAY = timedelta(days=1)
CUSTOMERS = ("ann", "bob", "cyd")
EVENT_NAME = "tokens"

Batch = tuple[int, int, int]
"""(life, thread, number) of a batch; its records follow from it."""


class Broken(Exception):
    """A promise was broken; the message says which."""


class Life(StrEnum):
    """What a process does until it is killed."""

    WORKING = "WORKING"
    STARTING = "STARTING"
    REPLAYING = "REPLAYING"


def records(batch: Batch) -> list[RecordInput]:
    """The records of a batch, each worth 1."""
    chance = blake2b(repr(batch).encode(), digest_size=2).digest()
    return [
        RecordInput(
            id=f"{batch[0]}-{batch[1]}-{batch[2]}-{row}",
            event_name=EVENT_NAME,
            customer=CUSTOMERS[(row + chance[1]) % len(CUSTOMERS)],
            timestamp=f"2026-01-01T{row % 24:02}:00:00Z",
            value="1",
        )
        for row in range(1 + chance[0] % 20)
    ]


def child(hearing: Connection, directory: Path, life: int, kind: Life) -> None:
    """Do what this kind of life does until killed, or until nobody hears the answers any more."""
    saying = threading.Lock()

    def say(batch: Batch | None, answer: object) -> None:
        with saying:
            hearing.send((batch, answer))

    def work(thread: int) -> None:
        for number in count():
            batch = (life, thread, number)
            say(batch, _positions(ledger, batch))
            if number % 5 == 4:  # as a sender would who missed the last answer
                say(batch, _positions(ledger, batch))

    def bill() -> None:
        while True:
            ledger.advance_now(ledger.clock.now() + A_DAY)
            say(None, ledger.clock.now())

    def at_work(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001  # whatever it was, it should not have been
            say(None, repr(error))

    say(None, BEGIN)
    while kind is Life.REPLAYING:
        replay(directory)
    with Ledger(directory) as ledger:
        tasks = [bill, *(partial(work, number) for number in range(THREADS))]
        threads = [threading.Thread(target=at_work, args=(task,), daemon=True) for task in tasks]
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

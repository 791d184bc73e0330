"""A ledger whose process fails or is killed at some point of the real code, and what comes of it.

A kill leaves what the files hold at that moment: they are copied while the writer stands there, and
the next life opens the copy. A failure is an error that the code meets there, and lives on. Either
way nobody heard an answer, so that what was asked is asked again, as any client does.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait as wait_for
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar
from unittest import mock

from app import store as storing
from app import worker
from app.commands import Command, Done
from app.jobs import CommandJob, Receipt, UsageJob
from app.ledger import Ledger
from app.opening import VIEWS
from app.store import LedgerRecorder, Store
from app.worker import Portion
from app.writer import Group
from domain.usage import Identity, RecordInput
from projections.engine import Engine
from projections.places import Where
from projections.tables import Views, ViewsFile
from tests.histories.sent import Broken, Sent
from tests.histories.steps import BEGIN, FAILS_AT, KILLED_AT

T = TypeVar("T")

FILES = tuple(name + suffix for name in ("ledger.db", VIEWS) for suffix in ("", "-wal"))
"""What a process leaves behind; what else lies there is made anew."""


Left = tuple[Path, tuple[int, bytes]]
"""What a life left: a copy of its files, and the head of the log in them."""


class Failing(Exception):
    """What the code met at a point where it was to fail."""


@dataclass
class Fate:
    """What is to happen when a point is passed, and how often it is passed until then."""

    verb: str
    point: str
    passes: int


class Mortal:
    """What stories take for a ledger: whatever is asked of it is asked until it is answered."""

    def __init__(self, folder: Path, grace: timedelta) -> None:
        self._folder = folder
        self._grace = grace
        self._lives = count(1)
        self._keys = count(1)
        self._sendings = count()
        self._fates: list[Fate] = []
        self._left: Left | None = None
        self._opening = False
        self.deaths = 0
        self.failures = 0
        self.directory = folder / "life-0"
        self.place = None
        self.sent = Sent()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for change in self._changes():
                stack.enter_context(change)
            self._open()
            self._patched = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()
        self._patched.close()

    @property
    def clock(self) -> Any:
        """The clock of the life that is lived."""
        return self.ledger.clock

    @property
    def store(self) -> Store:
        """Its store."""
        return self.ledger.store

    @property
    def engine(self) -> Engine:
        """What keeps its views."""
        return self.ledger.engine

    def snapshot(self) -> AbstractContextManager[Views]:
        """Its views as they are now."""
        return self.ledger.snapshot()

    # ----------------------------------------------------------------------------- what is asked

    def execute_now(self, command: Command) -> Done:
        """Carry out a command; under the same key it has the same answer for ever."""
        key = f"told {next(self._keys)}"
        done = self._asked(lambda ledger: ledger.execute_now(command, key))
        head = self.store.head()
        if self._asked(lambda ledger: ledger.execute_now(command, key)) != done:
            raise Broken(f"{command} under {key} has another answer the second time")
        if self.store.head() != head:
            raise Broken(f"{command} under {key} did something the second time")
        return done

    def record_now(self, records: Sequence[RecordInput]) -> list[Receipt]:
        """Record usage; the receipts as the first answer has them, heard or not.

        Every other time several records come from several senders, each by itself, at once.
        """
        there: set[Identity] = set()
        names = {(record.source, record.id) for record in records}
        # Of two with one name the second might come first, if the first meets an error.
        alone = len(names) < max(2, len(records))
        together = next(self._sendings) % 2 == 1 and not alone

        def ask(ledger: Ledger) -> Sequence[Receipt]:
            there.update(name for name in names if ledger.store.identity(*name) is not None)
            return _at_once(ledger, records) if together else ledger.record_now(records)

        return self.sent.judge(records, self._asked(ask), there)

    def advance_now(self, to: datetime) -> Sequence[str]:
        """Move the clock on, and do on the way what falls due."""
        return self._asked(lambda ledger: ledger.advance_now(to))

    def do_what_is_due(self) -> Portion:
        """Do what is due at present."""
        job = CommandJob(lambda group: worker.run_due(group, group.now_us, None), None)
        return self.ledger.writer.submit(job).result()

    # ---------------------------------------------------------------------------- what happens

    def doom(self, verb: str, point: str, passes: int) -> None:
        """Let the process be killed, or fail, when it passes a point for the so-manieth time."""
        assert point in (KILLED_AT if verb == "kill" else FAILS_AT), point
        self._fates.append(Fate(verb, point, passes))

    def spare(self) -> None:
        """Nothing more is to happen."""
        self._fates.clear()

    def _asked(self, ask: Callable[[Ledger], T]) -> T:
        """The answer, in this life or in one that follows."""
        answer = self._heard(ask)
        while self._is_behind():  # views that could not be kept twice are with the next write
            self._heard(_write_nothing)
        return answer

    def _heard(self, ask: Callable[[Ledger], T]) -> T:
        """The first answer that is heard."""
        while True:
            answers: list[T] = []
            with suppress(Failing):
                answers.append(ask(self.ledger))
            if self._left is not None:
                self._revive(self._left)
            elif answers:
                return answers[0]

    def _is_behind(self) -> bool:
        with self.snapshot() as views:
            return views.checkpoint() < self.store.head()[0]

    # -------------------------------------------------------------------------- life and death

    def _open(self) -> Left | None:
        """Begin a life; whoever could not open a ledger tries again. What it left, if it ended."""
        self._opening = True
        while self._opening:
            with suppress(Failing):
                self.ledger = Ledger(self.directory, test_clock_at=BEGIN, grace=self._grace)
                self._opening = False
        return self._left

    def _revive(self, left: Left) -> None:
        """Go on from what was left: all that was written, and nothing else."""
        self.ledger.close()
        shutil.rmtree(self.directory)
        self.directory, head = left
        self._left = None
        self.deaths += 1
        again = self._open()
        if again is not None:
            self._revive(again)
        elif self.store.head() != head:
            raise Broken(f"{head} was written, {self.store.head()} is there")

    def _remains(self) -> Left:
        """A copy of the files as they are, and how far the log goes in them."""
        copy = self._folder / f"life-{next(self._lives)}"
        copy.mkdir()
        for name in FILES:
            if (self.directory / name).exists():
                shutil.copyfile(self.directory / name, copy / name)
        return copy, self._writing.head()

    # ------------------------------------------------------------------------------- the points

    def _changes(self) -> Iterator[AbstractContextManager[object]]:
        """The real code, with the points at which it may end or fail."""
        yield _around(Engine, "apply", after=lambda engine, *_: self._folded(engine))
        yield _around(storing, "_extend_chain", before=lambda *_: self._at("halfway"))
        yield _around(LedgerRecorder, "_insert_events", after=lambda *_: self._at("writing"))
        yield _around(Store, "append", after=lambda *_: self._at("written"))
        yield _around(
            ViewsFile,
            "commit",
            before=lambda views: self._of_mine(views.path, "keeping"),
            after=lambda views: self._of_mine(views.path, "kept"),
        )
        yield _around(Store, "__init__", after=lambda store, *_: self._opened(store))

    def _opened(self, store: Store) -> None:
        if store.path.parent == self.directory:
            self._writing = store

    def _folded(self, engine: Engine) -> None:
        self._of_mine(engine.path, "opening" if self._opening else "deciding")

    def _of_mine(self, path: Where, point: str) -> None:
        """Others fold views, too."""
        if path == self.directory / VIEWS:
            self._at(point)

    def _at(self, point: str) -> None:
        """The process passes a point."""
        if not self._fates or self._fates[0].point != point or self._left is not None:
            return
        fate = self._fates[0]
        fate.passes -= 1
        if fate.passes:
            return
        self._fates.pop(0)
        if fate.verb == "kill":
            self._left = self._remains()
            return  # what this life goes on to do, nobody will know
        self.failures += 1
        raise Failing(f"at {point}")


def _write_nothing(ledger: Ledger) -> None:
    ledger.writer.submit(CommandJob(lambda _: None, None)).result()


def _at_once(ledger: Ledger, records: Sequence[RecordInput]) -> list[Receipt]:
    """Record each by itself, all of them while the writer is busy, so that they are one group."""
    release = threading.Event()

    def wait(_: Group) -> None:
        release.wait()

    busy = ledger.writer.submit(CommandJob(wait, None))
    jobs = [UsageJob([record], f"sender {n % 2}") for n, record in enumerate(records)]
    asked = [ledger.writer.submit(job) for job in jobs]
    release.set()
    busy.result()
    wait_for(asked)
    return [receipt for future in asked for receipt in future.result()]


def _around(
    owner: Any,
    name: str,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> AbstractContextManager[object]:
    """A function of the real code that does something more before and after."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments)
        answer = original(*arguments, **named)
        if after is not None:
            after(*arguments)
        return answer

    return mock.patch.object(owner, name, wrapped)

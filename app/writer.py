"""The one writer of a ledger: whatever waits is decided, written in one transaction, then answered.

There is no timer. While one group is on its way to the disk the next requests gather, so that fifty
clients share one commit. A group that fails is tried again member by member, so that one bad
request is nobody else's failure.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from app.clock import Clock, TestClock, new_id
from app.identities import IdentityRow, IdentityRun, place_among
from app.jobs import BetweenJob, Busy, Closed, CommandJob, Job, Receipt, UsageJob, batches
from app.listeners import Listeners
from app.measures import Measures
from app.receipts import Written, identities_of, receipt_of
from app.store import KeyRow, Pending, Store, TakenError
from app.turns import Turns
from domain import usage, usual_usage
from domain.decider import Envelope, Event, Recorded, Rejected
from domain.periods import from_us, to_us
from domain.usage import Identity, Prior, RecordInput
from projections.engine import Engine
from projections.places import Unreachable, Unwritten
from projections.tables import Views

T = TypeVar("T")

TRIES = 3
"""How often a group is decided and written whose database goes away before it has it."""
GROUP_RECORDS = 20_000
"""Usage records that one commit takes at most; the rest wait for the next."""


class Group:
    """One transaction in the making: its events, folded into the views as they are decided.

    `now_us` is when they are recorded; only a test clock is moved on within a group. `grace` is how
    long a draft with usage waits for late records. `usage_only` says that no command will be in it.
    """

    def __init__(
        self, engine: Engine, store: Store, turns: Turns, now_us: int, grace: timedelta
    ) -> None:
        self.now_us = now_us
        self.grace = grace
        self.usage_only = False
        self.pending: list[Pending] = []
        self.identities: list[IdentityRow | IdentityRun] = []
        self.keys: dict[str, KeyRow] = {}
        self._cause: int | None = None
        self._engine = engine
        self._store = store
        self._turns = turns
        self._head = turns.head

    @property
    def views(self) -> Views:
        """The views with everything decided so far in this group."""
        return self._engine.database.writing

    @property
    def next_position(self) -> int:
        """Where the next event will stand."""
        return self._head + len(self.pending) + 1

    def append(
        self, stream_id: str, version: int, event: Event, actor: str | None, key: str | None = None
    ) -> int:
        """Add an event to the transaction and to the views; return its position."""
        recorded = self._add(stream_id, version, event, actor, key)
        self._engine.apply([recorded])
        return recorded.position

    def _add(
        self, stream_id: str, version: int, event: Event, actor: str | None, key: str | None = None
    ) -> Recorded:
        position = self.next_position
        envelope = Envelope(self.now_us, actor, key, self._cause)
        self.pending.append(Pending(stream_id, version, envelope, event))
        return Recorded(position, stream_id, version, envelope, event)

    @contextmanager
    def led_to_by(self, position: int) -> Iterator[None]:
        """What is added in here is caused by the event at a position."""
        self._cause = position
        try:
            yield
        finally:
            self._cause = None

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of the transaction that is undone by itself when it raises."""
        pending, identities, keys = len(self.pending), len(self.identities), dict(self.keys)
        try:
            with self._engine.database.savepoint():
                yield
        except BaseException:
            del self.pending[pending:], self.identities[identities:]
            self.keys = keys
            self._engine.forget()
            raise

    def key(self, key: str) -> KeyRow | None:
        """What an idempotency key was used for, in this group or ever."""
        return self.keys.get(key) or self._store.key(key)

    def identity(self, source: str, id: str) -> tuple[int, int] | None:
        """Where a usage record stands, recorded in this group or ever: (position, row)."""
        return self._store.identity(source, id) or place_among(self.identities, source, id)

    def at(self, position: int) -> Recorded:
        """The event at a position, written before or part of this group."""
        if position > self._head:
            one = self.pending[position - self._head - 1]
            version = one.originator_version
            return Recorded(position, one.originator_id, version, one.envelope, one.event)
        recorded = self._store.at(position)
        assert recorded is not None, f"the ledger has no position {position}"
        return recorded

    def facts(
        self, names: set[str], customers: set[str], taken: Mapping[Identity, Prior]
    ) -> usage.Facts:
        """What usage records of these event names and customers are judged by."""
        needs = self._engine.needs(names)
        return usage.Facts(
            at_us=self.now_us,
            value_properties={name: one.numbers for name, one in needs.items()},
            text_properties={name: one.texts for name, one in needs.items() if one.texts},
            at_times={name: one.at_times for name, one in needs.items() if one.at_times},
            customers=self._engine.known_customers(customers),
            recorded=taken,
        )

    def record(
        self, records: Sequence[RecordInput], actor: str | None, taken: Mapping[Identity, Prior]
    ) -> Sequence[Receipt]:
        """Decide usage records and add what was accepted."""
        first = self.next_position
        names = {record.event_name for record in records}
        facts = self.facts(names, {record.customer for record in records}, taken)
        command = usage.RecordUsage(records=records)
        decided = usual_usage.decide(command, facts) or usage.decide(command, facts)
        added = [self._add(new_id("ub"), 1, event, actor) for event in decided.events]
        identities = identities_of(decided, first)
        self.identities += identities
        if added and self.usage_only:
            self._engine.take_turns(first - 1)  # what it asks would wait for the identities
            self._turns.identify(identities)
        # Folded together, so that what several of them add to is written once.
        self._engine.apply(added)
        if isinstance(decided, usage.Decided):
            return [receipt_of(one, first) for one in decided.verdicts]
        return Written(decided, first)


class Writer(Listeners):
    """The thread that alone writes one ledger."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        turns: Turns,
        clock: Clock,
        queue_limit: int,
        grace: timedelta,
    ) -> None:
        super().__init__()
        self._store = store
        self._turns = turns
        self._grace = grace
        self._engine = engine
        self._clock = clock
        self._queue_limit = queue_limit
        self._queue: deque[Job[Any]] = deque()
        self.measures = Measures(self._queue)
        self._ready = threading.Condition()
        self._idle = False
        """Whether its thread waits, and nobody has woken it yet."""
        self._closing = False
        run = self.measures.watched(self._run)
        self._thread = threading.Thread(target=run, name="tallybook-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer everything that waits, then stop."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join()

    def submit(self, job: Job[T]) -> "Future[T]":
        """Queue a thread's request. Raises `Busy` when too many wait, `Closed` when closing."""
        answer = job.for_thread()
        self._queue_up(job)
        return answer

    async def ask(self, job: Job[T]) -> T:
        """Queue a request and wait for its answer without holding the event loop."""
        return await self.asking(job)

    def asking(self, job: Job[T]) -> "asyncio.Future[T]":
        """Queue a request of this event loop; what it gives is the answer once it is there."""
        answer = job.for_loop(asyncio.get_running_loop())
        self._queue_up(job)
        return answer

    def _queue_up(self, job: Job[Any]) -> None:
        with self._ready:
            if self._closing:
                raise Closed("the ledger is closing")
            if len(self._queue) >= self._queue_limit:
                self.measures.turned_away.inc()
                raise Busy(f"{self._queue_limit} requests wait already")
            self._queue.append(job)
            if self._idle:
                self._idle = False  # it is woken once, however many follow
                self._ready.notify()

    def _run(self) -> None:
        while jobs := self._take():
            before = self._turns.head
            if isinstance(jobs[0], BetweenJob):
                jobs[0].carry_out()
            else:
                with self.measures.committing(jobs):
                    self._commit(jobs)
            _deliver(jobs)
            if self._turns.head > before:
                self.tell(usage_only=not _any_command(jobs))

    def _take(self) -> list[Job[Any]]:
        """Whatever waits, up to what one commit holds; nothing once closing and done.

        What is done between two transactions comes by itself, in its turn.
        """
        with self._ready:
            while not self._queue and not self._closing:
                self._idle = True
                self._ready.wait()
            self._idle = False
            jobs: list[Job[Any]] = []
            weight = 0
            while self._queue:
                job = self._queue[0]
                if isinstance(job, BetweenJob):
                    return jobs or [self._queue.popleft()]
                weight += job.weight
                if jobs and weight > GROUP_RECORDS:
                    break
                jobs.append(self._queue.popleft())
            return jobs

    def _commit(self, jobs: Sequence[Job[Any]]) -> None:
        """Decide and write these jobs; afterwards each holds its answer, whatever failed."""
        try:
            self._write_patiently(jobs)
        except Exception as error:  # noqa: BLE001  # whatever it was, the askers are told
            self.measures.failed(error)
            # What was written all the same is done, and a database that is away is so for each.
            together = self._turns.written_all_the_same or isinstance(error, Unreachable | Busy)
            singly = len(jobs) > 1 and not together
            for job in jobs:
                if singly:
                    self._commit([job])
                else:
                    job.fail(error)

    def _write_patiently(self, jobs: Sequence[Job[Any]]) -> None:
        """Write these jobs, also those of which something was sent before."""
        look, left = False, TRIES
        while True:
            try:
                return self._write(jobs, look=look)
            except TakenError:
                if look:
                    raise
                look = True  # decide again, knowing which records are taken
            except Unwritten:
                left -= 1
                if not left:
                    raise

    def _write(self, jobs: Sequence[Job[Any]], *, look: bool) -> None:
        """One turn: decide, fold, write the ledger, keep the views."""
        turns = self._turns
        turns.begin()
        try:
            taken = self._store.recorded(_identities(jobs)) if look else {}
            now_us = max(turns.last_us, to_us(self._clock.now()))
            group = Group(self._engine, self._store, turns, now_us, self._grace)
            group.usage_only = not _any_command(jobs)
            _decide(group, jobs, taken)
            keys = list(group.keys.values())
            turns.keep(group.pending, group.identities, keys, group.now_us)
        except BaseException as error:
            said = turns.undo(error)
            if said is not error:
                raise said from error
            raise
        finally:
            self.set_clock(turns.last_us)

    def set_clock(self, recorded_at_us: int) -> None:
        """Time stands where the newest event was recorded, on a test clock; it never goes back."""
        if isinstance(self._clock, TestClock):
            self._clock.advance(from_us(recorded_at_us))


def _decide(group: Group, jobs: Sequence[Job[Any]], taken: Mapping[Identity, Prior]) -> None:
    """Decide the jobs in order; neighbouring usage of one actor becomes one batch."""
    for batch in batches(jobs):
        if isinstance(batch[0], CommandJob):
            try:
                batch[0].answer(batch[0].run(group))
            except Rejected as refusal:
                batch[0].fail(refusal)
            continue
        records = [record for job in batch for record in job.records]
        receipts = group.record(records, batch[0].actor, taken)
        first = 0
        for job in batch:
            job.answer(receipts[first : first + job.weight])
            first += job.weight


def _any_command(jobs: Sequence[Job[Any]]) -> bool:
    return any(isinstance(job, CommandJob) for job in jobs)


def _identities(jobs: Sequence[Job[Any]]) -> list[Identity]:
    """Every identity that these jobs bring, of records that could be identified at all."""
    return [
        (record.source, record.id)
        for job in jobs
        if isinstance(job, UsageJob)
        for record in job.records
        if usage.identifiable(record)
    ]


def _deliver(jobs: Sequence[Job[Any]]) -> None:
    """Give all answers, waking each event loop once."""
    waiting: dict[asyncio.AbstractEventLoop | None, list[Job[Any]]] = {}
    for job in jobs:
        waiting.setdefault(job.loop, []).append(job)
    for loop, theirs in waiting.items():
        if loop is None:
            _give_all(theirs)
        elif not loop.is_closed():
            with suppress(RuntimeError):  # closed just now: nobody waits there any more
                loop.call_soon_threadsafe(_give_all, theirs)


def _give_all(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        job.deliver()

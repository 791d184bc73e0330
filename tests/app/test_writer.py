"""The writer: one commit for whatever waits, and each request answered for itself."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from app.jobs import Busy, Closed, CommandJob, Receipt, UsageJob
from app.ledger import Ledger
from app.writer import GROUP_RECORDS, Group, Writer
from domain.customers import CreateCustomer
from domain.decider import Code, Event, Rejected
from domain.periods import EPOCH
from domain.products import ProductCreated
from domain.usage import RecordInput, Status, UsageRecorded

PATIENCE_SECONDS = 30
"""How long a test waits for what must happen at once, before it fails instead of hanging."""


def tokens(id: str, value: str = "1") -> RecordInput:
    """Some tokens of alpaca-lover."""
    return RecordInput(id=id, event_name="tokens", customer="alpaca-lover", value=value)


def product(id: str) -> Event:
    """Some fact."""
    return ProductCreated(id=id, name=id, description=None, unit_label=None, created_at=EPOCH)


def creates(id: str) -> CommandJob[int]:
    """A command that writes one fact and answers its position."""
    return CommandJob(lambda group: group.append(id, 1, product(id), None), None)


def raising(error: Exception) -> CommandJob[int]:
    """A command that writes a fact and fails after all."""

    def run(group: Group) -> int:
        group.append("prod_lost", 1, product("prod_lost"), None)
        raise error

    return CommandJob(run, None)


def refusing() -> CommandJob[int]:
    """A command that is refused."""

    def run(_: Group) -> int:
        raise Rejected(Code.WRONG_STATE, ("input",), "not now")

    return CommandJob(run, None)


@contextmanager
def busy_writer(ledger: Ledger) -> Iterator[Callable[[], None]]:
    """A writer in the middle of a commit, until the block ends or releases it."""
    started, release = threading.Event(), threading.Event()

    def run(_: Group) -> None:
        started.set()
        assert release.wait(PATIENCE_SECONDS)

    blocking = ledger.writer.submit(CommandJob(run, None))
    assert started.wait(PATIENCE_SECONDS)
    try:
        yield release.set
    finally:
        release.set()
        blocking.result(PATIENCE_SECONDS)


def statuses(receipts: Sequence[Receipt]) -> list[Status]:
    """What became of the records."""
    return [receipt.status for receipt in receipts]


def usage_events(ledger: Ledger) -> list[int]:
    """How many records each usage event of the log holds."""
    return [
        len(one.event.records)
        for one in ledger.store.read()
        if isinstance(one.event, UsageRecorded)
    ]


# --------------------------------------------------------------------------------- group commit


def test_what_waits_becomes_one_event(alpaca: Ledger) -> None:
    with busy_writer(alpaca):
        asked = [alpaca.writer.submit(UsageJob([tokens(f"r{n}")], "me")) for n in range(50)]
    answers = [future.result(PATIENCE_SECONDS) for future in asked]
    assert usage_events(alpaca) == [50]
    head = alpaca.store.head()[0]
    assert [(r.id, r.status, r.position) for [r] in answers] == [
        (f"r{n}", Status.ACCEPTED, head) for n in range(50)
    ]


def test_each_actor_has_events_of_its_own(alpaca: Ledger) -> None:
    with busy_writer(alpaca):
        for id, actor in (("a", "me"), ("b", "me"), ("c", "you"), ("d", None)):
            alpaca.writer.submit(UsageJob([tokens(id)], actor))
    alpaca.record_now([tokens("last")])
    assert usage_events(alpaca) == [2, 1, 1, 1]
    actors = [one.envelope.actor for one in alpaca.store.read(alpaca.store.head()[0] - 4)]
    assert actors == ["me", "you", None, None]


def test_usage_after_a_command_of_the_same_group_sees_it(ledger: Ledger) -> None:
    with busy_writer(ledger):
        before = ledger.writer.submit(UsageJob([tokens("a")], None))
        created = ledger.writer.submit(creates("prod_1"))
        after = ledger.writer.submit(UsageJob([tokens("b")], None))
    first = before.result(PATIENCE_SECONDS)[0].position
    assert first is not None
    assert created.result(PATIENCE_SECONDS) == first + 1
    assert after.result(PATIENCE_SECONDS)[0].position == first + 2


def test_one_commit_takes_only_so_many_records(alpaca: Ledger) -> None:
    many = [tokens(f"r{n}") for n in range(GROUP_RECORDS // 2 + 1)]
    with busy_writer(alpaca):
        halves = [alpaca.writer.submit(UsageJob(many[:-1], None)) for _ in range(2)]
        rest = alpaca.writer.submit(UsageJob(many, None))
    assert set(statuses(halves[0].result(PATIENCE_SECONDS))) == {Status.ACCEPTED}
    assert set(statuses(halves[1].result(PATIENCE_SECONDS))) == {Status.DUPLICATE}
    assert statuses(rest.result(PATIENCE_SECONDS)).count(Status.ACCEPTED) == 1


def test_the_recording_clock_never_goes_back(alpaca: Ledger, monkeypatch: Any) -> None:
    alpaca.record_now([tokens("a")])
    monkeypatch.setattr(alpaca.clock, "_at", EPOCH)
    alpaca.record_now([tokens("b")])
    times = [one.envelope.recorded_at_us for one in alpaca.store.read()]
    assert times == sorted(times)


# -------------------------------------------------------------- nobody else's failure or refusal


def test_one_failing_request_is_nobody_elses_failure(alpaca: Ledger) -> None:
    with busy_writer(alpaca):
        good = alpaca.writer.submit(UsageJob([tokens("a")], None))
        bad = alpaca.writer.submit(raising(ZeroDivisionError("a bug")))
        command = alpaca.writer.submit(creates("prod_1"))
        refused = alpaca.writer.submit(refusing())
        later = alpaca.writer.submit(UsageJob([tokens("a"), tokens("b")], None))
    assert statuses(good.result(PATIENCE_SECONDS)) == [Status.ACCEPTED]
    with pytest.raises(ZeroDivisionError):
        bad.result(PATIENCE_SECONDS)
    with pytest.raises(Rejected, match="not now"):
        refused.result(PATIENCE_SECONDS)
    position = command.result(PATIENCE_SECONDS)
    found = alpaca.store.at(position)
    assert found is not None
    assert found.event == product("prod_1")
    assert statuses(later.result(PATIENCE_SECONDS)) == [Status.DUPLICATE, Status.ACCEPTED]
    assert "prod_lost" not in {one.stream_id for one in alpaca.store.read()}
    assert not [line for line in alpaca.engine.database.dump() if "prod_lost" in line]


def test_two_actors_who_send_the_same_record_at_once(alpaca: Ledger) -> None:
    with busy_writer(alpaca):
        sent = [("me", "1"), ("you", "1"), ("him", "2")]
        asked = [
            alpaca.writer.submit(UsageJob([tokens("a", value)], actor)) for actor, value in sent
        ]
    answers = [future.result(PATIENCE_SECONDS)[0] for future in asked]
    assert statuses(answers) == [Status.ACCEPTED, Status.DUPLICATE, Status.CONFLICT]
    assert len({answer.position for answer in answers}) == 1
    assert usage_events(alpaca) == [1]


def test_a_command_that_is_refused_writes_nothing(ledger: Ledger) -> None:
    before = ledger.store.head()
    with pytest.raises(Rejected, match="not now"):
        ledger.writer.submit(refusing()).result(PATIENCE_SECONDS)
    assert ledger.store.head() == before


# -------------------------------------------------------------------------------- exactly once


def test_the_same_record_again_gets_its_first_receipt(alpaca: Ledger) -> None:
    [first] = alpaca.record_now([tokens("a")])
    head = alpaca.store.head()
    [again, other] = alpaca.record_now([tokens("a"), tokens("a", "2")])
    assert (again.status, again.position) == (Status.DUPLICATE, first.position)
    assert (other.status, other.position) == (Status.CONFLICT, first.position)
    assert alpaca.store.head() == head


def test_old_and_new_records_may_come_together(alpaca: Ledger) -> None:
    alpaca.record_now([tokens("a"), tokens("b")])
    receipts = alpaca.record_now([tokens("c"), tokens("b"), tokens("\ud800"), tokens("d")])
    accepted, duplicate, rejected = Status.ACCEPTED, Status.DUPLICATE, Status.REJECTED
    assert statuses(receipts) == [accepted, duplicate, rejected, accepted]
    assert usage_events(alpaca) == [2, 2]


# ------------------------------------------------------------------- the views and the ledger


def failing_commits(ledger: Ledger, monkeypatch: Any, failures: int) -> None:
    """Views that cannot be kept on disk the next so many times."""
    commit, remaining = ledger.engine.database.commit, iter(range(failures))

    def commit_or_fail() -> None:
        for _ in remaining:
            raise sqlite3.OperationalError("disk I/O error")
        commit()

    monkeypatch.setattr(ledger.engine.database, "commit", commit_or_fail)


@pytest.mark.parametrize("failures", [1, 2], ids=["the commit", "catching up too"])
def test_what_the_ledger_has_is_answered_and_folded_later(
    alpaca: Ledger, monkeypatch: Any, failures: int
) -> None:
    failing_commits(alpaca, monkeypatch, failures)
    position = alpaca.writer.submit(creates("prod_1")).result(PATIENCE_SECONDS)
    assert alpaca.store.head()[0] == position
    alpaca.record_now([tokens("a")])
    assert alpaca.store.head()[0] == position + 1
    live = list(alpaca.engine.database.dump())
    assert [line for line in live if "prod_1" in line]
    alpaca.engine.start_over()
    alpaca.engine.catch_up(alpaca.store.read)
    assert list(alpaca.engine.database.dump()) == live


# --------------------------------------------------------------------------- queue, close, await


def test_too_many_requests_are_told_so(tmp_path: Any) -> None:
    with Ledger(tmp_path, queue_limit=2) as ledger:
        with busy_writer(ledger):
            waiting = [ledger.writer.submit(creates(f"prod_{n}")) for n in range(2)]
            with pytest.raises(Busy, match="2 requests wait already"):
                ledger.writer.submit(creates("prod_9"))
        positions = [future.result(PATIENCE_SECONDS) for future in waiting]
        assert positions == [2, 3]
        assert ledger.writer.submit(creates("prod_9")).result(PATIENCE_SECONDS) == 4


def test_closing_answers_everything_that_waits(alpaca: Ledger) -> None:
    with busy_writer(alpaca) as release:
        waiting = [alpaca.writer.submit(UsageJob([tokens(f"r{n}")], None)) for n in range(5)]
        assert isinstance(alpaca.writer, Writer)
        closing = threading.Thread(target=alpaca.writer.close)
        with alpaca.writer._ready:
            closing.start()
        release()
        closing.join(PATIENCE_SECONDS)
    assert [statuses(future.result(0)) for future in waiting] == [[Status.ACCEPTED]] * 5
    with pytest.raises(Closed):
        alpaca.record_now([tokens("late")])


def test_a_request_taken_back_is_nobody_elses_failure(alpaca: Ledger) -> None:
    with busy_writer(alpaca):
        taken_back = alpaca.writer.submit(UsageJob([tokens("a")], None))
        kept = alpaca.writer.submit(UsageJob([tokens("b")], None))
        assert taken_back.cancel()
    assert statuses(kept.result(PATIENCE_SECONDS)) == [Status.ACCEPTED]
    assert statuses(alpaca.record_now([tokens("c")])) == [Status.ACCEPTED]


def test_giving_up_while_the_answer_is_given_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = UsageJob([tokens("a")], None)
    waiting = job.for_thread()
    job.answer([])

    def looks_undone_and_is_cancelled() -> bool:
        waiting.cancel()
        return False

    monkeypatch.setattr(waiting, "done", looks_undone_and_is_cancelled)
    job.deliver()
    assert not waiting.cancel(), "an answer that was given stays given"


def test_coroutines_wait_without_holding_their_loop(alpaca: Ledger) -> None:
    async def everybody() -> list[Sequence[Receipt]]:
        with busy_writer(alpaca) as release:
            tasks = [asyncio.create_task(alpaca.record([tokens(f"r{n}")], None)) for n in range(20)]
            await asyncio.sleep(0)  # every task has queued its request
            release()
            return await asyncio.gather(*tasks)

    answers = asyncio.run(everybody())
    assert [statuses(answer) for answer in answers] == [[Status.ACCEPTED]] * 20
    assert usage_events(alpaca) == [20]


def test_a_coroutine_gets_its_refusal(ledger: Ledger) -> None:
    with pytest.raises(Rejected, match="not now"):
        asyncio.run(ledger.writer.ask(refusing()))
    assert asyncio.run(ledger.record([], None)) == []


def test_a_coroutine_that_has_gone_is_no_trouble(alpaca: Ledger) -> None:
    async def impatient() -> None:
        task = asyncio.create_task(alpaca.record([tokens("a")], None))
        await asyncio.sleep(0)
        task.cancel()

    with busy_writer(alpaca):
        asyncio.run(impatient())
    assert statuses(alpaca.record_now([tokens("a"), tokens("b")])) == [
        Status.DUPLICATE,
        Status.ACCEPTED,
    ]


def test_listeners_are_told_what_they_asked_for(alpaca: Ledger) -> None:
    told: list[str] = []
    writer = alpaca.writer
    with writer.listening(lambda: told.append("any"), usage=True):
        with writer.listening(lambda: told.append("command")):
            alpaca.record_now([tokens("a")])
            writer.submit(creates("prod_a")).result(PATIENCE_SECONDS)
            with pytest.raises(Rejected):  # nothing is written, and nobody told
                writer.submit(refusing()).result(PATIENCE_SECONDS)
            settle(alpaca)
            assert told == ["any", "any", "command"]
        alpaca.execute_now(CreateCustomer(name="Al"))
        settle(alpaca)
    alpaca.execute_now(CreateCustomer(name="Bo"))
    settle(alpaca)
    assert told == ["any", "any", "command", "any"]


def settle(ledger: Ledger) -> None:
    """Wait until the writer has told of what it answered before: it does one group at a time."""
    ledger.writer.submit(CommandJob(lambda _: None, None)).result(PATIENCE_SECONDS)

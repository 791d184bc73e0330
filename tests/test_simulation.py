"""Every history keeps every identity: the short form of `make simulation`."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.jobs import Receipt
from app.store import Store
from app.writer import Group
from domain.usage import RecordInput, Status, UsageRecorded
from projections import billed_usage
from projections.engine import Engine
from tests import marks, simulation
from tests.histories import naive
from tests.histories.sent import Broken, Sent
from tests.histories.steps import Case, case
from tests.histories.telling import tell
from tests.test_histories import STORY

pytestmark = marks.KILLED

FIRST, CASES = 2046, 14
FAILED = Path(__file__).parent / "histories" / "failed.txt"


def test_histories_keep_every_identity() -> None:
    failed, happened = simulation.run(iter(range(FIRST, FIRST + CASES)))
    assert failed == 0
    # Enough of everything happened that there was something to keep.
    for what in ("subscription.changed/1", "subscription.canceled/1", "killed"):
        assert happened[what] > CASES // 4
    for what in ("invoice.finalized/1", "licences checked", UsageRecorded.topic, "usage settled"):
        assert happened[what] > CASES
    for what in ("RECURRING", "USAGE", "PRORATION", "shares"):
        assert happened[f"{what} explained"] > CASES // 4
    for what in ("usage.amended/1", "usage.voided/1", "adjustments settled", "meter.revised/1"):
        assert happened[what]


def failed_before() -> Iterator[Any]:
    """The histories that failed once, each as it was printed."""
    text = re.sub(r"^#.*\n", "", FAILED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for part in filter(None, text.strip().split("\n\n")):
        heading, *steps = part.strip().splitlines()
        found = re.fullmatch(r"seed (\d+), grace (\d+) h", heading)
        assert found, heading
        told = Case(seed=int(found[1]), grace=int(found[2]), steps=tuple(steps))
        yield pytest.param(told, id=found[1])


@pytest.mark.parametrize("told", [*failed_before()])
def test_what_failed_once_does_not_fail_again(told: Case) -> None:
    tell(told)


def test_a_seed_is_always_the_same_history() -> None:
    assert case(7) == case(7)
    assert case(7) != case(8)


def test_a_history_that_fails_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_on_a_change(told: Case) -> None:
        if any(" change " in step for step in told.steps):
            raise Broken("somebody changed something")

    monkeypatch.setattr(simulation, "tell", fails_on_a_change)
    long = replace(case(1), steps=(*"abc", "2026-01-01 change al: seat x 5", *"def"))
    error = simulation.failure(long)
    assert error is not None
    short = simulation.shortened(long, error)
    assert short.steps == ("2026-01-01 change al: seat x 5",)


def told(*steps: str) -> Case:
    """A history with usage, and with these steps after it."""
    return Case(seed=1, grace=0, steps=(*STORY.strip().splitlines(), *steps))


def test_usage_that_comes_late_and_is_not_billed_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = told("2026-02-03 use 3 tokens by al, at 2026-01-20")
    tell(late)
    monkeypatch.setattr(billed_usage, "come_late", lambda *_: set())
    with pytest.raises(naive.Misbilled, match="was billed in all"):
        tell(late)


def test_what_is_remembered_and_was_undone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = told(
        "2026-02-03 meter calls: sum of calls by model",
        "2026-02-03 fail at writing 1",
        "2026-02-03 use 3 calls by al, model=small",
    )
    tell(failing)
    monkeypatch.setattr(Engine, "forget", lambda _: None)
    with pytest.raises(Broken, match="the views folded again are not the live ones"):
        tell(failing)


def test_what_is_answered_and_not_written_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = told("2026-02-03 kill at deciding 1", "2026-02-03 use 3 tokens by al")
    assert tell(killed)["killed"] == 1
    record = Group.record

    def answers(group: Group, *arguments: Any) -> list[Receipt]:
        receipts = record(group, *arguments)
        return [msgspec.structs.replace(one, position=(one.position or 0) + 1) for one in receipts]

    monkeypatch.setattr(Group, "record", answers)
    with pytest.raises(Broken, match=r"answered: .* written: "):
        tell(killed)


def test_a_command_that_is_done_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group, "key", lambda *_: None)
    monkeypatch.setattr(Store, "append", _without_keys(Store.append))
    with pytest.raises(Broken, match="has another answer the second time"):
        tell(told())


def _without_keys(append: Any) -> Any:
    return lambda store, events, identities=(), keys=(): append(store, events, identities)


def test_what_the_worker_cannot_do_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the bill is on fire")

    tell(told())
    monkeypatch.setattr("app.invoicing.finalize", fails)
    with pytest.raises(Broken, match="could not do what is due kind=finalize subject=inv_"):
        tell(told())


def test_a_receipt_that_is_not_the_first_one_is_noticed() -> None:
    sent = Sent()
    one = RecordInput(id="a", event_name="tokens", customer="al", value="1")
    other = msgspec.structs.replace(one, value="2")

    def receipt(status: Status, position: int) -> list[Receipt]:
        return [Receipt("a", "default", status, position, None)]

    sent.judge([one], receipt(Status.ACCEPTED, 7))
    sent.judge([one], receipt(Status.DUPLICATE, 7))
    sent.judge([other], receipt(Status.CONFLICT, 7))
    for record, wrong in (
        (one, receipt(Status.DUPLICATE, 8)),
        (one, receipt(Status.ACCEPTED, 9)),
        (other, receipt(Status.DUPLICATE, 7)),
    ):
        with pytest.raises(Broken):
            sent.judge([record], wrong)


def test_a_first_answer_that_nobody_heard_is_heard_again() -> None:
    record = RecordInput(id="a", event_name="tokens", customer="al", value="1")
    duplicate = Receipt("a", "default", Status.DUPLICATE, 7, None)
    [receipt] = Sent().judge([record], [duplicate], {("default", "a")})
    assert receipt.status is Status.ACCEPTED
    with pytest.raises(Broken, match="is new"):
        Sent().judge([record], [duplicate])

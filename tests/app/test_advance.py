"""Invoices that issue themselves: at once, and on a test clock that is moved."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import invoicing, parking, verification, worker
from app.commands import Done
from app.ledger import Ledger
from app.logs import TextLines
from domain import subscription_items, subscriptions
from domain.decider import Code, Rejected
from domain.invoices import Status
from domain.ledgers import ClockAdvanced
from domain.periods import to_us
from domain.subscriptions import Subscription
from projections import current
from tests import marks
from tests.app.billed import END, FEBRUARY, HOUR, PRICES, THREE, dump, invoices, log, said, story
from tests.conftest import CLOCK
from tests.scenarios.story import Story

__all__ = ["story"]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged, as it is written."""
    return "\n".join(map(TextLines().format, caplog.records))


# ------------------------------------------------------------------------------------- at once


def test_the_first_invoice_is_issued_with_the_subscription(story: Story) -> None:
    before = story.ledger.store.head()[0]
    story.tell("2026-01-01 customer al")
    story.tell("2026-01-01 subscribe al to licence x 1, usage")
    topics = [one.event.topic for one in story.ledger.store.read(before + 1)]
    assert topics == ["subscription.created/1", "invoice.drafted/1", "invoice.finalized/1"]
    assert said(story.ledger) == ["000001 01-01 01-01T00 100.00"]


def subscribing(story: Story, **more: Any) -> subscriptions.CreateSubscription:
    """A customer subscribes to a licence."""
    story.tell("2026-01-01 customer al")
    item = subscription_items.NewItem(price_id=story.prices["licence"])
    return subscriptions.CreateSubscription(customer_id=story.ids["al"], items=(item,), **more)


def test_the_answer_stands_where_the_first_invoice_does(story: Story) -> None:
    command = subscribing(story)
    done = story.ledger.execute_now(command, "once")
    assert done.position == story.ledger.store.head()[0]
    assert story.ledger.execute_now(command, "once") == done
    assert done.position == story.ledger.store.head()[0]


def test_a_start_to_come_is_waited_for(story: Story) -> None:
    story.ledger.execute_now(subscribing(story, start_at=CLOCK + HOUR))
    assert said(story.ledger) == []
    story.tell("2026-01-01T01:00:00Z time passes")
    assert said(story.ledger) == ["000001 01-01 01-01T01 100.00"]


def test_a_start_in_the_past_is_invoiced_at_once(story: Story) -> None:
    story.tell("2026-01-10 use 3000 tokens by al")
    story.tell("2026-03-10 customer al")
    story.tell("2026-03-10 subscribe al to licence x 1, usage, from 2026-01-01")
    story.tell("2026-03-10T02:00:00Z time passes")
    # January's and February's usage, and three licences; late records are waited for as always.
    assert said(story.ledger) == ["000001 03-10 03-10T01 380.00"]


def test_a_first_invoice_that_fails_leaves_the_subscription(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command = subscribing(story)
    with monkeypatch.context() as broken:
        broken.setattr(invoicing, "finalize", refuse)
        done = story.ledger.execute_now(command)
    with story.ledger.snapshot() as views:
        assert current.get(views, Subscription, done.subject) is not None
    [drafted] = invoices(story.ledger)
    assert drafted.status is Status.DRAFT
    assert f"could not do what is due kind=finalize subject={drafted.id}" in logged(caplog)
    story.ledger.advance_now(CLOCK)
    assert said(story.ledger) == ["000001 01-01 01-01T00 100.00"]


def refuse(*_: object, **__: object) -> Done:
    """An invoice that cannot be issued."""
    raise Rejected(Code.LIMIT_EXCEEDED, ("at",), "too many lines")


# ---------------------------------------------------------------------------------- test clocks


def test_what_falls_due_on_the_way_happens_at_its_instant(story: Story) -> None:
    story.tell(THREE)
    story.ledger.advance_now(datetime(2026, 2, 3, tzinfo=UTC))
    assert said(story.ledger) == [
        "000001 01-01 01-01T00 100.00",
        "000002 01-01 01-01T00 7.00",
        "000003 01-02 01-02T00 200.00",
        "000004 01-08 01-08T00 7.00",
        "000005 01-15 01-15T00 7.00",
        "000006 01-22 01-22T00 7.00",
        "000007 01-29 01-29T00 7.00",
        "000008 02-01 02-01T01 180.00",
        "000009 02-02 02-02T01 220.00",
    ]
    assert story.ledger.clock.now() == datetime(2026, 2, 3, tzinfo=UTC)
    for one in story.ledger.store.read():
        if isinstance(one.event, ClockAdvanced):
            assert one.envelope.recorded_at_us == to_us(one.event.to)
    for issued in invoices(story.ledger):
        assert issued.drafted_at == issued.at
        assert issued.finalized_at == issued.finalizes_at
    dump(story.ledger)


def test_a_draft_waits_for_its_grace_period(tmp_path: Path) -> None:
    for hours in (0, 5):
        grace = timedelta(hours=hours)
        with Ledger(tmp_path / str(hours), test_clock_at=CLOCK, grace=grace) as ledger:
            Story(ledger).tell(PRICES + THREE)
            ledger.advance_now(END)
            assert said(ledger)[7] == f"000008 02-01 02-01T0{hours} 180.00"


def test_moving_to_where_the_clock_stands_changes_nothing(story: Story) -> None:
    story.tell(THREE)
    story.ledger.advance_now(END)
    head = story.ledger.store.head()
    assert story.ledger.advance_now(END) == []
    assert story.ledger.store.head() == head


def test_the_same_story_gives_the_same_facts(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "other"):
        with Ledger(tmp_path / name, test_clock_at=CLOCK) as ledger:
            Story(ledger).tell(PRICES + THREE)
            ledger.advance_now(END)
            logs.append(log(ledger))
    assert logs[0] == logs[1]


def test_many_small_steps_come_to_the_same_invoices(tmp_path: Path) -> None:
    told = []
    for name, step in (("leap", timedelta(days=70)), ("steps", timedelta(hours=7))):
        with Ledger(tmp_path / name, test_clock_at=CLOCK) as ledger:
            Story(ledger).tell(PRICES + THREE)
            at = ledger.clock.now()
            while at < END:
                at = min(END, at + step)
                ledger.advance_now(at)
            facts = [re.sub(r'"position":\d+', "", line) for line in log(ledger)]
            told.append([fact for fact in facts if "ledger.clock_advanced" not in fact])
    assert told[0] == told[1]


def test_portions_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = []
    for portion in (1, 1_000):
        with Ledger(tmp_path / str(portion), test_clock_at=CLOCK) as ledger:
            Story(ledger).tell(PRICES + THREE)
            monkeypatch.setattr(worker, "PORTION", portion)
            touched = ledger.advance_now(END)
            assert sorted(touched) == sorted(one.id for one in invoices(ledger)[4:])
            logs.append(log(ledger))
        monkeypatch.undo()
    assert logs[0] == logs[1]


def test_two_who_move_the_clock_at_once(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Ledger(tmp_path / "one after the other", test_clock_at=CLOCK) as ledger:
        Story(ledger).tell(PRICES + THREE)
        ledger.advance_now(FEBRUARY)
        ledger.advance_now(END)
        expected = said(ledger)
    story.tell(THREE)
    monkeypatch.setattr(worker, "PORTION", 1)

    async def both() -> None:
        await asyncio.gather(*(story.ledger.advance(to, None) for to in (FEBRUARY, END)))

    asyncio.run(both())
    assert story.ledger.clock.now() == END
    assert said(story.ledger) == expected


def test_a_clock_stands_after_reopening_where_it_stood(tmp_path: Path) -> None:
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        ledger.advance_now(END)
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        assert ledger.clock.now() == END
        with pytest.raises(Rejected, match="never goes back"):
            ledger.advance_now(FEBRUARY)
        assert ledger.clock.now() == END


@marks.FAILED
@pytest.mark.parametrize("portions", [1, 2, 7])
def test_a_crash_on_the_way_leaves_the_last_step_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    with Ledger(tmp_path / "whole", test_clock_at=CLOCK) as ledger:
        Story(ledger).tell(PRICES + THREE)
        ledger.advance_now(END)
        whole, expected = log(ledger), said(ledger)
    monkeypatch.setattr(worker, "PORTION", 2)
    with Ledger(tmp_path / "crashed", test_clock_at=CLOCK) as ledger:
        Story(ledger).tell(PRICES + THREE)
        kept = ledger.store.append
        left = iter(range(portions))

        def append(*given: Any) -> list[int]:
            if next(left, None) is None:
                raise OSError("the machine stops")
            return kept(*given)

        with monkeypatch.context() as crash:
            crash.setattr(ledger.store, "append", append)
            with pytest.raises(OSError, match="the machine stops"):
                ledger.advance_now(END)
        stopped = ledger.clock.now()
        assert CLOCK < stopped < END
        assert log(ledger) == whole[: ledger.store.head()[0]]
    with Ledger(tmp_path / "crashed") as ledger:
        assert ledger.clock.now() == stopped
        ledger.advance_now(END)
        assert log(ledger) == whole
        assert said(ledger) == expected
    assert verification.verify(tmp_path / "crashed").ok


def test_one_that_fails_holds_nobody_up(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    story.tell(THREE)
    [broken] = [one.subscription_id for one in invoices(story.ledger) if one.number == 2]
    draft = invoicing.draft

    def fail_one(group: Any, subscription_id: str, *more: Any, **named: Any) -> Done | None:
        done = draft(group, subscription_id, *more, **named)
        if subscription_id == broken:
            raise RuntimeError("a bug")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(invoicing, "draft", fail_one)
        story.ledger.advance_now(END)
    assert story.ledger.clock.now() == END
    assert logged(caplog).count(f"kind=draft subject={broken}") == 1
    theirs = [one for one in invoices(story.ledger) if one.subscription_id != broken]
    assert [one.number for one in theirs] == [1, 3, 5, 6, 7, 8]
    dump(story.ledger)
    story.ledger.advance_now(END)
    late = [one for one in invoices(story.ledger) if one.subscription_id == broken][2:]
    assert [f"{one.at:%m-%d} {one.finalized_at:%m-%d}" for one in late] == [
        f"{CLOCK + timedelta(days=7 * week):%m-%d} 03-03" for week in range(2, 9)
    ]


def test_what_is_done_and_due_all_the_same_is_not_done_for_ever(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    story.tell(THREE)
    head = story.ledger.store.head()[0]

    def do_nothing(_: Any, invoice_id: str, *more: Any, **named: Any) -> Done:
        return Done(invoice_id, head)

    with monkeypatch.context() as patched:
        patched.setattr(invoicing, "finalize", do_nothing)
        story.ledger.advance_now(FEBRUARY)
    assert logged(caplog).count("kind=finalize subject=inv_") == 3
    assert [one.number for one in invoices(story.ledger)] == [1, 2, 3, 4, *[None] * 4]
    story.ledger.advance_now(FEBRUARY + HOUR)
    assert [one.number for one in invoices(story.ledger)] == list(range(1, 9))


def test_one_that_cannot_even_be_parked_holds_nobody_up(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    story.tell("2026-01-01 price daily: 1 USD, per day")
    story.tell("2026-01-01 customer al")
    monkeypatch.setattr(parking, "park", refuse)
    story.tell("2026-01-01 subscribe al to daily, from 1990-01-01")
    story.tell("2026-01-01 customer bo")
    story.tell("2026-01-01 subscribe bo to licence x 1")
    assert said(story.ledger) == ["000001 01-01 01-01T00 100.00"]
    assert logged(caplog).count("kind=draft subject=sub_") == 1

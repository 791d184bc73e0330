"""Invoices that issue themselves on the system's clock, as long as a server runs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app import invoicing, worker
from app.clock import new_id
from app.commands import Done
from app.ledger import Ledger
from app.logs import TextLines
from app.opening import open_store
from app.server import create_app
from app.settings import Settings
from app.store import Pending
from app.worker import Worker
from domain import subscription_items, subscriptions
from domain.collection import CollectionMethod
from domain.decider import Envelope
from domain.invoices import Reason, Status
from domain.periods import to_us
from domain.subscription_items import Item
from domain.subscriptions import Subscription, SubscriptionCreated
from projections import current, due_work
from tests import marks
from tests.app.billed import PRICES, THREE, dump, invoices, story
from tests.scenarios.story import Story

__all__ = ["story"]

PATIENCE_SECONDS = 30
"""How long a test waits for what must happen at once, before it fails instead of hanging."""


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the system's clock that was down while weekly subscriptions fell due."""
    folder = tmp_path / "behind"
    with Ledger(folder) as ledger:
        story = Story(ledger)
        story.tell(PRICES)
        story.tell("2026-01-01 customer al")
        now = ledger.clock.now()
    with closing(open_store(folder)) as store:
        for weeks in (3, 2):
            then = now - timedelta(weeks=weeks, hours=12)
            created = subscription(story.ids["al"], story.prices["weekly"], then)
            store.append([Pending(created.id, 1, Envelope(to_us(then)), created)])
    with Ledger(folder) as ledger:
        yield ledger


def subscription(customer_id: str, price_id: str, at: datetime) -> SubscriptionCreated:
    """A weekly subscription that was created at an instant."""
    return SubscriptionCreated(
        id=new_id("sub"),
        customer_id=customer_id,
        currency="USD",
        items=(Item(id=new_id("item"), price_id=price_id, quantity=Decimal(1)),),
        start_at=at,
        billing_anchor=at,
        time_zone="UTC",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        created_at=at,
    )


async def so(until: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not await asyncio.to_thread(until):  # noqa: ASYNC110  # nothing tells when
        await asyncio.sleep(0.01)


def working(ledger: Ledger, until: Callable[[], bool]) -> None:
    """Let the worker run until something is so."""

    async def wait() -> None:
        task = asyncio.create_task(Worker(ledger).run())
        await so(until)
        assert not task.done()
        task.cancel()

    asyncio.run(asyncio.wait_for(wait(), PATIENCE_SECONDS))


def issued(ledger: Ledger, count: int) -> Callable[[], bool]:
    """Whether so many invoices are issued."""

    def counted() -> bool:
        return sum(one.status is not Status.DRAFT for one in invoices(ledger)) >= count

    return counted


def test_what_fell_due_meanwhile_is_caught_up_with(
    behind: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PORTION", 2)
    started = behind.clock.now()
    working(behind, issued(behind, 7))
    found = invoices(behind)
    assert [one.number for one in found] == list(range(1, 8))
    assert sorted(one.at for one in found) == [one.at for one in found]
    assert all(started <= one.drafted_at <= behind.clock.now() for one in found)
    assert due_work.first(behind.engine.database.writing, to_us(behind.clock.now())) is None
    dump(behind)


def test_the_worker_wakes_when_something_falls_due(behind: Ledger) -> None:
    """What comes to be due while it sleeps, without anybody asking."""
    with behind.snapshot() as views:
        [_, one] = current.select(views, Subscription, {}, limit=2)
    soon = behind.clock.now() + timedelta(seconds=1)
    again = subscriptions.CreateSubscription(
        customer_id=one.state.customer_id,
        items=(subscription_items.NewItem(price_id=one.state.items[0].price_id),),
        start_at=soon,
    )

    def eighth() -> bool:
        if issued(behind, 7)() and not asked:
            asked.append(behind.execute_now(again))
            early = len(invoices(behind)) == 7
            assert early or behind.clock.now() >= soon
        return issued(behind, 8)()

    asked: list[Done] = []
    working(behind, eighth)
    assert invoices(behind)[-1].at == soon


def test_what_fails_is_tried_again_later(
    behind: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with behind.snapshot() as views:
        [broken, _] = current.select(views, Subscription, {}, limit=2)
    draft, tried = invoicing.draft, list[str]()

    def fail_one(group: Any, subscription_id: str, *more: Any, **named: Any) -> Done | None:
        tried.append(subscription_id)
        if subscription_id == broken.state.id and tried.count(subscription_id) <= 2:
            raise RuntimeError("a bug")
        return draft(group, subscription_id, *more, **named)

    monkeypatch.setattr(invoicing, "draft", fail_one)
    subject = Worker(behind)

    def times(retry: timedelta) -> int:
        """How often it was tried, once the worker has looked again."""
        monkeypatch.setattr(worker, "RETRY", retry)
        asyncio.run(subject.catch_up())
        return tried.count(broken.state.id)

    later = timedelta(minutes=10)
    assert times(timedelta()) == 1
    assert times(later) == 2
    assert times(later) == 2
    assert len(invoices(behind)) == 3
    lines = map(TextLines().format, caplog.records)
    said = f"could not do what is due kind=draft subject={broken.state.id} due="
    assert sum(said in line for line in lines) == 2
    assert behind.writer.measures.registry.get_sample_value("tallybook_worker_failures_total") == 2
    subject = Worker(behind)  # as after a restart
    times(later)
    assert len(invoices(behind)) == 7


def test_the_worker_goes_on_after_an_error(
    behind: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    catch_up, times = Worker.catch_up, iter(range(2))

    async def fail_twice(self: Worker) -> None:
        if next(times, None) is not None:
            raise OSError("no space left")
        await catch_up(self)

    monkeypatch.setattr(Worker, "catch_up", fail_twice)
    monkeypatch.setattr(worker, "LOOK_AGAIN", timedelta(milliseconds=1))
    working(behind, issued(behind, 7))
    assert caplog.text.count("could not look for what is due") == 2


def test_the_worker_ends_with_the_ledger(behind: Ledger) -> None:
    behind.close()
    asyncio.run(asyncio.wait_for(Worker(behind).run(), PATIENCE_SECONDS))


def test_a_server_does_what_falls_due(behind: Ledger) -> None:
    async def serve() -> None:
        app = create_app(behind, Settings())
        async with app.router.lifespan_context(app):
            await so(issued(behind, 7))

    asyncio.run(asyncio.wait_for(serve(), PATIENCE_SECONDS))


@marks.HELD
def test_a_server_moves_no_test_clock(story: Story) -> None:
    story.tell(THREE)
    head = story.ledger.store.head()

    async def serve() -> None:
        app = create_app(story.ledger, Settings(checkpoint_period="PT0S"))
        async with app.router.lifespan_context(app):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            names = [getattr(one.get_coro(), "__name__", None) for one in others]
            assert names == ["keep_taking_over"]

    asyncio.run(serve())
    assert story.ledger.store.head() == head


def test_an_end_moments_ahead_is_not_billed_before_it_comes(story: Story) -> None:
    story.tell("""
2026-01-01 customer bo
2026-01-01 subscribe bo to weekly x 1
2026-01-02 cancel bo at 2026-01-04T00:00:00.000001Z
2026-01-04 change bo: weekly x 2
""")
    assert [one.reason for one in invoices(story.ledger)] == [Reason.OPENING]
    story.tell("2026-01-04 change bo: weekly x 3000000000000, invoiced now\n2026-01-05 time passes")
    _, change, final = invoices(story.ledger)
    assert (change.reason, final.reason) == (Reason.CHANGE, Reason.FINAL)
    # Three days of 7 USD a week, and then a moment at three million million times as much.
    billed = [
        line.amount
        for one in invoices(story.ledger)
        if one.statement
        for line in one.statement.lines
    ]
    assert sum(billed) == Decimal("37.72")

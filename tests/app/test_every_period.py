"""Whatever is subscribed to and however the clock is moved: each period is billed exactly once."""

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from domain import billing_calendar
from domain.invoices import Invoice, Status
from domain.periods import Period
from domain.prices import Timing
from domain.subscription_items import NewItem
from domain.subscriptions import CreateSubscription, Subscription
from projections import current
from projections.invoice_previews import prices_of
from projections.tables import Views
from tests import marks
from tests.conftest import CLOCK
from tests.scenarios.story import Story

pytestmark = marks.CAMPAIGN

PRICES = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price advance: 100 USD, per month
2026-01-01 price arrears: 10 USD, per month, in arrears
2026-01-01 price weekly: 7 USD, per week
2026-01-01 price quarterly: 50 USD, per 3 months, in arrears
2026-01-01 price usage: 1 USD, per month, on tokens
2026-01-01 customer al
"""
NAMES = ["advance", "arrears", "weekly", "quarterly", "usage"]

HOURS = st.integers(0, 2_000).map(lambda hours: timedelta(hours=hours))
SUBSCRIBED = st.tuples(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    st.integers(-1_500, 1_500).map(lambda hours: timedelta(hours=hours)),  # until the start
    st.none() | HOURS,  # from the start to the anchor
    st.none() | HOURS.filter(bool),  # the length of the trial
    HOURS,  # how far the clock is moved afterwards
)


def opened(folder: Path) -> Ledger:
    """A new ledger whose drafts wait for nothing."""
    return Ledger(folder, test_clock_at=CLOCK, grace=timedelta())


def subscribe(story: Story, names: list[str], start: datetime, **more: Any) -> None:
    """The story's customer subscribes to these prices."""
    items = tuple(NewItem(price_id=story.prices[name]) for name in names)
    command = CreateSubscription(customer_id=story.ids["al"], items=items, start_at=start, **more)
    story.ledger.execute_now(command)


def billed(views: Views) -> dict[str, list[Period]]:
    """The periods on the lines of issued invoices by item, in order."""
    found: dict[str, list[Period]] = defaultdict(list)
    for one in current.select(views, Invoice, {}, limit=10_000):
        invoice: Invoice = one.state
        assert invoice.status is not Status.DRAFT
        assert invoice.statement is not None
        for line in invoice.statement.lines:
            assert line.item_id is not None
            found[line.item_id].append(line.period)
    return dict(found)


def expected_end(
    views: Views, subscription: Subscription, price_id: str, now: datetime
) -> datetime:
    """Up to when an item is billed: licences in advance for the period that runs, too."""
    price = prices_of(views, subscription)[price_id]
    running = billing_calendar.current_period(subscription, price, now)
    return running.end if price.timing is Timing.IN_ADVANCE else running.start


@settings(max_examples=20, deadline=None)
@given(subscribed=st.lists(SUBSCRIBED, min_size=1, max_size=3))
def test_each_period_of_each_item_is_billed_exactly_once(
    subscribed: list[tuple[list[str], timedelta, timedelta | None, timedelta | None, timedelta]],
) -> None:
    with TemporaryDirectory() as folder, opened(Path(folder)) as ledger:
        story = Story(ledger)
        story.tell(PRICES)
        for names, until_start, until_anchor, trial, step in subscribed:
            start = ledger.clock.now() + until_start
            subscribe(
                story,
                names,
                start,
                billing_anchor=None if until_anchor is None else start + until_anchor,
                trial_end=None if trial is None else start + trial,
            )
            ledger.advance_now(ledger.clock.now() + step)
        with ledger.snapshot() as views:
            check(views, ledger.clock.now())


def check(views: Views, now: datetime) -> None:
    """Every item is billed without a gap from its start to where it should be."""
    periods = billed(views)
    for found in current.select(views, Subscription, {}, limit=10):
        subscription: Subscription = found.state
        for item in subscription.items:
            mine = periods.pop(item.id, [])
            end = expected_end(views, subscription, item.price_id, now)
            if now < subscription.start_at:
                end = subscription.start_at
            bounds = [subscription.start_at, *(period.end for period in mine)]
            assert [period.start for period in mine] == bounds[:-1]
            assert bounds[-1] == end
    assert periods == {}

"""Subscriptions that change and end while time passes, however the clock is moved."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from domain.decider import Rejected
from domain.periods import to_us
from domain.subscription_changes import (
    CancelForm,
    CancelSubscription,
    ChangeSubscription,
    Command,
    ItemChange,
    ProrationBehavior,
    ReactivateSubscription,
)
from domain.subscription_items import NewItem
from domain.subscriptions import CreateSubscription, Subscription
from projections import current, due_work
from tests import marks
from tests.app.billed import PRICES, dump, log
from tests.conftest import CLOCK
from tests.scenarios.story import Story

pytestmark = marks.CAMPAIGN

Asked = Callable[[Story, Subscription], Command]
"""What is asked of a subscription as it stands."""

STEPS = (timedelta(days=400), timedelta(days=3, hours=5))
"""How far the clock is moved at once: to where it should stand, or in many steps."""

BEHAVIORS = st.sampled_from(ProrationBehavior)


def changing(change: Callable[[Story, Subscription], ItemChange]) -> st.SearchStrategy[Asked]:
    """A change of one item, with any behavior."""

    def asked(behavior: ProrationBehavior) -> Asked:
        return lambda story, subscription: ChangeSubscription(
            subscription_id=subscription.id,
            items=(change(story, subscription),),
            behavior=behavior,
        )

    return BEHAVIORS.map(asked)


def canceling(form: CancelForm) -> Asked:
    """An end of this form."""
    return lambda _, subscription: CancelSubscription(subscription_id=subscription.id, form=form)


QUANTITIES = st.integers(1, 9).flatmap(
    lambda units: changing(
        lambda _, subscription: ItemChange(
            item_id=subscription.items[0].id, quantity=Decimal(units)
        )
    )
)
ADDED = st.sampled_from(["usage", "weekly"]).flatmap(
    lambda name: changing(lambda story, _: ItemChange(price_id=story.prices[name]))
)
REMOVED = changing(
    lambda _, subscription: ItemChange(item_id=subscription.items[-1].id, remove=True)
)
ENDED = st.sampled_from([CancelForm.NOW, CancelForm.AT_PERIOD_END]).map(canceling)
REACTIVATED: st.SearchStrategy[Asked] = st.just(
    lambda _, subscription: ReactivateSubscription(subscription_id=subscription.id)
)
ASKED = st.lists(
    st.tuples(
        st.integers(0, 60 * 24).map(lambda hours: timedelta(hours=hours)),
        st.one_of(QUANTITIES, ADDED, REMOVED, ENDED, REACTIVATED),
    ),
    min_size=1,
    max_size=5,
)


def tell(ledger: Ledger, asked: list[tuple[timedelta, Asked]], step: timedelta) -> list[str]:
    """Subscribe, ask one after the other, and answer the facts but for those of the clock."""
    story = Story(ledger)
    story.tell(PRICES + "2026-01-01 customer al")
    command = CreateSubscription(
        customer_id=story.ids["al"], items=(NewItem(price_id=story.prices["licence"]),)
    )
    id = ledger.execute_now(command).subject
    for wait, ask in [*asked, (timedelta(days=70), None)]:
        move(ledger, ledger.clock.now() + wait, step)
        if ask is not None:
            with ledger.snapshot() as views:
                subscription = current.get(views, Subscription, id)
            assert subscription is not None
            with suppress(Rejected):
                ledger.execute_now(ask(story, subscription))
    facts = (re.sub(r'"position":\d+', "", fact) for fact in log(ledger))
    return [fact for fact in facts if "ledger.clock_advanced" not in fact]


def move(ledger: Ledger, to: datetime, step: timedelta) -> None:
    """Move the clock on, so far at once."""
    while ledger.clock.now() < to:
        ledger.advance_now(min(to, ledger.clock.now() + step))


@settings(max_examples=10, deadline=None)
@given(asked=ASKED)
def test_leaps_and_steps_come_to_the_same(asked: list[tuple[timedelta, Asked]]) -> None:
    told = []
    for step in STEPS:
        with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
            told.append(tell(ledger, asked, step))
            with ledger.snapshot() as views:
                assert due_work.first(views, to_us(ledger.clock.now())) is None
            dump(ledger)
    assert told[0] == told[1]

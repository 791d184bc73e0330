"""Whatever has happened before, what is only supposed is what then comes true."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings

from app.commands import imagined_price
from app.ledger import Ledger
from domain.decider import Rejected
from domain.periods import format_instant
from domain.prices import Price, SupersedePrice
from domain.pricing import PerUnit
from domain.subscriptions import Subscription
from projections import current, due_work, invoice_previews, supersessions
from projections.invoice_previews import Preview
from projections.supposed import NOTHING, Hypothetical, Supposed
from projections.tables import Views
from tests import marks
from tests.app.test_random_corrections import HOUR, STEPS, History
from tests.conftest import CLOCK

pytestmark = marks.CAMPAIGN

Next = dict[str, tuple[datetime, str] | None]
"""For each subscription when its next invoice is for, and what it says."""


class Asked(History):
    """A history in which usage and new prices are supposed before they are real."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.compared = 0

    def use(self, event: str, value: int, ago: timedelta) -> None:
        """Something was used some time ago."""
        at = max(CLOCK, self.now - ago)
        used = Hypothetical(
            event_name=event,
            timestamp=at,
            value=str(value),
            properties={"model": "large" if value % 2 else "small"},
        )
        with self._as_supposed(lambda _: Supposed(usage=[used])):
            super().use(event, value, ago)

    def supersede(self, name: str, amount: int, ago: timedelta) -> None:
        """A price asks something else, maybe since some time ago."""
        command = SupersedePrice(
            price_id=self.story.prices[name],
            effective_at=self.now - ago + 10 * 24 * HOUR,
            pricing=PerUnit(unit_amount=Decimal(amount)),
        )
        with self._as_supposed(lambda views: imagined_price(views, command, self.now)):
            super().supersede(name, amount, ago)

    @contextmanager
    def _as_supposed(self, suppose: Callable[[Views], Supposed]) -> Iterator[None]:
        """What is done in the block comes to what was supposed before."""
        with self.ledger.snapshot() as views:
            supposed = suppose(views)
            expected = self._next(views, supposed)
            self._check_effects(views, supposed, expected)
        yield
        with self.ledger.snapshot() as views:
            assert self._next(views, NOTHING) == expected
        self.compared += len(expected)

    def _next(self, views: Views, supposed: Supposed) -> Next:
        found = current.select(views, Subscription, {}, limit=100)
        return {one.state.id: self._said_next(views, one.state, supposed) for one in found}

    def _said_next(
        self, views: Views, subscription: Subscription, supposed: Supposed
    ) -> tuple[datetime, str] | None:
        at = due_work.next_invoice(views, subscription, self.now, supposed)
        preview: Preview | None = None
        with suppress(Rejected):
            preview = invoice_previews.preview(
                views, subscription, now=self.now, at=at, supposed=supposed
            )
        return (preview.bill.at, preview.content_hash) if preview else None

    def _check_effects(self, views: Views, supposed: Supposed, expected: Next) -> None:
        if supposed.price is None:
            return
        price = current.get(views, Price, supposed.price.id)
        assert price is not None
        for one in supersessions.effects(views, price, supposed, now=self.now):
            said = (one.after.bill.at, one.after.content_hash) if one.after else None
            assert said == expected[one.subscription_id]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_whatever_happened_before_what_is_supposed_comes_true(
    steps: list[tuple[timedelta, tuple[Any, ...]]],
) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        history = Asked(ledger)
        history.begin()
        for time, step in steps:
            history.wait(time)
            history.happen(step)
        assert history.compared


def test_a_history_of_much_late_usage_and_many_prices(tmp_path: Path) -> None:
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        history = Asked(ledger)
        history.begin()
        for number in range(12):
            history.wait(90 * HOUR)
            history.use("tokens" if number % 3 else "seats", number, number * 61 * HOUR)
            name = ["tiers", "volume", "seat", "large"][number % 4]
            history.supersede(name, number + 1, number * 47 * HOUR)
        assert format_instant(history.now) > "2026-02-15"
        assert history.compared > 20

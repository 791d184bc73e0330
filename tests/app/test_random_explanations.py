"""Whatever comes late, is corrected or changes: each line goes on coming to what it says."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from app.ledger import Ledger
from domain.customers import Customer, UpdateCustomer
from domain.pricing import Percentage
from projections import current
from tests import marks
from tests.app.test_random_corrections import AMENDED, HOUR, HOURS, OTHER, USED, VOIDED, History
from tests.conftest import CLOCK
from tests.explained import explain

pytestmark = marks.CAMPAIGN

RENAMED = st.tuples(st.just("rename"), st.booleans())
STEPS = st.lists(
    st.tuples(HOURS, st.one_of(USED, USED, VOIDED, AMENDED, OTHER, RENAMED)),
    min_size=5,
    max_size=15,
)


FEE = Percentage(
    rate=Decimal("2.9"),
    fixed_amount=Decimal("0.3"),
    free_records=1,
    minimum_per_record=Decimal("0.5"),
)
"""What looks at single records."""


class Renaming(History):
    """A history in which senders' key may cease to mean the customer, and mean it again."""

    def begin(self) -> None:
        """The customer subscribes to a price of single records, too."""
        self._set_price("fee", pricing=FEE)
        self.subscribe("fee")
        super().begin()

    def wait(self, time: timedelta) -> None:
        """Time passes."""
        self.ledger.advance_now(self.now + time)

    def rename(self, back: bool) -> None:
        """Records that name the customer wait meanwhile."""
        with self.ledger.snapshot() as views:
            [found] = current.select(views, Customer, {}, limit=1)
        key = "al" if back else "somebody else"
        command = UpdateCustomer(customer_id=found.state.id, external_id=key, name=UNSET)
        self.ledger.execute_now(command)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_every_line_is_what_its_parts_come_to(
    steps: list[tuple[timedelta, tuple[Any, ...]]],
) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        history = Renaming(ledger)
        history.begin()
        for time, step in steps:
            history.wait(time)
            history.happen(step)
        history.wait(70 * 24 * HOUR)
        assert explain(ledger)

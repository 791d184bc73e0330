"""Whatever comes late or is corrected: nothing disappears, and everything is billed once."""

from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from domain.aggregation import Aggregation
from domain.customers import Customer
from domain.decider import Rejected
from domain.invoices import Invoice
from domain.late_usage import LateUsage
from domain.meter_filters import DimensionFilter
from domain.meters import Meter, ReviseMeter
from domain.periods import Interval, IntervalUnit, format_instant, to_us
from domain.prices import CreatePrice, SupersedePrice
from domain.pricing import PerUnit
from domain.products import Product
from domain.settlements import VoidInvoice
from domain.statements import Statement
from domain.subscription_changes import (
    CancelForm,
    CancelSubscription,
    ChangeSubscription,
    ItemChange,
    ProrationBehavior,
)
from domain.subscriptions import Subscription
from domain.usage import RecordInput
from domain.usage import Status as Verdict
from domain.usage_corrections import AmendUsage, VoidUsage
from projections import (
    billed_usage,
    current,
    due_work,
    invoice_previews,
    reconciliation,
    statements,
)
from projections.due_work import Due, Kind
from tests import marks
from tests.app.billed import dump
from tests.conftest import CLOCK
from tests.scenarios.story import Story

pytestmark = marks.CAMPAIGN

WORLD = """
2026-01-01 meter tokens: sum of tokens by model
2026-01-01 meter seats: weighted sum of seats, carried over
2026-01-01 product "Alpaca.ai"
2026-01-01 price tiers: graduated USD, per month, on tokens, 0.05 up to 10, then 0.033
2026-01-01 price volume: volume USD, per week, on tokens, 5 flat and 1 up to 20, then 0.5
2026-01-01 price seat: 31 USD, per month, on seats
2026-01-01 price licence: 100 USD, per month
2026-01-01 customer al
"""
NAMES = ["tiers", "volume", "seat", "licence", "large", "reported"]
HOUR = timedelta(hours=1)
INSTANT = timedelta.resolution

HOURS = st.integers(0, 24 * 40).map(lambda hours: timedelta(hours=hours))
NUMBERS = st.integers(0, 20)
VALUES = st.integers(-3, 30)
USED = st.tuples(st.just("use"), st.sampled_from(["tokens", "seats"]), VALUES, HOURS)
VOIDED = st.tuples(st.just("void"), NUMBERS)
AMENDED = st.tuples(st.just("amend"), NUMBERS, VALUES, st.sampled_from(["small", "large"]))
OTHER = st.one_of(
    st.tuples(st.just("again"), NUMBERS),
    st.tuples(st.just("subscribe"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("change"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("cancel"), st.booleans()),
    st.tuples(st.just("supersede"), st.sampled_from(NAMES), st.integers(1, 9), HOURS),
    st.tuples(st.just("revise"), st.sampled_from([Aggregation.SUM, Aggregation.MAX]), HOURS),
    st.tuples(st.just("void_invoice"), NUMBERS),
)
STEPS = st.lists(
    st.tuples(HOURS, st.one_of(USED, USED, VOIDED, AMENDED, OTHER)), min_size=5, max_size=15
)
"""How much time passes, and what happens then."""


class History:
    """A ledger to which things happen, and what was accepted of what was sent."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.story = Story(ledger)
        self.story.tell(WORLD)
        self.sent: list[RecordInput] = []
        self.accepted = {"tokens": 0, "seats": 0}
        for name, more in (
            ("large", {"meter_filter": (DimensionFilter(name="model", values=("large",)),)}),
            ("reported", {"late_usage": LateUsage.REPORT}),
        ):
            self._set_price(name, **more)

    def _set_price(self, name: str, **more: Any) -> None:
        with self.ledger.snapshot() as views:
            product = current.select(views, Product, {}, limit=1)[0].state.id
        command = CreatePrice(
            product_id=product,
            currency="USD",
            interval=Interval(IntervalUnit.MONTH),
            meter_id=self.story.ids["tokens"],
            nickname=name,
            **{"pricing": PerUnit(unit_amount=Decimal("0.07")), **more},
        )
        self.story.prices[name] = self.ledger.execute_now(command).subject

    @property
    def now(self) -> datetime:
        """Where the clock stands."""
        return self.ledger.clock.now()

    def begin(self) -> None:
        """The customer subscribes and uses something."""
        self.subscribe("tiers", "volume", "seat")
        for event in ("tokens", "seats", "tokens", "tokens"):
            self.use(event, 7 + len(self.sent), timedelta())
            self.wait(30 * HOUR)

    def happen(self, step: tuple[Any, ...]) -> None:
        """Something happens, or is refused."""
        name, *arguments = step
        with suppress(Rejected):
            getattr(self, name)(*arguments)

    # ------------------------------------------------------------------------------- steps

    def use(self, event: str, value: int, ago: timedelta) -> None:
        """Something was used some time ago."""
        record = RecordInput(
            id=f"r{len(self.sent)}",
            event_name=event,
            customer="al",
            timestamp=format_instant(max(CLOCK, self.now - ago)),
            value=str(value),
            properties={"model": "large" if value % 2 else "small"},
        )
        self.sent.append(record)
        self._send(record)

    def again(self, number: int) -> None:
        """What was sent is sent again."""
        self._send(self.sent[number % len(self.sent)])

    def _send(self, record: RecordInput) -> None:
        [receipt] = self.ledger.record_now([record])
        self.accepted[record.event_name] += receipt.status is Verdict.ACCEPTED

    def void(self, number: int) -> None:
        """A record is voided."""
        self.ledger.execute_now(VoidUsage(id=self.sent[number % len(self.sent)].id))

    def amend(self, number: int, value: int, model: str) -> None:
        """A record is amended."""
        id = self.sent[number % len(self.sent)].id
        command = AmendUsage(id=id, value=str(value), properties={"model": model})
        self.ledger.execute_now(command)

    def subscribe(self, *names: str) -> None:
        """The customer subscribes."""
        terms = ", ".join(dict.fromkeys(names))
        terms = terms.replace("licence", "licence x 1")
        self.story.tell(f"{format_instant(self.now)} subscribe al to {terms}")

    def change(self, name: str, now: bool) -> None:
        """The first item of the newest subscription gets another price."""
        subscription = self._newest()
        if subscription is None or not subscription.items:
            return
        command = ChangeSubscription(
            subscription_id=subscription.id,
            items=(
                ItemChange(
                    item_id=subscription.items[0].id,
                    price_id=self.story.prices[name],
                    quantity=Decimal(1) if name == "licence" else None,
                ),
            ),
            behavior=ProrationBehavior.INVOICE_NOW if now else ProrationBehavior.CREATE_PRORATIONS,
        )
        self.ledger.execute_now(command)

    def cancel(self, discards: bool) -> None:
        """The newest subscription ends."""
        subscription = self._newest()
        if subscription is not None:
            self.ledger.execute_now(
                CancelSubscription(
                    subscription_id=subscription.id,
                    form=CancelForm.NOW,
                    discard_usage=discards,
                )
            )

    def supersede(self, name: str, amount: int, ago: timedelta) -> None:
        """A price asks something else, maybe since some time ago."""
        self.ledger.execute_now(
            SupersedePrice(
                price_id=self.story.prices[name],
                effective_at=self.now - ago + 10 * 24 * HOUR,
                pricing=PerUnit(unit_amount=Decimal(amount)),
            )
        )

    def revise(self, aggregation: Aggregation, ago: timedelta) -> None:
        """The tokens are measured otherwise, maybe since some time ago."""
        self.ledger.execute_now(
            ReviseMeter(
                meter_id=self.story.ids["tokens"],
                effective_at=self.now - ago + 10 * 24 * HOUR,
                aggregation=aggregation,
            )
        )

    def void_invoice(self, number: int) -> None:
        """An invoice is voided, if it may be."""
        with self.ledger.snapshot() as views:
            found = current.select(views, Invoice, {}, limit=100)
        if number < len(found):
            self.ledger.execute_now(VoidInvoice(invoice_id=found[number].state.id))

    def wait(self, time: timedelta) -> None:
        """Time passes, and each invoice is issued as its preview and its draft said."""
        until = self.now + time
        done: set[Due] = set()
        while (due := self._next_due(until)) is not None:
            assert due not in done, "what is due is done"
            done.add(due)
            if due.at - INSTANT > self.now:
                self.ledger.advance_now(due.at - INSTANT)
            expected = self._expected(due)
            self.ledger.advance_now(due.at)
            if expected is not None and not self._is_parked(due):
                said = self._said(due)
                assert (said.content_hash, said.total) == (expected.content_hash, expected.total)
        self.ledger.advance_now(until)

    def _next_due(self, until: datetime) -> Due | None:
        with self.ledger.snapshot() as views:
            return due_work.first(views, to_us(until))

    def _expected(self, due: Due) -> Statement | None:
        """What an invoice should say, by the preview of it or by its draft."""
        with self.ledger.snapshot() as views:
            if due.kind is Kind.DRAFT:
                return statements.due(views, due.subject, due.at, "preview", self.now)
            if due.kind is Kind.FINALIZE:
                invoice = current.get(views, Invoice, due.subject)
                assert invoice is not None
                return statements.of_invoice(views, invoice, self.now)
        return None

    def _said(self, due: Due) -> Statement:
        """What the invoice that was drafted or issued says."""
        with self.ledger.snapshot() as views:
            keys = {"subscriptionId": due.subscription_id}
            found = current.select(views, Invoice, keys, limit=100)
            [invoice] = [
                one.state
                for one in found
                if one.state.id == due.subject
                or (due.kind is Kind.DRAFT and one.state.at == due.at)
            ]
            return statements.of_invoice(views, invoice, self.now)

    def _is_parked(self, due: Due) -> bool:
        with self.ledger.snapshot() as views:
            subscription = current.get(views, Subscription, due.subscription_id)
            return subscription is None or subscription.parked is not None

    def _newest(self) -> Subscription | None:
        with self.ledger.snapshot() as views:
            found = current.select(views, Subscription, {}, limit=1, backwards=True)
            return found[0].state if found else None

    # ------------------------------------------------------------------------------- checks

    def check(self) -> None:
        """Everything accepted is somewhere, and what does not wait is billed as it is now."""
        with self.ledger.snapshot() as views:
            [customer] = current.select(views, Customer, {}, limit=2)
            for meter in current.select(views, Meter, {}, limit=3):
                found = reconciliation.reconcile(views, meter, customer)
                assert found.accepted == self.accepted[meter.state.event_name]
                parts = (found.billed, found.waiting, found.written_off, found.voided)
                assert sum(parts) == found.accepted
                assert min(parts) >= 0
            for billed in billed_usage.select(views, "waits=0 AND closed IS NULL", ()):
                line, _ = invoice_previews.adjustment(views, billed)
                assert not line.quantity
                assert not line.exact
                assert not line.amount

    def check_end(self) -> None:
        """In the end nothing waits, but for what somebody should look at first."""
        with self.ledger.snapshot() as views:
            for found in current.select(views, Subscription, {}, limit=100):
                if not found.state.held:
                    assert billed_usage.waiting(views, found.state.id) == []


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_nothing_disappears_and_everything_is_billed_once(
    steps: list[tuple[timedelta, tuple[Any, ...]]],
) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        history = History(ledger)
        history.begin()
        for time, step in steps:
            history.wait(time)
            history.happen(step)
            history.check()
        history.wait(70 * 24 * HOUR)
        history.check()
        history.check_end()
        dump(ledger)

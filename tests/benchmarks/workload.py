"""The business that is measured: its meter and customers, and usage records made to order.

Everything is made from counters, so that each run measures the same content; only time-ordered ids
come from the clock, as a sender's would.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from app import commands
from app.clock import new_record_id
from app.ledger import Ledger
from domain import customers, meters, prices, products, subscription_items, subscriptions
from domain.aggregation import Aggregation
from domain.periods import Interval, IntervalUnit, format_instant
from domain.pricing import Graduated, PerUnit, Tier
from domain.usage import RecordInput
from projections.places import Place

EVENT_NAME = "tokens"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
NOW = START + timedelta(days=DAYS)

_QUEUED = 500
T = TypeVar("T")

_SPREAD = 7_919  # a prime, so that neighbouring records belong to customers far apart

Ids = Literal["time-ordered", "random"]


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `records` is how many the large ledger holds."""

    records: int = 1_000_000
    customers: int = 1_000
    slices: int = 10
    clients: int = 50
    asked: int = 300
    """How often each question is asked for its percentiles."""
    subscriptions: int = 200
    """How many customers are invoiced month after month."""
    months: int = 24
    filled: int = 10_000_000
    """How many records are in the ledger that is written to at scale."""
    many: int = 100_000
    """How many customers that ledger has."""
    ids: Ids | None = None
    """Of which kind its ids are; None for each in turn."""
    ways: int | None = None
    """How many of the ways to do something are measured; None for all."""

    def some(self, ways: Sequence[T]) -> Sequence[T]:
        """Those of the ways to do something that are measured."""
        return ways[: self.ways]

    def among(self, records: int) -> int:
        """How many records a month has of which these are the first: millions, as where it matters.

        The fewer there are, the further apart they lie, and the more hours each batch is about.
        """
        return max(records, self.filled)

    @property
    def small(self) -> int:
        """How many records the small ledger holds."""
        return self.records // 100


QUICK = Sizes(
    records=2_000,
    customers=10,
    slices=1,
    clients=4,
    asked=4,
    subscriptions=3,
    months=2,
    filled=1_000,
    many=20,
    ways=1,
)


@dataclass(frozen=True)
class Business:
    """An open ledger with what the measurements ask about."""

    ledger: Ledger
    subscription_id: str


@contextmanager
def business(directory: Path, sizes: Sizes, place: Place | None = None) -> Iterator[Business]:
    """A new ledger with a meter over two models, its customers, and one subscription."""
    with Ledger(directory, place=place, test_clock_at=NOW) as ledger:
        items = price_list(ledger)
        first, *_ = customers_of(ledger, sizes.customers)
        yield Business(ledger, subscribe(ledger, first, items))


def customers_of(ledger: Ledger, count: int) -> list[str]:
    """Create the customers, many to a commit; return their ids."""
    jobs = [
        commands.job(
            customers.CreateCustomer(name=f"Customer {number}", external_id=f"customer-{number}"),
            key=None,
            actor=None,
        )
        for number in range(count)
    ]
    remaining = iter(jobs)
    created: list[str] = []
    while some := list(islice(remaining, _QUEUED)):
        waiting = [ledger.writer.submit(one) for one in some]
        created += [one.result().subject for one in waiting]
    return created


def price_list(ledger: Ledger) -> tuple[subscription_items.NewItem, ...]:
    """What is sold: a licence, and graduated usage on a meter over two models."""
    meter = meters.CreateMeter(
        name="Tokens",
        event_name=EVENT_NAME,
        aggregation=Aggregation.SUM,
        dimensions=("model",),
    )
    meter_id = ledger.execute_now(meter).subject
    product = ledger.execute_now(products.CreateProduct(name="Inference")).subject
    tiers = (
        Tier(up_to=Decimal(1000), unit_amount=Decimal(0)),
        Tier(unit_amount=Decimal("0.04")),
    )
    monthly = Interval(IntervalUnit.MONTH)
    created = [
        ledger.execute_now(
            prices.CreatePrice(
                product_id=product,
                currency="USD",
                interval=monthly,
                pricing=pricing,
                meter_id=metered,
            )
        ).subject
        for pricing, metered in (
            (PerUnit(unit_amount=Decimal(80)), None),
            (Graduated(tiers=tiers), meter_id),
        )
    ]
    return tuple(subscription_items.NewItem(price_id=price) for price in created)


def subscribe(
    ledger: Ledger, customer_id: str, items: tuple[subscription_items.NewItem, ...]
) -> str:
    """A subscription from the start of the records; return its id."""
    command = subscriptions.CreateSubscription(customer_id=customer_id, items=items, start_at=START)
    return ledger.execute_now(command).subject


class Records:
    """Usage records in the order of time: all customers in turn, `total` of them in 30 days.

    Random ids are made from counted numbers, beginning with `first`.
    """

    def __init__(self, ids: Ids, customers: int, total: int, first: int = 0) -> None:
        self._ids = ids
        self._customers = customers
        self._step = timedelta(days=DAYS) / total
        self._first = first
        self._made = 0

    def batch(self, size: int) -> list[RecordInput]:
        """The next records."""
        return [self._record() for _ in range(size)]

    def _record(self) -> RecordInput:
        number, self._made = self._made, self._made + 1
        return RecordInput(
            id=new_record_id() if self._ids == "time-ordered" else random_id(self._first + number),
            event_name=EVENT_NAME,
            customer=f"customer-{number * _SPREAD % self._customers}",
            timestamp=format_instant(START + self._step * number),
            value=str(number % 5_000),
            properties={"model": ("large", "small")[number % 2]},
        )


def random_id(number: int) -> str:
    """A UUIDv4 that is the same in every run and in no order."""
    digits = hashlib.sha256(b"record %d" % number).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"

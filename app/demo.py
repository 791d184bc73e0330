"""Something to look at: the Alpaca.ai story and two months of a few customers' usage.

Loaded through the same commands as everybody's, with fixed idempotency keys and record ids, so that
loading it again adds nothing. The customer of the story, `alpaca-lover`, has sent nothing yet:
send 3,000 tokens for it and its next invoice is 80.00 + 100.00 = 180.00.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from app.commands import Command
from app.graphiql import STORY_CUSTOMER
from app.ledger import Ledger
from domain import customers, meters, prices, products, subscription_items, subscriptions
from domain.aggregation import Aggregation
from domain.customers import Customer
from domain.periods import Interval, IntervalUnit, format_instant
from domain.pricing import Graduated, Package, PerUnit, Tier
from domain.usage import RecordInput
from projections import current

EVENT_NAME = "alpaca_ai_tokens"
DAYS = 60
BATCH = 1_000

_MONTHLY = Interval(IntervalUnit.MONTH)
CUSTOMERS = (
    # external id, name, seats, tokens in a usual hour
    ("northwind-labs", "Northwind Labs", 5, 4),
    ("tidepool-robotics", "Tidepool Robotics", 12, 9),
    ("quiet-harbour-press", "Quiet Harbour Press", 2, 1),
)
MODELS = ("alpaca-large", "alpaca-small")
_REGIONS = ("eu-west", "us-east")


def load(ledger: Ledger) -> int:
    """Put the demo into a ledger and return how many usage records it holds; 0 if it was there."""
    with ledger.snapshot() as views:
        if current.owner(views, Customer, "externalId", STORY_CUSTOMER) is not None:
            return 0
    now = ledger.clock.now()
    _catalogue_and_customers(ledger, now)
    records = list(_usage(now))
    for start in range(0, len(records), BATCH):
        ledger.record_now(records[start : start + BATCH])
    return len(records)


def _catalogue_and_customers(ledger: Ledger, now: datetime) -> None:
    """Two meters, three products with a price each, the customers and their subscriptions."""
    usage = _token_price(ledger)
    licence = _licence_price(ledger)
    requests = _request_price(ledger)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    story = _do(
        ledger,
        "customer",
        customers.CreateCustomer(
            name="Alpaca Lover Inc.",
            external_id=STORY_CUSTOMER,
            email="billing@alpaca-lover.example",
            description="The customer of the flat fee and overages story",
        ),
    )
    _subscribe(ledger, story, month, (usage, None), (licence, 1))
    start = _first_day(now)
    for external_id, name, seats, _ in CUSTOMERS:
        customer = _do(
            ledger,
            f"customer-{external_id}",
            customers.CreateCustomer(name=name, external_id=external_id),
        )
        _subscribe(ledger, customer, start, (usage, None), (licence, seats), (requests, None))


def _token_price(ledger: Ledger) -> str:
    meter = _do(
        ledger,
        "meter-tokens",
        meters.CreateMeter(
            name="Alpaca.ai tokens",
            event_name=EVENT_NAME,
            aggregation=Aggregation.SUM,
            dimensions=("model", "region"),
        ),
    )
    product = _do(
        ledger,
        "product-usage",
        products.CreateProduct(name="Alpaca.ai usage", unit_label="token"),
    )
    tiers = (
        Tier(up_to=Decimal(1000), unit_amount=Decimal(0)),
        Tier(unit_amount=Decimal("0.04")),
    )
    return _do(
        ledger,
        "price-usage",
        prices.CreatePrice(
            product_id=product,
            currency="USD",
            interval=_MONTHLY,
            pricing=Graduated(tiers=tiers),
            meter_id=meter,
            lookup_key="alpaca-usage",
        ),
    )


def _licence_price(ledger: Ledger) -> str:
    product = _do(
        ledger,
        "product-licence",
        products.CreateProduct(name="Alpaca.ai licence", unit_label="user"),
    )
    return _do(
        ledger,
        "price-licence",
        prices.CreatePrice(
            product_id=product,
            currency="USD",
            interval=_MONTHLY,
            pricing=PerUnit(unit_amount=Decimal(100)),
            lookup_key="alpaca-licence",
        ),
    )


def _request_price(ledger: Ledger) -> str:
    meter = _do(
        ledger,
        "meter-requests",
        meters.CreateMeter(
            name="Alpaca.ai requests",
            event_name="alpaca_ai_requests",
            aggregation=Aggregation.COUNT,
            dimensions=("model",),
        ),
    )
    product = _do(
        ledger,
        "product-requests",
        products.CreateProduct(name="Alpaca.ai requests", unit_label="request"),
    )
    return _do(
        ledger,
        "price-requests",
        prices.CreatePrice(
            product_id=product,
            currency="USD",
            interval=_MONTHLY,
            pricing=Package(size=Decimal(100), amount=Decimal("0.5"), free_units=Decimal(200)),
            meter_id=meter,
            lookup_key="alpaca-requests",
        ),
    )


def _subscribe(
    ledger: Ledger, customer: str, start: datetime, *items: tuple[str, int | None]
) -> None:
    chosen = tuple(
        subscription_items.NewItem(
            price_id=price, quantity=None if quantity is None else Decimal(quantity)
        )
        for price, quantity in items
    )
    command = subscriptions.CreateSubscription(customer_id=customer, items=chosen, start_at=start)
    _do(ledger, f"subscription-{customer}", command)


def _usage(now: datetime) -> Iterator[RecordInput]:
    """Tokens every hour and now and then a request, more tokens on working days."""
    start = _first_day(now)
    hours = (now - start) // timedelta(hours=1)
    for hour in range(hours):
        at = start + timedelta(hours=hour, minutes=17)
        for external_id, _, _, usual in CUSTOMERS:
            chance = hashlib.blake2b(f"{external_id} {hour}".encode(), digest_size=4).digest()
            busy = usual * (2 if at.weekday() < 5 and 8 <= at.hour < 18 else 1)
            yield _record("tokens", external_id, at, str(busy * (chance[0] % 8)), chance)
            if chance[3] % 12 < usual:
                yield _record("requests", external_id, at, None, chance)


def _record(
    what: str, customer: str, at: datetime, value: str | None, chance: bytes
) -> RecordInput:
    properties = {"model": MODELS[chance[1] % 2]}
    if what == "tokens":
        properties["region"] = _REGIONS[chance[2] % 2]
    return RecordInput(
        id=f"demo-{what}-{customer}-{at:%Y%m%d%H}",
        event_name=f"alpaca_ai_{what}",
        customer=customer,
        timestamp=format_instant(at),
        value=value,
        properties=properties,
    )


def _first_day(now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=DAYS)


def _do(ledger: Ledger, key: str, command: Command) -> str:
    """Carry out a command once and return the id of what it made."""
    return ledger.execute_now(command, f"demo-{key}").subject

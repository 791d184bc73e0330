"""Part e: what the preview of a large subscription costs the server, from query to answer."""

import asyncio
from decimal import Decimal
from pathlib import Path
from time import process_time
from typing import Any

from app.schema import Context, schema
from domain import meters, prices, products, subscription_items, subscriptions
from domain.customers import Customer
from domain.meter_filters import DimensionFilter
from domain.periods import Interval, IntervalUnit
from domain.pricing import Graduated, Tier
from projections import current
from tests.benchmarks import report
from tests.benchmarks.workload import START, Business, Sizes

TITLE = "A preview with 20 items"

ITEMS = 20
QUERY = """query($id: ID!) {
  invoicePreview(subscriptionId: $id) {
    id status total { amount currency } period { start end } contentHash
    lines { id kind description quantity amount { amount } exactAmount period { start end }
      price { id nickname product { name } } priceVersion { number }
      steps { description quantity unitAmount flatAmount from upTo amount } }
  }
}"""


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Subscribe a customer to 20 metered prices and ask for the preview as a client would."""
    id = subscribe(large)
    with asyncio.Runner() as server:
        seconds = sorted(_ask(server, large, id) for _ in range(sizes.asked))
    report.table(
        TITLE,
        f"Timed: the CPU of the process for one GraphQL query of everything on the preview of\n"
        f"{ITEMS} metered items, {sizes.records:,} records in the ledger, asked {sizes.asked}"
        " times.",
        ["question", "p50", "p99"],
        [
            [
                f"preview with {ITEMS} items",
                report.millis(report.percentile(seconds, 50)),
                report.millis(report.percentile(seconds, 99)),
            ]
        ],
    )


def subscribe(business: Business) -> str:
    """Subscribe the first customer to 20 prices over two models; return the id."""
    ledger = business.ledger
    with ledger.snapshot() as views:
        meter = current.select(views, meters.Meter, {}, limit=1)[0].state
        customer = current.select(views, Customer, {}, limit=1)[0].state
    product = ledger.execute_now(products.CreateProduct(name="By model")).subject
    items = tuple(
        subscription_items.NewItem(
            price_id=ledger.execute_now(_price(product, meter.id, number)).subject
        )
        for number in range(ITEMS)
    )
    command = subscriptions.CreateSubscription(customer_id=customer.id, items=items, start_at=START)
    return ledger.execute_now(command).subject


def _price(product: str, meter: str, number: int) -> prices.CreatePrice:
    """A thousand tokens of one model included, then so much for each."""
    rate = Decimal("0.001") * (number + 1)
    tiers = (Tier(up_to=Decimal(1000), unit_amount=Decimal(0)), Tier(unit_amount=rate))
    return prices.CreatePrice(
        product_id=product,
        currency="USD",
        interval=Interval(IntervalUnit.MONTH),
        meter_id=meter,
        meter_filter=(DimensionFilter(name="model", values=(("large", "small")[number % 2],)),),
        pricing=Graduated(tiers=tiers),
        nickname=f"Tokens {number}",
    )


def _ask(server: asyncio.Runner, business: Business, id: str) -> float:
    """Seconds of CPU that one query takes, in an event loop that is there already."""
    context = Context(business.ledger, "bench")
    started = process_time()
    result = server.run(schema.execute(QUERY, {"id": id}, context_value=context))
    seconds = process_time() - started
    assert result.errors is None, result.errors
    answer: Any = result.data
    assert len(answer["invoicePreview"]["lines"]) == ITEMS
    return seconds

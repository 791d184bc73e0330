"""Part d: what a question costs in a small and in a large ledger."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from time import perf_counter

from app.ledger import Ledger
from app.schema import Context, schema
from domain.periods import Period, format_instant
from domain.subscriptions import Subscription
from projections import as_of, current, invoice_previews, meter_summaries
from projections.meter_summaries import Question
from projections.tables import Views
from tests.benchmarks import report
from tests.benchmarks.workload import DAYS, NOW, START, Business, Records, Sizes, business

TITLE = "Latency of previews and summaries"

Ask = Callable[[Ledger, Views, Subscription], object]


def preview(_: Ledger, views: Views, subscription: Subscription) -> object:
    """The next invoice of one subscription."""
    return invoice_previews.preview(views, subscription, now=NOW)


def as_known(ledger: Ledger, views: Views, subscription: Subscription) -> object:
    """The next invoice as known when the last tenth of the usage was not recorded yet."""
    customer, position = subscription.customer_id, earlier(ledger, views, subscription)
    with as_of.known(views, ledger.store.at, customer, position) as then:
        return invoice_previews.preview(then, subscription, now=NOW)


def earlier(ledger: Ledger, views: Views, subscription: Subscription) -> int:
    """A position with nine tenths of what came after a subscription."""
    found = current.find(views, Subscription, subscription.id)
    assert found is not None
    since, head = found.position, ledger.store.head()[0]
    return since + (head - since) * 9 // 10


def month(_: Ledger, views: Views, subscription: Subscription) -> object:
    """One customer's usage in the whole period."""
    period = Period(start=START, end=START + timedelta(days=DAYS + 1))
    return meter_summaries.quantity(views, question(views, subscription), period)


def by_day(_: Ledger, views: Views, subscription: Subscription) -> object:
    """One customer's usage on each day."""
    days = [START + timedelta(days=day) for day in range(DAYS + 1)]
    return meter_summaries.summaries(views, question(views, subscription), days)


def unaligned(_: Ledger, views: Views, subscription: Subscription) -> object:
    """One customer's usage between two instants in the middle of an hour."""
    edge = timedelta(minutes=17, seconds=3)
    period = Period(start=START + edge, end=NOW - edge)
    return meter_summaries.quantity(views, question(views, subscription), period)


QUESTIONS: Mapping[str, Ask] = {
    "invoice preview": preview,
    "the same, as of": as_known,
    "summary of 31 days": month,
    "summary by day": by_day,
    "summary, unaligned": unaligned,
}

OBJECT = """query($id: ID!, $asOf: AsOf) { subscription(id: $id, asOf: $asOf) {
  status customer { name } items { quantity price { nickname product { name } } } } }"""
MONEY = """query($id: ID!, $asOf: AsOf) { subscription(id: $id, asOf: $asOf) {
  customer { balances { amount } invoices { nodes { number status } } } } }"""
FEED = """query($customer: ID, $usage: Boolean, $types: [String!], $from: DateTime) {
  ledgerEvents(last: 20, customerId: $customer, withUsage: $usage, types: $types,
    recordedFrom: $from) { nodes { position type recordedAt hash } } }"""
BATCH = """{ ledgerEvents(last: 1, types: ["usage.recorded"]) { nodes {
  records(first: 20) { nodes { row hash record { id state } } } } } }"""

LOOKING_BACK: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "a subscription, now": (OBJECT, {"id": "its id"}),
    "the same, as of": (OBJECT, {"id": "its id", "asOf": "before"}),
    "its money, as of": (MONEY, {"id": "its id", "asOf": "before"}),
    "20 facts, the newest": (FEED, {}),
    "20 facts since an instant": (FEED, {"from": format_instant(NOW)}),
    "20 facts of a rare type": (FEED, {"types": ["meter.created", "price.created"]}),
    "20 facts of a customer": (FEED, {"customer": "its customer"}),
    "the same, with its usage": (FEED, {"customer": "its customer", "usage": True}),
    "20 records of a batch": (BATCH, {}),
}
"""What is asked by GraphQL: a query and its variables."""


def by_graphql(runner: asyncio.Runner, query: str, variables: Mapping[str, object]) -> Ask:
    """A question as a client asks it, parsed and checked like any other."""

    def ask(ledger: Ledger, views: Views, subscription: Subscription) -> object:
        known: Mapping[object, object] = {
            "its id": subscription.id,
            "its customer": subscription.customer_id,
            "before": {"position": str(earlier(ledger, views, subscription))},
        }
        said = {
            name: known.get(value, value) if isinstance(value, str) else value
            for name, value in variables.items()
        }
        asked = schema.execute(query, said, context_value=Context(ledger, "bench"))
        result = runner.run(asked)
        assert result.errors is None, result.errors
        return result.data

    return ask


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Ask a small ledger and the large one in turn, and print the table."""
    with business(directory / "latency-small", sizes) as small:
        fill(small, sizes, sizes.small)
        rows = [_row(name, ask, sizes, small, large) for name, ask in QUESTIONS.items()]
        with asyncio.Runner() as runner:
            for name, (query, variables) in LOOKING_BACK.items():
                ask = by_graphql(runner, query, variables)
                rows.append(_row(f"{name} (GraphQL)", ask, sizes, small, large))
    few, many = f"{sizes.small:,} records", f"{sizes.records:,} records"
    report.table(
        TITLE,
        f"Timed: the question within a new snapshot, asked {sizes.asked} times of both ledgers in\n"
        f"turn. The records of both lie in {DAYS} days and belong to {sizes.customers:,} customers;"
        " the\nratio is the large ledger's median over the small one's.",
        ["question", f"{few}: p50", "p99", f"{many}: p50", "p99", "ratio of p50"],
        rows,
    )


def fill(subject: Business, sizes: Sizes, count: int) -> None:
    """Put usage records into a ledger, a thousand at a time."""
    records = Records("time-ordered", sizes.customers, count)
    for made in range(0, count, 1_000):
        subject.ledger.record_now(records.batch(min(1_000, count - made)))


def question(views: Views, subscription: Subscription) -> Question:
    """Which usage the metered item of the subscription bills."""
    prices = invoice_previews.prices_of(views, subscription)
    metered = next(price for price in prices.values() if price.metered)
    return invoice_previews.question(views, metered, subscription.customer_id)


def _row(name: str, ask: Ask, sizes: Sizes, small: Business, large: Business) -> list[str]:
    few: list[float] = []
    many: list[float] = []
    for _ in range(sizes.asked):
        few.append(_time(ask, small.ledger, small.subscription_id))
        many.append(_time(ask, large.ledger, large.subscription_id))
    half, most = report.percentile(few, 50), report.percentile(many, 50)
    return [
        name,
        report.millis(half),
        report.millis(report.percentile(few, 99)),
        report.millis(most),
        report.millis(report.percentile(many, 99)),
        report.ratio(most / half),
    ]


def _time(ask: Ask, ledger: Ledger, subscription_id: str) -> float:
    """Seconds that one question takes, from loading the subscription to the answer."""
    started = perf_counter()
    with ledger.snapshot() as views:
        subscription = current.get(views, Subscription, subscription_id)
        assert subscription is not None
        answer = ask(ledger, views, subscription)
    seconds = perf_counter() - started
    assert answer, "there is nothing to measure"
    return seconds

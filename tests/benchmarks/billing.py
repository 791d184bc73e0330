"""Part f: months of invoices for many subscriptions, each drafted and issued when it falls due."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter

from app.clock import new_record_id
from app.ledger import Ledger
from domain.invoices import Invoice, Status
from domain.periods import format_instant
from domain.usage import RecordInput
from projections import current
from tests.benchmarks import report
from tests.benchmarks.workload import EVENT_NAME, START, Sizes, customers_of, price_list, subscribe

TITLE = "Invoices that issue themselves"
_EACH = 10
"""Usage records of each customer in a month."""


def run(directory: Path, sizes: Sizes) -> None:
    """Use and advance the clock, month by month, and print the table."""
    count, months = sizes.subscriptions, sizes.months
    with Ledger(directory / "billing", test_clock_at=START) as ledger:
        items = price_list(ledger)
        for customer_id in customers_of(ledger, count):
            subscribe(ledger, customer_id, items)
        seconds = 0.0
        for month in range(months):
            start, end = _month(month), _month(month + 1)
            ledger.record_now(list(_usage(count, start, (end - start) / (count * _EACH))))
            started = perf_counter()
            ledger.advance_now(end + timedelta(hours=2))
            seconds += perf_counter() - started
        with ledger.snapshot() as views:
            issued = current.count(views, Invoice, {})
            drafts = current.count(views, Invoice, {"status": Status.DRAFT})
    report.table(
        TITLE,
        f"Timed: `ledger.advance_now`, once a month. Each customer has a licence in advance and\n"
        f"graduated usage in arrears, with {_EACH} records a month.",
        ["subscriptions", "months", "invoices", "seconds", "invoices a second"],
        [
            [
                f"{count}",
                f"{months}",
                f"{issued:,}",
                f"{seconds:.2f}",
                report.rate((issued - count) / seconds),
            ]
        ],
    )
    assert (issued, drafts) == (count * (months + 1), 0), "an invoice is missing, or not issued"


def _month(number: int) -> datetime:
    """The start of the month, counted from the first."""
    return START.replace(year=START.year + number // 12, month=number % 12 + 1)


def _usage(count: int, start: datetime, step: timedelta) -> Iterator[RecordInput]:
    """A month's records, all customers in turn."""
    for number in range(count * _EACH):
        yield RecordInput(
            id=new_record_id(),
            event_name=EVENT_NAME,
            customer=f"customer-{number % count}",
            timestamp=format_instant(start + step * number),
            value=str(number % 5_000),
            properties={"model": ("large", "small")[number % 2]},
        )

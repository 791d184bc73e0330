"""Part g: what it costs to explain an issued line, down to its first records."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter

from app.ledger import Ledger
from app.schema.usage_records import Showing
from domain.invoices import Invoice
from domain.rating import LineKind
from projections import current
from projections.explanations import Explaining, Invoiced
from projections.usage_records import BEGINNING
from tests.benchmarks import report
from tests.benchmarks.workload import NOW, Business, Sizes

TITLE = "Explaining an issued line"
PAGE = 20

Ask = Callable[[Ledger, Explaining, int], object]


def first_page(ledger: Ledger, explaining: Explaining, index: int) -> object:
    """What it is made of, and its first records, as they stand in the ledger."""
    showing = Showing(explaining.known.views, ledger.store)
    with explaining.counted(index) as read:
        records = [
            showing.show(one.position, one.row, waiting=False)
            for one in islice(read(BEGINNING), PAGE + 1)
        ]
    return explaining.parts(index), records


def count(_: Ledger, explaining: Explaining, index: int) -> object:
    """How many records it has."""
    return explaining.count(index)


def again(_: Ledger, explaining: Explaining, index: int) -> object:
    """The line made again from all its records."""
    made = explaining.again(index)
    assert made.holds, "a line is what its parts come to"
    return made


QUESTIONS: Mapping[str, Ask] = {
    f"parts and the first {PAGE} records": first_page,
    "how many records": count,
    "made again from all records": again,
}


def run(directory: Path, sizes: Sizes, large: Business) -> None:
    """Let the month of the large ledger be issued, and ask about its usage."""
    large.ledger.advance_now(NOW + timedelta(days=3))
    rows = [_row(name, ask, sizes, large) for name, ask in QUESTIONS.items()]
    each = sizes.records // sizes.customers
    report.table(
        TITLE,
        f"Timed: the question within a new snapshot, asked {sizes.asked} times. The line has\n"
        f"{each:,} of the ledger's {sizes.records:,} records, each in another batch.",
        ["question", "p50", "p99"],
        rows,
    )


def _row(name: str, ask: Ask, sizes: Sizes, large: Business) -> list[str]:
    seconds = sorted(_time(ask, large) for _ in range(sizes.asked))
    return [name, *(report.millis(report.percentile(seconds, part)) for part in (50, 99))]


def _time(ask: Ask, large: Business) -> float:
    """Seconds that one question takes, from loading the invoice to the answer."""
    started = perf_counter()
    with large.ledger.snapshot() as views:
        keys = {"subscriptionId": large.subscription_id}
        found = current.select(views, Invoice, keys, limit=1, backwards=True)
        invoice: Invoice = found[0].state
        assert invoice.statement is not None, "the month is issued"
        source = Invoiced.of(invoice, invoice.statement)
        lines = invoice.statement.lines
        index = next(n for n, line in enumerate(lines) if line.kind is LineKind.USAGE)
        answer = ask(large.ledger, Explaining(views, large.ledger.store.at, source), index)
    seconds = perf_counter() - started
    assert answer, "there is nothing to measure"
    return seconds

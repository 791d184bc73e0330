"""Explain every line that a ledger can show, and hold each to what it says."""

from collections import Counter
from collections.abc import Iterator

from app.ledger import Ledger
from domain.invoices import Invoice
from domain.rating import LineKind
from domain.subscriptions import Subscription
from domain.usage import UsageRecorded
from projections import current, invoice_previews, statements
from projections.explanations import Explaining, Invoiced
from projections.tables import Views
from projections.usage_records import BEGINNING

MADE_BY = {
    LineKind.RECURRING: {"subscription.created", "subscription.changed"},
    LineKind.PRORATION: {"subscription.changed", "subscription.canceled"},
    LineKind.ONE_OFF: {"invoice_item.created"},
}
"""The kinds of facts that may stand behind a line; none behind usage and adjustments."""


class Unexplained(AssertionError):
    """A line is not what its parts come to; the message says which."""


def explain(ledger: Ledger) -> Counter[str]:
    """Explain issued invoices, whatever has happened since, drafts and previews; count the lines.

    Raises `Unexplained`.
    """
    seen: Counter[str] = Counter()
    with ledger.snapshot() as views:
        for invoiced in _invoiced(ledger, views):
            explaining = Explaining(views, ledger.store.at, invoiced)
            for index in range(len(invoiced.statement.lines)):
                seen += _line(ledger, explaining, index)
    return seen


def _invoiced(ledger: Ledger, views: Views) -> Iterator[Invoiced]:
    now = ledger.clock.now()
    for found in current.select(views, Invoice, {}, limit=100_000):
        yield Invoiced.of(found.state, statements.of_invoice(views, found.state, now))
    for found in current.select(views, Subscription, {}, limit=1_000):
        preview = invoice_previews.preview(views, found.state, now=now)
        if preview is not None:
            yield Invoiced.previewed(preview, statements.statement(views, preview, "preview"))


def _line(ledger: Ledger, explaining: Explaining, index: int) -> Counter[str]:
    line = explaining.statement.lines[index]
    parts, again = explaining.parts(index), explaining.again(index)
    if not again.holds:
        raise Unexplained(f"{line} is made again as {again}")
    with explaining.counted(index) as read:
        records = list(read(BEGINNING))
    if len(records) != explaining.count(index):
        raise Unexplained(f"{line} has {len(records)} records, not {explaining.count(index)}")
    if any(record.position > explaining.statement.position for record in records):
        raise Unexplained(f"{line} has records that were not known")
    for record in records:
        batch = ledger.store.at(record.position)
        assert batch is not None
        assert isinstance(batch.event, UsageRecorded)
        assert batch.event.records[record.row].timestamp_us == record.timestamp_us
    made = None if parts.made_at is None else ledger.store.at(parts.made_at)
    if line.kind in MADE_BY:
        assert made is not None, f"nothing is behind {line}"
        assert made.event.topic.partition("/")[0] in MADE_BY[line.kind]
    else:
        assert made is None
    return Counter([f"{line.kind} explained", *(["shares explained"] if parts.shares else [])])

"""Explain every line that a ledger can show, and hold each to what it says."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from app.ledger import Ledger
from domain.decider import Event
from domain.invoice_items import InvoiceItemCreated
from domain.invoices import Invoice
from domain.meters import MeterCreated, MeterRevised
from domain.prices import PriceCreated, PriceSuperseded
from domain.rating import LineKind
from domain.subscriptions import Subscription, SubscriptionCanceled, SubscriptionChanged
from domain.usage import UsageRecorded
from projections import current, invoice_previews, statements
from projections.explanations import Explaining, Invoiced, Parts
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
        batch = _fact(ledger, record.position)
        assert isinstance(batch, UsageRecorded)
        assert batch.record(record.row).timestamp_us == record.timestamp_us
    _facts(ledger, parts)
    _shares(parts)
    return Counter([f"{line.kind} explained", *(["shares explained"] if parts.shares else [])])


def _facts(ledger: Ledger, parts: Parts) -> None:
    """The facts that are named are those that made the line, its price and its meter."""
    line = parts.line
    made = None if parts.made_at is None else _fact(ledger, parts.made_at)
    assert (made is not None) == (line.kind in MADE_BY), f"{made} is behind {line}"
    if made is not None:
        assert made.topic.partition("/")[0] in MADE_BY[line.kind]
    match made:
        case SubscriptionChanged(change=change) if line.kind is LineKind.PRORATION:
            assert change.at == line.period.start
        case SubscriptionCanceled(end=end):
            assert end.at == line.period.start
        case InvoiceItemCreated():
            assert (made.description, made.amount) == (line.description, line.amount)
    if parts.price_at is not None:
        priced = _fact(ledger, parts.price_at)
        assert isinstance(priced, PriceCreated | PriceSuperseded)
        number = priced.number if isinstance(priced, PriceSuperseded) else 1
        assert (priced.id, number) == (line.price_id, line.price_version)
    for meter in parts.meters:
        defined = _fact(ledger, meter.position)
        assert isinstance(defined, MeterCreated | MeterRevised)
        assert (defined.id, defined.aggregation) == (meter.meter_id, meter.version.aggregation)
    if parts.meters:
        edges = [(meter.period.start, meter.period.end) for meter in parts.meters]
        assert edges[0][0] == line.since
        assert edges[-1][1] == line.period.end
        assert all(one[1] == other[0] for one, other in pairwise(edges))


def _shares(parts: Parts) -> None:
    """The shares that are named are those by which the steps of the line are made."""
    steps, shares = parts.line.steps, list(parts.shares)
    if parts.is_credit:
        back = steps[0].amount + (steps[1].amount if len(steps) > 1 else 0)
        assert steps[0].amount * shares.pop().fraction == back
        return
    for number, step in enumerate(steps):
        if step.description.startswith("prorated to"):
            whole = sum((one.amount for one in steps[:number]), Fraction(0))
            assert whole * shares.pop().fraction == whole + step.amount
    assert not shares


def _fact(ledger: Ledger, position: int) -> Event:
    recorded = ledger.store.at(position)
    assert recorded is not None
    return recorded.event

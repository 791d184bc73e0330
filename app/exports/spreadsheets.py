"""Usage, invoices, their lines and customers as CSV, for spreadsheets and data warehouses.

RFC 4180 in UTF-8, instants in UTC, numbers as exact decimals. Columns stay where they are, and new
ones are added at the end. A text that a spreadsheet would take for a formula gets an apostrophe in
front; a number never does.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from app.exports.standing_views import standing_views
from app.exports.subjects import Subject
from app.invoice_page import harmless
from app.opening import Home, open_snapshot
from app.schema.usage_records import State as UsageState
from app.snapshots import Kept
from app.store import LedgerMapper
from domain.customers import Customer
from domain.invoices import Invoice
from domain.money import format_decimal, format_money
from domain.periods import Period, format_instant, from_us
from domain.statements import IssuedLine, Statement
from domain.usage import UsageRecorded
from projections import current, usage_corrections
from projections.current import State
from projections.places import Place
from projections.tables import Views
from projections.usage_corrections import Standing

_PAGE = 200
_PART_ROWS = 1_000


class Plain(str):
    """A number as text, which is written as it is."""

    __slots__ = ()


Cell = str | int | Decimal | Fraction | datetime | None


class Sheet(msgspec.Struct, frozen=True):
    """One table: its columns, and its rows, from a ledger's home, its views and a period."""

    columns: Sequence[str]
    rows: Callable[[Home, Views, Period | None], Iterable[Sequence[Cell]]]


def spreadsheet(
    directory: Path, subject: Subject, period: Period | None, place: Place | None = None
) -> Iterator[bytes]:
    """A table of a ledger as CSV, a part at a time, as it is when the first part is read.

    A period keeps the usage that happened in it, the invoices that were issued in it with their
    lines, and the customers that were created in it.
    """
    sheet, home = SHEETS[subject], Home(directory, place)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(sheet.columns)
    with standing_views(*home) as views:
        for number, row in enumerate(sheet.rows(home, views, period), start=1):
            writer.writerow([written(cell) for cell in row])
            if number % _PART_ROWS == 0:
                yield _taken(text)
        yield _taken(text)


def written(cell: Cell) -> str:
    """One cell.

    >>> written("=1+1"), written(Plain("-3")), written(Decimal("-0.50")), written(None)
    ("'=1+1", '-3', '-0.5', '')
    """
    match cell:
        case None:
            return ""
        case Plain():
            return str(cell)
        case str():
            return harmless(cell)
        case datetime():
            return format_instant(cell)
        case _:
            return format_decimal(Fraction(cell) if isinstance(cell, int) else cell)


def _taken(text: io.StringIO) -> bytes:
    part = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return part


# --------------------------------------------------------------------------------------- usage

_USAGE = (
    "position row source id event_name customer customer_id timestamp recorded_at value"
    " properties state"
).split()


def _usage(home: Home, views: Views, period: Period | None) -> Iterator[Sequence[Cell]]:
    """Every usage record in the order of the ledger, with what it says now."""
    mapper = LedgerMapper()
    customers: dict[int, str] = {}
    with open_snapshot(*home) as snapshot:
        for kept in snapshot.events(topics="usage.recorded/"):
            if kept.position > views.checkpoint():
                return
            yield from _batch(views, mapper, kept, customers, period)


def _batch(
    views: Views,
    mapper: LedgerMapper,
    kept: Kept,
    customers: dict[int, str],
    period: Period | None,
) -> Iterator[Sequence[Cell]]:
    """The records of one event."""
    envelope, event = mapper.decode(kept.topic, kept.state)
    assert isinstance(event, UsageRecorded)
    standing = usage_corrections.standing(views, kept.position)
    for row, record in enumerate(event.records):
        at = from_us(record.timestamp_us)
        if period is not None and not period.start <= at < period.end:
            continue
        now = standing[row]
        properties = msgspec.json.encode(now.properties, order="sorted").decode()
        yield (
            kept.position,
            row,
            record.source,
            record.id,
            record.event_name,
            record.customer,
            _customer_id(views, now.customer_ref, customers),
            at,
            from_us(envelope.recorded_at_us),
            None if now.value is None else Plain(now.value),
            properties if now.properties else None,
            _state(now),
        )


def _state(now: Standing) -> UsageState:
    """What has become of a record, in the words of the API."""
    if now.voided:
        return UsageState.VOIDED
    if now.waiting:
        return UsageState.UNMATCHED
    return UsageState.AMENDED if now.corrected else UsageState.COUNTED


def _customer_id(views: Views, ref: int | None, known: dict[int, str]) -> str | None:
    """The id of the customer whose usage it is, None while that is nobody."""
    if ref is None:
        return None
    if ref not in known:
        customer = current.at(views, Customer, ref)
        assert customer is not None, f"no customer was created at {ref}"
        known[ref] = customer.id
    return known[ref]


# ------------------------------------------------------------------------------------ invoices

_INVOICES = (
    "id number status customer_id customer_external_id customer_name subscription_id currency"
    " reason at drafted_at finalized_at due_at period_start period_end subtotal total"
    " balance_applied amount_paid amount_credited amount_due overdue_at uncollectible_at voided_at"
    " content_hash"
).split()
_LINES = (
    "invoice_id invoice_number invoice_status customer_id currency finalized_at line_id kind"
    " description item_id price_id price_version period_start period_end quantity exact_amount"
    " amount"
).split()


def _invoices(_: Home, views: Views, period: Period | None) -> Iterator[Sequence[Cell]]:
    """Every invoice in the order of drafting; a draft has no amounts yet."""
    for invoice in _all(views, Invoice):
        if _within(invoice.finalized_at, period):
            yield (*_head(invoice), *_amounts(invoice, invoice.statement))


def _head(invoice: Invoice) -> Sequence[Cell]:
    """The columns up to the instants."""
    said = invoice.statement
    return (
        invoice.id,
        _number(invoice),
        invoice.status,
        invoice.customer_id,
        said.billed_to.external_id if said else None,
        said.billed_to.name if said else None,
        invoice.subscription_id,
        invoice.currency,
        invoice.reason,
        invoice.at,
        invoice.drafted_at,
        invoice.finalized_at,
        invoice.due_at,
    )


def _amounts(invoice: Invoice, said: Statement | None) -> Sequence[Cell]:
    """The columns from the period on; empty for a draft."""
    if said is None:
        return (None,) * (len(_INVOICES) - len(_head(invoice)))
    amounts = (
        said.subtotal,
        said.total,
        invoice.balance_applied,
        invoice.amount_paid,
        invoice.amount_credited,
        invoice.amount_due,
    )
    return (
        said.period.start,
        said.period.end,
        *(Plain(format_money(amount, said.currency)) for amount in amounts),
        invoice.overdue_at,
        invoice.uncollectible_at,
        invoice.voided_at,
        said.content_hash,
    )


def _lines(_: Home, views: Views, period: Period | None) -> Iterator[Sequence[Cell]]:
    """Every line of every invoice that was issued."""
    for invoice in _all(views, Invoice):
        if invoice.statement is not None and _within(invoice.finalized_at, period):
            for line in invoice.statement.lines:
                yield _line(invoice, line)


def _line(invoice: Invoice, line: IssuedLine) -> Sequence[Cell]:
    return (
        invoice.id,
        _number(invoice),
        invoice.status,
        invoice.customer_id,
        invoice.currency,
        invoice.finalized_at,
        line.id,
        line.kind,
        line.description,
        line.item_id,
        line.price_id,
        line.price_version,
        line.period.start,
        line.period.end,
        line.quantity,
        line.exact,
        Plain(format_money(line.amount, invoice.currency)),
    )


def _number(invoice: Invoice) -> Cell:
    return None if invoice.printed_number is None else Plain(invoice.printed_number)


# ----------------------------------------------------------------------------------- customers

_CUSTOMERS = "id external_id name email description time_zone created_at archived_at".split()


def _customers(_: Home, views: Views, period: Period | None) -> Iterator[Sequence[Cell]]:
    """Every customer in the order of creation, as it is known now."""
    for customer in _all(views, Customer):
        if _within(customer.created_at, period):
            yield tuple(getattr(customer, name) for name in _CUSTOMERS)


def _within(instant: datetime | None, period: Period | None) -> bool:
    """Whether an instant lies in the period; without a period any does, also none at all."""
    return period is None or (instant is not None and period.start <= instant < period.end)


def _all(views: Views, type: type[State]) -> Iterator[Any]:
    """Every object of a type in the order of creation, a page at a time."""
    after = 0
    while page := current.select(views, type, {}, after=after, limit=_PAGE):
        for found in page:
            yield found.state
        after = page[-1].position


SHEETS: Mapping[Subject, Sheet] = {
    Subject.USAGE: Sheet(_USAGE, _usage),
    Subject.INVOICES: Sheet(_INVOICES, _invoices),
    Subject.LINES: Sheet(_LINES, _lines),
    Subject.CUSTOMERS: Sheet(_CUSTOMERS, _customers),
}
"""Every table by what it lists."""

"""What was invoiced: which instants, under which numbers, which lines, and what customers hold.

What an invoice says stands in its own state (`current.py`); here is how to find it, and what adds
up over many invoices.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial

import msgspec

from domain import settlements
from domain.decider import Event, Recorded
from domain.invoices import ONCE, Invoice, InvoiceDrafted, InvoiceFinalized, Reason, Status
from domain.money import EXACT, format_decimal
from domain.periods import Period, to_us
from domain.settlements import CreditNoteCreated
from domain.statements import IssuedLine
from projections import current
from projections.tables import Table, Views

INSTANTS = Table(
    "invoiced_instants",
    "subscription_id TEXT, at_us INTEGER, position INTEGER, reason TEXT, invoice_id TEXT",
    key="subscription_id, at_us, position",
)
NUMBERS = Table("invoice_numbers", "number INTEGER PRIMARY KEY, invoice_id TEXT", key="number")
LINES = Table(
    "invoiced_lines",
    "subscription_id TEXT, item_id TEXT, end_us INTEGER, invoice_id TEXT, line INTEGER,"
    " start_us INTEGER",
    key="subscription_id, item_id, end_us, invoice_id, line",
)
BALANCES = Table(
    "customer_balances",
    "customer_id TEXT, currency TEXT, amount TEXT",
    key="customer_id, currency",
)
CREDIT_NOTES = Table(
    "credit_notes", "number INTEGER PRIMARY KEY, id TEXT, invoice_id TEXT", key="number"
)
TABLES = (INSTANTS, NUMBERS, LINES, BALANCES, CREDIT_NOTES)


class Billed(msgspec.Struct, frozen=True):
    """A line that was issued, and the invoice it stands on."""

    invoice: Invoice
    line: IssuedLine


Find = Callable[[str], Invoice | None]
"""Gives the invoice with an id."""


def apply(views: Views, recorded: Recorded) -> None:
    """Fold one fact about an invoice; any other changes nothing here."""
    if not recorded.stream_id.startswith(f"{current.KIND_OF[Invoice].prefix}_"):
        return
    match recorded.event:
        case InvoiceDrafted() as event:
            row = (
                event.subscription_id,
                to_us(event.at),
                recorded.position,
                event.reason,
                event.id,
            )
            views.insert("invoiced_instants", [row])
        case InvoiceFinalized() as event:
            views.insert("invoice_numbers", [(event.number, event.id)])
            views.insert("invoiced_lines", list(_line_rows(event)))
        case CreditNoteCreated() as event:
            views.insert("credit_notes", [(event.number, event.credit_note_id, event.id)])
    _add_to_balance(views, recorded.event)


def _line_rows(event: InvoiceFinalized) -> Iterator[tuple[str, str, int, str, int, int]]:
    """A row for each line that bills an item of the subscription."""
    for index, line in enumerate(event.lines):
        if line.item_id is not None:
            end_us, start_us = to_us(line.period.end), to_us(line.period.start)
            yield event.subscription_id, line.item_id, end_us, event.id, index, start_us


def _add_to_balance(views: Views, event: Event) -> None:
    """What the fact adds to what we owe the customer, or takes from it."""
    change = settlements.balance_change(event)
    if change is None or not change.amount:
        return
    after = EXACT.add(balance(views, change.customer_id, change.currency), change.amount)
    row = (change.customer_id, change.currency, format_decimal(after))
    views.put(BALANCES, row)


def balance(views: Views, customer_id: str, currency: str) -> Decimal:
    """What we owe a customer in a currency; the next invoices are paid from it first."""
    row = views.row(
        "SELECT amount FROM customer_balances WHERE customer_id=? AND currency=?",
        (customer_id, currency),
    )
    return Decimal(row[0]) if row else Decimal(0)


def next_number(views: Views) -> int:
    """The number of the invoice that is issued next; there are no gaps."""
    row = views.row("SELECT MAX(number) FROM invoice_numbers")
    return 1 + (row[0] or 0) if row else 1


def next_credit_note_number(views: Views) -> int:
    """The number of the credit note that is created next; there are no gaps."""
    row = views.row("SELECT MAX(number) FROM credit_notes")
    return 1 + (row[0] or 0) if row else 1


def balances(views: Views, customer_id: str) -> list[tuple[Decimal, str]]:
    """What we owe a customer, as (amount, currency) in every currency that was ever owed."""
    rows = views.rows(
        "SELECT amount, currency FROM customer_balances WHERE customer_id=? ORDER BY currency",
        (customer_id,),
    )
    return [(Decimal(amount), currency) for amount, currency in rows]


def invoiced(views: Views, subscription_id: str, at: datetime, reason: Reason) -> str | None:
    """The invoice that was drafted for a subscription at an instant for this reason."""
    row = views.row(
        "SELECT invoice_id FROM invoiced_instants WHERE subscription_id=? AND at_us=? AND reason=?",
        (subscription_id, to_us(at), reason),
    )
    return row[0] if row else None


def at_instant(views: Views, subscription_id: str, at: datetime) -> str | None:
    """The invoice that was drafted for what a subscription owed at an instant."""
    reasons = (invoiced(views, subscription_id, at, reason) for reason in sorted(ONCE))
    return next(filter(None, reasons), None)


def is_overdue(views: Views, subscription_id: str) -> bool:
    """Whether an invoice of a subscription is not paid in time."""
    keys = {"subscriptionId": subscription_id, "status": Status.OPEN}
    open_ones = current.select(views, Invoice, keys, limit=-1)
    return any(found.state.overdue_at is not None for found in open_ones)


def last_instant(views: Views, subscription_id: str) -> int | None:
    """The last instant at which a subscription was invoiced, in microseconds since 1970."""
    row = views.row(
        "SELECT MAX(at_us) FROM invoiced_instants WHERE subscription_id=?", (subscription_id,)
    )
    return row[0] if row else None


def billed(
    views: Views, subscription_id: str, item_id: str, period: Period, find: Find | None = None
) -> Iterator[Billed]:
    """The lines that bill an item for any part of a period, but for those of void invoices.

    `find` gives an invoice as it is to be looked at; by default, as it is now.
    """
    find = find or partial(current.get, views, Invoice)
    rows = views.rows(
        "SELECT invoice_id, line FROM invoiced_lines WHERE subscription_id=? AND item_id=?"
        " AND end_us>? AND start_us<? ORDER BY end_us, invoice_id, line",
        (subscription_id, item_id, to_us(period.start), to_us(period.end)),
    )
    for invoice_id, index in rows:
        invoice = find(invoice_id)
        said = invoice.statement if invoice else None  # none yet, when it was issued later
        if invoice is not None and said is not None and invoice.status is not Status.VOID:
            yield Billed(invoice, said.lines[index])

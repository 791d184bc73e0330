"""An invoice as a document: a page to print, and its data for a program or a spreadsheet.

The page needs no script and no other file. Everything on it that somebody wrote is escaped, and its
policy allows nothing but its own style sheet.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape

import msgspec

from app.invoice_details import Details
from app.local_time import local_text, period_text
from app.schema.scalars import as_json
from app.sent_records import SentRecords
from app.store import Store
from domain.invoices import Invoice, Status, paid_from_balance
from domain.money import exact, format_decimal, format_money
from domain.periods import format_instant
from domain.statements import IssuedLine, Statement
from projections import current, invoices, statements
from projections.explanations import Explaining, Invoiced
from projections.tables import Views

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; max-width: 52rem; margin: 2rem auto;
  padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
.status { display: inline-block; border: 1px solid currentColor; border-radius: 3px;
  padding: 0 .5rem; font-size: .85rem; letter-spacing: .05em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1.2rem 0; }
dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; margin: 1.2rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; }
thead th { border-bottom: 2px solid #1c1c1c; }
tbody tr.line > * { border-top: 1px solid #bbb; font-weight: 600; }
tbody tr.step > * { color: #555; font-size: .88rem; padding-top: 0; }
tbody tr.why > * { color: #555; font-size: .82rem; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.why table { font-size: .78rem; margin: .4rem 0; }
.why ul { margin: .3rem 0; padding-left: 1.2rem; }
tfoot tr:last-child > * { border-top: 2px solid #1c1c1c; font-weight: 700; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
footer { color: #555; font-size: .8rem; border-top: 1px solid #bbb; padding-top: .6rem;
  overflow-wrap: anywhere; }
@media print {
  body { margin: 0; max-width: none; padding: 0; font-size: 11pt; color: #000; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  tbody tr.why { display: none; }
  @page { margin: 18mm; }
}
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_STYLE_HASH}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

COLUMNS = (
    "invoice number line kind description period_start period_end quantity amount exact_amount"
    " currency"
).split()


class Document(msgspec.Struct, frozen=True):
    """An invoice in one of its forms."""

    content: str
    media_type: str


def document(views: Views, store: Store, id: str, form: str, now: datetime) -> Document | None:
    """An invoice as `json`, as `csv`, or, without a form, as a page; None when there is none."""
    invoice = current.get(views, Invoice, id)
    write = FORMS.get(form)
    if invoice is None or (form and write is None):
        return None
    said = statements.of_invoice(views, invoice, now)
    source = Invoiced.of(invoice, said)
    if invoice.statement is None:
        held = invoices.balance(views, invoice.customer_id, invoice.currency)
        applied, due = paid_from_balance(said.total, held)
        invoice = msgspec.structs.replace(invoice, balance_applied=applied, amount_due=due)
    if write is not None:
        return write(invoice, said)
    details = Details(Explaining(views, store.at, source), SentRecords(store))
    return as_page(invoice, said, details)


def as_data(invoice: Invoice, said: Statement) -> Document:
    """Everything about it as JSON; what a draft says is what it would say if issued now."""
    whole = {
        **as_json(invoice),
        "number": invoice.printed_number,
        "amountPaid": format_decimal(invoice.amount_paid),
        "statement": as_json(said),
    }
    content = msgspec.json.format(msgspec.json.encode(whole)).decode()
    return Document(content + "\n", "application/json")


def as_rows(invoice: Invoice, said: Statement) -> Document:
    """Its lines as CSV."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for number, line in enumerate(said.lines, start=1):
        rows.writerow(
            [
                invoice.id,
                invoice.printed_number or "",
                number,
                line.kind,
                harmless(line.description),
                format_instant(line.period.start),
                format_instant(line.period.end),
                format_decimal(line.quantity),
                format_money(line.amount, said.currency),
                format_decimal(line.exact),
                said.currency,
            ]
        )
    return Document(text.getvalue(), "text/csv")


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("Licence")
    ("'=1+1", 'Licence')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


FORMS: Mapping[str, Callable[[Invoice, Statement], Document]] = {
    "json": as_data,
    "csv": as_rows,
}
"""Every form of an invoice for programs by what stands behind the dot of its address."""


# ------------------------------------------------------------------------------------ the page


def as_page(invoice: Invoice, said: Statement, details: Details) -> Document:
    """It as a page to read or print, its dates in the customer's time zone."""
    number = invoice.printed_number
    title = f"Invoice {number}" if number else "Draft of an invoice"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p><span class="status">{escape(invoice.status)}</span></p>',
        _facts(_about(invoice, said)),
        _lines(invoice, said, details),
        _payments(invoice, said),
        _credit_notes(invoice, said),
        _footer(said),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )
    return Document(page, "text/html")


def _about(invoice: Invoice, said: Statement) -> dict[str, str]:
    """Who owes it, and when."""
    zone = said.billed_to.time_zone
    known = {
        "Billed to": said.billed_to.name,
        "Address": said.billed_to.email,
        "Customer": said.billed_to.external_id,
        "Period": period_text(said.period, zone),
        "Issued": local_text(invoice.finalized_at, zone),
        "Due": local_text(invoice.due_at, zone),
        "Void since": local_text(invoice.voided_at, zone),
        "Because": invoice.void_reason,
    }
    return {name: text for name, text in known.items() if text}


def _facts(known: Mapping[str, str]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in known.items()
    )
    return f"<dl>{rows}</dl>"


def _lines(invoice: Invoice, said: Statement, details: Details) -> str:
    """The lines with their steps and what is behind them, and what they come to."""
    rows = [
        row
        for index, line in enumerate(said.lines)
        for row in (*_line(line, said), *_why(details.of(index)))
    ]
    foot = "".join(
        f'<tr><th scope="row" colspan="3">{escape(name)}</th>{_money(amount, said)}</tr>'
        for name, amount in _sums(invoice, said)
    )
    head = _head("Description", "Period", "Quantity", f"Amount in {said.currency}", numbers=2)
    return _table("What is owed", head, rows, foot)


@exact
def _sums(invoice: Invoice, said: Statement) -> list[tuple[str, Decimal]]:
    """From the total to what is still to be paid, so that it adds up."""
    credited = sum((note.total - note.to_balance for note in invoice.credit_notes), Decimal(0))
    settled = {
        "From the balance": -invoice.balance_applied,
        "Credited": -credited,
        "Paid": -invoice.amount_paid,
    }
    rest = said.total + sum(settled.values(), Decimal(0)) - invoice.amount_due
    settled["Void" if invoice.status is Status.VOID else "To the balance"] = -rest
    shown = [(name, amount) for name, amount in settled.items() if amount]
    return [("Total", said.total), *shown, ("Still to be paid", invoice.amount_due)]


def _line(line: IssuedLine, said: Statement) -> Iterable[str]:
    zone = said.billed_to.time_zone
    yield (
        f'<tr class="line"><td>{escape(line.description)}</td>'
        f"<td>{escape(period_text(line.period, zone))}</td>"
        f"{_number(format_decimal(line.quantity))}{_money(line.amount, said)}</tr>"
    )
    for step in line.steps:
        yield (
            f'<tr class="step"><td colspan="2">{escape(step.description)}</td>'
            f"<td></td>{_number(format_decimal(step.amount))}</tr>"
        )


def _why(details: str) -> Iterable[str]:
    if details:
        yield f'<tr class="why"><td colspan="4">{details}</td></tr>'


def _payments(invoice: Invoice, said: Statement) -> str:
    if not invoice.payments:
        return ""
    zone = said.billed_to.time_zone
    rows = [
        f"<tr><td>{escape(local_text(one.paid_at, zone))}</td>"
        f"<td>{escape(one.reference or '')}</td>{_money(one.amount, said)}</tr>"
        for one in invoice.payments
    ]
    return _table("Payments", _head("Paid", "Reference", "Amount", numbers=1), rows)


def _credit_notes(invoice: Invoice, said: Statement) -> str:
    if not invoice.credit_notes:
        return ""
    zone = said.billed_to.time_zone
    rows = [
        f"<tr><td>{escape(note.printed_number)}</td>"
        f"<td>{escape(local_text(note.created_at, zone))}</td>"
        f"<td>{escape(note.reason or '')}</td>{_money(note.total, said)}</tr>"
        for note in invoice.credit_notes
    ]
    return _table("Credit notes", _head("Number", "Created", "Reason", "Amount", numbers=1), rows)


def _footer(said: Statement) -> str:
    return (
        f"<footer><p>Dates are those of {escape(said.billed_to.time_zone)}; the last instant of a "
        "period is the one before its end. The amounts of steps are exact; a line is rounded once."
        f"</p><p>Ledger position {said.position}. Content {escape(said.content_hash)}.</p></footer>"
    )


def _table(caption: str, head: str, rows: Sequence[str], foot: str = "") -> str:
    foot = f"<tfoot>{foot}</tfoot>" if foot else ""
    body = "\n".join(rows)
    return (
        f"<table><caption>{escape(caption)}</caption>{head}<tbody>\n{body}\n</tbody>{foot}</table>"
    )


def _head(*names: str, numbers: int) -> str:
    """The head of a table, whose last columns hold numbers."""
    cells = [f'<th scope="col">{escape(name)}</th>' for name in names[:-numbers]]
    cells += [f'<th scope="col" class="number">{escape(name)}</th>' for name in names[-numbers:]]
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _number(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'


def _money(amount: Decimal, said: Statement) -> str:
    return _number(format_money(amount, said.currency))

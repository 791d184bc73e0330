"""A bill or an invoice as a text table: each line with its period, quantity and amount.

Below a line are its steps.

Amounts of lines and the total stand at the right edge; the exact amounts of steps stand one column
to their left, because they are not rounded and do not add up to the total by themselves.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.invoices import Invoice
from domain.money import format_decimal, format_money
from domain.rating import Line
from domain.statements import IssuedLine, Statement
from projections.invoice_previews import Preview

GAP = "  "


def print_bill(preview: Preview, names: Mapping[str, str], zone: str) -> str:
    """The bill, its dates in this zone and its prices by these names."""
    bill = preview.bill
    title = f"{_date(bill.at, zone)}, for {_dates(bill.period.start, bill.period.end, zone)}"
    blocks = [_Block(line, _name(line, names), bill.currency, zone) for line in bill.lines]
    return _print(title, blocks, {"TOTAL": bill.total}, bill.currency)


def print_invoice(invoice: Invoice, says: Statement, names: Mapping[str, str], zone: str) -> str:
    """The invoice as it was issued, or the draft of one, in the same form."""
    issued = f"issued {_date(invoice.finalized_at, zone)}" if invoice.finalized_at else "not issued"
    period = _dates(says.period.start, says.period.end, zone)
    title = f"{invoice.printed_number or 'no number'}, {invoice.status}, {issued}, for {period}"
    blocks = [_Block(line, _name(line, names), says.currency, zone) for line in says.lines]
    settled = {
        "from the balance": -invoice.balance_applied,
        "paid": -invoice.amount_paid,
        "credited": -invoice.amount_credited,
    }
    sums = {"TOTAL": says.total}
    if any(settled.values()):
        sums |= {words: amount for words, amount in settled.items() if amount}
        sums["DUE"] = invoice.amount_due
    return _print(title, blocks, sums, says.currency)


def print_balance(balances: Sequence[tuple[Decimal, str]]) -> str:
    """What we owe a customer, a line for each currency."""
    held = [f"{format_money(amount, currency)} {currency}" for amount, currency in balances]
    return "".join(f"{line}\n" for line in held) or "nothing\n"


def _name(line: Line | IssuedLine, names: Mapping[str, str]) -> str:
    """What the story calls the price, or what a line without one says itself."""
    return names[line.price_id] if line.price_id else line.description or ""


def _print(
    title: str, blocks: Sequence["_Block"], sums: Mapping[str, Decimal], currency: str
) -> str:
    """The title, the lines with their steps, the total, and what is settled of it."""
    printed = {words: format_money(amount, currency) for words, amount in sums.items()}
    columns = _widths([block.cells for block in blocks])
    lefts = [block.left(columns) for block in blocks]
    steps = [step for block in blocks for step in block.steps]
    left = max([len(text) for text in (*lefts, *printed)] + [2 + len(words) for words, _ in steps])
    middle = max([len(amount) for _, amount in steps] + [0])
    right = max([len(block.amount) for block in blocks] + [len(one) for one in printed.values()])
    rows = [title]
    for text, block in zip(lefts, blocks, strict=True):
        rows.append(f"{text:<{left}}{GAP}{'':{middle}}{GAP}{block.amount:>{right}}")
        rows += [f"  {words:<{left - 2}}{GAP}{exact:>{middle}}" for words, exact in block.steps]
    for words, amount in printed.items():
        rows.append(f"{words:<{left}}{GAP}{'':{middle}}{GAP}{amount:>{right}} {currency}")
    return "\n".join(rows) + "\n"


class _Block:
    """One invoice line and its steps."""

    def __init__(self, line: Line | IssuedLine, name: str, currency: str, zone: str) -> None:
        self.cells = (
            line.kind.value,
            name,
            _dates(line.period.start, line.period.end, zone),
            format_decimal(line.quantity),
        )
        self.amount = format_money(line.amount, currency)
        self.steps = [(step.description, format_decimal(step.amount)) for step in line.steps]

    def left(self, widths: Sequence[int]) -> str:
        """Kind, name and period, with the quantity at the right of its column."""
        *texts, quantity = zip(self.cells, widths, strict=True)
        return GAP.join(
            [*(f"{text:<{width}}" for text, width in texts), quantity[0].rjust(quantity[1])]
        )


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _dates(start: datetime, end: datetime, zone: str) -> str:
    return f"{_date(start, zone)} to {_date(end, zone)}"


def _date(instant: datetime, zone: str) -> str:
    """The local date, with the time of day when it is not midnight."""
    local = instant.astimezone(ZoneInfo(zone))
    if local.hour or local.minute or local.second or local.microsecond:
        return local.replace(tzinfo=None).isoformat()
    return f"{local:%Y-%m-%d}"

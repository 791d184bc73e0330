"""The sentences of a story about money: one-off items, payments, credit notes, void invoices."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from domain.invoice_items import CreateInvoiceItem
from domain.invoices import CreditedLine
from domain.settlements import CreateCreditNote, MarkUncollectible, RecordPayment, VoidInvoice
from tests.scenarios.sentences import Sentences

if TYPE_CHECKING:
    from tests.scenarios.story import Story

sentence = Sentences()

INVOICE = r"invoice (\d+) of (\S+)"


@sentence(r"bill (\S+) (-?[\d.]+) for (.+)")
def bill_once(story: "Story", at: datetime, name: str, amount: str, what: str) -> None:
    """`bill alpaca-lover 25.00 for Setup`: with the next invoice; a credit when it is negative."""
    with story.ledger.snapshot() as views:
        state = story.subscription(views, name)
    story.ledger.execute_now(
        CreateInvoiceItem(
            customer_id=state.customer_id,
            subscription_id=state.id,
            description=what,
            amount=Decimal(amount),
        )
    )


@sentence(rf"pay ([\d.]+) for {INVOICE}")
def pay(story: "Story", at: datetime, amount: str, number: str, name: str) -> None:
    """`pay 100.00 for invoice 1 of alpaca-lover`."""
    id = story.invoice(int(number), name).id
    story.ledger.execute_now(RecordPayment(invoice_id=id, amount=Decimal(amount)))


@sentence(rf"credit ([\d.]+) of line (\d+) of {INVOICE}")
def credit(story: "Story", at: datetime, amount: str, line: str, number: str, name: str) -> None:
    """`credit 20.00 of line 1 of invoice 2 of alpaca-lover`: a credit note over one line."""
    invoice = story.invoice(int(number), name)
    line_id = f"{invoice.id}_{line}"
    lines = (CreditedLine(line_id=line_id, amount=Decimal(amount)),)
    story.ledger.execute_now(CreateCreditNote(invoice_id=invoice.id, lines=lines))


@sentence(rf"void {INVOICE}")
def void(story: "Story", at: datetime, number: str, name: str) -> None:
    """`void invoice 2 of alpaca-lover`."""
    story.ledger.execute_now(VoidInvoice(invoice_id=story.invoice(int(number), name).id))


@sentence(rf"write off {INVOICE}")
def write_off(story: "Story", at: datetime, number: str, name: str) -> None:
    """`write off invoice 2 of alpaca-lover`: no more money is expected for it."""
    story.ledger.execute_now(MarkUncollectible(invoice_id=story.invoice(int(number), name).id))

"""A ledger in which a bit of everything has happened, for tests of what leaves a ledger."""

from datetime import UTC, datetime
from decimal import Decimal

from app.ledger import Ledger
from domain.customers import CreateCustomer, UpdateCustomer
from domain.invoice_items import CreateInvoiceItem
from domain.invoices import CreditedLine, Invoice, Status
from domain.settlements import (
    CreateCreditNote,
    MarkUncollectible,
    RecordPayment,
    VoidInvoice,
)
from domain.subscriptions import Subscription
from domain.usage import RecordInput
from domain.usage_corrections import AmendUsage, VoidUsage
from projections import current
from tests.app.billed import PRICES, THREE
from tests.scenarios.story import Story

FEBRUARY = datetime(2026, 2, 2, tzinfo=UTC)
MARCH = datetime(2026, 3, 3, tzinfo=UTC)
NASTY = '=HYPERLINK("http://x"); "Zoë\r\n& Co", Ltd'
UUID = "0199aaaa-0000-7000-8000-00000000000f"
SENT = (
    RecordInput(id=UUID, event_name="tokens", customer="al", value="7"),
    RecordInput(
        id="-1+2",
        source="@night shift",
        event_name="tokens",
        customer="al",
        timestamp="2026-01-11T01:00:00.000001+01:00",
        value="12.50",
        properties={"model": "größe", "region": "=1+1"},
    ),
    RecordInput(id="late", event_name="tokens", customer="nobody yet", value="1"),
    RecordInput(id="gone", event_name="tokens", customer="cy", value="100000"),
)


def rich(ledger: Ledger) -> Ledger:
    """Fill a ledger whose test clock stands at the beginning of 2026."""
    story = Story(ledger)
    story.tell(PRICES)
    story.tell(THREE)
    ledger.execute_now(
        CreateCustomer(name=NASTY, external_id="=nasty", email="z@example.org"), "nasty"
    )
    assert [str(one.status) for one in ledger.record_now(SENT)] == [
        "ACCEPTED",
        "ACCEPTED",
        "UNMATCHED",
        "ACCEPTED",
    ]
    ledger.execute_now(VoidUsage(id="gone", reason="A test"), "void gone")
    ledger.execute_now(VoidUsage(id="gone"), "nothing is left to void")
    ledger.execute_now(AmendUsage(id=UUID, value="8"), "amend")
    ledger.execute_now(AmendUsage(id=UUID, value="9"))
    ledger.execute_now(
        UpdateCustomer(customer_id=story.ids["bo"], name=NASTY), "bo is called something else"
    )
    ledger.advance_now(FEBRUARY)
    _settle(ledger)
    subscription = subscriptions(ledger)[1]
    ledger.execute_now(
        CreateInvoiceItem(
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            description="-20 off; thanks",
            amount=Decimal(-20),
        ),
        "gift",
    )
    ledger.advance_now(MARCH)
    return ledger


def _settle(ledger: Ledger) -> None:
    """Payments, credit notes, void and written-off invoices, in every order that is allowed."""
    one, two, three, four, *_ = (one for one in issued(ledger) if one.status is Status.OPEN)
    pay(ledger, one, one.amount_due + 5, "too much")
    credit(ledger, one, "1.25")
    pay(ledger, two, Decimal(1), "a little")
    credit(ledger, two, "0.50")
    ledger.execute_now(VoidInvoice(invoice_id=two.id, reason="; entered | twice"), "void")
    ledger.execute_now(VoidInvoice(invoice_id=two.id), "void again")
    ledger.execute_now(MarkUncollectible(invoice_id=three.id), "write off")
    credit(ledger, three, "0.75")
    pay(ledger, three, Decimal(2), "recovered")
    ledger.execute_now(MarkUncollectible(invoice_id=four.id), "write off too")
    pay(ledger, four, Decimal(1), "a little back")
    ledger.execute_now(VoidInvoice(invoice_id=four.id), "void what was written off")


def pay(ledger: Ledger, invoice: Invoice, amount: Decimal, key: str) -> None:
    """Record a payment under a key."""
    command = RecordPayment(invoice_id=invoice.id, amount=amount, reference=f"wire {key}")
    ledger.execute_now(command, f"pay {key}")


def credit(ledger: Ledger, invoice: Invoice, amount: str) -> None:
    """Take back a part of the largest line."""
    assert invoice.statement is not None
    line = max(invoice.statement.lines, key=lambda line: line.amount)
    lines = (CreditedLine(line_id=line.id, amount=Decimal(amount)),)
    ledger.execute_now(CreateCreditNote(invoice_id=invoice.id, lines=lines, reason="=sorry"))


def issued(ledger: Ledger) -> list[Invoice]:
    """The invoices that are no drafts, in the order in which they were drafted."""
    with ledger.snapshot() as views:
        found = [one.state for one in current.select(views, Invoice, {}, limit=1_000)]
    return [invoice for invoice in found if invoice.status is not Status.DRAFT]


def subscriptions(ledger: Ledger) -> list[Subscription]:
    """The subscriptions in the order of their creation."""
    with ledger.snapshot() as views:
        return [one.state for one in current.select(views, Subscription, {}, limit=1_000)]

"""Whatever happens: what is issued is what was previewed, replayed or not, and no money is lost."""

from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app import verification
from app.ledger import Ledger
from domain import settlements
from domain.decider import Event, Rejected
from domain.invoice_items import CreateInvoiceItem, InvoiceItem
from domain.invoices import CreditedLine, Invoice, InvoiceDrafted, InvoiceFinalized, Status
from domain.periods import EPOCH, format_instant
from domain.rating import LineKind
from domain.statements import Statement
from domain.subscription_holds import UnparkSubscription
from domain.subscriptions import Subscription
from domain.usage import RecordInput
from projections import current, invoice_items, invoices, statements
from projections.engine import Engine
from projections.tables import Views
from tests import marks
from tests.conftest import CLOCK
from tests.scenarios.story import Story

pytestmark = marks.CAMPAIGN

TOLD = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price licence: 100 USD, per month
2026-01-01 price usage: graduated USD, per month, on tokens, 0 up to 1000, then 0.04
2026-01-01 price weekly: 7 USD, per week, in arrears
2026-01-01 customer al
2026-01-01 subscribe al to licence x 1, usage, weekly x 1
"""

AMOUNT = st.integers(1, 200).map(Decimal)
INVOICE = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("use"), st.integers(0, 800), st.integers(1, 3_000)),
    st.tuples(st.just("item"), st.integers(-150, 150).map(Decimal)),
    st.tuples(st.just("pay"), INVOICE, AMOUNT),
    st.tuples(st.just("credit"), INVOICE, st.integers(0, 3), AMOUNT),
    st.tuples(st.just("void"), INVOICE),
    st.tuples(st.just("write off"), INVOICE),
    st.tuples(st.just("wait"), st.integers(1, 700)),
)


def issued(ledger: Ledger) -> list[Invoice]:
    """The invoices that were issued, in the order in which they were drafted."""
    with ledger.snapshot() as views:
        found = [one.state for one in current.select(views, Invoice, {}, limit=1_000)]
    return [invoice for invoice in found if invoice.status is not Status.DRAFT]


class Business:
    """A ledger, and things that happen in it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._story = Story(ledger)
        self._story.tell(TOLD)
        self._records = 0

    def happens(self, kind: str, *what: Any) -> None:
        """One thing happens, or is refused."""
        match kind, what:
            case "use", (hours, value):
                self._use(timedelta(hours=hours), value)
            case "item", (amount,):
                self._item(amount)
            case "wait", (hours,):
                self.ledger.advance_now(self.ledger.clock.now() + timedelta(hours=hours))
            case _, (index, *more):
                known = issued(self.ledger)
                self._settle(kind, known[index % len(known)], *more)

    def meant(self) -> None:
        """Whatever was given back is meant, however much it is."""
        self.ledger.execute_now(UnparkSubscription(subscription_id=self._subscription()))

    def _subscription(self) -> str:
        with self.ledger.snapshot() as views:
            (found,) = current.select(views, Subscription, {}, limit=2)
        id: str = found.state.id
        return id

    def _use(self, ago: timedelta, value: int) -> None:
        self._records += 1
        at = format_instant(self.ledger.clock.now() - ago)
        record = RecordInput(
            id=f"r{self._records}",
            event_name="tokens",
            customer="al",
            value=str(value),
            timestamp=at,
        )
        self.ledger.record_now([record])

    def _item(self, amount: Decimal) -> None:
        self.ledger.execute_now(
            CreateInvoiceItem(
                customer_id=self._story.ids["al"],
                subscription_id=self._subscription(),
                description="Something else",
                amount=amount,
            )
        )

    def _settle(self, kind: str, invoice: Invoice, *more: Any) -> None:
        match kind, more:
            case "pay", (amount,):
                command: Any = settlements.RecordPayment(invoice_id=invoice.id, amount=amount)
            case "credit", (line, amount):
                lines = (CreditedLine(line_id=f"{invoice.id}_{line + 1}", amount=amount),)
                command = settlements.CreateCreditNote(invoice_id=invoice.id, lines=lines)
            case "void", _:
                command = settlements.VoidInvoice(invoice_id=invoice.id)
            case _:
                command = settlements.MarkUncollectible(invoice_id=invoice.id)
        with suppress(Rejected):
            self.ledger.execute_now(command)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_what_is_issued_is_what_was_previewed_and_no_money_is_lost(
    steps: Sequence[tuple[Any, ...]],
) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        business = Business(ledger)
        for step in steps:
            business.happens(*step)
        for wait in (timedelta(days=40), timedelta(hours=2)):
            business.meant()
            ledger.advance_now(ledger.clock.now() + wait)
        check_previews(ledger)
        assert verification.verify_open(ledger).findings == ()
        check_items(ledger)
        check_money(ledger)
        check_numbers(issued(ledger))


def check_previews(ledger: Ledger) -> None:
    """Views folded from the log alone preview what is drafted, and then what is written down."""
    checked = 0
    with closing(Engine(ledger.directory / "again.db")) as again:
        views = again.database.writing
        for recorded in ledger.store.read():
            previewed = before(views, recorded.event)
            with again.database.transaction():
                again.apply([recorded])
            if previewed is not None:
                invoice = current.get(views, Invoice, recorded.stream_id)
                assert invoice is not None
                said = statements.of_invoice(views, invoice, EPOCH)
                assert replace(said, position=previewed.position) == previewed
                checked += invoice.statement is not None
        assert checked == len(issued(ledger)) > 0
        assert list(again.database.dump()) == list(ledger.engine.database.dump())


def before(views: Views, event: Event) -> Statement | None:
    """What a preview says just before an invoice is drafted, and a draft before it is issued."""
    match event:
        case InvoiceDrafted():
            return statements.due(views, event.subscription_id, event.at, event.id, EPOCH)
        case InvoiceFinalized():
            draft = current.get(views, Invoice, event.id)
            assert draft is not None
            return statements.of_invoice(views, draft, EPOCH)
        case _:
            return None


def check_items(ledger: Ledger) -> None:
    """Each one-off item is on one invoice, and it is the one that the item names."""
    with ledger.snapshot() as views:
        found = [one.state for one in current.select(views, InvoiceItem, {}, limit=100)]
        named = [(invoice_items.invoice_of(views, item.id), item.amount) for item in found]
    lines = [
        (invoice.id, line.amount)
        for invoice in issued(ledger)
        if invoice.statement is not None
        for line in invoice.statement.lines
        if line.kind is LineKind.ONE_OFF
    ]
    assert named == lines


def check_money(ledger: Ledger) -> None:
    """What came in is what was earned or what we owe; no line is taken back twice."""
    known = issued(ledger)
    with ledger.snapshot() as views:
        held = invoices.balance(views, known[0].customer_id, "USD")
    received = sum((one.amount for invoice in known for one in invoice.payments), Decimal(0))
    earned = sum(
        (
            invoice.statement.total - invoice.amount_due - invoice.amount_credited
            for invoice in known
            if invoice.status is not Status.VOID and invoice.statement is not None
        ),
        Decimal(0),
    )
    assert received == earned + held
    assert held >= 0
    for invoice in known:
        assert invoice.amount_due >= 0
        if invoice.status is not Status.VOID and invoice.statement is not None:
            settled = invoice.balance_applied + invoice.amount_paid + invoice.amount_due
            credited = sum((n.total - n.to_balance for n in invoice.credit_notes), Decimal(0))
            assert settled + credited == max(invoice.statement.total, Decimal(0))


def check_numbers(known: Sequence[Invoice]) -> None:
    """Invoices and credit notes are numbered without a gap."""
    numbers = sorted(invoice.number or 0 for invoice in known)
    assert numbers == list(range(1, len(known) + 1))
    notes = sorted(note.number for invoice in known for note in invoice.credit_notes)
    assert notes == list(range(1, len(notes) + 1))

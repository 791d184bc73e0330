"""What becomes of an issued invoice: payments, credit notes, void, written off; and the balance."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.decider import Event, Rejected, fold
from domain.invoices import CreditedLine, Invoice, InvoiceFinalized, Status
from domain.money import format_decimal
from domain.settlements import (
    CreateCreditNote,
    CreditNoteCreated,
    Facts,
    InvoiceMarkedUncollectible,
    InvoiceOverdue,
    InvoiceVoided,
    MarkOverdue,
    MarkUncollectible,
    PaymentRecorded,
    RecordPayment,
    VoidInvoice,
    balance_change,
    decide,
    evolve,
)
from tests.domain.test_invoices import LATER, drafted, finalized, line, owed
from tests.spec import given

DUE = LATER + timedelta(days=30)
PAID = LATER + timedelta(days=3)
TWO_LINES = owed(line("80.00", number=1), line("100.00", number=2), days=30)
ISSUED = (drafted(), finalized(TWO_LINES, due="180.00", due_at=DUE))


def facts(id: str = "new_1", *, number: int = 1, days: int = 3) -> Facts:
    """What is known some days after the issue."""
    return Facts(id=id, at=LATER + timedelta(days=days), number=number)


def pay(amount: str, **more: Any) -> RecordPayment:
    """A payment of so much."""
    return RecordPayment(invoice_id="inv_1", amount=Decimal(amount), **more)


def paid(amount: str, id: str = "new_1", *, to_balance: str = "0") -> PaymentRecorded:
    """That payment as it was recorded."""
    return PaymentRecorded(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        payment_id=id,
        amount=Decimal(amount),
        to_balance=Decimal(to_balance),
        reference=None,
        paid_at=PAID,
        recorded_at=PAID,
    )


def credit(*lines: tuple[int, str]) -> CreateCreditNote:
    """A credit note over some lines of the invoice."""
    return CreateCreditNote(invoice_id="inv_1", lines=credited_lines(*lines))


def credited_lines(*lines: tuple[int, str]) -> tuple[CreditedLine, ...]:
    """Lines by their numbers, each with how much of it."""
    return tuple(
        CreditedLine(line_id=f"inv_1_{number}", amount=Decimal(amount)) for number, amount in lines
    )


def credited(
    *lines: tuple[int, str], total: str, to_balance: str = "0", id: str = "new_1"
) -> CreditNoteCreated:
    """That credit note."""
    return CreditNoteCreated(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        credit_note_id=id,
        number=1,
        lines=credited_lines(*lines),
        total=Decimal(total),
        to_balance=Decimal(to_balance),
        reason=None,
        created_at=PAID,
    )


def voided(to_balance: str) -> InvoiceVoided:
    """The invoice counts no more."""
    return InvoiceVoided(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        to_balance=Decimal(to_balance),
        reason=None,
        voided_at=PAID,
    )


def written_off(amount: str) -> InvoiceMarkedUncollectible:
    """Nothing more is expected."""
    return InvoiceMarkedUncollectible(
        id="inv_1", customer_id="cus_1", currency="USD", amount=Decimal(amount), marked_at=PAID
    )


def standing(*events: Event) -> tuple[str, str, str]:
    """Status, what is due and what was paid after these facts."""
    invoice = state(*events)
    due, paid = format_decimal(invoice.amount_due), format_decimal(invoice.amount_paid)
    return invoice.status, due, paid


def state(*events: Event) -> Invoice:
    """The invoice after these facts."""
    found = fold(evolve, events)
    assert found is not None
    return found


VOID = VoidInvoice(invoice_id="inv_1")
WRITE_OFF = MarkUncollectible(invoice_id="inv_1")
OVERDUE = MarkOverdue(invoice_id="inv_1")


def test_an_invoice_is_paid_in_parts() -> None:
    given(*ISSUED).when(pay("100"), facts()).then(paid("100"))
    partly = (*ISSUED, paid("100"))
    assert standing(*partly) == ("OPEN", "80", "100")
    given(*partly).when(pay("80"), facts("new_2")).then(paid("80", "new_2"))
    assert standing(*partly, paid("80", "new_2")) == ("PAID", "0", "180")


def test_what_is_paid_too_much_is_the_customers() -> None:
    given(*ISSUED).when(pay("200"), facts()).then(paid("200", to_balance="20.00"))
    assert standing(*ISSUED, paid("200", to_balance="20")) == ("PAID", "0", "180")
    again = given(*ISSUED, paid("180")).when(pay("5"), facts("new_2"))
    again.then(paid("5", "new_2", to_balance="5"))


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (pay("0"), "INVALID_VALUE", "input.amount"),
        (pay("-1"), "INVALID_VALUE", "input.amount"),
        (pay("0.001"), "INVALID_VALUE", "input.amount"),
        (pay("1", paid_at=PAID + timedelta(seconds=1)), "INVALID_VALUE", "input.paidAt"),
        (pay("1", reference="x" * 256), "LIMIT_EXCEEDED", "input.reference"),
        (credit(), "REQUIRED", "input.lines"),
        (credit((3, "1")), "NOT_FOUND", "input.lines.0.lineId"),
        (credit((1, "1"), (1, "1")), "INVALID_VALUE", "input.lines.1.lineId"),
        (credit((1, "80.01")), "LIMIT_EXCEEDED", "input.lines.0.amount"),
        (credit((2, "1"), (1, "0")), "INVALID_VALUE", "input.lines.1.amount"),
        (credit((1, "0.001")), "INVALID_VALUE", "input.lines.0.amount"),
    ],
)
def test_what_cannot_be_recorded(command: Any, code: str, path: str) -> None:
    given(*ISSUED).when(command, facts()).then_rejected(code, path)


@pytest.mark.parametrize("command", [pay("1"), credit((1, "1")), VOID, WRITE_OFF])
def test_a_draft_is_not_settled_and_neither_is_nothing(command: Any) -> None:
    given(drafted()).when(command, facts()).then_rejected("WRONG_STATE", "input.invoiceId")
    given().when(command, facts()).then_rejected("NOT_FOUND", "input.invoiceId")


def test_a_credit_note_takes_from_what_is_due_first() -> None:
    partly = (*ISSUED, paid("100"))
    small, large = [(1, "30")], [(1, "80"), (2, "20")]
    given(*partly).when(credit(*small), facts()).then(credited(*small, total="30"))
    assert standing(*partly, credited(*small, total="30")) == ("OPEN", "50", "100")
    given(*partly).when(credit(*large), facts()).then(
        credited(*large, total="100", to_balance="20.00")
    )
    settled = (*partly, credited(*large, total="100", to_balance="20"))
    assert standing(*settled) == ("PAID", "0", "100")
    assert state(*settled).amount_credited == Decimal(100)


def test_no_line_is_taken_back_twice() -> None:
    once = (*ISSUED, credited((1, "50"), total="50"))
    given(*once).when(credit((1, "30.01")), facts("new_2")).then_rejected(
        "LIMIT_EXCEEDED", "input.lines.0.amount"
    )
    rest = credited((1, "30"), total="30", id="new_2")
    given(*once).when(credit((1, "30")), facts("new_2")).then(rest)
    assert state(*once, rest).creditable == {"inv_1_1": 0, "inv_1_2": 100}
    assert state(*once, rest).credit_notes[0].printed_number == "CN-000001"


def test_what_a_void_invoice_was_paid_is_the_customers_again() -> None:
    given(*ISSUED).when(VOID, facts()).then(voided("0"))
    given(*ISSUED, paid("100")).when(VOID, facts()).then(voided("100"))
    from_balance = (drafted(), finalized(TWO_LINES, applied="30", due="150.00"))
    given(*from_balance, paid("100")).when(VOID, facts()).then(voided("130"))
    assert standing(*ISSUED, paid("100"), voided("100")) == ("VOID", "0", "0")
    for command in (pay("1"), credit((1, "1")), WRITE_OFF):
        given(*ISSUED, voided("0")).when(command, facts()).then_rejected(
            "WRONG_STATE", "input.invoiceId"
        )
    given(*ISSUED, paid("180")).when(VOID, facts()).then_rejected("WRONG_STATE", "input.invoiceId")


def test_what_was_written_off_may_still_be_paid() -> None:
    given(*ISSUED, paid("100")).when(WRITE_OFF, facts()).then(written_off("80.00"))
    off = (*ISSUED, written_off("180"))
    given(*off).when(WRITE_OFF, facts()).then()
    given(*off).when(VOID, facts()).then(voided("0"))
    given(*off).when(pay("80"), facts()).then(paid("80"))
    assert state(*off, paid("80")).status is Status.UNCOLLECTIBLE
    assert state(*off, paid("180")).status is Status.PAID


def test_an_invoice_is_overdue_once_and_only_while_it_is_open() -> None:
    late = InvoiceOverdue(
        id="inv_1", customer_id="cus_1", due_at=DUE, noted_at=LATER + timedelta(days=30)
    )
    given(*ISSUED).when(OVERDUE, facts(days=29)).then()
    given(*ISSUED).when(OVERDUE, facts(days=30)).then(late)
    given(*ISSUED, paid("180")).when(OVERDUE, facts(days=30)).then()
    given(drafted(), finalized(TWO_LINES, due="180.00")).when(OVERDUE, facts(days=99)).then()


# --------------------------------------------------------------------------------- identities

AMOUNTS = st.integers(1, 300).map(str)
STEPS = st.one_of(
    AMOUNTS.map(pay),
    st.tuples(st.integers(1, 2), AMOUNTS).map(credit),
    st.just(VOID),
    st.just(WRITE_OFF),
)


@examples(
    total=st.tuples(st.integers(-200, 300), st.integers(0, 300)),
    balance=st.integers(0, 400),
    steps=st.lists(STEPS, max_size=8),
)
def test_no_money_is_lost_or_made(
    total: tuple[int, int], balance: int, steps: Sequence[Any]
) -> None:
    said = owed(line(str(total[0]), number=1), line(str(total[1]), number=2))
    applied = min(max(sum(total), 0), balance)
    issued: InvoiceFinalized = finalized(
        said,
        applied=str(applied),
        to_balance=str(max(-sum(total), 0)),
        due=str(max(sum(total), 0) - applied),
    )
    history: list[Event] = [drafted(), issued]
    for number, step in enumerate(steps):
        with suppress(Rejected):
            history += decide(fold(evolve, history), step, facts(f"new_{number}"))
    after = state(*history)
    changes = [change.amount for change in map(balance_change, history) if change is not None]
    held = balance + sum(changes, Decimal(0))
    received = sum((payment.amount for payment in after.payments), Decimal(0))
    earned = Decimal(0)
    if after.status is not Status.VOID:
        earned = said.total - after.amount_due - after.amount_credited
    # What came in is what was earned and what we owe: a liability, or revenue, and nothing else.
    assert received + balance == earned + held
    assert held >= 0
    assert after.amount_due >= 0
    assert (after.amount_due == 0) is (after.status in {Status.PAID, Status.VOID})
    assert all(
        left >= 0 or said.total < 0 or left == total[0] for left in after.creditable.values()
    )

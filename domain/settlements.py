"""What becomes of an invoice once it is issued: payments, credit notes, overdue, written off, void.

Life cycle: finalized -> paid | marked uncollectible | voided; credited and overdue on the way. What
was written down never changes. These facts stand on the invoice's own stream (`invoices.py`).

For every invoice that is not void: total = balance applied + paid + credited + amount due, where a
total below zero, and whatever was paid or credited beyond what was due, is the customer's balance.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from domain import invoices
from domain.decider import Code, Event, Rejected, existing, registered
from domain.invoices import (
    CreditedLine,
    CreditNote,
    Invoice,
    InvoiceFinalized,
    Payment,
    Status,
)
from domain.money import check_amount, check_minor_units, exact, format_money
from domain.text import NOTE_BYTES, check_optional

PAYMENTS_LIMIT = 1_000
CREDIT_NOTES_LIMIT = 1_000

# -------------------------------------------------------------------------------------- events


@registered
class PaymentRecorded(Event, frozen=True, kw_only=True):
    """Money came in for an invoice; what is more than was due goes to the customer's balance."""

    topic: ClassVar[str] = "invoice.payment_recorded/1"
    id: str
    customer_id: str
    currency: str
    payment_id: str
    amount: Decimal
    to_balance: Decimal
    reference: str | None
    paid_at: datetime
    recorded_at: datetime


@registered
class CreditNoteCreated(Event, frozen=True, kw_only=True):
    """Part of what lines say is owed no more; what was paid already goes to the balance."""

    topic: ClassVar[str] = "invoice.credited/1"
    id: str
    customer_id: str
    currency: str
    credit_note_id: str
    number: int
    lines: tuple[CreditedLine, ...]
    total: Decimal
    to_balance: Decimal
    reason: str | None
    created_at: datetime


@registered
class InvoiceVoided(Event, frozen=True, kw_only=True):
    """An invoice counts no more; what had been paid goes to the customer's balance."""

    topic: ClassVar[str] = "invoice.voided/1"
    id: str
    customer_id: str
    currency: str
    to_balance: Decimal
    reason: str | None
    voided_at: datetime


@registered
class InvoiceMarkedUncollectible(Event, frozen=True, kw_only=True):
    """What is still due of an invoice is not expected any more."""

    topic: ClassVar[str] = "invoice.uncollectible_marked/1"
    id: str
    customer_id: str
    currency: str
    amount: Decimal
    marked_at: datetime


@registered
class InvoiceOverdue(Event, frozen=True, kw_only=True):
    """An invoice was still open when it should have been paid."""

    topic: ClassVar[str] = "invoice.overdue_noted/1"
    id: str
    customer_id: str
    due_at: datetime
    noted_at: datetime


# --------------------------------------------------------------------------------------- state


def evolve(state: Invoice | None, event: Event) -> Invoice | None:
    """The invoice after one more fact, from its draft on."""
    if state is None:
        return invoices.evolve(state, event)
    match event:
        case PaymentRecorded():
            return _paid(state, event)
        case CreditNoteCreated():
            return _credited(state, event)
        case InvoiceVoided():
            return replace(
                state,
                status=Status.VOID,
                amount_due=Decimal(0),
                voided_at=event.voided_at,
                void_reason=event.reason,
            )
        case InvoiceMarkedUncollectible():
            return replace(state, status=Status.UNCOLLECTIBLE, uncollectible_at=event.marked_at)
        case InvoiceOverdue():
            return replace(state, overdue_at=event.noted_at)
        case _:
            return invoices.evolve(state, event)


@exact
def _paid(state: Invoice, event: PaymentRecorded) -> Invoice:
    payment = Payment(
        id=event.payment_id,
        amount=event.amount,
        to_balance=event.to_balance,
        reference=event.reference,
        paid_at=event.paid_at,
    )
    left = state.amount_due - (event.amount - event.to_balance)
    return _settled(replace(state, payments=(*state.payments, payment)), left)


@exact
def _credited(state: Invoice, event: CreditNoteCreated) -> Invoice:
    note = CreditNote(
        id=event.credit_note_id,
        number=event.number,
        lines=event.lines,
        total=event.total,
        to_balance=event.to_balance,
        reason=event.reason,
        created_at=event.created_at,
    )
    left = state.amount_due - (event.total - event.to_balance)
    return _settled(replace(state, credit_notes=(*state.credit_notes, note)), left)


def _settled(state: Invoice, left: Decimal) -> Invoice:
    """The invoice with so much left to pay: it is paid when that is nothing."""
    return replace(state, amount_due=left, status=state.status if left else Status.PAID)


class BalanceChange(msgspec.Struct, frozen=True):
    """What a fact adds to what we owe a customer; negative when something was paid from it."""

    customer_id: str
    currency: str
    amount: Decimal


@exact
def balance_change(event: Event) -> BalanceChange | None:
    """What a fact changes of a customer's balance; None for a fact that is not about money."""
    match event:
        case InvoiceFinalized():
            change = event.to_balance - event.balance_applied
            return BalanceChange(event.customer_id, event.currency, change)
        case PaymentRecorded() | CreditNoteCreated() | InvoiceVoided():
            return BalanceChange(event.customer_id, event.currency, event.to_balance)
        case _:
            return None


# ------------------------------------------------------------------------------------ commands


class RecordPayment(msgspec.Struct, frozen=True, kw_only=True):
    """Say that money came in for an invoice, by default just now."""

    invoice_id: str
    amount: Decimal
    reference: str | None = None
    paid_at: datetime | None = None


class CreateCreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """Take back part of what lines of an invoice say is owed."""

    invoice_id: str
    lines: tuple[CreditedLine, ...]
    reason: str | None = None


class VoidInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """Let an invoice count no more."""

    invoice_id: str
    reason: str | None = None


class MarkUncollectible(msgspec.Struct, frozen=True, kw_only=True):
    """Expect no more money for an invoice."""

    invoice_id: str


class MarkOverdue(msgspec.Struct, frozen=True, kw_only=True):
    """Note that an invoice is open past its due date."""

    invoice_id: str


Command = RecordPayment | CreateCreditNote | VoidInvoice | MarkUncollectible | MarkOverdue


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: an id for what is added, and a credit note's number."""

    id: str
    at: datetime
    number: int = 1


@exact
def decide(state: Invoice | None, command: Command, facts: Facts) -> list[Event]:
    """Take a payment, credit, void or write off an invoice, or say what stands in the way."""
    known = existing(state, "invoice", command.invoice_id)
    match command:
        case RecordPayment():
            return _payment(known, command, facts)
        case CreateCreditNote():
            return _credit_note(known, command, facts)
        case VoidInvoice():
            return _void(known, command, facts)
        case MarkUncollectible():
            return _uncollectible(known, facts)
        case MarkOverdue():
            return _overdue(known, facts)


def _must_be(state: Invoice, verb: str, *allowed: Status) -> None:
    """Refuse what cannot be done to an invoice in its state."""
    if state.status not in allowed:
        states = " or ".join(allowed)
        message = f"invoice {state.id} is {state.status}; only {states} can be {verb}"
        raise Rejected(Code.WRONG_STATE, ("input", "invoiceId"), message)


def _payment(state: Invoice, command: RecordPayment, facts: Facts) -> list[Event]:
    """The payment, as much of it as is due on the invoice, the rest on the balance."""
    if any(payment.id == facts.id for payment in state.payments):
        return []
    _must_be(state, "paid", Status.OPEN, Status.UNCOLLECTIBLE, Status.PAID)
    if len(state.payments) >= PAYMENTS_LIMIT:
        message = f"an invoice has at most {PAYMENTS_LIMIT} payments"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "invoiceId"), message)
    _check_positive(command.amount, state.currency, ("input", "amount"))
    paid_at = command.paid_at or facts.at
    if paid_at > facts.at:
        message = "a payment cannot be recorded before it is made"
        raise Rejected(Code.INVALID_VALUE, ("input", "paidAt"), message)
    return [
        PaymentRecorded(
            id=state.id,
            customer_id=state.customer_id,
            currency=state.currency,
            payment_id=facts.id,
            amount=command.amount,
            to_balance=max(command.amount - state.amount_due, Decimal(0)),
            reference=check_optional(command.reference, ("input", "reference")),
            paid_at=paid_at,
            recorded_at=facts.at,
        )
    ]


def _credit_note(state: Invoice, command: CreateCreditNote, facts: Facts) -> list[Event]:
    """The credit note: what is due becomes less first, what was paid goes to the balance."""
    if any(note.id == facts.id for note in state.credit_notes):
        return []
    _must_be(state, "credited", Status.OPEN, Status.UNCOLLECTIBLE, Status.PAID)
    if len(state.credit_notes) >= CREDIT_NOTES_LIMIT:
        message = f"an invoice has at most {CREDIT_NOTES_LIMIT} credit notes"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "invoiceId"), message)
    _check_credited(state, command.lines)
    total = sum((line.amount for line in command.lines), Decimal(0))
    return [
        CreditNoteCreated(
            id=state.id,
            customer_id=state.customer_id,
            currency=state.currency,
            credit_note_id=facts.id,
            number=facts.number,
            lines=command.lines,
            total=total,
            to_balance=max(total - state.amount_due, Decimal(0)),
            reason=check_optional(command.reason, ("input", "reason"), NOTE_BYTES),
            created_at=facts.at,
        )
    ]


def _check_credited(state: Invoice, lines: Sequence[CreditedLine]) -> None:
    """Each line is on the invoice, is named once, and has as much left as is taken back."""
    path = ("input", "lines")
    if not lines:
        raise Rejected(Code.REQUIRED, path, "a credit note needs at least one line")
    left = state.creditable
    for index, line in enumerate(lines):
        here = (*path, str(index))
        if line.line_id not in left:
            known = any(line.line_id == other.line_id for other in lines[:index])
            code = Code.INVALID_VALUE if known else Code.NOT_FOUND
            message = f"line {line.line_id} is {'named twice' if known else 'not on the invoice'}"
            raise Rejected(code, (*here, "lineId"), message)
        _check_positive(line.amount, state.currency, (*here, "amount"))
        most = left.pop(line.line_id)
        if line.amount > most:
            rest = format_money(max(most, Decimal(0)), state.currency)
            message = f"the line has {rest} left"
            raise Rejected(Code.LIMIT_EXCEEDED, (*here, "amount"), message)


def _check_positive(amount: Decimal, currency: str, path: tuple[str, ...]) -> None:
    """An amount that can change hands."""
    check_amount(amount, path)
    check_minor_units(amount, currency, path)
    if not amount:
        raise Rejected(Code.INVALID_VALUE, path, "The amount must not be zero.")


def _void(state: Invoice, command: VoidInvoice, facts: Facts) -> list[Event]:
    """The end of an invoice; what was paid, from the balance too, is the customer's again."""
    if state.status is Status.VOID:
        return []
    _must_be(state, "voided", Status.OPEN, Status.UNCOLLECTIBLE)
    return [
        InvoiceVoided(
            id=state.id,
            customer_id=state.customer_id,
            currency=state.currency,
            to_balance=state.amount_paid + state.balance_applied,
            reason=check_optional(command.reason, ("input", "reason"), NOTE_BYTES),
            voided_at=facts.at,
        )
    ]


def _uncollectible(state: Invoice, facts: Facts) -> list[Event]:
    if state.status is Status.UNCOLLECTIBLE:
        return []
    _must_be(state, "marked uncollectible", Status.OPEN)
    return [
        InvoiceMarkedUncollectible(
            id=state.id,
            customer_id=state.customer_id,
            currency=state.currency,
            amount=state.amount_due,
            marked_at=facts.at,
        )
    ]


def _overdue(state: Invoice, facts: Facts) -> list[Event]:
    """Noted once, and only while it is true."""
    if not state.is_overdue(facts.at) or state.overdue_at is not None:
        return []
    assert state.due_at is not None, "without a due date nothing is overdue"
    return [
        InvoiceOverdue(
            id=state.id,
            customer_id=state.customer_id,
            due_at=state.due_at,
            noted_at=facts.at,
        )
    ]

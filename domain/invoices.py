"""What is owed, in writing: an invoice is drafted when it falls due, then issued and never changed.

Life cycle: drafted -> finalized (open, or paid where nothing is left to pay); how it goes on is in
`settlements.py`, on the same stream.

A draft has no lines of its own: it is the live preview at its instant, until finalizing writes
down what the preview says. Source: RULES, "Invoices".
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

import msgspec

from domain.collection import CollectionMethod, due_at
from domain.decider import Code, Event, Rejected, existing, registered
from domain.money import exact
from domain.periods import Period, format_instant
from domain.statements import BilledTo, IssuedLine, Statement

GRACE_DEFAULT = timedelta(hours=1)
"""How long a draft with usage waits for records that come late."""


class Reason(StrEnum):
    """Why an invoice was drafted."""

    OPENING = "OPENING"
    RENEWAL = "RENEWAL"
    CHANGE = "CHANGE"
    FINAL = "FINAL"
    ADJUSTMENT = "ADJUSTMENT"
    ONE_OFF = "ONE_OFF"


ONCE = frozenset({Reason.OPENING, Reason.RENEWAL, Reason.CHANGE, Reason.FINAL})
"""The reasons for which a subscription is invoiced at most once at an instant."""


# -------------------------------------------------------------------------------------- events


@registered
class InvoiceDrafted(Event, frozen=True, kw_only=True):
    """An invoice fell due at an instant; until it is finalized, what it bills is still open."""

    topic: ClassVar[str] = "invoice.drafted/1"
    id: str
    subscription_id: str
    customer_id: str
    currency: str
    at: datetime
    reason: Reason
    finalizes_at: datetime
    drafted_at: datetime


@registered
class InvoiceFinalized(Event, frozen=True, kw_only=True):
    """An invoice was issued: numbered, with everything it says written down.

    What the balance of the customer holds is used first; a negative total goes to the balance.
    """

    topic: ClassVar[str] = "invoice.finalized/1"
    id: str
    number: int
    subscription_id: str
    customer_id: str
    currency: str
    position: int
    content_hash: str
    collection_method: CollectionMethod
    days_until_due: int | None
    due_at: datetime | None
    period: Period
    lines: tuple[IssuedLine, ...]
    subtotal: Decimal
    total: Decimal
    balance_applied: Decimal
    to_balance: Decimal
    amount_due: Decimal
    billed_to: BilledTo
    finalized_at: datetime


# --------------------------------------------------------------------------------------- state


class Status(StrEnum):
    """Where an invoice stands."""

    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PAID = "PAID"
    VOID = "VOID"
    UNCOLLECTIBLE = "UNCOLLECTIBLE"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came in for an invoice; `to_balance` of it was more than was due."""

    id: str
    amount: Decimal
    to_balance: Decimal
    reference: str | None
    paid_at: datetime


class CreditedLine(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a line is taken back."""

    line_id: str
    amount: Decimal


class CreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """Part of an invoice that is owed no more; `to_balance` of it had been paid."""

    id: str
    number: int
    lines: tuple[CreditedLine, ...]
    total: Decimal
    to_balance: Decimal
    reason: str | None
    created_at: datetime

    @property
    def printed_number(self) -> str:
        """The number as people see it."""
        return f"CN-{self.number:06}"


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it stands; a draft has no number and no statement yet."""

    id: str
    subscription_id: str
    customer_id: str
    currency: str
    at: datetime
    reason: Reason
    finalizes_at: datetime
    drafted_at: datetime
    status: Status = Status.DRAFT
    number: int | None = None
    statement: Statement | None = None
    finalized_at: datetime | None = None
    due_at: datetime | None = None
    balance_applied: Decimal = Decimal(0)
    amount_due: Decimal = Decimal(0)
    payments: tuple[Payment, ...] = ()
    credit_notes: tuple[CreditNote, ...] = ()
    overdue_at: datetime | None = None
    uncollectible_at: datetime | None = None
    voided_at: datetime | None = None
    void_reason: str | None = None

    @property
    @exact
    def amount_paid(self) -> Decimal:
        """What was paid of what was due; for a void invoice nothing, it is the customer's again."""
        if self.status is Status.VOID:
            return Decimal(0)
        return _sum(payment.amount - payment.to_balance for payment in self.payments)

    @property
    @exact
    def amount_credited(self) -> Decimal:
        """What credit notes took back, whether it had been paid or not."""
        return _sum(note.total for note in self.credit_notes)

    @property
    @exact
    def creditable(self) -> dict[str, Decimal]:
        """What is left of each line that can be credited, by its id."""
        lines = self.statement.lines if self.statement else ()
        left = {line.id: line.amount for line in lines}
        for note in self.credit_notes:
            for credited in note.lines:
                left[credited.line_id] -= credited.amount
        return left

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is open past its due date."""
        return self.status is Status.OPEN and self.due_at is not None and self.due_at <= now

    @property
    def printed_number(self) -> str | None:
        """The number as people see it; None for a draft."""
        return None if self.number is None else f"{self.number:06}"


def evolve(state: Invoice | None, event: Event) -> Invoice | None:
    """The invoice after one more fact."""
    match event:
        case InvoiceDrafted():
            return Invoice(
                id=event.id,
                subscription_id=event.subscription_id,
                customer_id=event.customer_id,
                currency=event.currency,
                at=event.at,
                reason=event.reason,
                finalizes_at=event.finalizes_at,
                drafted_at=event.drafted_at,
            )
        case InvoiceFinalized() if state is not None:
            return msgspec.structs.replace(
                state,
                status=Status.OPEN if event.amount_due else Status.PAID,
                number=event.number,
                statement=_statement(event),
                finalized_at=event.finalized_at,
                due_at=event.due_at,
                balance_applied=event.balance_applied,
                amount_due=event.amount_due,
            )
        case _:
            return state


def _statement(event: InvoiceFinalized) -> Statement:
    """What the invoice says, as it was issued."""
    return Statement(
        customer_id=event.customer_id,
        subscription_id=event.subscription_id,
        currency=event.currency,
        collection_method=event.collection_method,
        days_until_due=event.days_until_due,
        period=event.period,
        lines=event.lines,
        subtotal=event.subtotal,
        total=event.total,
        content_hash=event.content_hash,
        position=event.position,
        billed_to=event.billed_to,
    )


# ------------------------------------------------------------------------------------ commands


class DraftInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """Draft the invoice of a subscription that falls due at an instant.

    With usage on it, or drafted for what came late, it is finalized once `grace` has passed;
    otherwise at once.
    """

    subscription_id: str
    at: datetime
    reason: Reason
    grace: timedelta = GRACE_DEFAULT


class FinalizeInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """Issue a draft as it stands now."""

    invoice_id: str


Command = DraftInvoice | FinalizeInvoice


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside.

    `statement` is what is owed at the invoice's instant, None when there is no such subscription or
    it has not started; `drafted` says whether the subscription was invoiced at the instant for the
    same reason, `number` is the next one, `balance` is what we owe the customer.
    """

    id: str
    at: datetime
    statement: Statement | None
    drafted: bool = False
    number: int = 1
    balance: Decimal = Decimal(0)


@exact
def decide(state: Invoice | None, command: Command, facts: Facts) -> list[Event]:
    """Draft or issue an invoice; nothing is drafted when nothing is owed."""
    match command:
        case DraftInvoice():
            return [] if state is not None else _drafted(command, facts)
        case FinalizeInvoice():
            known = existing(state, "invoice", command.invoice_id)
            return _finalized(known, facts) if known.status is Status.DRAFT else []


def _drafted(command: DraftInvoice, facts: Facts) -> list[Event]:
    """The draft, unless there would be nothing on it."""
    owed = facts.statement
    if owed is None:
        message = f"there is no subscription {command.subscription_id} to bill at this instant"
        raise Rejected(Code.NOT_FOUND, ("input", "subscriptionId"), message)
    if facts.drafted and command.reason in ONCE:
        message = f"{command.subscription_id} is invoiced at {format_instant(command.at)} already"
        raise Rejected(Code.ALREADY_EXISTS, ("input", "at"), message)
    if not owed.lines:
        return []
    waits = owed.has_usage or command.reason is Reason.ADJUSTMENT
    return [
        InvoiceDrafted(
            id=facts.id,
            subscription_id=owed.subscription_id,
            customer_id=owed.customer_id,
            currency=owed.currency,
            at=command.at,
            reason=command.reason,
            finalizes_at=command.at + command.grace if waits else command.at,
            drafted_at=facts.at,
        )
    ]


def paid_from_balance(total: Decimal, balance: Decimal) -> tuple[Decimal, Decimal]:
    """What the customer's balance pays of a total, and what is left to pay.

    >>> [str(part) for part in paid_from_balance(Decimal(100), Decimal(30))]
    ['30', '70']
    >>> [str(part) for part in paid_from_balance(Decimal(-5), Decimal(30))]
    ['0', '0']
    """
    owed = max(total, Decimal(0))
    applied = min(owed, balance)
    return applied, owed - applied


def _finalized(state: Invoice, facts: Facts) -> list[Event]:
    """The invoice with everything written down; time to pay runs from its issue."""
    owed = facts.statement
    assert owed is not None, f"{state.id} was drafted for a subscription that has started"
    applied, left = paid_from_balance(owed.total, facts.balance)
    return [
        InvoiceFinalized(
            id=state.id,
            number=facts.number,
            subscription_id=state.subscription_id,
            customer_id=state.customer_id,
            currency=state.currency,
            position=owed.position,
            content_hash=owed.content_hash,
            collection_method=owed.collection_method,
            days_until_due=owed.days_until_due,
            due_at=due_at(facts.at, owed.days_until_due),
            period=owed.period,
            lines=owed.lines,
            subtotal=owed.subtotal,
            total=owed.total,
            balance_applied=applied,
            to_balance=max(-owed.total, Decimal(0)),
            amount_due=left,
            billed_to=owed.billed_to,
            finalized_at=facts.at,
        )
    ]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))

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
from fractions import Fraction
from typing import ClassVar

import msgspec

from domain.collection import CollectionMethod, due_at
from domain.decider import Code, Event, Rejected, existing, registered
from domain.money import exact
from domain.periods import Period, format_instant
from domain.rating import LineKind

GRACE_DEFAULT = timedelta(hours=1)
"""How long a draft with usage waits for records that come late."""


class Reason(StrEnum):
    """Why an invoice was drafted."""

    OPENING = "OPENING"
    RENEWAL = "RENEWAL"
    CHANGE = "CHANGE"
    FINAL = "FINAL"
    ONE_OFF = "ONE_OFF"


ONCE = frozenset({Reason.OPENING, Reason.RENEWAL, Reason.CHANGE, Reason.FINAL})
"""The reasons for which a subscription is invoiced at most once at an instant."""


class IssuedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the breakdown of a line; the amounts of all rows add up to its exact amount."""

    description: str
    quantity: Fraction | None = None
    unit_amount: Fraction | None = None
    flat_amount: Fraction | None = None
    from_quantity: Fraction | None = None
    up_to: Fraction | None = None
    amount: Fraction


class IssuedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line as it is written down; what is not about a price has no item and no version."""

    id: str
    kind: LineKind
    description: str
    item_id: str | None = None
    price_id: str | None = None
    price_version: int | None = None
    period: Period
    since: datetime
    quantity: Fraction
    exact: Fraction
    amount: Decimal
    steps: tuple[IssuedStep, ...]


class BilledTo(msgspec.Struct, frozen=True, kw_only=True):
    """Who owes an invoice, as known when it was issued."""

    name: str
    email: str | None
    description: str | None
    external_id: str | None
    time_zone: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice says is owed: as it stands in the ledger now, or as it was issued.

    `position` is the ledger position up to which everything is in it.
    """

    customer_id: str
    subscription_id: str
    currency: str
    collection_method: CollectionMethod
    days_until_due: int | None
    period: Period
    lines: tuple[IssuedLine, ...]
    total: Decimal
    content_hash: str
    position: int
    billed_to: BilledTo

    @property
    def has_usage(self) -> bool:
        """Whether records that come late could change it."""
        return any(line.kind is LineKind.USAGE for line in self.lines)


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


class BalanceChange(msgspec.Struct, frozen=True):
    """What a fact adds to what we owe a customer; negative when something was paid from it."""

    customer_id: str
    currency: str
    amount: Decimal


@exact
def balance_change(event: Event) -> BalanceChange | None:
    """What a fact changes of a customer's balance; None for a fact that is not about money."""
    match event:
        case InvoiceFinalized(customer_id=customer_id, currency=currency):
            change = event.to_balance - event.balance_applied
            return BalanceChange(customer_id, currency, change)
        case _:
            return None


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
        total=event.total,
        content_hash=event.content_hash,
        position=event.position,
        billed_to=event.billed_to,
    )


# ------------------------------------------------------------------------------------ commands


class DraftInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """Draft the invoice of a subscription that falls due at an instant.

    With usage on it, it is finalized once `grace` has passed; otherwise at once.
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
    return [
        InvoiceDrafted(
            id=facts.id,
            subscription_id=owed.subscription_id,
            customer_id=owed.customer_id,
            currency=owed.currency,
            at=command.at,
            reason=command.reason,
            finalizes_at=command.at + command.grace if owed.has_usage else command.at,
            drafted_at=facts.at,
        )
    ]


def _finalized(state: Invoice, facts: Facts) -> list[Event]:
    """The invoice with everything written down; time to pay runs from its issue."""
    owed = facts.statement
    assert owed is not None, f"{state.id} was drafted for a subscription that has started"
    applied = min(max(owed.total, Decimal(0)), facts.balance)
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
            subtotal=_sum(line.amount for line in owed.lines),
            total=owed.total,
            balance_applied=applied,
            to_balance=max(-owed.total, Decimal(0)),
            amount_due=max(owed.total, Decimal(0)) - applied,
            billed_to=owed.billed_to,
            finalized_at=facts.at,
        )
    ]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))

"""What is billed besides prices: one-off items that wait for the next invoice of a subscription.

Life cycle: created (waiting, until an invoice of its subscription is drafted).
"""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import msgspec

from domain.decider import Code, Event, Rejected, registered
from domain.money import check_amount, check_currency, check_minor_units
from domain.periods import Period
from domain.text import check_text

WAITING_LIMIT = 100
"""The most items that wait for the next invoice of one subscription."""

# -------------------------------------------------------------------------------------- events


@registered
class InvoiceItemCreated(Event, frozen=True, kw_only=True):
    """Something is to be billed, or credited, once."""

    topic: ClassVar[str] = "invoice_item.created/1"
    id: str
    customer_id: str
    subscription_id: str
    description: str
    amount: Decimal
    currency: str
    period: Period
    created_at: datetime


# --------------------------------------------------------------------------------------- state


class InvoiceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A one-off item; which invoice it stands on is in the invoices' own tables."""

    id: str
    customer_id: str
    subscription_id: str
    description: str
    amount: Decimal
    currency: str
    period: Period
    created_at: datetime


def evolve(state: InvoiceItem | None, event: Event) -> InvoiceItem | None:
    """The item after one more fact."""
    match event:
        case InvoiceItemCreated():
            return InvoiceItem(
                id=event.id,
                customer_id=event.customer_id,
                subscription_id=event.subscription_id,
                description=event.description,
                amount=event.amount,
                currency=event.currency,
                period=event.period,
                created_at=event.created_at,
            )
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class CreateInvoiceItem(msgspec.Struct, frozen=True, kw_only=True):
    """Bill something once, on the next invoice of a subscription; a negative amount is a credit.

    It is for the present instant when no period is given.
    """

    customer_id: str
    subscription_id: str
    description: str
    amount: Decimal
    currency: str | None = None
    period: Period | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside; the owner is None when there is no such subscription.

    `next_invoice_at` is None when the subscription has had its last one; `waiting` is how many
    items wait for the next one.
    """

    id: str
    at: datetime
    owner: str | None
    currency: str
    next_invoice_at: datetime | None
    waiting: int = 0


def decide(state: InvoiceItem | None, command: CreateInvoiceItem, facts: Facts) -> list[Event]:
    """Let the item wait for the next invoice, or say why it could not be billed."""
    if state is not None:
        return []
    if facts.owner is None:
        message = f"there is no subscription {command.subscription_id}"
        raise Rejected(Code.NOT_FOUND, ("input", "subscriptionId"), message)
    if facts.owner != command.customer_id:
        message = f"subscription {command.subscription_id} is not that of {command.customer_id}"
        raise Rejected(Code.INVALID_VALUE, ("input", "customerId"), message)
    if facts.next_invoice_at is None:
        message = f"subscription {command.subscription_id} has ended, and has no more invoices"
        raise Rejected(Code.WRONG_STATE, ("input", "subscriptionId"), message)
    if facts.waiting >= WAITING_LIMIT:
        message = f"at most {WAITING_LIMIT} items wait for the next invoice"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "subscriptionId"), message)
    currency = check_currency(command.currency or facts.currency, ("input", "currency"))
    if currency != facts.currency:
        message = f"the subscription is billed in {facts.currency}, not in {currency}"
        raise Rejected(Code.WRONG_CURRENCY, ("input", "currency"), message)
    check_amount(command.amount.copy_abs(), ("input", "amount"))
    check_minor_units(command.amount, currency, ("input", "amount"))
    return [
        InvoiceItemCreated(
            id=facts.id,
            customer_id=command.customer_id,
            subscription_id=command.subscription_id,
            description=check_text(command.description, ("input", "description")),
            amount=command.amount,
            currency=currency,
            period=command.period or Period(facts.at, facts.at),
            created_at=facts.at,
        )
    ]

"""What happened to invoices as double entries: each fact about money moves it between accounts.

The amounts of an entry add up to zero, debits above it and credits below. They follow the facts of
the log alone: an invoice when it is issued, payments, credit notes, write-offs and voids.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec.structs import replace

from app.opening import open_snapshot
from app.store import LedgerMapper
from domain.decider import Event
from domain.invoices import InvoiceFinalized
from domain.money import exact
from domain.settlements import (
    CreditNoteCreated,
    InvoiceMarkedUncollectible,
    InvoiceVoided,
    PaymentRecorded,
)
from projections.places import Place


class Account(StrEnum):
    """Where money is, or why it is owed."""

    RECEIVABLES = "Assets:Receivables"
    PAYMENTS = "Assets:Payments"
    BALANCES = "Liabilities:CustomerBalances"
    REVENUE = "Income:Revenue"
    WRITTEN_OFF = "Expenses:WrittenOff"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One fact about money; postings that are zero are left out.

    `note` is the number of an invoice or credit note, or what the payer wrote; `links` are the ids
    by which entries that belong together are found.
    """

    at: datetime
    position: int
    what: str
    note: str | None
    customer: str
    customer_id: str
    links: tuple[str, ...]
    currency: str
    postings: tuple[tuple[Account, Decimal], ...]


class _Open(msgspec.Struct, frozen=True):
    """An invoice as far as the next fact about it depends on it."""

    number: str
    customer: str
    due: Decimal
    earned: Decimal
    account: Account = Account.RECEIVABLES


def entries(directory: Path, place: Place | None = None) -> Iterator[Entry]:
    """Every entry of a ledger in the order of its log, as it is when the first is read."""
    mapper = LedgerMapper()
    book = _Book()
    with open_snapshot(directory, place) as snapshot:
        for kept in snapshot.events(topics="invoice."):
            _, event = mapper.decode(kept.topic, kept.state)
            entry = book.enter(kept.position, event)
            if entry is not None and entry.postings:
                yield entry


class _Book:
    """The invoices that were issued, so far."""

    def __init__(self) -> None:
        self._known: dict[str, _Open] = {}

    @exact
    def enter(self, position: int, event: Event) -> Entry | None:
        """The entry of a fact; None for one that moves no money."""
        match event:
            case InvoiceFinalized():
                return self._issued(position, event)
            case PaymentRecorded():
                return self._paid(position, event)
            case CreditNoteCreated():
                return self._credited(position, event)
            case InvoiceMarkedUncollectible():
                return self._written_off(position, event)
            case InvoiceVoided():
                return self._voided(position, event)
            case _:
                return None

    def _issued(self, position: int, event: InvoiceFinalized) -> Entry:
        """Revenue is earned; the customer's balance pays what it can, the rest is to be paid."""
        number = f"{event.number:06}"
        known = _Open(number, event.billed_to.name, event.amount_due, event.total)
        self._known[event.id] = known
        return Entry(
            at=event.finalized_at,
            position=position,
            what=f"Invoice {number}",
            note=number,
            customer=known.customer,
            customer_id=event.customer_id,
            links=(event.id,),
            currency=event.currency,
            postings=_moved(
                (Account.RECEIVABLES, event.amount_due),
                (Account.BALANCES, event.balance_applied - event.to_balance),
                (Account.REVENUE, -event.total),
            ),
        )

    def _paid(self, position: int, event: PaymentRecorded) -> Entry:
        """Money comes in for what is due; what is too much is the customer's.

        What was written off before, and is paid after all, is a loss no more.
        """
        known = self._known[event.id]
        settled = event.amount - event.to_balance
        self._known[event.id] = replace(known, due=known.due - settled)
        return Entry(
            at=event.paid_at,
            position=position,
            what=f"Payment of invoice {known.number}",
            note=event.reference,
            customer=known.customer,
            customer_id=event.customer_id,
            links=(event.id, event.payment_id),
            currency=event.currency,
            postings=_moved(
                (Account.PAYMENTS, event.amount),
                (known.account, -settled),
                (Account.BALANCES, -event.to_balance),
            ),
        )

    def _credited(self, position: int, event: CreditNoteCreated) -> Entry:
        """Revenue is given up: less is due, and what was paid already is the customer's."""
        known = self._known[event.id]
        settled = event.total - event.to_balance
        due, earned = known.due - settled, known.earned - event.total
        self._known[event.id] = replace(known, due=due, earned=earned)
        number = f"CN-{event.number:06}"
        return Entry(
            at=event.created_at,
            position=position,
            what=f"Credit note {number} to invoice {known.number}",
            note=number,
            customer=known.customer,
            customer_id=event.customer_id,
            links=(event.id, event.credit_note_id),
            currency=event.currency,
            postings=_moved(
                (Account.REVENUE, event.total),
                (known.account, -settled),
                (Account.BALANCES, -event.to_balance),
            ),
        )

    def _written_off(self, position: int, event: InvoiceMarkedUncollectible) -> Entry:
        """What is still due becomes a loss."""
        known = self._known[event.id]
        self._known[event.id] = replace(known, account=Account.WRITTEN_OFF)
        return Entry(
            at=event.marked_at,
            position=position,
            what=f"Invoice {known.number} written off",
            note=known.number,
            customer=known.customer,
            customer_id=event.customer_id,
            links=(event.id,),
            currency=event.currency,
            postings=_moved(
                (Account.WRITTEN_OFF, event.amount), (Account.RECEIVABLES, -event.amount)
            ),
        )

    def _voided(self, position: int, event: InvoiceVoided) -> Entry:
        """What is left of the revenue is given up; nothing is due, what was paid is theirs."""
        known = self._known.pop(event.id)
        return Entry(
            at=event.voided_at,
            position=position,
            what=f"Invoice {known.number} voided",
            note=known.number,
            customer=known.customer,
            customer_id=event.customer_id,
            links=(event.id,),
            currency=event.currency,
            postings=_moved(
                (Account.REVENUE, known.earned),
                (known.account, -known.due),
                (Account.BALANCES, -event.to_balance),
            ),
        )


def _moved(*postings: tuple[Account, Decimal]) -> tuple[tuple[Account, Decimal], ...]:
    """The postings that move anything; together they move nothing."""
    if sum((amount for _, amount in postings), Decimal(0)):
        raise ValueError(f"an entry is not balanced: {postings}")
    return tuple((account, amount) for account, amount in postings if amount)

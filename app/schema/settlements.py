"""What becomes of issued invoices: record payments, credit, void, write off."""

from collections.abc import Callable
from typing import Annotated, TypeVar

import strawberry

from app.schema.context import Info
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver
from app.schema.invoice_queries import shown
from app.schema.invoices import CreditNote, Invoice
from app.schema.scalars import DecimalText, InstantText, optional_instant
from domain import invoices, settlements
from domain.decider import Path
from domain.invoices import CreditedLine
from domain.money import parse_decimal

P = TypeVar("P", bound=Payload)

KEY = "Sent again with the same key, the first result is answered."


@strawberry.input(description="Money that came in for an invoice.")
class RecordPaymentInput:
    """Money that came in."""

    invoice_id: strawberry.ID = strawberry.field(description="The invoice that was paid.")
    amount: DecimalText = strawberry.field(
        description="How much, in the currency of the invoice; what is more than is due goes to "
        "the customer's balance."
    )
    reference: str | None = strawberry.field(
        default=None, description="What you call it, such as the bank's reference."
    )
    paid_at: InstantText | None = strawberry.field(
        default=None, description="When it was paid; now when left out, never later."
    )
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)

    def command(self) -> settlements.RecordPayment:
        """The command that is meant. Raises `Rejected` for a number or time that is none."""
        return settlements.RecordPayment(
            invoice_id=self.invoice_id,
            amount=parse_decimal(self.amount, ("input", "amount")),
            reference=self.reference,
            paid_at=optional_instant(self.paid_at, ("input", "paidAt")),
        )


@strawberry.type(description="The invoice after the payment, or why it was refused.")
class RecordPaymentPayload(Payload):
    """The invoice after the payment, or why it was refused."""

    invoice: Invoice | None = strawberry.field(
        description="The invoice; null when the payment was refused."
    )


@strawberry.input(description="The invoice that is to count no more.")
class VoidInvoiceInput:
    """The invoice that is to count no more."""

    invoice_id: strawberry.ID = strawberry.field(description="The invoice to void.")
    reason: str | None = strawberry.field(default=None, description="Why, in words.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)

    def command(self) -> settlements.VoidInvoice:
        """The command that is meant."""
        return settlements.VoidInvoice(invoice_id=self.invoice_id, reason=self.reason)


@strawberry.type(description="The void invoice, or why it still counts.")
class VoidInvoicePayload(Payload):
    """The void invoice, or why it still counts."""

    invoice: Invoice | None = strawberry.field(description="The invoice; null when it was refused.")


@strawberry.input(description="The invoice for which no more money is expected.")
class MarkInvoiceUncollectibleInput:
    """The invoice for which no more money is expected."""

    invoice_id: strawberry.ID = strawberry.field(description="The invoice to write off.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)

    def command(self) -> settlements.MarkUncollectible:
        """The command that is meant."""
        return settlements.MarkUncollectible(invoice_id=self.invoice_id)


@strawberry.type(description="The invoice that was written off, or why it was not.")
class MarkInvoiceUncollectiblePayload(Payload):
    """The invoice that was written off, or why it was not."""

    invoice: Invoice | None = strawberry.field(description="The invoice; null when it was refused.")


@strawberry.input(description="How much of a line is to be taken back.")
class CreditNoteLineInput:
    """How much of a line is to be taken back."""

    line_id: strawberry.ID = strawberry.field(description="The line of the invoice.")
    amount: DecimalText = strawberry.field(
        description="How much of it, at most what earlier credit notes left."
    )

    def read(self, path: Path) -> CreditedLine:
        """The line that is meant. Raises `Rejected` for a number that is none."""
        amount = parse_decimal(self.amount, (*path, "amount"))
        return CreditedLine(line_id=self.line_id, amount=amount)


@strawberry.input(description="What of an issued invoice is owed no more.")
class CreateCreditNoteInput:
    """What of an issued invoice is owed no more."""

    invoice_id: strawberry.ID = strawberry.field(description="The invoice to credit.")
    lines: list[CreditNoteLineInput] = strawberry.field(description="What to take back.")
    reason: str | None = strawberry.field(default=None, description="Why, in words.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)

    def command(self) -> settlements.CreateCreditNote:
        """The command that is meant. Raises `Rejected` for a number that is none."""
        return settlements.CreateCreditNote(
            invoice_id=self.invoice_id,
            lines=tuple(
                line.read(("input", "lines", str(index))) for index, line in enumerate(self.lines)
            ),
            reason=self.reason,
        )


@strawberry.type(description="The credit note and its invoice, or why there is none.")
class CreateCreditNotePayload(Payload):
    """The credit note and its invoice, or why there is none."""

    invoice: Invoice | None = strawberry.field(
        description="The invoice as it now stands; null when it was refused."
    )

    @resolver(description="The credit note; null when it was refused.")
    async def credit_note(self, info: Info) -> CreditNote | None:
        if self.invoice is None:
            return None
        store, position = info.context.ledger.store, int(self.position)
        found = await info.context.read(lambda _: store.at(position))
        assert found is not None
        assert isinstance(found.event, settlements.CreditNoteCreated)
        id = found.event.credit_note_id
        (note,) = (one for one in self.invoice.credit_notes if one.id == id)
        return note


@strawberry.type
class SettlementMutations:
    """Settling invoices."""

    @mutation(description="Say that money came in for an invoice.")
    async def record_payment(
        self,
        info: Info,
        input: Annotated[RecordPaymentInput, strawberry.argument(description="What came in.")],
    ) -> RecordPaymentPayload:
        return await _settle(info, RecordPaymentPayload, input.command, input.idempotency_key)

    @mutation(
        description="Let an issued invoice that is not paid count no more; what was paid of it "
        "goes to the customer's balance."
    )
    async def void_invoice(
        self,
        info: Info,
        input: Annotated[VoidInvoiceInput, strawberry.argument(description="Which one.")],
    ) -> VoidInvoicePayload:
        return await _settle(info, VoidInvoicePayload, input.command, input.idempotency_key)

    @mutation(
        description="Expect no more money for an open invoice; it can still be paid or voided."
    )
    async def mark_invoice_uncollectible(
        self,
        info: Info,
        input: Annotated[
            MarkInvoiceUncollectibleInput, strawberry.argument(description="Which one.")
        ],
    ) -> MarkInvoiceUncollectiblePayload:
        payload = MarkInvoiceUncollectiblePayload
        return await _settle(info, payload, input.command, input.idempotency_key)

    @mutation(
        description="Take back part of an issued invoice: what is due becomes less first, and "
        "what had been paid goes to the customer's balance."
    )
    async def create_credit_note(
        self,
        info: Info,
        input: Annotated[
            CreateCreditNoteInput, strawberry.argument(description="What to take back.")
        ],
    ) -> CreateCreditNotePayload:
        payload = CreateCreditNotePayload
        return await _settle(info, payload, input.command, input.idempotency_key)


async def _settle(
    info: Info,
    payload: Callable[..., P],
    command: Callable[[], settlements.Command],
    key: str | None,
) -> P:
    """Carry out a command about an invoice, and answer with the invoice as it now stands."""
    done = await info.context.execute(invoices.Invoice, command, key)
    return payload(
        invoice=await shown(info, done.state) if done.state else None,
        user_errors=done.user_errors,
        position=done.position,
    )

"""What is owed: invoices as they are previewed, drafted and issued, and how to ask for them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import strawberry

from app.commands import IMAGINED_ID
from app.schema.connections import (
    Node,
)
from app.schema.context import Info
from app.schema.customers import Customer
from app.schema.fields import resolver
from app.schema.invoice_lines import InvoiceLine, RatedBy, prices_of
from app.schema.scalars import (
    BigIntText,
    Currency,
    InstantText,
    Money,
    Period,
    big_int,
    described,
    instant_text,
    money,
    optional_instant_text,
)
from app.schema.subscriptions import Subscription
from domain import customers, invoices, subscriptions
from domain.collection import CollectionMethod, due_at
from domain.invoices import Reason
from domain.money import exact
from domain.periods import format_instant
from domain.statements import BilledTo as BilledToState
from domain.statements import Statement
from projections import invoices as invoiced
from projections import statements
from projections.explanations import Invoiced
from projections.invoice_previews import Preview
from projections.tables import Views


class Status(StrEnum):
    """Where an invoice stands."""

    PREVIEW = "PREVIEW"
    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PAID = "PAID"
    VOID = "VOID"
    UNCOLLECTIBLE = "UNCOLLECTIBLE"


described(
    Status,
    "Where an invoice stands.",
    name="InvoiceStatus",
    PREVIEW="It does not exist; it says what would be owed.",
    DRAFT="It fell due, and waits for usage that comes late; it says what is owed so far.",
    OPEN="It was issued, and something is left to pay.",
    PAID="It was issued, and nothing is left to pay.",
    VOID="It was issued and counts no more; what was paid is the customer's again.",
    UNCOLLECTIBLE="It was issued, and what is left to pay is not expected any more.",
)
described(
    Reason,
    "Why an invoice fell due.",
    name="InvoiceReason",
    OPENING="The subscription began.",
    RENEWAL="A billing period ended.",
    CHANGE="The subscription changed, and the change is billed at once.",
    FINAL="The subscription ended.",
    ADJUSTMENT="Usage came late, or was corrected, after the last invoice.",
    ONE_OFF="Something is billed once.",
)


@strawberry.type(description="Who owes an invoice, as known when it was issued.")
class BilledTo:
    """Who owes an invoice as it is shown."""

    name: str = strawberry.field(description="Who the customer was, as the invoice says it.")
    email: str | None = strawberry.field(description="Where invoices were sent.")
    description: str | None = strawberry.field(description="A note of your own.")
    external_id: str | None = strawberry.field(description="The customer's id in your own system.")
    time_zone: str = strawberry.field(description="The customer's IANA time zone.")

    @classmethod
    def of(cls, state: BilledToState) -> "BilledTo":
        """The customer as it is shown."""
        return cls(
            name=state.name,
            email=state.email,
            description=state.description,
            external_id=state.external_id,
            time_zone=state.time_zone,
        )


@strawberry.type(description="Money that came in for an invoice.")
class Payment:
    """A payment as it is shown."""

    id: strawberry.ID = strawberry.field(description="The payment's own id.")
    amount: Money = strawberry.field(description="How much came in.")
    to_balance: Money = strawberry.field(
        description="How much of it was more than was due, and went to the customer's balance."
    )
    reference: str | None = strawberry.field(description="What you called it.")
    paid_at: InstantText = strawberry.field(description="When it was paid.")

    @classmethod
    def of(cls, state: invoices.Payment, currency: str) -> "Payment":
        """The payment as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            amount=money(state.amount, currency),
            to_balance=money(state.to_balance, currency),
            reference=state.reference,
            paid_at=instant_text(state.paid_at),
        )


@strawberry.type(description="How much of a line a credit note takes back.")
class CreditedLine:
    """A line of a credit note as it is shown."""

    line_id: strawberry.ID = strawberry.field(description="The line of the invoice.")
    amount: Money = strawberry.field(description="How much of it is taken back.")


@strawberry.type(description="Part of an issued invoice that is owed no more.")
class CreditNote:
    """A credit note as it is shown."""

    id: strawberry.ID = strawberry.field(description="The credit note's own id.")
    number: str = strawberry.field(description="Its number, gapless in the ledger.")
    lines: list[CreditedLine] = strawberry.field(description="What is taken back, line by line.")
    total: Money = strawberry.field(description="What is taken back in all.")
    to_balance: Money = strawberry.field(
        description="How much of it had been paid, and went to the customer's balance."
    )
    reason: str | None = strawberry.field(description="Why.")
    created_at: InstantText = strawberry.field(description="When it was created.")

    @classmethod
    def of(cls, state: invoices.CreditNote, currency: str) -> "CreditNote":
        """The credit note as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            number=state.printed_number,
            lines=[
                CreditedLine(
                    line_id=strawberry.ID(line.line_id), amount=money(line.amount, currency)
                )
                for line in state.lines
            ],
            total=money(state.total, currency),
            to_balance=money(state.to_balance, currency),
            reason=state.reason,
            created_at=instant_text(state.created_at),
        )


@strawberry.type(description="What a customer owes for a subscription at one instant.")
class Invoice(Node):
    """An invoice as it is shown."""

    number: str | None = strawberry.field(
        description="Its number, gapless in the ledger; null until it is issued."
    )
    status: Status = strawberry.field(description="Where it stands.")
    reason: Reason | None = strawberry.field(description="Why it fell due; null for a preview.")
    currency: Currency = strawberry.field(description="The currency of all its amounts.")
    collection_method: CollectionMethod = strawberry.field(description="How it is paid.")
    at: InstantText = strawberry.field(description="The instant it is computed for.")
    finalizes_at: InstantText | None = strawberry.field(
        description="When a draft is issued; until then it shows usage that comes late."
    )
    issued_at: InstantText | None = strawberry.field(
        description="When it was issued; null until then."
    )
    due_at: InstantText | None = strawberry.field(
        description="When it is due, if it is sent; null when it is charged."
    )
    overdue: bool = strawberry.field(description="Whether it is open past its due date.")
    voided_at: InstantText | None = strawberry.field(description="When it was voided, if it was.")
    uncollectible_at: InstantText | None = strawberry.field(
        description="When what was left to pay was written off, if it was."
    )
    period: Period = strawberry.field(description="The billing period it closes or opens.")
    lines: list[InvoiceLine] = strawberry.field(description="What is owed, one by one.")
    subtotal: Money = strawberry.field(description="The sum of the lines.")
    total: Money = strawberry.field(description="What is owed in all.")
    balance_applied: Money = strawberry.field(description="What the customer's balance pays of it.")
    amount_credited: Money = strawberry.field(description="What its credit notes take back.")
    amount_paid: Money = strawberry.field(
        description="What has been paid of it; more than was due is on the customer's balance."
    )
    amount_due: Money = strawberry.field(description="What is still to be paid.")
    payments: list[Payment] = strawberry.field(description="What came in for it, in order.")
    credit_notes: list[CreditNote] = strawberry.field(description="What was taken back, in order.")
    billed_to: BilledTo = strawberry.field(
        description="Who owes it, as known when it was issued; until then, as known now."
    )
    position: BigIntText = strawberry.field(
        description="The ledger position up to which everything is in it."
    )
    content_hash: str = strawberry.field(
        description="A fingerprint of what is owed and why; equal invoices have equal ones."
    )
    statement: strawberry.Private[Statement]

    @resolver(description="Who owes it.")
    async def customer(self, info: Info) -> Customer:
        return Customer.of(await info.context.get(customers.Customer, self.statement.customer_id))

    @resolver(description="The subscription that it bills; null when there is none yet.")
    async def subscription(self, info: Info) -> Subscription | None:
        id = self.statement.subscription_id
        if id == IMAGINED_ID:
            return None
        return Subscription.of(await info.context.get(subscriptions.Subscription, id))

    @classmethod
    def previewed(cls, views: Views, preview: Preview) -> "Invoice":
        """A preview as it is shown."""
        at = preview.bill.at
        id = f"preview_{preview.subscription.id}_{format_instant(at)}"
        said = statements.statement(views, preview, id)
        imagined = invoices.Invoice(
            id=id,
            subscription_id=said.subscription_id,
            customer_id=said.customer_id,
            currency=said.currency,
            at=at,
            reason=Reason.RENEWAL,
            finalizes_at=at,
            drafted_at=at,
        )
        return cls._unissued(views, imagined, Invoiced.previewed(preview, said), Status.PREVIEW, at)

    @classmethod
    def of(cls, views: Views, state: invoices.Invoice, now: datetime) -> "Invoice":
        """An invoice as it is shown: as it was issued, or what its draft would be now."""
        source = Invoiced.of(state, statements.of_invoice(views, state, now))
        if source.issued:
            return cls.issued(state, source, now, prices_of(views, source))
        return cls._unissued(views, state, source, Status(state.status), now)

    @classmethod
    def _unissued(
        cls,
        views: Views,
        state: invoices.Invoice,
        source: Invoiced,
        status: Status,
        now: datetime,
    ) -> "Invoice":
        """A preview or a draft as it is shown: what we owe its customer would be used for it."""
        said = source.statement
        held = invoiced.balance(views, said.customer_id, said.currency)
        return cls._of(state, source, status, now, prices_of(views, source), held=held)

    @classmethod
    def issued(
        cls, state: invoices.Invoice, source: Invoiced, now: datetime, rated_by: RatedBy
    ) -> "Invoice":
        """An issued invoice as it is shown: what it said stays, what was paid of it does not."""
        return cls._of(state, source, Status(state.status), now, rated_by)

    @classmethod
    @exact
    def _of(
        cls,
        state: invoices.Invoice,
        source: Invoiced,
        status: Status,
        now: datetime,
        rated_by: RatedBy,
        *,
        held: Decimal | None = None,
    ) -> "Invoice":
        """What an invoice says, and where it stands; what is `held` for it, until it is issued."""
        said = source.statement
        currency = said.currency
        applied, due = state.balance_applied, state.amount_due
        if held is not None:
            applied, due = invoices.paid_from_balance(said.total, held)
        preview = status is Status.PREVIEW
        return cls(
            id=strawberry.ID(state.id),
            number=state.printed_number,
            status=status,
            reason=None if preview else state.reason,
            currency=Currency(currency),
            collection_method=said.collection_method,
            at=instant_text(state.at),
            finalizes_at=instant_text(state.finalizes_at) if status is Status.DRAFT else None,
            issued_at=optional_instant_text(state.finalized_at),
            due_at=optional_instant_text(
                state.due_at if source.issued else due_at(state.finalizes_at, said.days_until_due)
            ),
            overdue=state.is_overdue(now),
            voided_at=optional_instant_text(state.voided_at),
            uncollectible_at=optional_instant_text(state.uncollectible_at),
            period=Period.of(said.period),
            lines=InvoiceLine.all_of(source, rated_by),
            subtotal=money(said.subtotal, currency),
            total=money(said.total, currency),
            balance_applied=money(applied, currency),
            amount_credited=money(state.amount_credited, currency),
            amount_paid=money(state.amount_paid, currency),
            amount_due=money(due, currency),
            payments=[Payment.of(one, currency) for one in state.payments],
            credit_notes=[CreditNote.of(one, currency) for one in state.credit_notes],
            billed_to=BilledTo.of(said.billed_to),
            position=big_int(said.position),
            content_hash=said.content_hash,
            statement=said,
        )

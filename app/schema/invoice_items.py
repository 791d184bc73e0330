"""What is billed besides prices: one-off items for the next invoice of a subscription."""

from typing import Annotated

import strawberry

from app.schema.connections import Node
from app.schema.context import Info
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver
from app.schema.invoice_queries import shown
from app.schema.invoices import Invoice
from app.schema.scalars import (
    Currency,
    DecimalText,
    InstantText,
    Money,
    Period,
    PeriodInput,
    instant_text,
    money,
)
from app.schema.subscriptions import Subscription
from domain import invoice_items, invoices, subscriptions
from domain.money import parse_decimal
from projections import invoice_items as items


@strawberry.type(description="Something that is billed, or credited, once.")
class InvoiceItem(Node):
    """A one-off item as it is shown."""

    description: str = strawberry.field(description="What is charged, as the invoice says it.")
    amount: Money = strawberry.field(description="How much; negative for a credit.")
    period: Period = strawberry.field(description="The time it is for.")
    created_at: InstantText = strawberry.field(description="Since when it is to be billed.")
    state: strawberry.Private[invoice_items.InvoiceItem]

    @classmethod
    def of(cls, state: invoice_items.InvoiceItem) -> "InvoiceItem":
        """The item as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            description=state.description,
            amount=money(state.amount, state.currency),
            period=Period.of(state.period),
            created_at=instant_text(state.created_at),
            state=state,
        )

    @resolver(description="The subscription that it is billed with.")
    async def subscription(self, info: Info) -> Subscription:
        id = self.state.subscription_id
        return Subscription.of(await info.context.get(subscriptions.Subscription, id))

    @resolver(description="The invoice that it is on; null while it waits for the next one.")
    async def invoice(self, info: Info) -> Invoice | None:
        id = await info.context.read(
            lambda views: items.invoice_of(views, self.state.id),
            customer=self.state.customer_id,
            usage=False,
        )
        return await shown(info, await info.context.get(invoices.Invoice, id)) if id else None


@strawberry.input(description="What to bill, or credit, once.")
class CreateInvoiceItemInput:
    """What to bill once."""

    customer_id: strawberry.ID = strawberry.field(description="Who pays.")
    subscription_id: strawberry.ID = strawberry.field(
        description="The subscription of that customer whose next invoice it goes on."
    )
    description: str = strawberry.field(description="What is charged, as the invoice says it.")
    amount: DecimalText = strawberry.field(description="How much; negative for a credit.")
    currency: Currency | None = strawberry.field(
        default=None, description="The currency of the subscription, which it is when left out."
    )
    period: PeriodInput | None = strawberry.field(
        default=None, description="The time it is for; the present instant when left out."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> invoice_items.CreateInvoiceItem:
        """The command that is meant. Raises `Rejected` for a number or time that is none."""
        return invoice_items.CreateInvoiceItem(
            customer_id=self.customer_id,
            subscription_id=self.subscription_id,
            description=self.description,
            amount=parse_decimal(self.amount, ("input", "amount")),
            currency=self.currency,
            period=self.period.read(("input", "period")) if self.period else None,
        )


@strawberry.type(description="The item that waits for the next invoice, or why there is none.")
class CreateInvoiceItemPayload(Payload):
    """The item that waits for the next invoice, or why there is none."""

    invoice_item: InvoiceItem | None = strawberry.field(
        description="The item; null when it was refused."
    )


@strawberry.type
class InvoiceItemMutations:
    """Billing something once."""

    @mutation(description="Bill something once, on the next invoice of a subscription.")
    async def create_invoice_item(
        self,
        info: Info,
        input: Annotated[CreateInvoiceItemInput, strawberry.argument(description="What to bill.")],
    ) -> CreateInvoiceItemPayload:
        done = await info.context.execute(
            invoice_items.InvoiceItem, input.command, input.idempotency_key
        )
        return CreateInvoiceItemPayload(
            invoice_item=InvoiceItem.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

"""How subscriptions change, end and go on, and what a change would be billed."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.commands import imagined_change
from app.schema.context import Info, existing
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver
from app.schema.invoice_queries import shown
from app.schema.invoices import Invoice
from app.schema.previews import previewed
from app.schema.scalars import DecimalText, InstantText, described, optional_instant
from app.schema.subscriptions import Subscription
from domain import billing_calendar, invoices, subscription_changes, subscriptions
from domain.money import parse_decimal
from domain.subscription_changes import CancelForm, ProrationBehavior
from projections import invoice_previews
from projections import invoices as invoiced
from projections.tables import Views

described(
    ProrationBehavior,
    "How a change within a billing period is billed.",
    CREATE_PRORATIONS="What is left of the period is credited and charged anew, with the next "
    "invoice.",
    INVOICE_NOW="What is left of the period is credited and charged anew, on an invoice at once.",
    NONE="The running period stays as it was billed; the change counts from the next one on.",
)


@strawberry.input(description="An item to add, to change or to remove.")
class SubscriptionItemChangeInput:
    """An item to add, to change or to remove."""

    item_id: strawberry.ID | None = strawberry.field(
        default=None, description="The item to change; left out, one is added."
    )
    price_id: strawberry.ID | None = strawberry.field(
        default=None, description="Its price from then on; the one it has when left out."
    )
    quantity: DecimalText | None = strawberry.field(
        default=None, description="Its licensed units from then on; as many as now when left out."
    )
    remove: bool | None = strawberry.field(default=False, description="Whether it goes.")

    def read(self, index: int) -> subscription_changes.ItemChange:
        """The change that is meant. Raises `Rejected` for a number that is none."""
        path = ("input", "items", str(index), "quantity")
        return subscription_changes.ItemChange(
            item_id=self.item_id,
            price_id=self.price_id,
            quantity=None if self.quantity is None else parse_decimal(self.quantity, path),
            remove=bool(self.remove),
        )


@strawberry.input(description="How a subscription changes, and from when.")
class ChangeSubscriptionInput:
    """How a subscription changes, and from when."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription to change.")
    items: list[SubscriptionItemChangeInput] = strawberry.field(
        description="The items that change; all others stay."
    )
    proration_behavior: ProrationBehavior | None = strawberry.field(
        default=ProrationBehavior.CREATE_PRORATIONS,
        description="How the rest of the running period is billed.",
    )
    effective_at: InstantText | None = strawberry.field(
        default=None,
        description="From when, now when left out; not before the running period began. With the "
        "same instant, a preview and the change come to the same amounts.",
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> subscription_changes.ChangeSubscription:
        """The command that is meant. Raises `Rejected` for a number or time that is none."""
        return subscription_changes.ChangeSubscription(
            subscription_id=self.subscription_id,
            items=tuple(item.read(index) for index, item in enumerate(self.items)),
            behavior=self.proration_behavior or ProrationBehavior.CREATE_PRORATIONS,
            effective_at=optional_instant(self.effective_at, ("input", "effectiveAt")),
        )


@strawberry.type(description="The changed subscription, or why it is as it was.")
class ChangeSubscriptionPayload(Payload):
    """The changed subscription, or why it is as it was."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )
    invoice: Invoice | None = strawberry.field(
        description="The invoice of the change, when it is invoiced at once."
    )


@strawberry.input(description="The subscription that ends when what is paid for is used up.")
class CancelRefInput:
    """The subscription that ends when what is paid for is used up."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")


@strawberry.input(description="The subscription that ends at once.")
class CancelNowInput:
    """The subscription that ends at once."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    discard_usage: bool | None = strawberry.field(
        default=False, description="Whether usage that is not billed yet never is."
    )
    prorate: bool | None = strawberry.field(
        default=True, description="Whether licences are credited for the time that is left."
    )


@strawberry.input(description="The subscription that ends at an instant.")
class CancelAtInput:
    """The subscription that ends at an instant."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    at: InstantText = strawberry.field(description="When it ends, now or later.")


@strawberry.input(one_of=True, description="Which subscription ends, and when.")
class CancelSubscriptionInput:
    """Which subscription ends, and when: one of these."""

    now: CancelNowInput | None = strawberry.field(
        default=strawberry.UNSET, description="At once, with a final invoice."
    )
    at_period_end: CancelRefInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="When the running period ends; of several, the last one.",
    )
    at: CancelAtInput | None = strawberry.field(
        default=strawberry.UNSET, description="At an instant."
    )

    def command(self) -> subscription_changes.CancelSubscription:
        """The command that is meant. Raises `Rejected` for a time that is none."""
        if self.now:
            return subscription_changes.CancelSubscription(
                subscription_id=self.now.subscription_id,
                discard_usage=bool(self.now.discard_usage),
                prorate=self.now.prorate is not False,
            )
        if self.at:
            return subscription_changes.CancelSubscription(
                subscription_id=self.at.subscription_id,
                form=CancelForm.AT,
                at=optional_instant(self.at.at, ("input", "at", "at")),
            )
        assert self.at_period_end, "exactly one is given"
        return subscription_changes.CancelSubscription(
            subscription_id=self.at_period_end.subscription_id, form=CancelForm.AT_PERIOD_END
        )


@strawberry.type(description="The canceled subscription, or why it goes on.")
class CancelSubscriptionPayload(Payload):
    """The canceled subscription, or why it goes on."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )
    final_invoice: Invoice | None = strawberry.field(
        description="What it owes when it ends; null when that is nothing."
    )


@strawberry.input(description="The subscription that does not end after all.")
class ReactivateSubscriptionInput:
    """The subscription that does not end after all."""

    subscription_id: strawberry.ID = strawberry.field(description="The subscription.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> subscription_changes.ReactivateSubscription:
        """The command that is meant."""
        return subscription_changes.ReactivateSubscription(subscription_id=self.subscription_id)


@strawberry.type(description="The subscription that goes on, or why it does not.")
class ReactivateSubscriptionPayload(Payload):
    """The subscription that goes on, or why it does not."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )


async def billed(
    info: Info, state: subscriptions.Subscription, bill_at: datetime
) -> Invoice | None:
    """The invoice that a change of a subscription, or its end, is billed on at an instant.

    It is the one that was issued or drafted, a preview as long as there is none.
    """

    def find(views: Views) -> subscriptions.Subscription:
        found: subscriptions.Subscription = existing(
            views, subscriptions.Subscription, state.id, "subscriptionId"
        ).state
        return found

    drafted = await info.context.read(lambda views: invoiced.at_instant(views, state.id, bill_at))
    if drafted is not None:
        return await shown(info, await info.context.get(invoices.Invoice, drafted))
    invoice = await previewed(info, find, at=bill_at)
    return invoice if invoice and invoice.lines else None


async def _imagined(info: Info, command: subscription_changes.Command) -> Invoice | None:
    """The invoice that a change, or an end, would be billed on."""
    now = info.context.now()

    def imagine(views: Views) -> subscriptions.Subscription:
        return imagined_change(views, command, now)

    def billed_at(views: Views) -> datetime | None:
        state = imagine(views)
        bill_at = now
        if isinstance(command, subscription_changes.CancelSubscription):
            bill_at = state.end.bill_at if state.end else now
        elif state.changes:
            bill_at = state.changes[-1].bill_at
        prices = invoice_previews.prices_of(views, state)
        return billing_calendar.first_billing(state, prices, bill_at)

    return await previewed(info, imagine, at=await info.context.read(billed_at))


@strawberry.type
class SubscriptionChangeQueries:
    """Asking what changes would be billed."""

    @resolver(
        description="The invoice that a change would be billed on, without making it: at once, "
        "or with the next invoice."
    )
    async def subscription_change_preview(
        self,
        info: Info,
        input: Annotated[
            ChangeSubscriptionInput, strawberry.argument(description="What would change.")
        ],
    ) -> Invoice | None:
        return await _imagined(info, input.command())

    @resolver(description="The final invoice of a subscription, without canceling it.")
    async def cancellation_preview(
        self,
        info: Info,
        input: Annotated[
            CancelSubscriptionInput, strawberry.argument(description="What would end.")
        ],
    ) -> Invoice | None:
        return await _imagined(info, input.command())


@strawberry.type
class SubscriptionChangeMutations:
    """Changing subscriptions."""

    @mutation(
        description="Give a subscription other items, prices or quantities; licences are prorated."
    )
    async def change_subscription(
        self,
        info: Info,
        input: Annotated[
            ChangeSubscriptionInput, strawberry.argument(description="What changes, and when.")
        ],
    ) -> ChangeSubscriptionPayload:
        done = await info.context.execute(
            subscriptions.Subscription, input.command, input.idempotency_key
        )
        state = done.state
        change = state.changes[-1] if state and state.changes else None
        return ChangeSubscriptionPayload(
            subscription=Subscription.of(state) if state else None,
            invoice=await billed(info, state, change.bill_at)
            if state and change and change.invoices
            else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="End a subscription; what it owes until then is on a final invoice.")
    async def cancel_subscription(
        self,
        info: Info,
        input: Annotated[
            CancelSubscriptionInput, strawberry.argument(description="Which one, and when.")
        ],
    ) -> CancelSubscriptionPayload:
        done = await info.context.execute(subscriptions.Subscription, input.command, None)
        state = done.state
        return CancelSubscriptionPayload(
            subscription=Subscription.of(state) if state else None,
            final_invoice=await billed(info, state, state.end.bill_at)
            if state and state.end
            else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Let a subscription go on that was to end later.")
    async def reactivate_subscription(
        self,
        info: Info,
        input: Annotated[
            ReactivateSubscriptionInput, strawberry.argument(description="Which one.")
        ],
    ) -> ReactivateSubscriptionPayload:
        done = await info.context.execute(
            subscriptions.Subscription, input.command, input.idempotency_key
        )
        return ReactivateSubscriptionPayload(
            subscription=Subscription.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

"""Who pays what from when: subscriptions, and how to create them."""

import asyncio
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import strawberry

from app.schema.as_of import AsKnown, found
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Node,
    Page,
    objects,
)
from app.schema.context import Info
from app.schema.customers import Customer
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver
from app.schema.prices import Price
from app.schema.scalars import (
    Currency,
    DecimalText,
    InstantText,
    Period,
    described,
    instant_text,
    optional_decimal,
)
from app.schema.subscription_inputs import CreateSubscriptionInput
from domain import billing_calendar, customers, invoices, prices, subscription_items, subscriptions
from domain.collection import CollectionMethod
from domain.decider import Rejected
from domain.invoices import Reason
from domain.proration import ProrationGranularity
from projections import invoices as invoiced

if TYPE_CHECKING:
    from app.schema.invoices import Invoice


class Status(StrEnum):
    """Where a subscription stands at the present instant."""

    SCHEDULED = "SCHEDULED"
    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    PAUSED = "PAUSED"
    CANCELED = "CANCELED"


described(
    Status,
    "Where a subscription stands.",
    name="SubscriptionStatus",
    SCHEDULED="It has not started yet.",
    TRIALING="It has started, and its trial has not ended.",
    ACTIVE="It has started and is billed.",
    PAST_DUE="An invoice of it is overdue.",
    PAUSED="Its invoices stay drafts until collection is resumed.",
    CANCELED="It has ended.",
)


@strawberry.type(description="One price on a subscription.")
class SubscriptionItem:
    """One price on a subscription as it is shown."""

    id: strawberry.ID = strawberry.field(description="The item's own id.")
    quantity: DecimalText | None = strawberry.field(
        description="The licensed units; null when a meter counts."
    )
    state: strawberry.Private[subscription_items.Item]
    subscription: strawberry.Private[subscriptions.Subscription]

    @resolver(description="What it costs.")
    async def price(self, info: Info) -> Price:
        return Price.of(await info.context.get(prices.Price, self.state.price_id))

    @resolver(description="The billing period that runs now; before the start, the first.")
    async def current_period(self, info: Info) -> Period:
        price = await info.context.get(prices.Price, self.state.price_id)
        now = info.context.now()
        return Period.of(billing_calendar.current_period(self.subscription, price, now))


@strawberry.type(description="A customer's agreement to pay some prices, from a start on.")
class Subscription(Node):
    """A subscription as it is shown."""

    currency: Currency = strawberry.field(description="The one currency it is billed in.")
    start_at: InstantText = strawberry.field(description="When it begins to be billed.")
    billing_anchor: InstantText = strawberry.field(
        description="The instant from which all its billing periods are counted."
    )
    time_zone: str = strawberry.field(
        description="The IANA time zone whose midnights the billing periods follow."
    )
    collection_method: CollectionMethod = strawberry.field(description="How its invoices are paid.")
    days_until_due: int | None = strawberry.field(
        description="The days to pay an invoice that is sent; null when it is charged."
    )
    trial_end: InstantText | None = strawberry.field(
        description="When its trial ends, from which on it is paid; null without a trial."
    )
    bill_usage_in_trial: bool = strawberry.field(
        description="Whether usage is billed in the trial, in which licences are free."
    )
    proration_granularity: ProrationGranularity = strawberry.field(
        description="How time is shared out when a licence is billed for part of a period."
    )
    cancel_at: InstantText | None = strawberry.field(
        description="When it ends, or ended; null while no end is known."
    )
    canceled_at: InstantText | None = strawberry.field(
        description="When its end was asked for; null while none is known."
    )
    paused_at: InstantText | None = strawberry.field(
        description="Since when its invoices stay drafts; null when they are issued."
    )
    parked_reason: str | None = strawberry.field(
        description="Why it is billed no further until it is unparked; null when it is billed."
    )
    created_at: InstantText = strawberry.field(description="When it was agreed.")
    state: strawberry.Private[subscriptions.Subscription]

    @classmethod
    def of(cls, state: subscriptions.Subscription) -> "Subscription":
        """The subscription as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            currency=Currency(state.currency),
            start_at=instant_text(state.start_at),
            billing_anchor=instant_text(state.billing_anchor),
            time_zone=state.time_zone,
            collection_method=state.collection_method,
            days_until_due=state.days_until_due,
            trial_end=instant_text(state.trial_end) if state.trial_end else None,
            bill_usage_in_trial=state.bills_usage_in_trial,
            proration_granularity=state.proration_granularity,
            cancel_at=instant_text(state.end.at) if state.end else None,
            canceled_at=instant_text(state.canceled_at) if state.canceled_at else None,
            paused_at=instant_text(state.paused_at) if state.paused_at else None,
            parked_reason=state.parked,
            created_at=instant_text(state.created_at),
            state=state,
        )

    @resolver(description="The prices it consists of now; after its end, those that it had.")
    def items(self, info: Info) -> list[SubscriptionItem]:
        instant = info.context.now()
        if self.state.end is not None and self.state.end.at <= instant:
            instant = self.state.end.at - datetime.resolution
        return [
            SubscriptionItem(
                id=strawberry.ID(item.id),
                quantity=optional_decimal(item.quantity),
                state=item,
                subscription=self.state,
            )
            for item in self.state.items_at(instant)
        ]

    @resolver(description="Who pays.")
    async def customer(self, info: Info) -> Customer:
        return Customer.of(await info.context.get(customers.Customer, self.state.customer_id))

    @resolver(description="Where it stands now.")
    async def status(self, info: Info) -> Status:
        now = info.context.now()
        if self.state.end is not None and self.state.end.at <= now:
            return Status.CANCELED
        if now < self.state.start_at:
            return Status.SCHEDULED
        if self.state.paused_at is not None:
            return Status.PAUSED
        if self.state.in_trial(now):
            return Status.TRIALING
        overdue = await info.context.read(
            lambda views: invoiced.is_overdue(views, self.state.id),
            customer=self.state.customer_id,
            usage=False,
        )
        return Status.PAST_DUE if overdue else Status.ACTIVE

    @resolver(
        description="The billing period that ends next, among its items; null before the start "
        "and after the end."
    )
    async def current_period(self, info: Info) -> Period | None:
        now = info.context.now()
        there = self.state.items_at(now)
        if now < self.state.start_at or not there:
            return None
        items = [info.context.get(prices.Price, item.price_id) for item in there]
        running = [
            billing_calendar.current_period(self.state, price, now)
            for price in await asyncio.gather(*items)
        ]
        return Period.of(min(running, key=lambda period: period.end))

    @resolver(description="Its invoices in the order in which they were drafted.")
    async def invoices(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated["Invoice", strawberry.lazy("app.schema.invoices")]]:
        from app.schema.invoice_queries import invoice_page

        page = Page.of(first, after, last, before)
        customer = self.state.customer_id
        return await invoice_page(info, page, customer=customer, subscriptionId=self.id)

    @resolver(
        description="A preview of its next invoice, as invoicePreview gives it; null when there "
        "will be none."
    )
    async def upcoming_invoice(
        self, info: Info
    ) -> Annotated["Invoice", strawberry.lazy("app.schema.invoices")] | None:
        from app.schema.previews import previewed, subscription_named

        customer = self.state.customer_id
        return await previewed(info, subscription_named(self.id), customer=customer)


@strawberry.type(description="The new subscription, or why there is none.")
class CreateSubscriptionPayload(Payload):
    """The new subscription, or why there is none."""

    subscription: Subscription | None = strawberry.field(
        description="The subscription; null when it was refused."
    )

    @resolver(
        description="Its first invoice, issued with it: at the start, licences in advance and no "
        "usage yet; created with a start in the past, all that the elapsed periods would have "
        "been billed, as a draft while it waits for late usage. Before the start, or when nothing "
        "is due there, a preview. Null when that is more than an invoice holds."
    )
    async def first_invoice(
        self, info: Info
    ) -> Annotated["Invoice", strawberry.lazy("app.schema.invoices")] | None:
        # Invoices show their subscription and a new subscription its invoice: one of the two has
        # to import the other late.
        from app.schema.invoice_queries import shown
        from app.schema.previews import previewed, subscription_named

        if self.subscription is None:
            return None
        state = self.subscription.state
        opening = billing_calendar.opening(state)
        drafted = await info.context.read(
            lambda views: invoiced.invoiced(views, state.id, opening, Reason.OPENING)
        )
        if drafted is not None:
            return await shown(info, await info.context.get(invoices.Invoice, drafted))
        try:
            return await previewed(info, subscription_named(state.id), at=opening)
        except Rejected:  # decades in days: the subscription stands all the same
            return None


async def subscription_page(
    info: Info, page: Page, *, customer: str | None = None, **keys: str | None
) -> Connection[Subscription]:
    """A page of subscriptions in the order of their creation, found by these keys."""
    kind, show = subscriptions.Subscription, Subscription.of
    return await objects(info, kind, show, page, customer=customer, **keys)


@strawberry.type
class SubscriptionQueries:
    """Asking for subscriptions."""

    @resolver(description="The subscription with this id; null when there is none.")
    async def subscription(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of a subscription.")],
        as_of: AsKnown = None,
    ) -> Subscription | None:
        state = await found(info, subscriptions.Subscription, id, as_of)
        return Subscription.of(state) if state else None

    @resolver(description="Subscriptions in the order of their creation.")
    async def subscriptions(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        customer_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this customer.")
        ] = None,
        price_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only those that have or had this price."),
        ] = None,
    ) -> Connection[Subscription]:
        page = Page.of(first, after, last, before)
        return await subscription_page(info, page, customerId=customer_id, priceId=price_id)


@strawberry.type
class SubscriptionMutations:
    """Changing subscriptions."""

    @mutation(description="Subscribe a customer to some prices.")
    async def create_subscription(
        self,
        info: Info,
        input: Annotated[
            CreateSubscriptionInput, strawberry.argument(description="Who subscribes to what.")
        ],
    ) -> CreateSubscriptionPayload:
        done = await info.context.execute(
            subscriptions.Subscription, input.command, input.idempotency_key
        )
        return CreateSubscriptionPayload(
            subscription=Subscription.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

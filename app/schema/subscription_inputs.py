"""Who subscribes to what: the input of a subscription, created or only imagined."""

import strawberry

from app.schema.scalars import DecimalText, InstantText, described, optional_instant
from app.schema.shares import ProrationGranularity
from domain import subscription_items, subscriptions
from domain.collection import CollectionMethod
from domain.money import parse_decimal

described(
    CollectionMethod,
    "How an invoice is paid.",
    CHARGE_AUTOMATICALLY="It is charged by itself when it is issued.",
    SEND_INVOICE="It is sent with a due date.",
)


@strawberry.input(description="A price to subscribe to.")
class SubscriptionItemInput:
    """A price to subscribe to."""

    price_id: strawberry.ID = strawberry.field(description="The price.")
    quantity: DecimalText | None = strawberry.field(
        default=None, description="The licensed units, 1 when left out; never for a metered price."
    )

    def read(self, index: int) -> subscription_items.NewItem:
        """The item that is meant. Raises `Rejected` for a number that is none."""
        path = ("input", "items", str(index), "quantity")
        quantity = None if self.quantity is None else parse_decimal(self.quantity, path)
        return subscription_items.NewItem(price_id=self.price_id, quantity=quantity)


@strawberry.input(description="Who would subscribe to what.")
class PreviewSubscriptionInput:
    """Who would subscribe to what."""

    customer_id: strawberry.ID = strawberry.field(description="Who pays.")
    items: list[SubscriptionItemInput] = strawberry.field(
        description="The prices, all in one currency."
    )
    start_at: InstantText | None = strawberry.field(
        default=None,
        description="When it begins, now when left out; earlier bills the periods elapsed.",
    )
    billing_anchor: InstantText | None = strawberry.field(
        default=None,
        description="From when billing periods are counted; the end of the trial, or else the "
        "start, when left out.",
    )
    trial_end: InstantText | None = strawberry.field(
        default=None,
        description="Until when licences are free, and usage is not billed; none when left out.",
    )
    bill_usage_in_trial: bool | None = strawberry.field(
        default=False, description="Whether usage in the trial is billed all the same."
    )
    collection_method: CollectionMethod | None = strawberry.field(
        default=CollectionMethod.CHARGE_AUTOMATICALLY, description="How its invoices are paid."
    )
    days_until_due: int | None = strawberry.field(
        default=None, description="The days to pay an invoice that is sent; 30 when left out."
    )
    time_zone: str | None = strawberry.field(
        default=None, description="An IANA time zone; the customer's when left out."
    )
    proration_granularity: ProrationGranularity | None = strawberry.field(
        default=ProrationGranularity.SECOND,
        description="How time is shared out when a licence is billed for part of a period.",
    )

    def command(self) -> subscriptions.CreateSubscription:
        """The command that is meant. Raises `Rejected` for a number or time that is none."""
        return subscriptions.CreateSubscription(
            customer_id=self.customer_id,
            items=tuple(item.read(index) for index, item in enumerate(self.items)),
            start_at=optional_instant(self.start_at, ("input", "startAt")),
            billing_anchor=optional_instant(self.billing_anchor, ("input", "billingAnchor")),
            collection_method=self.collection_method or CollectionMethod.CHARGE_AUTOMATICALLY,
            days_until_due=self.days_until_due,
            time_zone=self.time_zone,
            trial_end=optional_instant(self.trial_end, ("input", "trialEnd")),
            bills_usage_in_trial=bool(self.bill_usage_in_trial),
            proration_granularity=self.proration_granularity or ProrationGranularity.SECOND,
        )


@strawberry.input(description="Who subscribes to what.")
class CreateSubscriptionInput(PreviewSubscriptionInput):
    """Who subscribes to what."""

    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

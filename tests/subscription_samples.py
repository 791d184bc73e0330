"""A sample of every fact about a subscription, as it is stored for ever."""

from datetime import UTC, datetime
from decimal import Decimal

from domain.collection import CollectionMethod
from domain.decider import Event
from domain.proration import ProrationGranularity
from domain.subscription_items import Item
from domain.subscriptions import (
    Change,
    CollectionPaused,
    CollectionResumed,
    End,
    SubscriptionCanceled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionParked,
    SubscriptionReactivated,
    SubscriptionUnparked,
)

AT = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)

SAMPLES: dict[str, Event] = {
    "subscription.changed/1": SubscriptionChanged(
        id="sub_1",
        change=Change(number=1, at=AT, bill_at=AT, prorates=True, invoices=False),
        ended=("item_1",),
        begun=(Item(id="item_1", price_id="price_2", quantity=Decimal(3)),),
        changed_at=AT,
    ),
    "subscription.canceled/1": SubscriptionCanceled(
        id="sub_1",
        end=End(at=AT, bill_at=AT, prorates=True, settles=False),
        canceled_at=AT,
    ),
    "subscription.collection_paused/1": CollectionPaused(id="sub_1", paused_at=AT),
    "subscription.collection_resumed/1": CollectionResumed(id="sub_1", resumed_at=AT),
    "subscription.parked/1": SubscriptionParked(id="sub_1", reason="too late", parked_at=AT),
    "subscription.unparked/1": SubscriptionUnparked(id="sub_1", unparked_at=AT),
    "subscription.reactivated/1": SubscriptionReactivated(id="sub_1", reactivated_at=AT),
    "subscription.created/1": SubscriptionCreated(
        id="sub_1",
        customer_id="cus_1",
        currency="USD",
        items=(
            Item(id="item_1", price_id="price_1", quantity=Decimal("2.5")),
            Item(id="item_2", price_id="price_2", quantity=None),
        ),
        start_at=AT,
        billing_anchor=AT,
        time_zone="UTC",
        collection_method=CollectionMethod.SEND_INVOICE,
        days_until_due=30,
        created_at=AT,
    ),
    "subscription.created/1 trial": SubscriptionCreated(
        id="sub_1",
        customer_id="cus_1",
        currency="USD",
        items=(
            Item(id="item_1", price_id="price_1", quantity=Decimal("2.5")),
            Item(id="item_2", price_id="price_2", quantity=None),
        ),
        start_at=AT,
        billing_anchor=AT,
        time_zone="UTC",
        collection_method=CollectionMethod.SEND_INVOICE,
        days_until_due=30,
        created_at=AT,
        trial_end=AT,
        bills_usage_in_trial=True,
        proration_granularity=ProrationGranularity.DAY,
    ),
}

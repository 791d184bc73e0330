"""Who pays what from when: a subscription binds a customer to prices, from a billing anchor.

Life cycle: created (scheduled until it starts, then in trial if it has one, then active).
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import msgspec

from domain.collection import CollectionMethod
from domain.decider import Code, Event, Path, Rejected, registered
from domain.money import check_amount
from domain.periods import check_zone, format_instant
from domain.proration import ProrationGranularity

ITEMS_LIMIT = 100
DAYS_UNTIL_DUE_DEFAULT = 30
DAYS_UNTIL_DUE_LIMIT = 365


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One price on the subscription; `quantity` is licensed units, None when metered."""

    id: str
    price_id: str
    quantity: Decimal | None


# -------------------------------------------------------------------------------------- events


@registered
class SubscriptionCreated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A customer subscribed.

    What has a default came later: it is stored only when it differs, so that all others stay as
    they were.
    """

    topic: ClassVar[str] = "subscription.created/1"
    id: str
    customer_id: str
    currency: str
    items: tuple[Item, ...]
    start_at: datetime
    billing_anchor: datetime
    time_zone: str
    collection_method: CollectionMethod
    days_until_due: int | None
    created_at: datetime
    trial_end: datetime | None = None
    bills_usage_in_trial: bool = False
    proration_granularity: ProrationGranularity = ProrationGranularity.SECOND


# --------------------------------------------------------------------------------------- state


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it stands.

    Until its trial ends, the licence is free, and so is usage unless it says otherwise.
    """

    id: str
    customer_id: str
    currency: str
    items: tuple[Item, ...]
    start_at: datetime
    billing_anchor: datetime
    time_zone: str
    collection_method: CollectionMethod
    days_until_due: int | None
    created_at: datetime
    trial_end: datetime | None = None
    bills_usage_in_trial: bool = False
    proration_granularity: ProrationGranularity = ProrationGranularity.SECOND

    @property
    def paid_from(self) -> datetime:
        """The instant from which billing periods run: the end of the trial, if there is one."""
        return self.trial_end or self.start_at

    def in_trial(self, instant: datetime) -> bool:
        """Whether the subscription has started and its trial has not ended."""
        return self.start_at <= instant < self.paid_from


def evolve(state: Subscription | None, event: Event) -> Subscription | None:
    """The subscription after one more fact."""
    match event:
        case SubscriptionCreated():
            return Subscription(
                id=event.id,
                customer_id=event.customer_id,
                currency=event.currency,
                items=event.items,
                start_at=event.start_at,
                billing_anchor=event.billing_anchor,
                time_zone=event.time_zone,
                collection_method=event.collection_method,
                days_until_due=event.days_until_due,
                created_at=event.created_at,
                trial_end=event.trial_end,
                bills_usage_in_trial=event.bills_usage_in_trial,
                proration_granularity=event.proration_granularity,
            )
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class NewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A price to subscribe to, with the licensed quantity (one unit when left out)."""

    price_id: str
    quantity: Decimal | None = None


class CreateSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Subscribe a customer; a start in the past bills the periods that have elapsed."""

    customer_id: str
    items: tuple[NewItem, ...]
    start_at: datetime | None = None
    billing_anchor: datetime | None = None
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int | None = None
    time_zone: str | None = None
    trial_end: datetime | None = None
    bills_usage_in_trial: bool = False
    proration_granularity: ProrationGranularity = ProrationGranularity.SECOND


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription must know of a price to accept it."""

    currency: str
    metered: bool
    archived: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside; `customer_zone` is None when there is no such customer."""

    id: str
    item_ids: tuple[str, ...]
    at: datetime
    customer_zone: str | None
    customer_archived: bool = False
    prices: Mapping[str, PriceTerms]


def decide(state: Subscription | None, command: CreateSubscription, facts: Facts) -> list[Event]:
    """Subscribe the customer, or say what about it could not be billed (RULES, Subscriptions)."""
    if state is not None:
        return []
    if facts.customer_zone is None:
        message = f"there is no customer {command.customer_id}"
        raise Rejected(Code.NOT_FOUND, ("input", "customerId"), message)
    if facts.customer_archived:
        message = f"customer {command.customer_id} is archived"
        raise Rejected(Code.WRONG_STATE, ("input", "customerId"), message)
    currency = _check_items(command, facts)
    start = command.start_at or facts.at
    zone = command.time_zone or facts.customer_zone
    trial_end = _trial_end(command, start)
    return [
        SubscriptionCreated(
            id=facts.id,
            customer_id=command.customer_id,
            currency=currency,
            items=tuple(
                Item(id=item_id, price_id=new.price_id, quantity=_quantity(new, facts))
                for item_id, new in zip(facts.item_ids, command.items, strict=True)
            ),
            start_at=start,
            billing_anchor=command.billing_anchor or trial_end or start,
            time_zone=check_zone(zone, ("input", "timeZone")),
            collection_method=command.collection_method,
            days_until_due=_days_until_due(command),
            created_at=facts.at,
            trial_end=trial_end,
            bills_usage_in_trial=command.bills_usage_in_trial,
            proration_granularity=command.proration_granularity,
        )
    ]


def _trial_end(command: CreateSubscription, start: datetime) -> datetime | None:
    """A trial begins with the subscription and ends after it."""
    end = command.trial_end
    if end is None:
        if command.bills_usage_in_trial:
            message = "billUsageInTrial goes with a trialEnd only"
            raise Rejected(Code.INVALID_VALUE, ("input", "billUsageInTrial"), message)
        return None
    if end <= start:
        message = f"the trial must end after the subscription starts, {format_instant(start)}"
        raise Rejected(Code.INVALID_VALUE, ("input", "trialEnd"), message)
    return end


def _quantity(new: NewItem, facts: Facts) -> Decimal | None:
    """A licensed item counts one unit unless told otherwise; a metered one counts usage."""
    if facts.prices[new.price_id].metered:
        return None
    return Decimal(1) if new.quantity is None else new.quantity


def _check_items(command: CreateSubscription, facts: Facts) -> str:
    """Every item can be billed, all in one currency, which is returned."""
    path: Path = ("input", "items")
    if not command.items:
        raise Rejected(Code.REQUIRED, path, "a subscription needs at least one item")
    if len(command.items) > ITEMS_LIMIT:
        message = f"a subscription has at most {ITEMS_LIMIT} items"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    currency: str | None = None
    seen: set[str] = set()
    for index, new in enumerate(command.items):
        here = (*path, str(index))
        terms = facts.prices.get(new.price_id)
        if terms is None:
            message = f"there is no price {new.price_id}"
            raise Rejected(Code.NOT_FOUND, (*here, "priceId"), message)
        if terms.archived:
            message = f"price {new.price_id} is archived"
            raise Rejected(Code.WRONG_STATE, (*here, "priceId"), message)
        if new.price_id in seen:
            message = f"price {new.price_id} is listed twice; give one item the whole quantity"
            raise Rejected(Code.INVALID_VALUE, (*here, "priceId"), message)
        seen.add(new.price_id)
        _check_quantity(new, terms, (*here, "quantity"))
        currency = currency or terms.currency
        if terms.currency != currency:
            message = (
                f"a subscription has one currency, {currency}; this price is in {terms.currency}"
            )
            raise Rejected(Code.WRONG_CURRENCY, (*here, "priceId"), message)
    return currency or ""


def _check_quantity(new: NewItem, terms: PriceTerms, path: Path) -> None:
    """Licensed units are never negative; metered items take their quantity from usage."""
    if new.quantity is None:
        return
    if terms.metered:
        message = "a metered price takes its quantity from usage; leave quantity out"
        raise Rejected(Code.INVALID_VALUE, path, message)
    check_amount(new.quantity, path)


def _days_until_due(command: CreateSubscription) -> int | None:
    """A sent invoice has a due date; one that is charged at once has none."""
    days = command.days_until_due
    path = ("input", "daysUntilDue")
    if command.collection_method is CollectionMethod.CHARGE_AUTOMATICALLY:
        if days is not None:
            message = "daysUntilDue goes with collectionMethod SEND_INVOICE only"
            raise Rejected(Code.INVALID_VALUE, path, message)
        return None
    if days is None:
        return DAYS_UNTIL_DUE_DEFAULT
    if not 0 <= days <= DAYS_UNTIL_DUE_LIMIT:
        message = f"daysUntilDue must be between 0 and {DAYS_UNTIL_DUE_LIMIT}"
        raise Rejected(Code.INVALID_VALUE, path, message)
    return days

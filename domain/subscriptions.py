"""Who pays what from when: a subscription binds a customer to prices, from a billing anchor.

Life cycle: created (scheduled until it starts, then in trial if it has one, then active) ->
changed, any number of times -> canceled, at once or for later, which can be taken back until then.
Meanwhile it may be paused and resumed, parked and unparked.

What is billed when follows from its stretches: each is one item at one price and quantity, from one
change to another. How to change and to cancel it is in `subscription_changes.py`, how to hold it
back in `subscription_holds.py`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from domain.collection import CollectionMethod
from domain.decider import Code, Event, Rejected, registered
from domain.periods import END_OF_TIME, check_zone, format_instant
from domain.proration import ProrationGranularity
from domain.subscription_items import Item, NewItem, PriceTerms, check_items, quantity_of

DAYS_UNTIL_DUE_DEFAULT = 30
DAYS_UNTIL_DUE_LIMIT = 365


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


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """When the terms changed, and how that is billed; they are numbered from 1.

    It takes effect at `at` and comes on the first invoice at or after `bill_at`, which is later
    when it was made later, or when that instant's invoice was there already. With `prorates`,
    licences are credited and charged for the rest of their periods. With `invoices`, there is an
    invoice at `bill_at` for it; usage is billed when its period ends all the same.
    """

    number: int
    at: datetime
    bill_at: datetime
    prorates: bool
    invoices: bool


@registered
class SubscriptionChanged(Event, frozen=True, kw_only=True):
    """Items of a subscription ended and began; the same item in both has other terms."""

    topic: ClassVar[str] = "subscription.changed/1"
    id: str
    change: Change
    ended: tuple[str, ...]
    begun: tuple[Item, ...]
    changed_at: datetime


class End(msgspec.Struct, frozen=True, kw_only=True):
    """When a subscription ends, and how that is billed, on an invoice at `bill_at`.

    With `prorates`, licences are credited for the rest of their periods; without `settles`, usage
    that is not billed yet never is.
    """

    at: datetime
    bill_at: datetime
    prorates: bool
    settles: bool


@registered
class SubscriptionCanceled(Event, frozen=True, kw_only=True):
    """A subscription ends, now or later."""

    topic: ClassVar[str] = "subscription.canceled/1"
    id: str
    end: End
    canceled_at: datetime


@registered
class SubscriptionReactivated(Event, frozen=True, kw_only=True):
    """A subscription that was to end goes on."""

    topic: ClassVar[str] = "subscription.reactivated/1"
    id: str
    reactivated_at: datetime


@registered
class CollectionPaused(Event, frozen=True, kw_only=True):
    """The invoices of a subscription stay drafts from now on."""

    topic: ClassVar[str] = "subscription.collection_paused/1"
    id: str
    paused_at: datetime


@registered
class CollectionResumed(Event, frozen=True, kw_only=True):
    """The invoices of a subscription are issued again."""

    topic: ClassVar[str] = "subscription.collection_resumed/1"
    id: str
    resumed_at: datetime


@registered
class SubscriptionParked(Event, frozen=True, kw_only=True):
    """A subscription is billed no further, because what is due looks absurd."""

    topic: ClassVar[str] = "subscription.parked/1"
    id: str
    reason: str
    parked_at: datetime


@registered
class SubscriptionUnparked(Event, frozen=True, kw_only=True):
    """Somebody has looked at what is due, and it is meant."""

    topic: ClassVar[str] = "subscription.unparked/1"
    id: str
    unparked_at: datetime


# --------------------------------------------------------------------------------------- state


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One item at one price and quantity: from the change that began it to the one that ended it.

    Change 0 is the creation; the last stretch of an item that is still there was ended by none.
    """

    item: Item
    begun_by: int
    ended_by: int | None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it stands.

    Until its trial ends, the licence is free, and so is usage unless it says otherwise.
    """

    id: str
    customer_id: str
    currency: str
    stretches: tuple[Stretch, ...]
    start_at: datetime
    billing_anchor: datetime
    time_zone: str
    collection_method: CollectionMethod
    days_until_due: int | None
    created_at: datetime
    trial_end: datetime | None = None
    bills_usage_in_trial: bool = False
    proration_granularity: ProrationGranularity = ProrationGranularity.SECOND
    changes: tuple[Change, ...] = ()
    end: End | None = None
    canceled_at: datetime | None = None
    paused_at: datetime | None = None
    parked: str | None = None
    """Why it is parked."""
    trusted_until: datetime | None = None
    """Up to when what is due is meant, however absurd it looks."""

    @property
    def held(self) -> bool:
        """Whether no invoice of it is issued."""
        return self.paused_at is not None or self.parked is not None

    @property
    def items(self) -> tuple[Item, ...]:
        """The items after every change that is known, the ones to come included."""
        return tuple(one.item for one in self.stretches if one.ended_by is None)

    def items_at(self, instant: datetime) -> tuple[Item, ...]:
        """The items that are there at an instant; at and before the start, the first ones."""
        instant = max(instant, self.start_at)
        return tuple(
            one.item for one in self.stretches if self.since(one) <= instant < self.until(one)
        )

    def since(self, stretch: Stretch) -> datetime:
        """When a stretch begins."""
        return self.changes[stretch.begun_by - 1].at if stretch.begun_by else self.start_at

    def until(self, stretch: Stretch) -> datetime:
        """When a stretch ends; the end of time when nothing is known to end it."""
        ends = self.end.at if self.end else END_OF_TIME
        return min(self.changes[stretch.ended_by - 1].at, ends) if stretch.ended_by else ends

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
                stretches=tuple(
                    Stretch(item=item, begun_by=0, ended_by=None) for item in event.items
                ),
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
        case SubscriptionChanged() if state is not None:
            return replace(
                state,
                changes=(*state.changes, event.change),
                stretches=_changed(state.stretches, event),
            )
        case SubscriptionCanceled() if state is not None:
            return replace(state, end=event.end, canceled_at=event.canceled_at)
        case SubscriptionReactivated() if state is not None:
            return replace(state, end=None, canceled_at=None)
        case CollectionPaused() if state is not None:
            return replace(state, paused_at=event.paused_at)
        case CollectionResumed() if state is not None:
            return replace(state, paused_at=None)
        case SubscriptionParked() if state is not None:
            return replace(state, parked=event.reason)
        case SubscriptionUnparked() if state is not None:
            return replace(state, parked=None, trusted_until=event.unparked_at)
        case _:
            return state


def _changed(stretches: tuple[Stretch, ...], event: SubscriptionChanged) -> tuple[Stretch, ...]:
    """The stretches with those of ended items closed, and those of begun items added."""
    number = event.change.number
    closed = (
        replace(one, ended_by=number)
        if one.ended_by is None and one.item.id in event.ended
        else one
        for one in stretches
    )
    begun = (Stretch(item=item, begun_by=number, ended_by=None) for item in event.begun)
    return (*closed, *begun)


# ------------------------------------------------------------------------------------ commands


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
    currency = check_items(command.items, facts.prices)
    start = command.start_at or facts.at
    zone = command.time_zone or facts.customer_zone
    trial_end = _trial_end(command, start)
    return [
        SubscriptionCreated(
            id=facts.id,
            customer_id=command.customer_id,
            currency=currency,
            items=tuple(
                Item(id=item_id, price_id=new.price_id, quantity=quantity_of(new, facts.prices))
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

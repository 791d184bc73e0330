"""When a subscription is held back: collection that is paused, and bills that look absurd.

Paused, its invoices stay drafts until it is resumed. Parked, nothing is drafted or issued until
somebody has looked at it: a mistake in a date or a price must not become a hundred invoices.
"""

from datetime import datetime

import msgspec

from domain.decider import Code, Event, Rejected, existing
from domain.periods import format_instant
from domain.subscriptions import (
    CollectionPaused,
    CollectionResumed,
    Subscription,
    SubscriptionParked,
    SubscriptionUnparked,
    evolve,
)

__all__ = [
    "Command",
    "Facts",
    "ParkSubscription",
    "PauseCollection",
    "ResumeCollection",
    "UnparkSubscription",
    "decide",
    "evolve",
]


# ------------------------------------------------------------------------------------ commands


class PauseCollection(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the invoices of a subscription as drafts."""

    subscription_id: str


class ResumeCollection(msgspec.Struct, frozen=True, kw_only=True):
    """Issue the invoices of a subscription again, those that wait at once."""

    subscription_id: str


class ParkSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Bill a subscription no further, because what is due looks absurd."""

    subscription_id: str
    reason: str


class UnparkSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Bill a parked subscription after all: what is due by now is meant."""

    subscription_id: str


Command = PauseCollection | ResumeCollection | ParkSubscription | UnparkSubscription


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the time."""

    at: datetime


def decide(state: Subscription | None, command: Command, facts: Facts) -> list[Event]:
    """Pause, resume, park or unpark a subscription; nothing when it is so already."""
    subscription = existing(state, "subscription", command.subscription_id)
    match command:
        case PauseCollection():
            return _paused(subscription, facts)
        case ResumeCollection():
            if subscription.paused_at is None:
                return []
            return [CollectionResumed(id=subscription.id, resumed_at=facts.at)]
        case ParkSubscription(reason=reason):
            if subscription.parked is not None:
                return []
            return [SubscriptionParked(id=subscription.id, reason=reason, parked_at=facts.at)]
        case UnparkSubscription():
            if subscription.parked is None:
                return []
            return [SubscriptionUnparked(id=subscription.id, unparked_at=facts.at)]


def _paused(subscription: Subscription, facts: Facts) -> list[Event]:
    end = subscription.end
    if end is not None and end.at <= facts.at:
        message = f"it ended at {format_instant(end.at)}"
        raise Rejected(Code.WRONG_STATE, ("input", "subscriptionId"), message)
    if subscription.paused_at is not None:
        return []
    return [CollectionPaused(id=subscription.id, paused_at=facts.at)]

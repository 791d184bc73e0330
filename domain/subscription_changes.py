"""How a subscription changes: other quantities and prices, items added and removed, and its end.

Nothing is billed here: a change says when it takes effect, when it is billed and how, and
`charges.py` finds the lines. Source: RULES, "Subscriptions".
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from domain.decider import Code, Event, Path, Rejected
from domain.periods import format_instant
from domain.subscription_items import (
    ITEMS_LIMIT,
    Item,
    NewItem,
    PriceTerms,
    check_price,
    check_quantity,
    quantity_of,
)
from domain.subscriptions import (
    Change,
    End,
    Subscription,
    SubscriptionCanceled,
    SubscriptionChanged,
    SubscriptionReactivated,
    evolve,
)

__all__ = [
    "CancelSubscription",
    "ChangeSubscription",
    "Command",
    "Facts",
    "ItemChange",
    "ProrationBehavior",
    "ReactivateSubscription",
    "decide",
    "evolve",
]

CHANGES_LIMIT = 1_000


class ProrationBehavior(StrEnum):
    """How a change within a period is billed."""

    CREATE_PRORATIONS = "CREATE_PRORATIONS"
    INVOICE_NOW = "INVOICE_NOW"
    NONE = "NONE"


class CancelForm(StrEnum):
    """When a subscription ends, by the names that clients use."""

    NOW = "now"
    AT_PERIOD_END = "atPeriodEnd"
    AT = "at"


# ------------------------------------------------------------------------------------ commands


class ItemChange(msgspec.Struct, frozen=True, kw_only=True):
    """An item to add (without `item_id`), to remove, or to give another price or quantity."""

    item_id: str | None = None
    price_id: str | None = None
    quantity: Decimal | None = None
    remove: bool = False


class ChangeSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Change the items of a subscription at an instant, now when none is given."""

    subscription_id: str
    items: tuple[ItemChange, ...]
    behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    effective_at: datetime | None = None


class CancelSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """End a subscription: now, at an instant to come, or when what is paid for is used up."""

    subscription_id: str
    form: CancelForm = CancelForm.NOW
    at: datetime | None = None
    discard_usage: bool = False
    prorate: bool = True


class ReactivateSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Let a subscription that was to end go on."""

    subscription_id: str


Command = ChangeSubscription | CancelSubscription | ReactivateSubscription


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside.

    `item_ids` are new ids, one for each item of the command. `invoiced_until` is the instant of the
    subscription's last invoice. `periods_start` is when the running period of each item began,
    `price_periods_start` when that of an item at a price would have begun, and `periods_end` when
    the last of the items' periods ends.
    """

    at: datetime
    item_ids: tuple[str, ...] = ()
    prices: Mapping[str, PriceTerms] = {}
    invoiced_until: datetime | None = None
    periods_start: Mapping[str, datetime] = {}
    price_periods_start: Mapping[str, datetime] = {}
    periods_end: datetime | None = None


def decide(state: Subscription | None, command: Command, facts: Facts) -> list[Event]:
    """Change, cancel or reactivate a subscription, or say why not."""
    match command:
        case ChangeSubscription():
            return _change(_existing(state, command.subscription_id), command, facts)
        case CancelSubscription():
            path = ("input", command.form)
            return _cancel(_existing(state, command.subscription_id, path), command, facts)
        case ReactivateSubscription():
            return _reactivate(_existing(state, command.subscription_id), facts)


def _existing(state: Subscription | None, id: str, path: Path = ("input",)) -> Subscription:
    if state is None:
        raise Rejected(Code.NOT_FOUND, (*path, "subscriptionId"), f"there is no subscription {id}")
    return state


# ------------------------------------------------------------------------------------- changing


def _change(subscription: Subscription, command: ChangeSubscription, facts: Facts) -> list[Event]:
    at = max(command.effective_at or facts.at, subscription.start_at)
    _check_instant(subscription, at, facts)
    ended, begun = _items(subscription, command, facts)
    if not ended and not begun:
        return []
    if len(subscription.changes) >= CHANGES_LIMIT:
        message = f"a subscription changes at most {CHANGES_LIMIT} times; create another one"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "subscriptionId"), message)
    began = _running_since(subscription, ended, begun, facts)
    if at < began:
        message = f"the running period began at {format_instant(began)}; what was before is billed"
        raise Rejected(Code.INVALID_VALUE, ("input", "effectiveAt"), message)
    change = Change(
        number=len(subscription.changes) + 1,
        at=at,
        bill_at=_bill_at(at, facts),
        prorates=command.behavior is not ProrationBehavior.NONE,
        invoices=command.behavior is ProrationBehavior.INVOICE_NOW,
    )
    return [
        SubscriptionChanged(
            id=subscription.id,
            change=change,
            ended=tuple(ended),
            begun=tuple(begun),
            changed_at=facts.at,
        )
    ]


def _running_since(
    subscription: Subscription, ended: Sequence[str], begun: Sequence[Item], facts: Facts
) -> datetime:
    """When the running periods of all that changes had begun, those of what is added included."""
    start = subscription.start_at
    before = [facts.periods_start[id] for id in ended]
    after = [facts.price_periods_start.get(item.price_id, start) for item in begun]
    return max(before + after, default=start)


def _check_instant(subscription: Subscription, at: datetime, facts: Facts) -> None:
    """A change comes after every other one, before the end, and not when it is over already."""
    path = ("input", "effectiveAt")
    if subscription.end is not None and subscription.end.at <= max(at, facts.at):
        ends = format_instant(subscription.end.at)
        raise Rejected(Code.WRONG_STATE, ("input", "subscriptionId"), f"it ends at {ends}")
    if subscription.changes and at < subscription.changes[-1].at:
        last = format_instant(subscription.changes[-1].at)
        raise Rejected(Code.INVALID_VALUE, path, f"it changes at {last}; this must not be before")


def _bill_at(at: datetime, facts: Facts) -> datetime:
    """The instant from which on a change is billed: never that of an invoice that is there."""
    wanted = max(at, facts.at)
    if facts.invoiced_until is not None and wanted <= facts.invoiced_until:
        return facts.invoiced_until + datetime.resolution
    return wanted


def _items(
    subscription: Subscription, command: ChangeSubscription, facts: Facts
) -> tuple[list[str], list[Item]]:
    """The ids of items that end, and the items that begin; in both, one that goes on otherwise."""
    path: Path = ("input", "items")
    if not command.items:
        raise Rejected(Code.REQUIRED, path, "say which items change")
    current = {item.id: item for item in subscription.items}
    after = dict(current)
    for index, (asked, new_id) in enumerate(zip(command.items, facts.item_ids, strict=True)):
        here = (*path, str(index))
        if asked.item_id is None:
            after[new_id] = _added(subscription, asked, new_id, facts, here)
            continue
        item = current.get(asked.item_id)
        if item is None and asked.remove and _was_there(subscription, asked.item_id):
            continue
        if item is None:
            message = f"the subscription has no item {asked.item_id}"
            raise Rejected(Code.NOT_FOUND, (*here, "itemId"), message)
        if asked.item_id in [one.item_id for one in command.items[:index]]:
            raise Rejected(Code.INVALID_VALUE, (*here, "itemId"), "an item changes once at a time")
        if asked.remove:
            _check_removal(asked, here)
            del after[item.id]
        else:
            after[item.id] = _otherwise(subscription, item, asked, command, facts, here)
    _check_result(list(after.values()), path)
    ended = [id for id, item in current.items() if after.get(id) != item]
    return ended, [item for id, item in after.items() if current.get(id) != item]


def _was_there(subscription: Subscription, item_id: str) -> bool:
    return any(one.item.id == item_id for one in subscription.stretches)


def _added(
    subscription: Subscription, asked: ItemChange, id: str, facts: Facts, path: Path
) -> Item:
    if asked.remove:
        raise Rejected(Code.REQUIRED, (*path, "itemId"), "say which item is removed")
    if asked.price_id is None:
        raise Rejected(Code.REQUIRED, (*path, "priceId"), "say at which price to add an item")
    terms = check_price(asked.price_id, facts.prices, subscription.currency, path)
    check_quantity(asked.quantity, terms, (*path, "quantity"))
    new = NewItem(price_id=asked.price_id, quantity=asked.quantity)
    return Item(id=id, price_id=asked.price_id, quantity=quantity_of(new, facts.prices))


def _check_removal(asked: ItemChange, path: Path) -> None:
    """What is removed has no other terms."""
    for name, given in (("priceId", asked.price_id), ("quantity", asked.quantity)):
        if given is not None:
            message = f"an item that is removed takes no {name}"
            raise Rejected(Code.INVALID_VALUE, (*path, name), message)


def _otherwise(
    subscription: Subscription,
    item: Item,
    asked: ItemChange,
    command: ChangeSubscription,
    facts: Facts,
    path: Path,
) -> Item:
    """The item at another price or quantity; what is left out stays."""
    before = facts.prices[item.price_id]
    price_id = asked.price_id or item.price_id
    if price_id == item.price_id:
        terms = before
    else:
        terms = check_price(price_id, facts.prices, subscription.currency, path)
        alike = (before.metered, before.interval, before.in_advance) == (
            terms.metered,
            terms.interval,
            terms.in_advance,
        )
        if command.behavior is ProrationBehavior.NONE and not alike:
            message = "without prorations the new price must be billed as often as the old one"
            raise Rejected(Code.INVALID_VALUE, ("input", "prorationBehavior"), message)
    check_quantity(asked.quantity, terms, (*path, "quantity"))
    wanted = item.quantity if asked.quantity is None else asked.quantity
    new = NewItem(price_id=price_id, quantity=wanted)
    return Item(id=item.id, price_id=price_id, quantity=quantity_of(new, facts.prices))


def _check_result(items: Sequence[Item], path: Path) -> None:
    """What is left is a subscription: some items, each price once."""
    if not items:
        message = "nothing would be left; cancel the subscription instead"
        raise Rejected(Code.INVALID_VALUE, path, message)
    if len(items) > ITEMS_LIMIT:
        message = f"a subscription has at most {ITEMS_LIMIT} items"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    prices = [item.price_id for item in items]
    for price_id in prices:
        if prices.count(price_id) > 1:
            message = f"price {price_id} would be there twice; give one item the whole quantity"
            raise Rejected(Code.INVALID_VALUE, path, message)


# ------------------------------------------------------------------------------------ canceling


def _cancel(subscription: Subscription, command: CancelSubscription, facts: Facts) -> list[Event]:
    if subscription.end is not None and subscription.end.at <= facts.at:
        return []
    at = _ends_at(command, facts)
    path: Path = ("input", command.form)
    if at < facts.at:
        message = "a subscription ends now or later; what was before is billed"
        raise Rejected(Code.INVALID_VALUE, (*path, "at"), message)
    if subscription.changes and at < subscription.changes[-1].at:
        last = format_instant(subscription.changes[-1].at)
        message = f"it changes at {last} and cannot end before that"
        raise Rejected(Code.WRONG_STATE, path, message)
    end = End(
        at=at,
        bill_at=_bill_at(at, facts),
        prorates=command.prorate,
        settles=not command.discard_usage,
    )
    if end == subscription.end:
        return []
    return [SubscriptionCanceled(id=subscription.id, end=end, canceled_at=facts.at)]


def _ends_at(command: CancelSubscription, facts: Facts) -> datetime:
    match command.form:
        case CancelForm.AT if command.at is not None:
            return command.at
        case CancelForm.AT_PERIOD_END if facts.periods_end is not None:
            return facts.periods_end
        case _:
            return facts.at


def _reactivate(subscription: Subscription, facts: Facts) -> list[Event]:
    if subscription.end is None:
        return []
    if subscription.end.at <= facts.at:
        ended = format_instant(subscription.end.at)
        message = f"it ended at {ended}; create another one"
        raise Rejected(Code.WRONG_STATE, ("input", "subscriptionId"), message)
    return [SubscriptionReactivated(id=subscription.id, reactivated_at=facts.at)]

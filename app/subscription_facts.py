"""What deciding about subscriptions needs to know: prices, periods, and what is invoiced."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from app.clock import new_id
from domain import billing_calendar, subscription_changes, subscription_holds, subscriptions
from domain.customers import Customer
from domain.periods import Period, from_us
from domain.prices import Price, Timing
from domain.subscription_changes import ChangeSubscription
from domain.subscription_items import PriceTerms
from domain.subscriptions import CreateSubscription, Subscription
from projections import current, invoices
from projections.tables import Views


def creation(
    views: Views, command: CreateSubscription, id: str, at: datetime
) -> subscriptions.Facts:
    """The facts for subscribing a customer."""
    customer = current.get(views, Customer, command.customer_id)
    return subscriptions.Facts(
        id=id,
        item_ids=tuple(new_id("item") for _ in command.items),
        at=at,
        customer_zone=customer.time_zone if customer else None,
        customer_archived=customer is not None and customer.archived_at is not None,
        prices=_terms(views, (item.price_id for item in command.items)),
    )


def change(
    views: Views, command: subscription_changes.Command, id: str, at: datetime
) -> subscription_changes.Facts:
    """The facts for changing, canceling or reactivating a subscription."""
    subscription = current.get(views, Subscription, id)
    if subscription is None:
        return subscription_changes.Facts(at=at)
    asked = command.items if isinstance(command, ChangeSubscription) else ()
    wanted = [item.price_id for item in subscription.items]
    wanted += [item.price_id for item in asked if item.price_id]
    invoiced = invoices.last_instant(views, subscription.id)
    periods = _periods(views, subscription, wanted, at)
    return subscription_changes.Facts(
        at=at,
        item_ids=tuple(new_id("item") for _ in asked),
        prices=_terms(views, wanted),
        invoiced_until=None if invoiced is None else from_us(invoiced),
        periods_start={item.id: periods[item.price_id].start for item in subscription.items},
        price_periods_start={id: period.start for id, period in periods.items()},
        periods_end=max(periods[item.price_id].end for item in subscription.items),
    )


def hold(
    views: Views, command: subscription_holds.Command, id: str, at: datetime
) -> subscription_holds.Facts:
    """The facts for holding a subscription back, or letting it go on."""
    return subscription_holds.Facts(at=at)


def _terms(views: Views, price_ids: Iterable[str]) -> dict[str, PriceTerms]:
    """What a subscription must know of these prices, those that there are."""
    found = {id: current.get(views, Price, id) for id in dict.fromkeys(price_ids)}
    return {
        id: PriceTerms(
            currency=price.currency,
            metered=price.metered,
            interval=price.interval,
            in_advance=price.timing is Timing.IN_ADVANCE,
            archived=not price.active,
        )
        for id, price in found.items()
        if price is not None
    }


def _periods(
    views: Views, subscription: Subscription, price_ids: Iterable[str], at: datetime
) -> Mapping[str, Period]:
    """The period that runs for an item at each of these prices, those that there are."""
    found = {id: current.get(views, Price, id) for id in dict.fromkeys(price_ids)}
    return {
        id: billing_calendar.current_period(subscription, price, at)
        for id, price in found.items()
        if price is not None
    }

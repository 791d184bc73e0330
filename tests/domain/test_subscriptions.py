"""Subscriptions: who pays what from when, and what could not be billed together."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from domain.collection import CollectionMethod
from domain.periods import Interval, IntervalUnit
from domain.subscription_items import Item, NewItem, PriceTerms
from domain.subscriptions import CreateSubscription, Facts, SubscriptionCreated
from tests.spec import given

MONTH = Interval(IntervalUnit.MONTH)
AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)
EARLIER = datetime(2025, 11, 15, 12, 30, tzinfo=UTC)

TERMS = {
    "price_licence": PriceTerms(currency="USD", metered=False, interval=MONTH, in_advance=True),
    "price_usage": PriceTerms(currency="USD", metered=True, interval=MONTH, in_advance=False),
    "price_euro": PriceTerms(currency="EUR", metered=False, interval=MONTH, in_advance=True),
}
LICENCE = NewItem(price_id="price_licence")
USAGE = NewItem(price_id="price_usage")


def facts(items: int, customer_zone: str | None = "UTC") -> Facts:
    """A known customer and known prices, with an id for each item."""
    return Facts(
        id="sub_1",
        item_ids=tuple(f"item_{number}" for number in range(1, items + 1)),
        at=AT,
        customer_zone=customer_zone,
        prices=TERMS,
    )


def subscribe(
    *items: NewItem,
    start_at: datetime | None = None,
    billing_anchor: datetime | None = None,
    days_until_due: int | None = None,
    sent: bool = False,
    time_zone: str | None = None,
    trial_end: datetime | None = None,
    bills_usage_in_trial: bool = False,
) -> CreateSubscription:
    """Subscribe alpaca-lover."""
    method = CollectionMethod.SEND_INVOICE if sent else CollectionMethod.CHARGE_AUTOMATICALLY
    return CreateSubscription(
        customer_id="cus_1",
        items=items,
        start_at=start_at,
        billing_anchor=billing_anchor,
        collection_method=method,
        days_until_due=days_until_due,
        time_zone=time_zone,
        trial_end=trial_end,
        bills_usage_in_trial=bills_usage_in_trial,
    )


def created(
    *items: Item,
    start_at: datetime = AT,
    billing_anchor: datetime = AT,
    time_zone: str = "UTC",
    days_until_due: int | None = None,
    trial_end: datetime | None = None,
) -> SubscriptionCreated:
    """What a subscription in USD becomes; one with a due date is sent."""
    sent = days_until_due is not None
    return SubscriptionCreated(
        id="sub_1",
        customer_id="cus_1",
        currency="USD",
        items=items,
        start_at=start_at,
        billing_anchor=billing_anchor,
        time_zone=time_zone,
        collection_method=(
            CollectionMethod.SEND_INVOICE if sent else CollectionMethod.CHARGE_AUTOMATICALLY
        ),
        days_until_due=days_until_due,
        created_at=AT,
        trial_end=trial_end,
    )


ONE_LICENCE = Item(id="item_1", price_id="price_licence", quantity=Decimal(1))


def test_a_subscription_to_a_licence_and_to_usage_starts_now() -> None:
    metered = Item(id="item_2", price_id="price_usage", quantity=None)
    given().when(subscribe(LICENCE, USAGE), facts(2)).then(created(ONE_LICENCE, metered))


def test_creating_a_subscription_twice_writes_nothing() -> None:
    given(created(ONE_LICENCE)).when(subscribe(LICENCE), facts(1)).then()


@pytest.mark.parametrize("quantity", ["0", "2.5", "12"])
def test_a_licensed_quantity(quantity: str) -> None:
    units = Decimal(quantity)
    item = Item(id="item_1", price_id="price_licence", quantity=units)
    wanted = NewItem(price_id="price_licence", quantity=units)
    given().when(subscribe(wanted), facts(1)).then(created(item))


def test_a_start_in_the_past_is_its_own_anchor() -> None:
    command = subscribe(LICENCE, start_at=EARLIER)
    expected = created(ONE_LICENCE, start_at=EARLIER, billing_anchor=EARLIER)
    given().when(command, facts(1)).then(expected)


def test_a_later_anchor_makes_the_first_period_a_stub() -> None:
    command = subscribe(LICENCE, billing_anchor=LATER)
    given().when(command, facts(1)).then(created(ONE_LICENCE, billing_anchor=LATER))


def test_periods_follow_the_customers_zone_unless_the_subscription_has_its_own() -> None:
    paris = facts(1, customer_zone="Europe/Paris")
    given().when(subscribe(LICENCE), paris).then(created(ONE_LICENCE, time_zone="Europe/Paris"))
    command = subscribe(LICENCE, time_zone="Asia/Tokyo")
    given().when(command, paris).then(created(ONE_LICENCE, time_zone="Asia/Tokyo"))


def test_a_sent_invoice_is_due_after_thirty_days_unless_told_otherwise() -> None:
    command = subscribe(LICENCE, sent=True)
    given().when(command, facts(1)).then(created(ONE_LICENCE, days_until_due=30))
    at_once = subscribe(LICENCE, sent=True, days_until_due=0)
    given().when(at_once, facts(1)).then(created(ONE_LICENCE, days_until_due=0))


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (subscribe(), "REQUIRED", "input.items"),
        (subscribe(*[LICENCE] * 101), "LIMIT_EXCEEDED", "input.items"),
        (
            subscribe(LICENCE, NewItem(price_id="price_9")),
            "NOT_FOUND",
            "input.items.1.priceId",
        ),
        (subscribe(USAGE, USAGE), "INVALID_VALUE", "input.items.1.priceId"),
        (
            subscribe(LICENCE, NewItem(price_id="price_euro")),
            "WRONG_CURRENCY",
            "input.items.1.priceId",
        ),
        (
            subscribe(NewItem(price_id="price_usage", quantity=Decimal(1))),
            "INVALID_VALUE",
            "input.items.0.quantity",
        ),
        (
            subscribe(NewItem(price_id="price_licence", quantity=Decimal(-1))),
            "INVALID_VALUE",
            "input.items.0.quantity",
        ),
        (subscribe(LICENCE, days_until_due=30), "INVALID_VALUE", "input.daysUntilDue"),
        (subscribe(LICENCE, sent=True, days_until_due=-1), "INVALID_VALUE", "input.daysUntilDue"),
        (subscribe(LICENCE, sent=True, days_until_due=366), "INVALID_VALUE", "input.daysUntilDue"),
        (subscribe(LICENCE, time_zone="Nowhere"), "INVALID_VALUE", "input.timeZone"),
    ],
)
def test_a_refused_subscription(command: CreateSubscription, code: str, path: str) -> None:
    given().when(command, facts(len(command.items))).then_rejected(code, path)


def test_only_a_customer_that_exists_subscribes() -> None:
    stranger = facts(1, customer_zone=None)
    given().when(subscribe(LICENCE), stranger).then_rejected("NOT_FOUND", "input.customerId")


# --------------------------------------------------------------------------------------- trials


def test_a_trial_is_kept_and_periods_are_counted_from_its_end() -> None:
    item = Item(id="item_1", price_id="price_usage", quantity=None)
    given().when(subscribe(USAGE, trial_end=LATER), facts(1)).then(
        created(item, billing_anchor=LATER, trial_end=LATER)
    )
    given().when(subscribe(USAGE, trial_end=LATER, billing_anchor=EARLIER), facts(1)).then(
        created(item, billing_anchor=EARLIER, trial_end=LATER)
    )


@pytest.mark.parametrize("trial_end", [AT, EARLIER])
def test_a_trial_ends_after_the_start(trial_end: datetime) -> None:
    given().when(subscribe(USAGE, trial_end=trial_end), facts(1)).then_rejected(
        "INVALID_VALUE", "input.trialEnd"
    )


def test_usage_in_a_trial_needs_a_trial() -> None:
    given().when(subscribe(USAGE, bills_usage_in_trial=True), facts(1)).then_rejected(
        "INVALID_VALUE", "input.billUsageInTrial"
    )

"""Changing and canceling subscriptions: what is written, and what could not be billed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from domain.collection import CollectionMethod
from domain.decider import fold
from domain.periods import Interval, IntervalUnit
from domain.subscription_changes import (
    CancelForm,
    CancelSubscription,
    ChangeSubscription,
    Facts,
    ItemChange,
    ProrationBehavior,
    ReactivateSubscription,
    decide,
    evolve,
)
from domain.subscription_items import Item, PriceTerms
from domain.subscriptions import (
    Change,
    End,
    SubscriptionCanceled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionReactivated,
)
from tests.spec import Given, given

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 16, tzinfo=UTC)
NEXT = datetime(2026, 2, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
MONTH, YEAR = Interval(IntervalUnit.MONTH), Interval(IntervalUnit.YEAR)


def terms(**other: Any) -> PriceTerms:
    """A licensed monthly price in USD, but for what is said."""
    said: dict[str, Any] = {
        "currency": "USD",
        "metered": False,
        "interval": MONTH,
        "in_advance": True,
        **other,
    }
    return PriceTerms(**said)


FACTS = Facts(
    at=NOW,
    item_ids=("item_new",),
    prices={
        "price_seat": terms(),
        "price_more": terms(),
        "price_year": terms(interval=YEAR),
        "price_usage": terms(metered=True, in_advance=False),
        "price_euro": terms(currency="EUR"),
        "price_old": terms(archived=True),
    },
    invoiced_until=START,
    periods_start={"item_1": START, "item_2": START},
    periods_end=NEXT,
)
SEATS = Item(id="item_1", price_id="price_seat", quantity=Decimal(2))
USAGE = Item(id="item_2", price_id="price_usage", quantity=None)
CREATED = SubscriptionCreated(
    id="sub_1",
    customer_id="cus_1",
    currency="USD",
    items=(SEATS, USAGE),
    start_at=START,
    billing_anchor=START,
    time_zone="UTC",
    collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
    days_until_due=None,
    created_at=START,
)


def change(*items: ItemChange, **said: Any) -> ChangeSubscription:
    """Change the subscription."""
    return ChangeSubscription(subscription_id="sub_1", items=items, **said)


def cancel(**said: Any) -> CancelSubscription:
    """Cancel the subscription."""
    return CancelSubscription(subscription_id="sub_1", **said)


def changed(*begun: Item, ended: tuple[str, ...] = ("item_1",), **said: Any) -> SubscriptionChanged:
    """The fact that items ended and began in the middle of January."""
    terms: dict[str, Any] = {
        "number": 1,
        "at": NOW,
        "bill_at": NOW,
        "prorates": True,
        "invoices": False,
        **said,
    }
    return SubscriptionChanged(
        id="sub_1", change=Change(**terms), ended=ended, begun=begun, changed_at=NOW
    )


def canceled(**said: Any) -> SubscriptionCanceled:
    """The fact that the subscription ends."""
    terms: dict[str, Any] = {
        "at": NOW,
        "bill_at": NOW,
        "prorates": True,
        "settles": True,
        **said,
    }
    return SubscriptionCanceled(id="sub_1", end=End(**terms), canceled_at=NOW)


def subscribed(*later: Any) -> Given:
    """Two seats and usage, since January."""
    return given(CREATED, *later)


FIVE = msgspec.structs.replace(SEATS, quantity=Decimal(5))
TO_FIVE = ItemChange(item_id="item_1", quantity=Decimal(5))


# ------------------------------------------------------------------------------------- changing


def test_a_quantity_changes_now() -> None:
    subscribed().when(change(TO_FIVE), FACTS).then(changed(FIVE))


@pytest.mark.parametrize(
    ("behavior", "prorates", "invoices"),
    [
        (ProrationBehavior.CREATE_PRORATIONS, True, False),
        (ProrationBehavior.INVOICE_NOW, True, True),
        (ProrationBehavior.NONE, False, False),
    ],
)
def test_how_a_change_is_billed(
    behavior: ProrationBehavior, prorates: bool, invoices: bool
) -> None:
    expected = changed(FIVE, prorates=prorates, invoices=invoices)
    subscribed().when(change(TO_FIVE, behavior=behavior), FACTS).then(expected)


def test_a_change_may_be_earlier_in_the_period_or_later() -> None:
    earlier, later = NOW - timedelta(days=3), NOW + timedelta(days=40)
    subscribed().when(change(TO_FIVE, effective_at=earlier), FACTS).then(changed(FIVE, at=earlier))
    subscribed().when(change(TO_FIVE, effective_at=later), FACTS).then(
        changed(FIVE, at=later, bill_at=later)
    )


def test_what_is_invoiced_already_is_billed_with_the_next_invoice() -> None:
    facts = msgspec.structs.replace(FACTS, invoiced_until=NOW)
    subscribed().when(change(TO_FIVE), facts).then(changed(FIVE, bill_at=NOW + MOMENT))


def test_before_the_start_a_change_is_of_what_will_start() -> None:
    facts = msgspec.structs.replace(FACTS, at=START - timedelta(days=1), invoiced_until=None)
    event = changed(FIVE, at=START, bill_at=START)
    expected = msgspec.structs.replace(event, changed_at=facts.at)
    subscribed().when(change(TO_FIVE), facts).then(expected)


def test_items_are_added_swapped_and_removed_together() -> None:
    new = Item(id="item_new", price_id="price_more", quantity=Decimal(1))
    facts = msgspec.structs.replace(FACTS, item_ids=("item_new", "unused", "unused"))
    swap = ItemChange(item_id="item_1", price_id="price_year")
    asked = change(
        ItemChange(price_id="price_more"), swap, ItemChange(item_id="item_2", remove=True)
    )
    yearly = msgspec.structs.replace(SEATS, price_id="price_year")
    decided = decide(fold(evolve, [CREATED]), asked, facts)
    assert decided == [changed(yearly, new, ended=("item_1", "item_2"))]


def test_an_item_is_removed_once() -> None:
    gone = change(ItemChange(item_id="item_2", remove=True))
    subscribed().when(gone, FACTS).then(changed(ended=("item_2",)))


def test_what_is_so_already_changes_nothing() -> None:
    subscribed().when(change(ItemChange(item_id="item_1")), FACTS).then()
    subscribed().when(change(ItemChange(item_id="item_1", quantity=Decimal(2))), FACTS).then()


REFUSED: list[tuple[ItemChange, str, str]] = [
    (ItemChange(item_id="item_9"), "NOT_FOUND", "itemId"),
    (ItemChange(remove=True), "REQUIRED", "itemId"),
    (ItemChange(quantity=Decimal(1)), "REQUIRED", "priceId"),
    (ItemChange(price_id="price_none"), "NOT_FOUND", "priceId"),
    (ItemChange(price_id="price_euro"), "WRONG_CURRENCY", "priceId"),
    (ItemChange(price_id="price_old"), "WRONG_STATE", "priceId"),
    (ItemChange(item_id="item_1", price_id="price_euro"), "WRONG_CURRENCY", "priceId"),
    (ItemChange(item_id="item_1", quantity=Decimal(-1)), "INVALID_VALUE", "quantity"),
    (ItemChange(item_id="item_2", quantity=Decimal(1)), "INVALID_VALUE", "quantity"),
    (ItemChange(price_id="price_usage", quantity=Decimal(1)), "INVALID_VALUE", "quantity"),
    (
        ItemChange(item_id="item_1", remove=True, quantity=Decimal(1)),
        "INVALID_VALUE",
        "quantity",
    ),
    (ItemChange(item_id="item_1", remove=True, price_id="price_x"), "INVALID_VALUE", "priceId"),
]


@pytest.mark.parametrize(("asked", "code", "path"), REFUSED)
def test_what_an_item_cannot_become(asked: ItemChange, code: str, path: str) -> None:
    subscribed().when(change(asked), FACTS).then_rejected(code, f"input.items.0.{path}")


def test_a_subscription_keeps_an_item_and_each_price_once() -> None:
    facts = msgspec.structs.replace(FACTS, item_ids=("item_new", "unused"))
    all_of_them = [ItemChange(item_id=id, remove=True) for id in ("item_1", "item_2")]
    subscribed().when(change(*all_of_them), facts).then_rejected("INVALID_VALUE", "input.items")
    twice = ItemChange(price_id="price_seat")
    subscribed().when(change(twice), FACTS).then_rejected("INVALID_VALUE", "input.items")
    subscribed().when(change(TO_FIVE, TO_FIVE), facts).then_rejected(
        "INVALID_VALUE", "input.items.1.itemId"
    )
    subscribed().when(change(), msgspec.structs.replace(FACTS, item_ids=())).then_rejected(
        "REQUIRED", "input.items"
    )


def test_without_prorations_a_price_must_be_billed_as_often() -> None:
    asked = change(
        ItemChange(item_id="item_1", price_id="price_year"), behavior=ProrationBehavior.NONE
    )
    subscribed().when(asked, FACTS).then_rejected("INVALID_VALUE", "input.prorationBehavior")


def test_what_was_before_the_running_period_is_billed() -> None:
    early = change(TO_FIVE, effective_at=START + timedelta(days=1))
    facts = msgspec.structs.replace(FACTS, periods_start={"item_1": START + timedelta(days=2)})
    subscribed().when(early, facts).then_rejected("INVALID_VALUE", "input.effectiveAt")


def test_what_is_added_begins_in_its_running_period() -> None:
    facts = msgspec.structs.replace(FACTS, price_periods_start={"price_more": START + MOMENT})
    added = ItemChange(price_id="price_more")
    subscribed().when(change(added, effective_at=START), facts).then_rejected(
        "INVALID_VALUE", "input.effectiveAt"
    )


def test_changes_come_one_after_the_other() -> None:
    before = change(ItemChange(item_id="item_1", quantity=Decimal(1)), effective_at=START)
    subscribed(changed(FIVE)).when(before, FACTS).then_rejected(
        "INVALID_VALUE", "input.effectiveAt"
    )


def test_a_subscription_that_is_over_changes_no_more() -> None:
    subscribed(canceled()).when(change(TO_FIVE), FACTS).then_rejected(
        "WRONG_STATE", "input.subscriptionId"
    )
    subscribed(canceled()).when(change(TO_FIVE, effective_at=START), FACTS).then_rejected(
        "WRONG_STATE", "input.subscriptionId"
    )
    later = canceled(at=NEXT, bill_at=NEXT)
    subscribed(later).when(change(TO_FIVE), FACTS).then(changed(FIVE))


def test_nobody_changes_what_is_not_there() -> None:
    given().when(change(TO_FIVE), FACTS).then_rejected("NOT_FOUND", "input.subscriptionId")
    given().when(cancel(), FACTS).then_rejected("NOT_FOUND", "input.now.subscriptionId")
    reactivate = ReactivateSubscription(subscription_id="sub_1")
    given().when(reactivate, FACTS).then_rejected("NOT_FOUND", "input.subscriptionId")


# ------------------------------------------------------------------------------------ canceling


def test_a_subscription_ends_now_with_its_period_or_at_an_instant() -> None:
    subscribed().when(cancel(), FACTS).then(canceled())
    at_end = cancel(form=CancelForm.AT_PERIOD_END)
    subscribed().when(at_end, FACTS).then(canceled(at=NEXT, bill_at=NEXT))
    later = NOW + timedelta(days=100)
    subscribed().when(cancel(form=CancelForm.AT, at=later), FACTS).then(
        canceled(at=later, bill_at=later)
    )


def test_what_is_discarded_and_not_credited_is_written_down() -> None:
    subscribed().when(cancel(discard_usage=True, prorate=False), FACTS).then(
        canceled(prorates=False, settles=False)
    )


def test_the_final_invoice_comes_after_the_one_that_is_there() -> None:
    facts = msgspec.structs.replace(FACTS, invoiced_until=NOW)
    subscribed().when(cancel(), facts).then(canceled(bill_at=NOW + MOMENT))


def test_an_end_may_be_put_off_and_brought_forward_until_it_has_come() -> None:
    later = canceled(at=NEXT, bill_at=NEXT)
    subscribed(later).when(cancel(), FACTS).then(canceled())
    subscribed(canceled()).when(cancel(form=CancelForm.AT, at=NEXT), FACTS).then()


def test_a_subscription_does_not_end_in_the_past_or_before_a_change() -> None:
    past = cancel(form=CancelForm.AT, at=START)
    subscribed().when(past, FACTS).then_rejected("INVALID_VALUE", "input.at.at")
    coming = changed(FIVE, at=NEXT, bill_at=NEXT)
    subscribed(coming).when(cancel(), FACTS).then_rejected("WRONG_STATE", "input.now")


def test_an_end_that_has_not_come_is_taken_back() -> None:
    goes_on = SubscriptionReactivated(id="sub_1", reactivated_at=NOW)
    reactivate = ReactivateSubscription(subscription_id="sub_1")
    subscribed(canceled(at=NEXT, bill_at=NEXT)).when(reactivate, FACTS).then(goes_on)
    subscribed().when(reactivate, FACTS).then()
    subscribed(canceled()).when(reactivate, FACTS).then_rejected(
        "WRONG_STATE", "input.subscriptionId"
    )

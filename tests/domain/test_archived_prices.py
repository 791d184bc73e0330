"""Archived prices: no new subscriptions, and no new prices over what is archived."""

from datetime import UTC, datetime
from decimal import Decimal

from domain.periods import Interval, IntervalUnit
from domain.prices import ArchivePrice, CreatePrice, Facts, PriceArchived, PriceCreated, Timing
from domain.pricing import PerUnit
from domain.subscription_items import NewItem, PriceTerms
from domain.subscriptions import CreateSubscription
from domain.subscriptions import Facts as SubscriptionFacts
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
LICENCE = PriceCreated(
    id="price_1",
    product_id="prod_1",
    currency="USD",
    interval=Interval(IntervalUnit.MONTH),
    meter_id=None,
    meter_filter=(),
    timing=Timing.IN_ADVANCE,
    pricing=PerUnit(unit_amount=Decimal(100)),
    nickname=None,
    lookup_key=None,
    created_at=AT,
)
FACTS = Facts(
    id="price_1", at=AT, product_exists=True, meter_dimensions=None, lookup_key_owner=None
)


def test_a_price_is_archived_once() -> None:
    archived = PriceArchived(id="price_1", archived_at=AT)
    given(LICENCE).when(ArchivePrice(price_id="price_1"), FACTS).then(archived)
    given(LICENCE, archived).when(ArchivePrice(price_id="price_1"), FACTS).then()


def test_a_price_that_does_not_exist() -> None:
    missing = ArchivePrice(price_id="price_9")
    given().when(missing, FACTS).then_rejected("NOT_FOUND", "input.priceId")


def test_what_is_archived_takes_no_new_price() -> None:
    command = CreatePrice(
        product_id="prod_1",
        currency="USD",
        interval=Interval(IntervalUnit.MONTH),
        pricing=PerUnit(unit_amount=Decimal(1)),
        meter_id="met_1",
    )
    product = Facts(
        id="price_2",
        at=AT,
        product_exists=True,
        product_archived=True,
        meter_dimensions=(),
        lookup_key_owner=None,
    )
    given().when(command, product).then_rejected("WRONG_STATE", "input.productId")
    meter = Facts(
        id="price_2",
        at=AT,
        product_exists=True,
        meter_dimensions=(),
        meter_archived=True,
        lookup_key_owner=None,
    )
    given().when(command, meter).then_rejected("WRONG_STATE", "input.meterId")


def test_an_archived_price_takes_no_new_subscription() -> None:
    command = CreateSubscription(customer_id="cus_1", items=(NewItem(price_id="price_1"),))
    facts = SubscriptionFacts(
        id="sub_1",
        item_ids=("item_1",),
        at=AT,
        customer_zone="UTC",
        prices={
            "price_1": PriceTerms(
                currency="USD",
                metered=False,
                interval=Interval(IntervalUnit.MONTH),
                in_advance=True,
                archived=True,
            )
        },
    )
    given().when(command, facts).then_rejected("WRONG_STATE", "input.items.0.priceId")

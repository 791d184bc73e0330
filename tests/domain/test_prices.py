"""Prices: what a product costs, licensed or metered, and what could never be billed."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from domain import prices
from domain.aggregation import Aggregation
from domain.decider import fold
from domain.late_usage import LateUsage
from domain.periods import Interval, IntervalUnit
from domain.prices import CreatePrice, DimensionFilter, Facts, PriceCreated, Timing
from domain.pricing import (
    Graduated,
    Modifiers,
    Package,
    Percentage,
    PerUnit,
    Pricing,
    Tier,
    Volume,
)
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = Interval(IntervalUnit.MONTH)
HUNDRED = PerUnit(unit_amount=Decimal(100))
OVERAGES = Graduated(
    tiers=(
        Tier(up_to=Decimal(1000), unit_amount=Decimal(0)),
        Tier(unit_amount=Decimal("0.04")),
    )
)
FACTS = Facts(
    id="price_1",
    at=AT,
    product_exists=True,
    meter_dimensions=("model", "region"),
    meter_aggregation=Aggregation.SUM,
    lookup_key_owner=None,
)
NO_METER = Facts(
    id="price_1", at=AT, product_exists=True, meter_dimensions=None, lookup_key_owner=None
)


def price(
    pricing: Pricing = HUNDRED,
    *,
    modifiers: Modifiers | None = None,
    currency: str = "USD",
    interval: Interval = MONTH,
    meter_id: str | None = None,
    meter_filter: tuple[DimensionFilter, ...] = (),
    timing: Timing | None = None,
    nickname: str | None = None,
    lookup_key: str | None = None,
) -> CreatePrice:
    """The licence of the reference story, but for what is said."""
    return CreatePrice(
        product_id="prod_1",
        currency=currency,
        interval=interval,
        pricing=pricing,
        modifiers=modifiers,
        meter_id=meter_id,
        meter_filter=meter_filter,
        timing=timing,
        nickname=nickname,
        lookup_key=lookup_key,
    )


def created(pricing: Pricing, timing: Timing, meter_id: str | None = None) -> PriceCreated:
    """What a plain monthly price in USD becomes."""
    return PriceCreated(
        id="price_1",
        product_id="prod_1",
        currency="USD",
        interval=MONTH,
        meter_id=meter_id,
        meter_filter=(),
        timing=timing,
        pricing=pricing,
        nickname=None,
        lookup_key=None,
        created_at=AT,
    )


def only(name: str, *values: str) -> DimensionFilter:
    """Only usage with one of these values."""
    return DimensionFilter(name=name, values=values)


def test_a_licence_is_billed_in_advance_unless_asked_otherwise() -> None:
    given().when(price(), NO_METER).then(created(HUNDRED, Timing.IN_ADVANCE))
    later = price(timing=Timing.IN_ARREARS)
    given().when(later, NO_METER).then(created(HUNDRED, Timing.IN_ARREARS))


def test_usage_is_billed_in_arrears() -> None:
    metered = price(OVERAGES, meter_id="met_1")
    given().when(metered, FACTS).then(created(OVERAGES, Timing.IN_ARREARS, "met_1"))


def test_creating_a_price_twice_writes_nothing() -> None:
    given(created(HUNDRED, Timing.IN_ADVANCE)).when(price(), NO_METER).then()


def test_a_price_with_a_meter_is_metered() -> None:
    for meter_id in (None, "met_1"):
        events = [created(OVERAGES, Timing.IN_ARREARS, meter_id)]
        state = fold(prices.evolve, events)
        assert state is not None
        assert state.metered is (meter_id is not None)


def test_every_text_and_filter_is_kept() -> None:
    command = price(
        OVERAGES,
        meter_id="met_1",
        meter_filter=(only("model", "small", "large"), only("region", "eu")),
        nickname="Standard",
        lookup_key="usage-2026",
    )
    [event] = prices.decide(None, command, FACTS)
    assert isinstance(event, PriceCreated)
    assert event.meter_filter == command.meter_filter
    assert (event.nickname, event.lookup_key) == ("Standard", "usage-2026")


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (price(currency="usd"), "INVALID_VALUE", "input.currency"),
        (price(currency="XAU"), "INVALID_VALUE", "input.currency"),
        (price(interval=Interval(IntervalUnit.MONTH, 0)), "INVALID_VALUE", "input.interval.count"),
        (price(interval=Interval(IntervalUnit.YEAR, 4)), "INVALID_VALUE", "input.interval.count"),
        (price(nickname="x" * 256), "LIMIT_EXCEEDED", "input.nickname"),
        (price(lookup_key="x" * 256), "LIMIT_EXCEEDED", "input.lookupKey"),
        (
            price(OVERAGES, meter_id="met_1", timing=Timing.IN_ADVANCE),
            "INVALID_VALUE",
            "input.timing",
        ),
        (price(meter_filter=(only("model", "small"),)), "INVALID_VALUE", "input.meterFilter"),
        (
            price(meter_id="met_1", meter_filter=(only("colour", "red"),)),
            "INVALID_VALUE",
            "input.meterFilter.0.name",
        ),
        (
            price(meter_id="met_1", meter_filter=(only("model", "a"), only("model", "b"))),
            "INVALID_VALUE",
            "input.meterFilter.1.name",
        ),
        (
            price(meter_id="met_1", meter_filter=(only("model"),)),
            "REQUIRED",
            "input.meterFilter.0.values",
        ),
        (
            price(meter_id="met_1", meter_filter=(only("model", "a", "x" * 129),)),
            "LIMIT_EXCEEDED",
            "input.meterFilter.0.values.1",
        ),
        (
            price(meter_id="met_1", meter_filter=(only("model", *map(str, range(101))),)),
            "LIMIT_EXCEEDED",
            "input.meterFilter.0.values",
        ),
    ],
)
def test_a_refused_price(command: CreatePrice, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


EACH_PAYMENT = Percentage(rate=Decimal("2.9"), fixed_amount=Decimal("0.30"))


def test_single_records_are_priced_over_a_meter_that_sums_them_up() -> None:
    command = price(EACH_PAYMENT, meter_id="met_1")
    given().when(command, FACTS).then(created(EACH_PAYMENT, Timing.IN_ARREARS, "met_1"))
    for aggregation in set(Aggregation) - {Aggregation.SUM}:
        other = msgspec.structs.replace(FACTS, meter_aggregation=aggregation)
        given().when(command, other).then_rejected("INVALID_VALUE", "input.pricing")
    given().when(price(EACH_PAYMENT), NO_METER).then_rejected("INVALID_VALUE", "input.pricing")


def test_a_percentage_of_a_total_is_priced_over_any_quantity() -> None:
    plain = Percentage(rate=Decimal("2.9"), free_amount=Decimal(100))
    other = msgspec.structs.replace(FACTS, meter_aggregation=Aggregation.MAX)
    given().when(price(plain, meter_id="met_1"), other).then(
        created(plain, Timing.IN_ARREARS, "met_1")
    )
    given().when(price(plain), NO_METER).then(created(plain, Timing.IN_ADVANCE))


def test_modifiers_are_kept_and_checked() -> None:
    discount = Modifiers(percentage_discount=Decimal(10))
    state = fold(prices.evolve, prices.decide(None, price(modifiers=discount), NO_METER))
    assert state is not None
    assert state.versions[0].modifiers == discount
    more = Modifiers(percentage_discount=Decimal(101))
    given().when(price(modifiers=more), NO_METER).then_rejected(
        "INVALID_VALUE", "input.modifiers.percentageDiscount"
    )


OPEN = Tier(unit_amount=Decimal(1))
TO_TEN = Tier(up_to=Decimal(10), unit_amount=Decimal(2))


@pytest.mark.parametrize(
    ("pricing", "code", "path"),
    [
        (PerUnit(unit_amount=Decimal(-1)), "INVALID_VALUE", "perUnit.unitAmount"),
        (PerUnit(unit_amount=Decimal("NaN")), "INVALID_VALUE", "perUnit.unitAmount"),
        (PerUnit(unit_amount=Decimal("1E+18")), "INVALID_VALUE", "perUnit.unitAmount"),
        (PerUnit(unit_amount=Decimal("1E-13")), "INVALID_VALUE", "perUnit.unitAmount"),
        (Package(size=Decimal(0), amount=Decimal(1)), "INVALID_VALUE", "package.size"),
        (Package(size=Decimal(1), amount=Decimal(-1)), "INVALID_VALUE", "package.amount"),
        (Graduated(tiers=()), "INVALID_VALUE", "graduated.tiers"),
        (Graduated(tiers=(OPEN,) * 101), "LIMIT_EXCEEDED", "graduated.tiers"),
        (Graduated(tiers=(OPEN, OPEN)), "INVALID_VALUE", "graduated.tiers.0.upTo"),
        (Graduated(tiers=(TO_TEN,)), "INVALID_VALUE", "graduated.tiers.0.upTo"),
        (Graduated(tiers=(TO_TEN, TO_TEN, OPEN)), "INVALID_VALUE", "graduated.tiers.1.upTo"),
        (Graduated(tiers=(Tier(),)), "INVALID_VALUE", "graduated.tiers.0"),
        (Volume(tiers=(TO_TEN,)), "INVALID_VALUE", "volume.tiers.0.upTo"),
    ],
)
def test_pricing_that_could_not_bill_every_quantity(pricing: Pricing, code: str, path: str) -> None:
    given().when(price(pricing), FACTS).then_rejected(code, f"input.pricing.{path}")


def test_a_price_is_for_a_product_that_exists() -> None:
    facts = Facts(
        id="price_1", at=AT, product_exists=False, meter_dimensions=None, lookup_key_owner=None
    )
    given().when(price(), facts).then_rejected("NOT_FOUND", "input.productId")


def test_a_metered_price_is_over_a_meter_that_exists() -> None:
    command = price(OVERAGES, meter_id="met_9")
    given().when(command, NO_METER).then_rejected("NOT_FOUND", "input.meterId")


def test_a_lookup_key_finds_one_price() -> None:
    taken = Facts(
        id="price_2",
        at=AT,
        product_exists=True,
        meter_dimensions=None,
        lookup_key_owner="price_1",
    )
    command = price(lookup_key="licence-2026")
    given().when(command, taken).then_rejected("ALREADY_EXISTS", "input.lookupKey")


def test_late_usage_is_kept_where_it_is_not_adjusted() -> None:
    reported = msgspec.structs.replace(
        price(OVERAGES, meter_id="met_1"), late_usage=LateUsage.REPORT
    )
    [created] = prices.decide(None, reported, FACTS)
    assert isinstance(created, PriceCreated)
    state = prices.evolve(None, created)
    assert state is not None
    assert state.late_usage is LateUsage.REPORT
    [usual] = prices.decide(None, price(OVERAGES, meter_id="met_1"), FACTS)
    assert b"late_usage" not in msgspec.json.encode(usual)
    assert prices.evolve(None, usual) == msgspec.structs.replace(state, late_usage=LateUsage.ADJUST)


def test_a_licence_has_no_late_usage() -> None:
    licence = msgspec.structs.replace(price(), late_usage=LateUsage.REPORT)
    given().when(licence, NO_METER).then_rejected("INVALID_VALUE", "input.lateUsage")

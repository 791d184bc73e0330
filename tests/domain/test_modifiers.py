"""Modifiers: in their fixed order around any price, each a visible step."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.money import format_decimal
from domain.pricing import (
    Graduated,
    Modifiers,
    Percentage,
    PerUnit,
    Pricing,
    RoundingMode,
    Tier,
    rate,
    total,
)

PATH = ("input", "modifiers")
TWO = PerUnit(unit_amount=Decimal(2))


def modifiers(rounding: RoundingMode | None = None, **decimals: str) -> Modifiers:
    """Modifiers with their decimals written as a client does."""
    values = {name: Decimal(text) for name, text in decimals.items()}
    return Modifiers(
        divide_by=values.get("divide"),
        divide_rounding=rounding,
        included_units=values.get("included"),
        percentage_discount=values.get("discount"),
        minimum_amount=values.get("least"),
        maximum_amount=values.get("most"),
    )


def words(around: Modifiers, quantity: str, pricing: Pricing = TWO) -> list[str]:
    """The breakdown as an invoice shows it."""
    steps = rate(pricing, Decimal(quantity), None, around)
    return [f"{step.description} = {format_decimal(step.amount)}" for step in steps]


def cost(around: Modifiers, quantity: str, pricing: Pricing = TWO) -> str:
    """The exact amount of a quantity."""
    return format_decimal(total(rate(pricing, Decimal(quantity), None, around)))


def test_all_of_them_in_their_order() -> None:
    every = modifiers(
        RoundingMode.UP, divide="1000", included="5", discount="10", least="1", most="40"
    )
    assert words(every, "29500") == [
        "29500 divided by 1000, rounded up to 30 = 0",
        "30 less 5 included: 25 = 0",
        "25 units at 2 each = 50",
        "10% discount on 50 = -5",
        "lowered from 45 to the maximum of 40 = -5",
    ]
    assert words(every, "0") == [
        "0 divided by 1000, rounded up to 0 = 0",
        "0 less 5 included: 0 = 0",
        "0 units at 2 each = 0",
        "10% discount on 0 = 0",
        "raised from 0 to the minimum of 1 = 1",
    ]


@pytest.mark.parametrize(
    ("rounding", "amount"), [(None, "5"), (RoundingMode.UP, "6"), (RoundingMode.DOWN, "4")]
)
def test_a_conversion_is_exact_or_to_whole_units(
    rounding: RoundingMode | None, amount: str
) -> None:
    assert cost(modifiers(rounding, divide="1000"), "2500") == amount
    assert cost(modifiers(rounding), "2.5") == amount


def test_a_conversion_loses_nothing() -> None:
    steps = rate(TWO, Decimal(1), None, modifiers(divide="3"))
    assert total(steps) == Fraction(2, 3)
    assert steps[0].description == "1 divided by 3: 0.333333333333"
    assert cost(modifiers(divide="0.000000000001"), "1") == "2000000000000"


def test_tiers_begin_after_the_included_units() -> None:
    tiers = Graduated(
        tiers=(Tier(up_to=Decimal(10), unit_amount=Decimal(1)), Tier(unit_amount=Decimal(5)))
    )
    assert cost(modifiers(included="100"), "105", tiers) == "5"
    assert cost(modifiers(included="100"), "111", tiers) == "15"
    assert cost(modifiers(included="100"), "99", tiers) == "0"


def test_the_minimum_holds_against_everything_before_it() -> None:
    assert cost(modifiers(discount="100", least="3"), "10") == "3"
    assert cost(modifiers(most="5", least="5"), "1") == "5"
    assert cost(modifiers(most="5", least="5"), "9") == "5"


def test_a_limit_that_changes_nothing_is_not_mentioned() -> None:
    assert words(modifiers(least="2", most="2"), "1") == ["1 unit at 2 each = 2"]
    assert words(Modifiers(), "1") == ["1 unit at 2 each = 2"]


def test_single_records_are_converted_by_their_running_total() -> None:
    each = Percentage(rate=Decimal(100), fixed_amount=Decimal(1))
    records = [Decimal(4), Decimal(4), Decimal(4)]
    boxes = modifiers(RoundingMode.UP, divide="10")
    assert total(rate(each, Decimal(12), records, boxes)) == 3 + 2
    assert total(rate(each, Decimal(12), records, modifiers(included="6"))) == 3 + 6


@pytest.mark.parametrize(
    ("around", "field"),
    [
        (modifiers(divide="0"), "divideBy"),
        (modifiers(divide="-1"), "divideBy"),
        (modifiers(included="-1"), "includedUnits"),
        (modifiers(discount="-1"), "percentageDiscount"),
        (modifiers(discount="100.1"), "percentageDiscount"),
        (modifiers(least="-1"), "minimumAmount"),
        (modifiers(most="-1"), "maximumAmount"),
        (modifiers(least="2", most="1"), "maximumAmount"),
    ],
)
def test_modifiers_without_sense_are_refused(around: Modifiers, field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        around.check(PATH)
    assert refusal.value.code is Code.INVALID_VALUE
    assert refusal.value.path == (*PATH, field)


# ----------------------------------------------------------------------------------- properties

AMOUNTS = st.decimals(min_value=0, max_value=10**4, places=3)
RECORDS = st.lists(st.decimals(min_value=-100, max_value=1000, places=2), max_size=8)
QUANTITIES = st.fractions(0, 3000, max_denominator=1000)


@st.composite
def any_modifiers(draw: st.DrawFn) -> Modifiers:
    """Any modifiers that make sense."""
    least, most = sorted(draw(st.lists(AMOUNTS, min_size=2, max_size=2)))
    return Modifiers(
        divide_by=draw(st.none() | st.decimals(min_value="0.1", max_value=100, places=2)),
        divide_rounding=draw(st.none() | st.sampled_from(RoundingMode)),
        included_units=draw(st.none() | AMOUNTS),
        percentage_discount=draw(st.none() | st.decimals(min_value=0, max_value=100, places=2)),
        minimum_amount=draw(st.sampled_from([None, least])),
        maximum_amount=draw(st.sampled_from([None, most])),
    )


@given(any_modifiers(), QUANTITIES, QUANTITIES)
def test_more_never_costs_less_and_limits_hold(around: Modifiers, a: Fraction, b: Fraction) -> None:
    around.check(PATH)
    less, more = (total(rate(TWO, one, None, around)) for one in sorted((a, b)))
    assert less <= more
    if around.minimum_amount is not None:
        assert less >= Fraction(around.minimum_amount)
    if around.maximum_amount is not None:
        assert more <= Fraction(around.maximum_amount)


@given(any_modifiers(), RECORDS)
def test_converted_records_add_up_to_the_converted_quantity(
    around: Modifiers, records: list[Decimal]
) -> None:
    whole = max(sum(map(Fraction, map(str, records)), Fraction(0)), Fraction(0))
    converted = around.convert_records(Fraction(str(one)) for one in records)
    assert sum(converted, Fraction(0)) == around.convert(whole)

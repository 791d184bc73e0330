"""Percentages: parts of an amount, and records priced one by one in time order."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.money import format_decimal
from domain.pricing import GraduatedPercentage, Percentage, PercentageTier, Pricing, check, rate
from domain.pricing import total as total_of

PATH = ("input", "pricing")


def percentage(rate: str, **more: str) -> Percentage:
    """A percentage with its decimals written as a client does; `free` is a number of records."""
    free = more.pop("free", None)
    decimals = {name: Decimal(text) for name, text in more.items()}
    return Percentage(
        rate=Decimal(rate),
        fixed_amount=decimals.get("fixed", Decimal(0)),
        free_records=None if free is None else int(free),
        free_amount=decimals.get("free_amount"),
        minimum_per_record=decimals.get("least"),
        maximum_per_record=decimals.get("most"),
    )


def cost(pricing: Pricing, *records: str) -> str:
    """The exact amount of records that come in this order."""
    values = [Decimal(record) for record in records]
    quantity = max(sum(values, Decimal(0)), Decimal(0))
    return format_decimal(total_of(rate(pricing, quantity, values)))


def words(pricing: Pricing, *records: str) -> list[str]:
    """The breakdown as an invoice shows it."""
    values = [Decimal(record) for record in records]
    steps = rate(pricing, sum(values, Decimal(0)), values)
    return [f"{step.description} = {format_decimal(step.amount)}" for step in steps]


# ---------------------------------------------------------------------------------- percentage


def test_a_rate_is_a_percentage() -> None:
    assert words(percentage("1.5"), "200") == ["1.5% of 200 = 3"]
    assert cost(percentage("0.000000000001"), "0.000000000001") == "0." + "0" * 25 + "1"


def test_a_plain_percentage_needs_only_the_total() -> None:
    assert not percentage("1.5").needs_records
    assert not percentage("1.5", free_amount="100", free="0").needs_records
    assert words(percentage("1.5", free_amount="100"), "40", "260") == [
        "1.5% of 200 (300 after 100 free) = 3"
    ]


@pytest.mark.parametrize("field", ["fixed", "free", "least", "most"])
def test_whatever_is_said_of_records_needs_them(field: str) -> None:
    assert percentage("1.5", **{field: "1"}).needs_records


PAYMENTS = ("50", "100", "250", "400")


@pytest.mark.parametrize(
    ("allowance", "amount"),
    [
        ({}, "18.4"),
        ({"free": "3"}, "7.2"),
        ({"free_amount": "250"}, "11.15"),
        ({"free": "3", "free_amount": "250"}, "11.15"),
        ({"free": "3", "free_amount": "500"}, "7.2"),
        ({"free": "4"}, "0"),
        ({"free": "9"}, "0"),
        ({"free_amount": "800"}, "0"),
        ({"free": "0", "free_amount": "0"}, "18.4"),
    ],
)
def test_an_allowance_ends_with_whichever_is_used_up_first(
    allowance: dict[str, str], amount: str
) -> None:
    assert cost(percentage("1.3", fixed="2", **allowance), *PAYMENTS) == amount


def test_the_record_that_exactly_uses_the_free_amount_up_is_free() -> None:
    pricing = percentage("1", fixed="5", free_amount="15")
    assert cost(pricing, "5", "10") == "0"
    assert cost(pricing, "5", "10", "1") == "5.01"
    assert cost(pricing, "5", "11") == "5.01"


def test_limits_are_those_of_each_record_that_is_charged() -> None:
    pricing = percentage("2.99", least="1.75", most="12")
    assert words(pricing, "10", "80", "10000") == [
        "2.99% of 10090 = 301.691",
        "1 record raised to the minimum of 1.75 each = 1.451",
        "1 record lowered to the maximum of 12 each = -287",
    ]
    assert cost(percentage("2.99", fixed="2", least="1.75", most="12"), "10", "80", "10000") == (
        "18.691"
    )
    assert cost(percentage("2.99", free="2", least="1.75", most="12"), "10", "80", "10000") == "12"
    assert cost(
        percentage("2.99", free="3", free_amount="10000", least="1.75", most="12"),
        "10",
        "80",
        "10000",
    ) == ("2.691")


def test_records_are_priced_in_the_order_they_come() -> None:
    pricing = percentage("1", free="1")
    assert cost(pricing, "100", "10") == "0.1"
    assert cost(pricing, "10", "100") == "1"


def test_without_records_a_quantity_is_a_single_one_and_nothing_is_none() -> None:
    pricing = percentage("1", fixed="5")
    assert total_of(rate(pricing, Decimal(100))) == 6
    assert total_of(rate(pricing, Decimal(0))) == 0
    assert total_of(rate(pricing, Decimal(0), [])) == 0
    assert total_of(rate(pricing, Decimal(0), [Decimal(0)])) == 5


def test_a_refund_gives_back_the_percentage_of_what_was_charged() -> None:
    assert cost(percentage("1", fixed="0.5"), "100", "-40", "50") == "2.6"
    assert cost(percentage("1", free="1"), "100", "200", "-50") == "1.5"
    assert cost(percentage("1"), "-100") == "0"
    capped = percentage("1", most="0.1")
    assert cost(capped, "100", "-100") == "0"
    assert [one.description for one in rate(capped, Decimal(0), [Decimal(100), Decimal(-100)])] == [
        "1% of 0",
        "1 record lowered to the maximum of 0.1 each",
        "not below 0",
    ]


@pytest.mark.parametrize(
    ("pricing", "field", "why"),
    [
        (percentage("-1"), "rate", "negative"),
        (percentage("1", fixed="-1"), "fixedAmount", "negative"),
        (percentage("1", free="-1"), "freeRecords", "negative"),
        (percentage("1", free_amount="-1"), "freeAmount", "negative"),
        (percentage("1", least="-1"), "minimumPerRecord", "negative"),
        (percentage("1", most="-1"), "maximumPerRecord", "negative"),
        (percentage("1", least="2", most="1"), "maximumPerRecord", "minimum of 2"),
        (percentage("NaN"), "rate", "NaN"),
    ],
)
def test_a_percentage_without_sense_is_refused(pricing: Pricing, field: str, why: str) -> None:
    with pytest.raises(Rejected) as refusal:
        check(pricing, PATH)
    assert refusal.value.code is Code.INVALID_VALUE
    assert refusal.value.path == (*PATH, "percentage", field)
    assert why in refusal.value.message


# --------------------------------------------------------------------------- graduated percentage


def tier(up_to: str | None, rate: str | None = None, flat: str | None = None) -> PercentageTier:
    """A tier as a client writes it."""
    bound, percent, once = (None if text is None else Decimal(text) for text in (up_to, rate, flat))
    return PercentageTier(up_to=bound, rate=percent, flat_amount=once)


BANDS = GraduatedPercentage(tiers=(tier("10", "5", "7"), tier("20", "4"), tier(None, "3", "9")))


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("0", "7"), ("10", "7.5"), ("10.5", "7.52"), ("20", "7.9"), ("21", "16.93")],
)
def test_each_part_of_an_amount_is_charged_in_its_tier(quantity: str, amount: str) -> None:
    assert cost(BANDS, quantity) == amount


def test_a_tier_says_its_percentage() -> None:
    assert words(BANDS, "12") == [
        "5% of 10 up to 10 = 0.5",
        "flat amount of tier 1 = 7",
        "4% of 2 above 10 = 0.08",
    ]


@pytest.mark.parametrize(
    ("tiers", "path", "why"),
    [
        ([], [], "At least one tier"),
        ([tier("10", "1")], ["0", "upTo"], "must be open"),
        ([tier("10", "1"), tier("10", "1"), tier(None, "1")], ["1", "upTo"], "exceed 10"),
        ([tier("10", "1"), tier(None)], ["1"], "needs a rate, a flatAmount"),
        ([tier("10", "1"), tier(None, "-1")], ["1", "rate"], "negative"),
        ([tier("10", "1"), tier(None, "1", "-1")], ["1", "flatAmount"], "negative"),
    ],
)
def test_percentage_tiers_without_sense_are_refused_where_they_are_wrong(
    tiers: list[PercentageTier], path: list[str], why: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        check(GraduatedPercentage(tiers=tuple(tiers)), PATH)
    assert refusal.value.code is Code.INVALID_VALUE
    assert refusal.value.path == (*PATH, "graduatedPercentage", "tiers", *path)
    assert why in refusal.value.message


# ----------------------------------------------------------------------------------- properties

AMOUNTS = st.decimals(min_value=0, max_value=10**4, places=4)
OPTIONAL = st.none() | AMOUNTS
RECORDS = st.lists(st.decimals(min_value=0, max_value=10**4, places=2), max_size=8)
REFUNDS = st.lists(st.decimals(min_value=-(10**4), max_value=10**4, places=2), max_size=8)


@st.composite
def percentages(draw: st.DrawFn, limited: bool) -> Percentage:
    """Any percentage, with or without limits for single records."""
    limits: Sequence[Decimal] = sorted(draw(st.lists(AMOUNTS, min_size=2, max_size=2)))
    kept = [draw(st.sampled_from([None, limit])) if limited else None for limit in limits]
    return Percentage(
        rate=draw(AMOUNTS),
        fixed_amount=draw(AMOUNTS),
        free_records=draw(st.none() | st.integers(0, 5)),
        free_amount=draw(OPTIONAL),
        minimum_per_record=kept[0],
        maximum_per_record=kept[1],
    )


@given(percentages(limited=True), RECORDS)
def test_another_record_never_costs_less(pricing: Percentage, records: list[Decimal]) -> None:
    check(pricing, PATH)
    costs = [
        total_of(rate(pricing, Decimal(0), records[:count])) for count in range(len(records) + 1)
    ]
    assert costs[0] == 0
    assert all(less <= more for less, more in pairwise(costs))


@given(percentages(limited=False), REFUNDS, AMOUNTS)
def test_what_is_free_and_what_is_charged_make_up_the_whole(
    pricing: Percentage, records: list[Decimal], first: Decimal
) -> None:
    values = [first + 8 * 10**4, *records]
    whole = sum(values, Decimal(0))
    steps = rate(pricing, whole, values)
    charged = steps[0].quantity or Fraction(0)
    assert 0 <= charged <= Fraction(whole)
    if pricing.free_amount and not pricing.free_records:
        assert charged == max(Fraction(whole) - Fraction(pricing.free_amount), Fraction(0))


@given(percentages(limited=True), REFUNDS)
def test_refunds_never_make_a_charge_negative(pricing: Percentage, records: list[Decimal]) -> None:
    assert total_of(rate(pricing, Decimal(0), records)) >= 0


@given(st.lists(AMOUNTS, min_size=3, max_size=3), st.fractions(0, 60), st.fractions(0, 60))
def test_graduated_percentages_never_decrease(
    rates: list[Decimal], a: Fraction, b: Fraction
) -> None:
    bounds = (Decimal(10), Decimal(25), None)
    pricing = GraduatedPercentage(
        tiers=tuple(
            PercentageTier(up_to=up_to, rate=one) for up_to, one in zip(bounds, rates, strict=True)
        )
    )
    less, more = sorted((a, b))
    assert total_of(rate(pricing, less)) <= total_of(rate(pricing, more))
    hair = Fraction(1, 10**30)
    for bound, below in zip((10, 25), rates, strict=False):
        step = total_of(rate(pricing, Fraction(bound))) - total_of(rate(pricing, bound - hair))
        assert step == hair * Fraction(below) / 100

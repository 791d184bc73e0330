"""Prices: what a quantity costs under each model, step by step."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.money import decode_number, encode_number, format_decimal, round_to_minor
from domain.pricing import (
    MODELS,
    Graduated,
    Package,
    PerUnit,
    Pricing,
    RoundingMode,
    Step,
    Tier,
    Volume,
    check,
    rate,
    total,
)

PATH = ("input", "pricing")


def tier(up_to: str | None, unit: str | None = None, flat: str | None = None) -> Tier:
    """A tier as a client writes it."""

    def read(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    return Tier(up_to=read(up_to), unit_amount=read(unit), flat_amount=read(flat))


def cost(pricing: Pricing, quantity: str) -> str:
    """The exact amount of a quantity."""
    return format_decimal(total(rate(pricing, Decimal(quantity))))


def words(pricing: Pricing, quantity: str) -> list[str]:
    """The breakdown as an invoice shows it."""
    steps = rate(pricing, Decimal(quantity))
    return [f"{step.description} = {format_decimal(step.amount)}" for step in steps]


ALPACA = Graduated(tiers=(tier("1000", "0"), tier(None, "0.04")))


def test_the_reference_story() -> None:
    assert words(ALPACA, "3000") == [
        "1000 units up to 1000 at 0 each = 0",
        "2000 units above 1000 at 0.04 each = 80",
    ]
    assert str(round_to_minor(total(rate(ALPACA, Decimal(3000))), "USD")) == "80.00"
    assert words(ALPACA, "0") == ["0 units up to 1000 at 0 each = 0"]


def test_the_reference_story_with_the_fee_in_the_first_tier() -> None:
    fee = Graduated(tiers=(tier("1000", "0", "100"), tier(None, "0.04")))
    assert words(fee, "3000") == [
        "1000 units up to 1000 at 0 each = 0",
        "flat amount of tier 1 = 100",
        "2000 units above 1000 at 0.04 each = 80",
    ]
    assert cost(fee, "0") == "100"


def test_the_other_reading_of_the_reference_story() -> None:
    package = Package(size=Decimal(100), amount=Decimal("0.04"), free_units=Decimal(1000))
    assert words(package, "3000") == [
        "20 packages of 100 at 0.04 (2000 units after 1000 free) = 0.8",
    ]


def test_a_licence_is_priced_per_unit() -> None:
    assert words(PerUnit(unit_amount=Decimal(100)), "1") == ["1 unit at 100 each = 100"]
    assert cost(PerUnit(unit_amount=Decimal(100)), "2.5") == "250"


@pytest.mark.parametrize(
    ("quantity", "up", "down"),
    [("0", 0, 0), ("10", 0, 0), ("10.1", 1, 0), ("20", 1, 1), ("20.5", 2, 1), ("30", 2, 2)],
)
def test_packages_are_counted_beyond_the_free_units(quantity: str, up: int, down: int) -> None:
    for rounding, count in ((RoundingMode.UP, up), (RoundingMode.DOWN, down)):
        package = Package(
            size=Decimal(10), amount=Decimal(3), free_units=Decimal(10), rounding=rounding
        )
        [step] = rate(package, Decimal(quantity))
        assert step.quantity == count
        assert step.amount == 3 * count


BANDS = (tier("10", "5"), tier("20", "4", "7"), tier(None, "3", "9"))


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        ("0", "0", "0"),
        ("10", "50", "50"),
        ("10.5", "59", "49"),
        ("20", "97", "87"),
        ("21", "109", "72"),
    ],
)
def test_a_bound_is_inclusive_and_continuous(quantity: str, graduated: str, volume: str) -> None:
    assert cost(Graduated(tiers=BANDS), quantity) == graduated
    assert cost(Volume(tiers=BANDS), quantity) == volume


def test_volume_tells_which_tier_holds_the_quantity() -> None:
    assert words(Volume(tiers=BANDS), "15") == [
        "15 units at 4 each (all in tier 2) = 60",
        "flat amount of tier 2 = 7",
    ]


@pytest.mark.parametrize("model", [Graduated, Volume])
def test_the_first_flat_amount_is_due_without_usage(model: type[Graduated | Volume]) -> None:
    only_flat = model(tiers=(tier("10", None, "25"), tier(None, "1")))
    assert cost(only_flat, "0") == "25"
    assert words(only_flat, "4")[-1] == "flat amount of tier 1 = 25"


def test_an_average_is_priced_exactly() -> None:
    steps = rate(ALPACA, Fraction(3001, 3) + 1000)
    assert total(steps) == Fraction(3001, 3) * Fraction(4, 100)
    assert steps[-1].description == "1000.333333333333 units above 1000 at 0.04 each"


def test_a_negative_quantity_is_a_bug() -> None:
    with pytest.raises(ValueError, match="billed as 0"):
        rate(ALPACA, Decimal(-1))


def test_the_longest_numbers_are_rated_exactly() -> None:
    longest = Decimal("999999999999999999.999999999999")
    steps = rate(PerUnit(unit_amount=longest), longest)
    assert total(steps) == Fraction(longest) ** 2
    printed = "999999999999999999999999999998000000.000000000000000000000001"
    assert format_decimal(steps[0].amount) == printed


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("tiers", "path", "why"),
    [
        ([], [], "At least one tier"),
        ([tier("10", "1")], ["0", "upTo"], "must be open"),
        ([tier("10", "1"), tier("20", "1")], ["1", "upTo"], "must be open"),
        ([tier(None, "1"), tier(None, "1")], ["0", "upTo"], "Only the last tier is open"),
        ([tier("10", "1"), tier("10", "1"), tier(None, "1")], ["1", "upTo"], "exceed 10"),
        ([tier("10", "1"), tier("9.5", "1"), tier(None, "1")], ["1", "upTo"], "exceed 10"),
        ([tier("0", "1"), tier(None, "1")], ["0", "upTo"], "exceed 0"),
        ([tier("-1", "1"), tier(None, "1")], ["0", "upTo"], "negative"),
        ([tier("10", "1"), tier(None)], ["1"], "needs a unitAmount, a flatAmount"),
        ([tier("10", "1"), tier(None, "-1")], ["1", "unitAmount"], "negative"),
        ([tier("10", "1"), tier(None, "1", "-1")], ["1", "flatAmount"], "negative"),
    ],
)
@pytest.mark.parametrize(("model", "field"), [(Graduated, "graduated"), (Volume, "volume")])
def test_tiers_without_sense_are_refused_where_they_are_wrong(
    model: type[Graduated | Volume], field: str, tiers: list[Tier], path: list[str], why: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        check(model(tiers=tuple(tiers)), PATH)
    assert refusal.value.code is Code.INVALID_VALUE
    assert refusal.value.path == (*PATH, field, "tiers", *path)
    assert why in refusal.value.message


def test_a_hundred_tiers_are_enough() -> None:
    hundred = [tier(str(bound), "1") for bound in range(1, 100)] + [tier(None, "1")]
    check(Graduated(tiers=tuple(hundred)), PATH)
    with pytest.raises(Rejected) as refusal:
        check(Graduated(tiers=(*hundred, tier(None, "1"))), PATH)
    assert refusal.value.code is Code.LIMIT_EXCEEDED
    assert refusal.value.path == (*PATH, "graduated", "tiers")


@pytest.mark.parametrize(
    ("pricing", "path"),
    [
        (PerUnit(unit_amount=Decimal(-1)), ("perUnit", "unitAmount")),
        (PerUnit(unit_amount=Decimal("NaN")), ("perUnit", "unitAmount")),
        (Package(size=Decimal(0), amount=Decimal(1)), ("package", "size")),
        (Package(size=Decimal(-1), amount=Decimal(1)), ("package", "size")),
        (Package(size=Decimal(1), amount=Decimal(-1)), ("package", "amount")),
        (
            Package(size=Decimal(1), amount=Decimal(1), free_units=Decimal(-1)),
            ("package", "freeUnits"),
        ),
    ],
)
def test_amounts_without_sense_are_refused(pricing: Pricing, path: tuple[str, ...]) -> None:
    with pytest.raises(Rejected) as refusal:
        check(pricing, PATH)
    assert refusal.value.path == (*PATH, *path)


# -------------------------------------------------------------------------------------- storage


def test_pricing_is_stored_under_the_name_of_its_model() -> None:
    assert set(MODELS) == {
        "per_unit",
        "package",
        "graduated",
        "volume",
        "percentage",
        "graduated_percentage",
    }
    assert msgspec.json.encode(ALPACA) == (
        b'{"model":"graduated","tiers":[{"up_to":"1000","unit_amount":"0","flat_amount":null},'
        b'{"up_to":null,"unit_amount":"0.04","flat_amount":null}]}'
    )


@pytest.mark.parametrize(
    "pricing",
    [
        ALPACA,
        Volume(tiers=BANDS),
        PerUnit(unit_amount=Decimal("0.04")),
        Package(size=Decimal(1), amount=Decimal(2), rounding=RoundingMode.DOWN),
    ],
)
def test_pricing_is_read_back_as_it_was_stored(pricing: Pricing) -> None:
    stored = msgspec.msgpack.encode(pricing)
    assert msgspec.msgpack.decode(stored, type=Pricing) == pricing


def test_steps_are_stored_without_loss() -> None:
    steps = rate(ALPACA, Fraction(10000, 3))
    stored = msgspec.msgpack.encode(steps, enc_hook=encode_number)
    assert msgspec.msgpack.decode(stored, type=tuple[Step, ...], dec_hook=decode_number) == steps


# ----------------------------------------------------------------------------------- properties

AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=6)
QUANTITIES = st.fractions(min_value=0, max_value=2000, max_denominator=1000)


@st.composite
def tier_lists(draw: st.DrawFn, flats: bool) -> tuple[Tier, ...]:
    """Valid tiers: rising bounds, an open end, with or without flat amounts."""
    bounds = sorted(draw(st.sets(st.integers(1, 1000).map(Decimal), max_size=5)))
    open_ended: Sequence[Decimal | None] = [*bounds, None]
    return tuple(
        Tier(
            up_to=bound,
            unit_amount=draw(AMOUNTS),
            flat_amount=draw(st.none() | AMOUNTS) if flats else None,
        )
        for bound in open_ended
    )


@given(tier_lists(flats=True), QUANTITIES, QUANTITIES)
def test_graduated_never_decreases(tiers: tuple[Tier, ...], a: Fraction, b: Fraction) -> None:
    pricing = Graduated(tiers=tiers)
    less, more = sorted((a, b))
    assert total(rate(pricing, less)) <= total(rate(pricing, more))


@given(tier_lists(flats=False))
def test_graduated_is_continuous_at_its_bounds(tiers: tuple[Tier, ...]) -> None:
    pricing = Graduated(tiers=tiers)
    hair = Fraction(1, 10**30)
    for below, above in pairwise(tiers):
        bound = Fraction(below.up_to or 0)
        at = total(rate(pricing, bound))
        assert at - total(rate(pricing, bound - hair)) == hair * Fraction(below.unit_amount or 0)
        assert total(rate(pricing, bound + hair)) - at == hair * Fraction(above.unit_amount or 0)


@given(tier_lists(flats=True), QUANTITIES)
def test_the_breakdown_accounts_for_every_unit(tiers: tuple[Tier, ...], quantity: Fraction) -> None:
    models: list[Pricing] = [Graduated(tiers=tiers), Volume(tiers=tiers)]
    for pricing in models:
        check(pricing, PATH)
        steps = rate(pricing, quantity)
        assert sum(step.quantity or 0 for step in steps) == quantity
        for step in steps:
            each = (step.quantity or 0) * (step.unit_amount or 0) + (step.flat_amount or 0)
            assert step.amount == each


@given(AMOUNTS, st.decimals(min_value="0.001", max_value=500, places=3), AMOUNTS, QUANTITIES)
def test_packages_hold_the_quantity_and_none_is_spare(
    amount: Decimal, size: Decimal, free: Decimal, quantity: Fraction
) -> None:
    paid = max(quantity - Fraction(free), Fraction(0))
    for rounding in RoundingMode:
        pricing = Package(size=size, amount=amount, free_units=free, rounding=rounding)
        [step] = rate(pricing, quantity)
        held = (step.quantity or 0) * Fraction(size)
        if rounding is RoundingMode.UP:
            assert held - Fraction(size) < paid <= held
        else:
            assert held <= paid < held + Fraction(size)

"""Amounts: what is read, what is printed, and the one rounding."""

from decimal import Decimal, Inexact
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.money import (
    CURRENCY_EXPONENTS,
    Money,
    all_written_shortest,
    allocate,
    check_amount,
    check_currency,
    decode_number,
    encode_number,
    exact,
    exponent,
    format_decimal,
    format_money,
    parse_amount,
    parse_decimal,
    round_to_minor,
)

PATH = ("input", "value")
CURRENCIES = st.sampled_from(["JPY", "USD", "KWD"])
FRACTIONS = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6)
DECIMALS = st.decimals(min_value=-(10**17), max_value=10**17, places=12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0.04", "0.04"),
        ("-12.50", "-12.5"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
    ],
)
def test_a_plain_decimal_is_read_exactly(text: str, value: str) -> None:
    assert format_decimal(parse_decimal(text, PATH)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("1e5", "exponent"),
        ("1E1000000", "exponent"),
        ("NaN", "NaN"),
        ("sNaN123", "NaN"),
        ("-Infinity", "infinity"),
        ("1_000", "grouped"),
        ("1,000", "grouped"),
        ("+1", "plus sign"),
        ("01", "leading zero"),
        ("-00.5", "leading zero"),
        (".5", "both sides"),
        ("5.", "both sides"),
        (" 1", "white space"),
        ("1\n", "white space"),
        ("\u0661\u0662", "digits 0 to 9"),
        ("\ud800", "digits 0 to 9"),
        ("1\x00", "not a number"),
        ("0x10", "not a number"),
        ("-", "not a number"),
        ("--1", "not a number"),
        ("1" * 19, "19 integer digits"),
        ("0." + "0" * 13, "13 decimal places"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_decimal(text, PATH)
    assert (refusal.value.code, refusal.value.path) == (Code.INVALID_VALUE, PATH)
    assert why in refusal.value.message


@given(st.text(alphabet="0123456789.-+eE_ naif\n\u0661", max_size=40))
def test_whatever_is_read_is_within_the_limits(text: str) -> None:
    try:
        value = parse_decimal(text, PATH)
    except Rejected:
        return
    assert abs(value) < 10**18
    assert (Fraction(value) * 10**12).denominator == 1


def test_an_amount_is_not_negative() -> None:
    assert parse_amount("100.00", PATH) == 100
    with pytest.raises(Rejected, match="must not be negative"):
        parse_amount("-0.01", PATH)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "1E+18", "1E-13"])
def test_an_amount_from_elsewhere_keeps_the_same_limits(value: str) -> None:
    with pytest.raises(Rejected):
        check_amount(Decimal(value), PATH)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("3000.0"), "3000"),
        (Decimal("3E+3"), "3000"),
        (Decimal("0.0400"), "0.04"),
        (Decimal("-0.0"), "0"),
        (Decimal("1E-24"), "0.000000000000000000000001"),
        (Fraction(1, 10**24), "0.000000000000000000000001"),
        (Fraction(1, 3), "0.333333333333"),
        (Fraction(-2, 3), "-0.666666666667"),
        (Fraction(1, 3 * 10**13), "0"),
        (Fraction(80), "80"),
    ],
)
def test_numbers_are_printed_plainly(value: Decimal | Fraction, text: str) -> None:
    assert format_decimal(value) == text


@given(DECIMALS)
def test_what_is_printed_reads_back_the_same(value: Decimal) -> None:
    text = format_decimal(value)
    assert parse_decimal(text, PATH) == value
    assert format_decimal(Fraction(value)) == text


def test_money_is_printed_with_the_digits_of_its_currency() -> None:
    printed = [format_money(Decimal(80), currency) for currency in ("USD", "JPY", "KWD")]
    assert printed == ["80.00", "80", "80.000"]
    assert format_money(Decimal("-0.5"), "USD") == "-0.50"
    with pytest.raises(ValueError, match="finer"):
        format_money(Decimal("0.005"), "USD")


def test_currencies_are_those_that_can_be_paid() -> None:
    assert (exponent("USD"), exponent("JPY"), exponent("BHD"), exponent("ISK")) == (2, 0, 3, 0)
    assert check_currency("EUR", PATH) == "EUR"
    assert all(len(code) == 3 and code.isupper() for code in CURRENCY_EXPONENTS)
    for code in ("usd", "XXX", "XTS", "XAU", "ZZZ", "", "US", "HRK"):
        with pytest.raises(Rejected, match="ISO 4217"):
            check_currency(code, PATH)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        (Decimal("0.005"), "USD", "0.01"),
        (Decimal("-0.005"), "USD", "-0.01"),
        (Decimal("0.004999999999"), "USD", "0.00"),
        (Fraction(1, 3), "USD", "0.33"),
        (Fraction(2, 3), "KWD", "0.667"),
        (Decimal("0.5"), "JPY", "1"),
        (Decimal("2.5"), "JPY", "3"),
        # A third of a hair below one half: a decimal on the way would have made it one half.
        (Fraction(1, 2) - Fraction(1, 3 * 10**40), "JPY", "0"),
    ],
)
def test_half_a_minor_unit_rounds_away_from_zero(
    amount: Decimal | Fraction, currency: str, rounded: str
) -> None:
    assert str(round_to_minor(amount, currency)) == rounded


@given(FRACTIONS, CURRENCIES)
def test_rounding_agrees_with_counting_minor_units(amount: Fraction, currency: str) -> None:
    units = amount * 10 ** exponent(currency)
    below, rest = divmod(abs(units.numerator), units.denominator)
    expected = below + (1 if 2 * rest >= units.denominator else 0)
    rounded = Fraction(round_to_minor(amount, currency)) * 10 ** exponent(currency)
    assert rounded == (expected if amount >= 0 else -expected)


@pytest.mark.parametrize(
    ("amount", "weights", "currency", "parts"),
    [
        ("100.00", [1, 1, 1], "USD", ["33.34", "33.33", "33.33"]),
        ("-100.00", [1, 1, 1], "USD", ["-33.34", "-33.33", "-33.33"]),
        ("0.05", [3, 7], "USD", ["0.02", "0.03"]),
        ("10", [1, 2, 0], "JPY", ["3", "7", "0"]),
        ("0.00", [1, 2], "USD", ["0.00", "0.00"]),
    ],
)
def test_a_split_gives_the_rest_to_the_largest_remainder(
    amount: str, weights: list[int], currency: str, parts: list[str]
) -> None:
    assert [str(part) for part in allocate(Decimal(amount), weights, currency)] == parts


@given(
    st.integers(-(10**20), 10**20),
    st.lists(st.integers(0, 10**12), min_size=1, max_size=20).filter(any),
    CURRENCIES,
)
def test_a_split_loses_nothing(units: int, weights: list[int], currency: str) -> None:
    smallest = Fraction(1, 10 ** exponent(currency))
    amount = Decimal(f"{units}E-{exponent(currency)}")
    parts = allocate(amount, weights, currency)
    assert sum(map(Fraction, parts)) == Fraction(amount)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(amount) * weight / sum(weights)) < smallest


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2]])
def test_a_split_needs_a_positive_weight(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        allocate(Decimal(1), weights, "USD")


def test_money_adds_within_one_currency() -> None:
    large = Decimal("999999999999999999.999999999999")
    both = Money(large, "USD") + Money(large, "USD")
    assert both == Money(Decimal("1999999999999999999.999999999998"), "USD")
    with pytest.raises(ValueError, match="cannot add EUR to USD"):
        _ = both + Money(large, "EUR")


def test_exact_functions_fail_rather_than_lose_a_digit() -> None:
    @exact
    def times(a: Decimal, b: Decimal) -> Decimal:
        return a * b

    large = Decimal("999999999999999999.999999999999")
    assert Fraction(times(large, large)) == Fraction(large) ** 2
    thirds = exact(lambda: Decimal(1) / 3)
    with pytest.raises(Inexact):
        thirds()


@given(st.fractions())
def test_a_fraction_is_stored_without_loss(value: Fraction) -> None:
    stored = msgspec.msgpack.encode(value, enc_hook=encode_number)
    assert msgspec.msgpack.decode(stored, type=Fraction, dec_hook=decode_number) == value


def test_a_stored_fraction_reads_like_a_number_where_it_is_one() -> None:
    assert encode_number(Fraction(1, 25)) == "0.04"
    assert encode_number(Fraction(1, 3)) == "1/3"
    with pytest.raises(NotImplementedError):
        encode_number(object())


@given(
    st.lists(
        DECIMALS.map(format_decimal)
        | st.integers(-(10**19), 10**19).map(str)
        | st.sampled_from(["1\n2", "1\n", "", "-0", "0.50", "0.5", "01", "1e3", "٣", "-", "1."])
        | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,14})?", fullmatch=True),
        max_size=3,
    )
)
def test_what_is_written_shortest_is_what_is_printed(texts: list[str]) -> None:
    if all_written_shortest(texts):
        assert [format_decimal(parse_decimal(text, PATH)) for text in texts] == texts


def test_usual_numbers_are_written_shortest() -> None:
    assert all_written_shortest(["3000", "0.04", "-12.5", "9" * 18 + "." + "9" * 12])

"""What an amount is: exact decimals, currencies, and the one place where anything is rounded.

Numbers are never floats. A number that came from outside is a `Decimal` of at most 18 integer and
12 fractional digits; a number that was computed (a share of a period, an average, a rated amount)
may be a `Fraction`, so that nothing is lost before the one rounding of an invoice line. Source:
RULES, "Numbers and money".
"""

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from enum import StrEnum
from fractions import Fraction
from typing import ParamSpec, TypeVar

import msgspec

from domain.decider import Code, Path, Rejected

Number = Decimal | Fraction
"""An exact number: what was sent is a Decimal, what was computed may be a Fraction."""

MAX_INTEGER_DIGITS = 18
MAX_FRACTION_DIGITS = 12

PERCENT_DIGITS = MAX_FRACTION_DIGITS + 2
"""A percentage of an amount has at most this many more places than the amount."""

EXACT_PLACES = MAX_FRACTION_DIGITS + 2 * PERCENT_DIGITS
"""A quantity at a percentage, less a percentage of that, has at most this many places, and a
quantity at an amount has fewer; `format_decimal` prints them all."""

_EXACT_SCALE: int = 10**EXACT_PLACES

EXACT = Context(
    prec=200,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation],
)
"""Decimal arithmetic that fails rather than lose a digit. Python's default context keeps 28
digits, and a value of 18 + 12 digits already has 30."""

_CODES_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD"
        " CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD"
        " GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL"
        " MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN"
        " PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP"
        " SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
}

CURRENCY_EXPONENTS: Mapping[str, int] = {
    code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()
}
"""Minor-unit digits of each ISO 4217 currency in which an invoice can be paid. Left out: metals,
test codes, withdrawn currencies, and funds and units of account (CLF, XDR, ...)."""

_PLAIN = re.compile(r"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?")
_SHORTEST = re.compile(r"(?:(?:0|-?[1-9][0-9]{0,17})(?:\.[0-9]{0,11}[1-9])?\n)*")

_WHY_NOT_PLAIN = (
    (re.compile(r""), "it is empty"),
    (re.compile(r"[+-]?s?(nan|inf|infinity)[0-9]*", re.IGNORECASE), "NaN and infinity are refused"),
    (re.compile(r".*[^\x00-\x7f].*", re.DOTALL), "only the digits 0 to 9 are read"),
    (re.compile(r".*\s.*", re.DOTALL), "it contains white space"),
    (re.compile(r"[+-]?[0-9.]+e.*", re.IGNORECASE | re.DOTALL), "an exponent is refused"),
    (re.compile(r".*[_,'].*", re.DOTALL), "digits are not grouped"),
    (re.compile(r"\+.*", re.DOTALL), "a plus sign is refused"),
    (re.compile(r"-?0[0-9].*", re.DOTALL), "it has a leading zero"),
    (re.compile(r"-?\.[0-9]+|-?[0-9]+\."), "a digit is needed on both sides of the point"),
)


class RoundingMode(StrEnum):
    """Which way a part of a whole unit or package goes."""

    UP = "UP"
    DOWN = "DOWN"


P = ParamSpec("P")
R = TypeVar("R")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Price without ever losing a digit: inside the function no decimal operation rounds.

    An operation that would have to round, or that meets a float, raises the decimal signal
    (`decimal.Inexact`, ...): a bug, never a refusal. Fractions are exact by nature.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return run


def parse_decimal(text: str, path: Path) -> Decimal:
    """Read a quantity or an amount as the client wrote it: a plain decimal, nothing cleverer.

    At most 18 integer and 12 fractional digits, checked before any Decimal is built, because a
    short text such as `1e1000000` is a very long number. Raises `Rejected` INVALID_VALUE.

    >>> parse_decimal("0.04", ("input", "unitAmount"))
    Decimal('0.04')
    >>> parse_decimal("-0", ("input", "value"))
    Decimal('0')
    """
    match = _PLAIN.fullmatch(text)
    if match is None:
        reasons = (why for pattern, why in _WHY_NOT_PLAIN if pattern.fullmatch(text))
        why = next(reasons, "it is not a number")
        message = f"A number is written as a plain decimal such as 12.5; {why}."
        raise Rejected(Code.INVALID_VALUE, path, message)
    if len(match[1]) > MAX_INTEGER_DIGITS:
        message = f"The number has {len(match[1])} integer digits; at most {MAX_INTEGER_DIGITS}."
        raise Rejected(Code.INVALID_VALUE, path, message)
    if len(match[2] or "") > MAX_FRACTION_DIGITS:
        message = f"The number has {len(match[2])} decimal places; at most {MAX_FRACTION_DIGITS}."
        raise Rejected(Code.INVALID_VALUE, path, message)
    value = Decimal(text)
    return value.copy_abs() if value.is_zero() else value


def all_written_shortest(texts: Collection[str]) -> bool:
    """Whether each text is a decimal within the limits, written as `format_decimal` writes it.

    One look at all of them; what it says no to may still be a decimal.

    >>> all_written_shortest(["0", "3000", "-12.5"]), all_written_shortest(["1", "0.50"])
    (True, False)
    """
    joined = "\n".join([*texts, ""])
    return joined.count("\n") == len(texts) and _SHORTEST.fullmatch(joined) is not None


def parse_amount(text: str, path: Path) -> Decimal:
    """Read an amount, rate or size that cannot be negative; otherwise as `parse_decimal`."""
    value = parse_decimal(text, path)
    check_amount(value, path)
    return value


def check_amount(value: Decimal, path: Path) -> None:
    """Refuse an amount that is negative or too long to bill. Raises `Rejected` INVALID_VALUE."""
    if not value.is_finite():
        raise Rejected(Code.INVALID_VALUE, path, "NaN and infinity are not amounts.")
    if value < 0:
        raise Rejected(Code.INVALID_VALUE, path, "The amount must not be negative.")
    if value.adjusted() >= MAX_INTEGER_DIGITS or _places(value) > MAX_FRACTION_DIGITS:
        message = f"At most {MAX_INTEGER_DIGITS} integer digits and {MAX_FRACTION_DIGITS} places."
        raise Rejected(Code.INVALID_VALUE, path, message)


def format_decimal(value: Number) -> str:
    """Print a number as a person writes it: no exponent, no zeros that say nothing.

    A Decimal is printed exactly, and so is a Fraction that ends within 40 places (as an amount that
    was rated at decimals of 12 places does). Any other Fraction is shown to 12 places, half away
    from zero: for display only, never to be read back and billed.

    >>> format_decimal(Decimal("3000.00")), format_decimal(Decimal("4E-2"))
    ('3000', '0.04')
    >>> format_decimal(Fraction(2, 3))
    '0.666666666667'
    """
    if isinstance(value, Fraction):
        places = EXACT_PLACES if _terminates(value) else MAX_FRACTION_DIGITS
        value = _scaled(_half_away_from_zero(value * 10**places), places)
    if not value.is_finite():
        raise ValueError("NaN and infinity are not printed")
    if value.is_zero():
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_money(amount: Decimal, currency: str) -> str:
    """Print an amount with exactly the digits of its currency; ValueError if it has more.

    >>> format_money(Decimal(80), "USD"), format_money(Decimal(80), "JPY")
    ('80.00', '80')
    >>> format_money(Decimal(80), "KWD")
    '80.000'
    """
    return f"{_scaled(_minor_units(amount, currency), exponent(currency)):f}"


def exponent(currency: str) -> int:
    """How many decimal places a currency has: USD 2, JPY 0, KWD 3. KeyError when unknown."""
    return CURRENCY_EXPONENTS[currency]


def check_minor_units(value: Decimal, currency: str, path: Path) -> None:
    """Refuse an amount that cannot be paid, being finer than the minor unit of its currency.

    Raises `Rejected` INVALID_VALUE.
    """
    if _places(value.normalize(EXACT)) > exponent(currency):
        message = f"{currency} has {exponent(currency)} decimal places."
        raise Rejected(Code.INVALID_VALUE, path, message)


def check_currency(code: str, path: Path) -> str:
    """Accept an ISO 4217 code in capitals. Raises `Rejected` INVALID_VALUE for anything else."""
    if code not in CURRENCY_EXPONENTS:
        message = "The currency must be an ISO 4217 code in capitals, such as USD."
        raise Rejected(Code.INVALID_VALUE, path, message)
    return code


def round_to_minor(amount: Number, currency: str) -> Decimal:
    """Round an invoice line to what can be paid: half away from zero, to the minor unit.

    The only rounding of amounts there is, done once per line (RULES, "Numbers and money"). Exact
    by integer arithmetic; a Fraction never becomes a decimal on the way.

    >>> round_to_minor(Decimal("0.005"), "USD"), round_to_minor(Fraction(-5, 2), "JPY")
    (Decimal('0.01'), Decimal('-3'))
    """
    places = exponent(currency)
    return _scaled(_half_away_from_zero(Fraction(amount) * 10**places), places)


def whole_units(value: Fraction, mode: RoundingMode) -> Fraction:
    """Count whole units: one that is begun counts (UP), or only a full one does (DOWN).

    >>> [int(whole_units(Fraction(5, 2), mode)) for mode in RoundingMode]
    [3, 2]
    """
    # Floor division of the negative counts a unit as soon as it is begun.
    return Fraction(-(-value // 1) if mode is RoundingMode.UP else value // 1)


def percent(rate: Decimal) -> Fraction:
    """The part of a whole that a percentage is: 1.5 is 1.5 %, which is 0.015 of it.

    >>> percent(Decimal("1.5"))
    Fraction(3, 200)
    """
    return Fraction(rate) / 100


def allocate(amount: Decimal, weights: Sequence[int], currency: str) -> list[Decimal]:
    """Split an amount over parts by weight and lose nothing.

    Each part gets its share rounded towards zero; the minor units left over go one each to the
    largest remainders, ties to the earlier part. A negative amount splits like a positive one.
    ValueError when the amount is finer than the minor unit, or no weight is positive.

    >>> [str(part) for part in allocate(Decimal("100.00"), [1, 1, 1], "USD")]
    ['33.34', '33.33', '33.33']
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must not be negative and must not all be zero")
    units = _minor_units(amount, currency)
    sign = -1 if units < 0 else 1
    shares = [divmod(abs(units) * weight, whole) for weight in weights]
    parts = [share for share, _ in shares]
    # sorted() is stable, so equal remainders stay in order and the earlier part wins.
    largest_first = sorted(range(len(shares)), key=lambda part: -shares[part][1])
    for part in largest_first[: abs(units) - sum(parts)]:
        parts[part] += 1
    return [_scaled(sign * part, exponent(currency)) for part in parts]


class Money(msgspec.Struct, frozen=True):
    """An amount in major units of one currency, for example 80.00 USD."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        """Add money of the same currency; ValueError for another one, because none is converted."""
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(EXACT.add(self.amount, other.amount), self.currency)


def encode_number(value: object) -> str:
    """Store a Fraction as text without loss: `0.04` where it ends, `1/3` where it does not.

    The `enc_hook` for msgspec (a Decimal needs none: it is stored as text already).
    """
    if not isinstance(value, Fraction):
        raise NotImplementedError(f"{type(value).__name__} is not a number that can be stored")
    return format_decimal(value) if _terminates(value) else str(value)


def decode_number(kind: type, value: object) -> Fraction:
    """Read back what `encode_number` stored: the `dec_hook` for msgspec."""
    if kind is not Fraction or not isinstance(value, str):
        raise NotImplementedError(f"{kind.__name__} is not a number that can be stored")
    return Fraction(value)


def _half_away_from_zero(value: Fraction) -> int:
    """The nearest integer; from exactly half way, the one further from zero."""
    size = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return size if value >= 0 else -size


def _minor_units(amount: Decimal, currency: str) -> int:
    units: Fraction = Fraction(amount) * 10 ** exponent(currency)
    if units.denominator != 1:
        raise ValueError(f"{amount} is finer than the minor unit of {currency}")
    return units.numerator


def _scaled(units: int, places: int) -> Decimal:
    # The constructor is exact in every context; scaleb() and division are not.
    return Decimal(f"{units}E-{places}")


def _terminates(value: Fraction) -> bool:
    return _EXACT_SCALE % value.denominator == 0


def _places(value: Decimal) -> int:
    power = value.as_tuple().exponent
    return -power if isinstance(power, int) else 0

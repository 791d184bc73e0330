"""Exact totals as three integers: digits of base 10**12, which SQL adds up with carry.

The last digit counts units of 10**-12, and only the first is ever negative, so that three columns
hold any total of any number of usage records, and adding to one reads nothing first.

>>> digits_of(-1)
(-1, 999999999999, 999999999999)
>>> total_of(*digits_of(scaled("3000.04") or 0))
Decimal('3000.040000000000')
"""

from decimal import Decimal
from functools import lru_cache

from domain.decider import Rejected
from domain.money import EXACT, parse_decimal
from projections.tables import Table

DIGIT = 10**12
"""The base of a stored total's digits, which is also one unit in a total's smallest parts."""


def add_with_carry(table: Table) -> str:
    """What adds a row's count and digits to the ones that stand under the same key."""
    name = table.name
    carried = f"({name}.fraction + excluded.fraction) / {DIGIT}"
    return table.merging(
        f"count={name}.count + excluded.count,"
        f" fraction=({name}.fraction + excluded.fraction) % {DIGIT},"
        f" low=({name}.low + excluded.low + {carried}) % {DIGIT},"
        f" high={name}.high + excluded.high + ({name}.low + excluded.low + {carried}) / {DIGIT}"
    )


@lru_cache(maxsize=65_536)
def scaled(text: str) -> int | None:
    """A decimal text as a whole number of 10**-12 units; None when it is no decimal."""
    try:
        parse_decimal(text, ("value",))
    except Rejected:
        return None
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(12, "0"))


def units_of(total: Decimal) -> int:
    """A total as a whole number of 10**-12 units."""
    return int(EXACT.scaleb(total, 12))


def digits_of(units: int) -> tuple[int, int, int]:
    """A number of units as (high, low, fraction), only the high digit ever negative."""
    rest, fraction = units // DIGIT, units % DIGIT
    return (0, rest, fraction) if 0 <= rest < DIGIT else (rest // DIGIT, rest % DIGIT, fraction)


def total_of(high: int, low: int, fraction: int) -> Decimal:
    """The total that three digits stand for, which need not have been carried."""
    return decimal_of((high * DIGIT + low) * DIGIT + fraction)


def decimal_of(units: int) -> Decimal:
    """The total that a number of units comes to."""
    return EXACT.scaleb(Decimal(units), -12)

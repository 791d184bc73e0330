"""Modifiers: what happens to a quantity before it is priced, and to the amount afterwards.

The order is fixed: unit conversion, included units, the price, percentage discount, maximum,
minimum (RULES, "Prices"). Each is a step of its own. A discount is a percentage: `10` is 10 %.

>>> gigabytes = Modifiers(
...     divide_by=Decimal(1000),
...     divide_rounding=RoundingMode.UP,
...     included_units=Decimal(5),
...     percentage_discount=Decimal(10),
...     maximum_amount=Decimal(40),
... )
>>> for step in gigabytes.before(Fraction(29500)):
...     print(step.description)
29500 divided by 1000, rounded up to 30
30 less 5 included: 25
>>> int(gigabytes.convert(Fraction(29500)))
25
>>> for step in gigabytes.after(Fraction(50)):
...     print(step.description, "=", format_decimal(step.amount))
10% discount on 50 = -5
lowered from 45 to the maximum of 40 = -5
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import RoundingMode, check_amount, format_decimal, percent, whole_units
from domain.pricing.step import Step


class Modifiers(msgspec.Struct, frozen=True, kw_only=True):
    """Changes around a price, each left out where it is None."""

    divide_by: Decimal | None = None
    divide_rounding: RoundingMode | None = None
    """To whole units after dividing, by 1 where nothing else is said; None keeps them exact."""
    included_units: Decimal | None = None
    percentage_discount: Decimal | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None

    def check(self, path: Path) -> None:
        """Refuse what has no sense. Raises `Rejected` INVALID_VALUE at the field that is wrong."""
        least, most = self.minimum_amount, self.maximum_amount
        for value, field in (
            (self.divide_by, "divideBy"),
            (self.included_units, "includedUnits"),
            (self.percentage_discount, "percentageDiscount"),
            (least, "minimumAmount"),
            (most, "maximumAmount"),
        ):
            if value is not None:
                check_amount(value, (*path, field))
        if self.divide_by is not None and not self.divide_by:
            message = "A quantity cannot be divided by 0."
            raise Rejected(Code.INVALID_VALUE, (*path, "divideBy"), message)
        if self.percentage_discount is not None and self.percentage_discount > 100:
            message = "A discount is at most 100 percent."
            raise Rejected(Code.INVALID_VALUE, (*path, "percentageDiscount"), message)
        if least is not None and most is not None and most < least:
            message = f"The maximum must not be below the minimum of {format_decimal(least)}."
            raise Rejected(Code.INVALID_VALUE, (*path, "maximumAmount"), message)

    def convert(self, quantity: Fraction) -> Fraction:
        """The quantity that is priced: converted, less what is included, and never below 0."""
        return max(self._divided(quantity) - Fraction(self.included_units or 0), Fraction(0))

    def convert_records(self, records: Iterable[Fraction]) -> Iterator[Fraction]:
        """Single records as they are priced: their running total is converted, never each of them.

        So they add up to the quantity that is priced, whatever was rounded or included.

        >>> boxes = Modifiers(divide_by=Decimal(10), divide_rounding=RoundingMode.UP)
        >>> [int(one) for one in boxes.convert_records([Fraction(4), Fraction(4), Fraction(4)])]
        [1, 0, 1]
        """
        running = before = Fraction(0)
        for value in records:
            running += value
            converted = self.convert(running)
            yield converted - before
            before = converted

    def before(self, quantity: Fraction) -> Iterator[Step]:
        """How the quantity becomes the one that is priced."""
        divided = self._divided(quantity)
        if self.divide_by is not None or self.divide_rounding is not None:
            yield Step(
                description=self._division(quantity, divided),
                quantity=divided,
                amount=Fraction(0),
            )
        if self.included_units is not None:
            less = format_decimal(self.included_units)
            rest = self.convert(quantity)
            words = f"{format_decimal(divided)} less {less} included: {format_decimal(rest)}"
            yield Step(description=words, quantity=rest, amount=Fraction(0))

    def after(self, amount: Fraction) -> Iterator[Step]:
        """What becomes of the price's amount; a limit that changes nothing is not mentioned."""
        if self.percentage_discount is not None:
            discount = amount * percent(self.percentage_discount)
            rate = format_decimal(self.percentage_discount)
            words = f"{rate}% discount on {format_decimal(amount)}"
            yield Step(description=words, amount=-discount)
            amount -= discount
        if self.maximum_amount is not None and amount > Fraction(self.maximum_amount):
            yield _limit("lowered", amount, "maximum", Fraction(self.maximum_amount))
        if self.minimum_amount is not None and amount < Fraction(self.minimum_amount):
            yield _limit("raised", amount, "minimum", Fraction(self.minimum_amount))

    def _divided(self, quantity: Fraction) -> Fraction:
        exact = quantity / Fraction(self.divide_by or 1)
        return exact if self.divide_rounding is None else whole_units(exact, self.divide_rounding)

    def _division(self, quantity: Fraction, divided: Fraction) -> str:
        by = "" if self.divide_by is None else f" divided by {format_decimal(self.divide_by)}"
        if self.divide_rounding is None:
            return f"{format_decimal(quantity)}{by}: {format_decimal(divided)}"
        comma, way = "," if by else "", self.divide_rounding.lower()
        return f"{format_decimal(quantity)}{by}{comma} rounded {way} to {format_decimal(divided)}"


def _limit(verb: str, amount: Fraction, side: str, limit: Fraction) -> Step:
    """The step from an amount to the limit that it must keep."""
    words = f"{verb} from {format_decimal(amount)} to the {side} of {format_decimal(limit)}"
    return Step(description=words, amount=limit - amount)

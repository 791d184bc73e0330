"""Graduated percentage: the part of the amount within each tier at that tier's percentage.

Bounds and flat amounts are as in graduated; a rate is a percentage, so `2.5` is 2.5 %. Payments of
3,000.00 at 2.5 % of the first 1,000.00 and 2 % of what lies above, for which 10.00 is due as well:

>>> first = PercentageTier(up_to=Decimal(1000), rate=Decimal("2.5"))
>>> beyond = PercentageTier(rate=Decimal(2), flat_amount=Decimal(10))
>>> for step in GraduatedPercentage(tiers=(first, beyond)).charge(Fraction(3000)):
...     print(step.description, "=", format_decimal(step.amount))
2.5% of 1000 up to 1000 = 25
2% of 2000 above 1000 = 40
flat amount of tier 2 = 10
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import EXACT, check_amount, format_decimal
from domain.pricing.model import Model
from domain.pricing.step import Step
from domain.pricing.tiers import Tier, check_bounds, reached


class PercentageTier(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts up to a bound (None: without end), a percentage of them, a flat amount."""

    up_to: Decimal | None = None
    rate: Decimal | None = None
    flat_amount: Decimal | None = None

    def as_tier(self) -> Tier:
        """The same tier by what a unit of the amount costs in it."""
        each = None if self.rate is None else EXACT.scaleb(self.rate, -2)
        return Tier(up_to=self.up_to, unit_amount=each, flat_amount=self.flat_amount)


class GraduatedPercentage(Model, frozen=True, tag_field="model", tag="graduated_percentage"):
    """Charge each part of an amount at the percentage of the tier in which it lies."""

    tiers: tuple[PercentageTier, ...]

    def check(self, path: Path) -> None:
        """Refuse tiers without sense. Raises `Rejected`, as `tiers.check_tiers`."""
        path = (*path, "graduatedPercentage", "tiers")
        check_bounds([tier.up_to for tier in self.tiers], path)
        for index, tier in enumerate(self.tiers):
            at = (*path, str(index))
            if tier.rate is None and tier.flat_amount is None:
                message = "A tier needs a rate, a flatAmount, or both."
                raise Rejected(Code.INVALID_VALUE, at, message)
            if tier.rate is not None:
                check_amount(tier.rate, (*at, "rate"))
            if tier.flat_amount is not None:
                check_amount(tier.flat_amount, (*at, "flatAmount"))

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """The part in each tier entered, and its flat amount where it has one."""
        return tuple(self._steps(quantity))

    def _steps(self, quantity: Fraction) -> Iterator[Step]:
        for reach in reached([tier.as_tier() for tier in self.tiers], quantity):
            inside = reach.within(quantity)
            rate = format_decimal(reach.each * 100)
            words = f"{rate}% of {format_decimal(inside)}{reach.place}"
            yield from reach.charge(inside, words)

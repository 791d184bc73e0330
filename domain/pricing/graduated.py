"""Graduated: the units within each tier at that tier's rate, and the flat amount of each entered.

The reference story: the first 1,000 tokens are included, each one beyond costs 0.04 USD, so 3,000
tokens cost 80.00.

>>> from decimal import Decimal
>>> from domain.money import format_decimal, round_to_minor
>>> from domain.pricing.step import total
>>> included = Tier(up_to=Decimal(1000), unit_amount=Decimal(0))
>>> beyond = Tier(unit_amount=Decimal("0.04"))
>>> steps = Graduated(tiers=(included, beyond)).charge(Fraction(3000))
>>> for step in steps:
...     print(step.description, "=", format_decimal(step.amount))
1000 units up to 1000 at 0 each = 0
2000 units above 1000 at 0.04 each = 80
>>> round_to_minor(total(steps), "USD")
Decimal('80.00')

With the licence as a flat amount of 100 USD on the first tier, it is due even without usage:

>>> monthly = Graduated(tiers=(Tier(up_to=Decimal(1000), flat_amount=Decimal(100)), beyond))
>>> [format_decimal(total(monthly.charge(Fraction(tokens)))) for tokens in (0, 1000, 3000)]
['100', '100', '180']
"""

from collections.abc import Iterator
from fractions import Fraction

from domain.decider import Path
from domain.money import format_decimal
from domain.pricing.model import Model
from domain.pricing.step import Step, counted
from domain.pricing.tiers import Tier, check_tiers, reached


class Graduated(Model, frozen=True, tag_field="model", tag="graduated"):
    """Charge each part of the quantity at the rate of the tier in which it lies."""

    tiers: tuple[Tier, ...]

    def check(self, path: Path) -> None:
        """Refuse tiers without sense. Raises `Rejected`, as `tiers.check_tiers`."""
        check_tiers(self.tiers, (*path, "graduated", "tiers"))

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """The units of each tier entered, and its flat amount where it has one."""
        return tuple(self._steps(quantity))

    def _steps(self, quantity: Fraction) -> Iterator[Step]:
        for reach in reached(self.tiers, quantity):
            inside = reach.within(quantity)
            units = f"{counted(inside, 'unit')}{reach.place}"
            yield from reach.charge(inside, f"{units} at {format_decimal(reach.each)} each")

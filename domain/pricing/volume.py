"""Volume: the whole quantity at the rate of the one tier that holds it, plus its flat amount.

>>> from decimal import Decimal
>>> from domain.money import format_decimal
>>> first = Tier(up_to=Decimal(1000), unit_amount=Decimal("0.05"))
>>> second = Tier(unit_amount=Decimal("0.04"), flat_amount=Decimal(10))
>>> volume = Volume(tiers=(first, second))
>>> for step in volume.charge(Fraction(3000)):
...     print(step.description, "=", format_decimal(step.amount))
3000 units at 0.04 each (all in tier 2) = 120
flat amount of tier 2 = 10
>>> [step.description for step in volume.charge(Fraction(1000))]
['1000 units at 0.05 each (all in tier 1)']
"""

from fractions import Fraction

from domain.decider import Path
from domain.money import format_decimal
from domain.pricing.model import Model
from domain.pricing.step import Step, counted
from domain.pricing.tiers import Tier, check_tiers, reached


class Volume(Model, frozen=True, tag_field="model", tag="volume"):
    """Charge every unit at the rate of the tier that the whole quantity reaches."""

    tiers: tuple[Tier, ...]

    def check(self, path: Path) -> None:
        """Refuse tiers without sense. Raises `Rejected`, as `tiers.check_tiers`."""
        check_tiers(self.tiers, (*path, "volume", "tiers"))

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """The whole quantity in its tier, and that tier's flat amount where it has one."""
        reach = reached(self.tiers, quantity)[-1]
        units = f"{counted(quantity, 'unit')} at {format_decimal(reach.each)} each"
        return tuple(reach.charge(quantity, f"{units} (all in tier {reach.number})"))

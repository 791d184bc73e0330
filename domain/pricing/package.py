"""Package: units are sold in packages of a fixed size, after some that are free.

A package that is begun is charged (rounding UP), or only a full one is (DOWN).

>>> from domain.money import format_decimal
>>> package = Package(size=Decimal(100), amount=Decimal("0.04"), free_units=Decimal(1000))
>>> [step] = package.charge(Fraction(3000))
>>> step.description
'20 packages of 100 at 0.04 (2000 units after 1000 free)'
>>> format_decimal(step.amount)
'0.8'
>>> [package.charge(Fraction(quantity))[0].quantity == 1 for quantity in (1000, 1001, 1100, 1101)]
[False, True, True, False]
"""

from decimal import Decimal
from fractions import Fraction

from domain.decider import Code, Path, Rejected
from domain.money import RoundingMode, check_amount, format_decimal, whole_units
from domain.pricing.model import Model
from domain.pricing.step import Step, counted


class Package(Model, frozen=True, tag_field="model", tag="package"):
    """Charge whole packages of units, for example 0.04 USD for each 100 tokens."""

    size: Decimal
    amount: Decimal
    free_units: Decimal = Decimal(0)
    rounding: RoundingMode = RoundingMode.UP

    def check(self, path: Path) -> None:
        """Refuse an empty package and negative amounts. Raises `Rejected` INVALID_VALUE."""
        path = (*path, "package")
        check_amount(self.size, (*path, "size"))
        if not self.size:
            message = "A package must hold more than 0 units."
            raise Rejected(Code.INVALID_VALUE, (*path, "size"), message)
        check_amount(self.amount, (*path, "amount"))
        check_amount(self.free_units, (*path, "freeUnits"))

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """One step: the packages that the quantity needs beyond the free units."""
        free = Fraction(self.free_units)
        paid = max(quantity - free, Fraction(0))
        size, each = Fraction(self.size), Fraction(self.amount)
        packages = whole_units(paid / size, self.rounding)
        beyond = f" after {format_decimal(free)} free" if free else ""
        step = Step(
            description=(
                f"{counted(packages, 'package')} of {format_decimal(size)}"
                f" at {format_decimal(each)} ({counted(paid, 'unit')}{beyond})"
            ),
            quantity=packages,
            unit_amount=each,
            amount=packages * each,
        )
        return (step,)

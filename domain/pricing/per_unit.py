"""Per unit: every unit at the same amount.

>>> from domain.money import format_decimal
>>> [step] = PerUnit(unit_amount=Decimal("0.04")).charge(Fraction(2000))
>>> step.description, format_decimal(step.amount)
('2000 units at 0.04 each', '80')
"""

from decimal import Decimal
from fractions import Fraction

from domain.decider import Path
from domain.money import check_amount, format_decimal
from domain.pricing.model import Model
from domain.pricing.step import Step, counted


class PerUnit(Model, frozen=True, tag_field="model", tag="per_unit"):
    """Charge each unit alike, for example 100 USD per seat."""

    unit_amount: Decimal

    def check(self, path: Path) -> None:
        """Refuse a negative amount. Raises `Rejected` INVALID_VALUE."""
        check_amount(self.unit_amount, (*path, "perUnit", "unitAmount"))

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """One step: the quantity times the unit amount."""
        unit_amount = Fraction(self.unit_amount)
        each = format_decimal(self.unit_amount)
        step = Step(
            description=f"{counted(quantity, 'unit')} at {each} each",
            quantity=quantity,
            unit_amount=unit_amount,
            amount=quantity * unit_amount,
        )
        return (step,)

"""One visible step of a charge: what was charged, how much of it, and why."""

from fractions import Fraction

import msgspec

from domain.money import format_decimal


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the breakdown of a charge; the amounts of all rows add up to the charge exactly.

    Every number is a Fraction, because a quantity may be an average or an exact conversion; print
    it with `money.format_decimal`, store it with the hooks of `money`. For each row, amount =
    quantity x unit_amount + flat_amount, what is absent counting as 0; a row that has none of the
    three changes the amount so far, as a discount or a limit does. Amounts are in major units.
    """

    description: str
    quantity: Fraction | None = None
    unit_amount: Fraction | None = None
    flat_amount: Fraction | None = None
    from_quantity: Fraction | None = None
    """The quantity above which the tier of this row begins; None without tiers."""
    up_to: Fraction | None = None
    """The quantity at which the tier of this row ends, inclusive; None is without end."""
    amount: Fraction


def total(steps: tuple[Step, ...]) -> Fraction:
    """The exact amount of a charge, before the one rounding of its invoice line."""
    return sum((step.amount for step in steps), Fraction(0))


def counted(quantity: Fraction, noun: str) -> str:
    """A quantity with its noun as an invoice says it.

    >>> counted(Fraction(2000), "unit"), counted(Fraction(1), "package")
    ('2000 units', '1 package')
    """
    return f"{format_decimal(quantity)} {noun}{'' if quantity == 1 else 's'}"

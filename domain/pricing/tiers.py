"""Tiers: quantity bounds, each with a rate and a flat amount, as graduated and volume share them.

A bound is inclusive and continuous: with a bound of 10, a quantity of 10 lies in the tier and 10.5
puts 0.5 beyond it. The last tier has no bound, so every quantity finds its tier. Source: RULES,
"Prices".
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import check_amount, format_decimal
from domain.pricing.step import Step

MAX_TIERS = 100


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Quantities up to a bound (None: without end), an amount for each unit, a flat amount."""

    up_to: Decimal | None = None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None


class Reach(msgspec.Struct, frozen=True):
    """A tier in its place: its number from 1, and the quantity above which it begins."""

    number: int
    above: Fraction
    tier: Tier

    @property
    def each(self) -> Fraction:
        """What a unit costs in it; a tier with only a flat amount charges its units at 0."""
        return Fraction(self.tier.unit_amount or 0)

    @property
    def up_to(self) -> Fraction | None:
        """The quantity at which the tier ends, inclusive, or None."""
        return None if self.tier.up_to is None else Fraction(self.tier.up_to)

    @property
    def place(self) -> str:
        """Where it lies, to be said after the units in it."""
        if self.number > 1:
            return f" above {format_decimal(self.above)}"
        return "" if self.up_to is None else f" up to {format_decimal(self.up_to)}"

    def within(self, quantity: Fraction) -> Fraction:
        """How many units of a quantity lie in it."""
        return (quantity if self.up_to is None else min(quantity, self.up_to)) - self.above

    def charge(self, quantity: Fraction, description: str) -> Iterator[Step]:
        """The step of so many units in this tier, however few, and the one of its flat amount."""
        yield Step(
            description=description,
            quantity=quantity,
            unit_amount=self.each,
            from_quantity=self.above,
            up_to=self.up_to,
            amount=quantity * self.each,
        )
        if self.tier.flat_amount is not None:
            flat = Fraction(self.tier.flat_amount)
            yield Step(
                description=f"flat amount of tier {self.number}",
                flat_amount=flat,
                from_quantity=self.above,
                up_to=self.up_to,
                amount=flat,
            )


def reached(tiers: Sequence[Tier], quantity: Fraction) -> list[Reach]:
    """The tiers that a quantity enters, in order: always the first, even at quantity zero."""
    entered = [Reach(1, Fraction(0), tiers[0])]
    while (bound := entered[-1].up_to) is not None and bound < quantity:
        entered.append(Reach(len(entered) + 1, bound, tiers[len(entered)]))
    return entered


def check_tiers(tiers: Sequence[Tier], path: Path) -> None:
    """Refuse tiers that leave a quantity without a price, or a price without sense.

    Raises `Rejected` with the path of the tier or field: LIMIT_EXCEEDED above 100 tiers, otherwise
    INVALID_VALUE.
    """
    check_bounds([tier.up_to for tier in tiers], path)
    for index, tier in enumerate(tiers):
        at = (*path, str(index))
        if tier.unit_amount is None and tier.flat_amount is None:
            message = "A tier needs a unitAmount, a flatAmount, or both."
            raise Rejected(Code.INVALID_VALUE, at, message)
        if tier.unit_amount is not None:
            check_amount(tier.unit_amount, (*at, "unitAmount"))
        if tier.flat_amount is not None:
            check_amount(tier.flat_amount, (*at, "flatAmount"))


def check_bounds(bounds: Sequence[Decimal | None], path: Path) -> None:
    """Refuse bounds that do not rise from 0 to an open end; as `check_tiers`."""
    if not bounds:
        raise Rejected(Code.INVALID_VALUE, path, "At least one tier is needed.")
    if len(bounds) > MAX_TIERS:
        message = f"There are {len(bounds)} tiers; at most {MAX_TIERS}."
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    last = len(bounds) - 1
    below = Decimal(0)
    for index, bound in enumerate(bounds):
        at = (*path, str(index), "upTo")
        if bound is None and index < last:
            message = "Only the last tier is open; this one needs an upTo."
            raise Rejected(Code.INVALID_VALUE, at, message)
        if bound is not None:
            check_amount(bound, at)
            if bound <= below:
                message = f"upTo must exceed {format_decimal(below)}, where this tier begins."
                raise Rejected(Code.INVALID_VALUE, at, message)
            if index == last:
                message = "The last tier must be open: leave out its upTo."
                raise Rejected(Code.INVALID_VALUE, at, message)
            below = bound

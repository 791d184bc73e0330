"""What every pricing model can do: check itself, and charge a quantity or the records behind it."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from domain.decider import Path
from domain.pricing.step import Step


class Model(msgspec.Struct, frozen=True):
    """How a quantity becomes an amount; each model is a file and a struct of its own."""

    @property
    def needs_records(self) -> bool:
        """Whether the amount depends on the single usage records and not on their total alone."""
        return False

    def check(self, path: Path) -> None:
        """Refuse values that could not bill every quantity sensibly. Raises `Rejected`."""
        raise NotImplementedError

    def charge(self, quantity: Fraction) -> tuple[Step, ...]:
        """What a quantity costs, step by step."""
        raise NotImplementedError

    def charge_records(self, records: Sequence[Fraction]) -> tuple[Step, ...]:
        """What usage records cost, given in time order: what their total costs, unless overridden.

        The total of any number of the records, counted from the first, must not be negative.
        """
        return self.charge(sum(records, Fraction(0)))

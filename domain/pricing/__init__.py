"""What a quantity costs: the pricing models, and the steps that show how each amount came about.

A model is one file with its struct, which checks itself and rates a quantity. The struct is stored
in events and printed as JSON, its model under `model` and its decimals as text. Adding a model is
its file and its place in `Pricing`. Source: RULES, "Prices".

>>> from decimal import Decimal
>>> import msgspec
>>> pricing = PerUnit(unit_amount=Decimal("0.04"))
>>> msgspec.json.encode(pricing)
b'{"model":"per_unit","unit_amount":"0.04"}'
>>> check(pricing, ("input", "pricing"))
>>> [step.description for step in rate(pricing, Decimal(3000))]
['3000 units at 0.04 each']
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import get_args

from domain.decider import Path
from domain.money import Number, exact
from domain.pricing.graduated import Graduated
from domain.pricing.package import Package, RoundingMode
from domain.pricing.per_unit import PerUnit
from domain.pricing.step import Step, total
from domain.pricing.tiers import Tier
from domain.pricing.volume import Volume

__all__ = [
    "MODELS",
    "Graduated",
    "Package",
    "PerUnit",
    "Pricing",
    "RoundingMode",
    "Step",
    "Tier",
    "Volume",
    "check",
    "rate",
    "total",
]

Pricing = PerUnit | Package | Graduated | Volume
"""How a price turns a quantity into an amount, in one of the models."""

MODELS: Mapping[str, type[Pricing]] = {
    model.__struct_config__.tag: model for model in get_args(Pricing)
}
"""Each model by its stored name; `check` and `rate` of its struct are the whole of it."""


def check(pricing: Pricing, path: Path) -> None:
    """Refuse pricing that could not bill every quantity sensibly.

    Raises `Rejected`; `path` is where the pricing input stands, and the refusal's path goes on into
    it by the client's names, for example `(*path, "graduated", "tiers", "1", "upTo")`.
    """
    pricing.check(path)


@exact
def rate(pricing: Pricing, quantity: Number) -> tuple[Step, ...]:
    """What a quantity costs, step by step; the amounts of the steps add up to it exactly.

    Nothing is rounded here: `money.round_to_minor(total(steps), currency)` is the invoice line. The
    quantity must not be negative (see `aggregation.billable`); ValueError otherwise.
    """
    if quantity < 0:
        raise ValueError("a negative quantity is billed as 0 before it is rated")
    return pricing.rate(Fraction(quantity))

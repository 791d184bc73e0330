"""What a quantity costs: the pricing models, and the steps that show how each amount came about.

A model is one file with its struct, which checks itself and charges a quantity, or single records
where it says that it needs them. The struct is stored in events and printed as JSON, its model
under `model` and its decimals as text. Adding a model is its file and its place in `Pricing`.
`Modifiers` stand around any of them. Source: RULES, "Prices".

>>> from decimal import Decimal
>>> import msgspec
>>> pricing = PerUnit(unit_amount=Decimal("0.04"))
>>> msgspec.json.encode(pricing)
b'{"model":"per_unit","unit_amount":"0.04"}'
>>> check(pricing, ("input", "pricing"))
>>> [step.description for step in rate(pricing, Decimal(3000))]
['3000 units at 0.04 each']
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import get_args

from domain.decider import Path
from domain.money import Number, RoundingMode, exact
from domain.pricing.graduated import Graduated
from domain.pricing.graduated_percentage import GraduatedPercentage, PercentageTier
from domain.pricing.modifiers import Modifiers
from domain.pricing.package import Package
from domain.pricing.per_unit import PerUnit
from domain.pricing.percentage import Percentage
from domain.pricing.step import Step, total
from domain.pricing.tiers import Tier
from domain.pricing.volume import Volume

__all__ = [
    "MODELS",
    "Graduated",
    "GraduatedPercentage",
    "Modifiers",
    "Package",
    "PerUnit",
    "Percentage",
    "PercentageTier",
    "Pricing",
    "RoundingMode",
    "Step",
    "Tier",
    "Volume",
    "check",
    "rate",
    "total",
]

Pricing = PerUnit | Package | Graduated | Volume | Percentage | GraduatedPercentage
"""How a price turns a quantity into an amount, in one of the models."""

MODELS: Mapping[str, type[Pricing]] = {
    model.__struct_config__.tag: model for model in get_args(Pricing)
}
"""Each model by its stored name; the methods of its struct are the whole of it."""


def check(pricing: Pricing, path: Path) -> None:
    """Refuse pricing that could not bill every quantity sensibly.

    Raises `Rejected`; `path` is where the pricing input stands, and the refusal's path goes on into
    it by the client's names, for example `(*path, "graduated", "tiers", "1", "upTo")`.
    """
    pricing.check(path)


@exact
def rate(
    pricing: Pricing,
    quantity: Number,
    records: Iterable[Number] | None = None,
    modifiers: Modifiers | None = None,
) -> tuple[Step, ...]:
    """What a quantity costs, step by step; the amounts of the steps add up to it exactly.

    Nothing is rounded here: `money.round_to_minor(total(steps), currency)` is the invoice line. The
    quantity must not be negative (see `aggregation.billable`); ValueError otherwise. `records` are
    the values behind the quantity in time order, for a model that needs them: without them the
    quantity counts as a single record.
    """
    if quantity < 0:
        raise ValueError("a negative quantity is billed as 0 before it is rated")
    whole, modifiers = Fraction(quantity), modifiers or Modifiers()
    if records is not None and pricing.needs_records:
        converted = modifiers.convert_records(Fraction(value) for value in records)
        steps = pricing.charge_records(list(converted))
    else:
        steps = pricing.charge(modifiers.convert(whole))
    return (*modifiers.before(whole), *steps, *modifiers.after(total(steps)))

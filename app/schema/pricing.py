"""How a quantity becomes an amount: the pricing models as input, their steps as output."""

from decimal import Decimal

import strawberry

from app.schema.scalars import (
    Currency,
    DecimalText,
    Money,
    decimal_text,
    described,
    money,
    optional_decimal,
)
from domain import pricing
from domain.decider import Code, Path, Rejected
from domain.money import check_currency, parse_amount, parse_decimal, round_to_minor
from domain.pricing import RoundingMode

described(
    RoundingMode,
    "Which way a quantity that does not fill its last package goes.",
    UP="A package that is begun is charged.",
    DOWN="Only a full package is charged.",
)


@strawberry.input(description="One tier: up to where it reaches and what it charges.")
class TierInput:
    """One tier as it is asked for."""

    up_to: DecimalText | None = strawberry.field(
        default=None, description="The last quantity in it; left out on the last tier only."
    )
    unit_amount: DecimalText | None = strawberry.field(
        default=None, description="The amount for each unit."
    )
    flat_amount: DecimalText | None = strawberry.field(
        default=None, description="An amount due once the tier is entered."
    )

    def read(self, path: Path) -> pricing.Tier:
        """The tier that is meant. Raises `Rejected` for a number that is none."""
        return pricing.Tier(
            up_to=_optional(self.up_to, (*path, "upTo")),
            unit_amount=_optional(self.unit_amount, (*path, "unitAmount")),
            flat_amount=_optional(self.flat_amount, (*path, "flatAmount")),
        )


@strawberry.input(description="Every unit at the same amount.")
class PerUnitPricingInput:
    """Every unit at the same amount."""

    unit_amount: DecimalText = strawberry.field(description="The amount for each unit.")

    def read(self, path: Path) -> pricing.PerUnit:
        """The model that is meant. Raises `Rejected` for a number that is none."""
        path = (*path, "perUnit", "unitAmount")
        return pricing.PerUnit(unit_amount=parse_decimal(self.unit_amount, path))


@strawberry.input(description="Units sold in packages of a fixed size, after some that are free.")
class PackagePricingInput:
    """Units sold in packages."""

    size: DecimalText = strawberry.field(description="How many units a package holds.")
    amount: DecimalText = strawberry.field(description="The amount for each package.")
    free_units: DecimalText | None = strawberry.field(
        default=DecimalText("0"), description="Units that are free before the first package."
    )
    rounding: RoundingMode | None = strawberry.field(
        default=RoundingMode.UP, description="Whether the last package counts when it is begun."
    )

    def read(self, path: Path) -> pricing.Package:
        """The model that is meant. Raises `Rejected` for a number that is none."""
        path = (*path, "package")
        free = _optional(self.free_units, (*path, "freeUnits"))
        return pricing.Package(
            size=parse_decimal(self.size, (*path, "size")),
            amount=parse_decimal(self.amount, (*path, "amount")),
            free_units=Decimal(0) if free is None else free,
            rounding=self.rounding or RoundingMode.UP,
        )


@strawberry.input(description="Tiers in ascending order, the last one open.")
class TieredPricingInput:
    """Tiers as they are asked for."""

    tiers: list[TierInput] = strawberry.field(
        description="The tiers, each from where the one before ends; the last has no upTo."
    )

    def read(self, path: Path) -> tuple[pricing.Tier, ...]:
        """The tiers that are meant. Raises `Rejected` for a number that is none."""
        return tuple(
            tier.read((*path, "tiers", str(index))) for index, tier in enumerate(self.tiers)
        )


@strawberry.input(one_of=True, description="How a quantity becomes an amount, by one model.")
class PricingInput:
    """One of the pricing models."""

    per_unit: PerUnitPricingInput | None = strawberry.field(
        default=strawberry.UNSET, description="Every unit at the same amount."
    )
    package: PackagePricingInput | None = strawberry.field(
        default=strawberry.UNSET, description="Packages of a fixed size."
    )
    graduated: TieredPricingInput | None = strawberry.field(
        default=strawberry.UNSET, description="The units within each tier at that tier's rate."
    )
    volume: TieredPricingInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="The whole quantity at the rate of the tier that holds it.",
    )

    def read(self, path: Path) -> pricing.Pricing:
        """The pricing that is meant. Raises `Rejected` for a number that is none."""
        if self.per_unit:
            return self.per_unit.read(path)
        if self.package:
            return self.package.read(path)
        if self.graduated:
            return pricing.Graduated(tiers=self.graduated.read((*path, "graduated")))
        if self.volume:
            return pricing.Volume(tiers=self.volume.read((*path, "volume")))
        raise Rejected(Code.REQUIRED, path, "name one pricing model")


@strawberry.type(description="One step of a charge: amount = quantity x unitAmount + flatAmount.")
class PricingStep:
    """One step of a charge as it is shown."""

    description: str = strawberry.field(description="What was charged and why, in words.")
    quantity: DecimalText | None = strawberry.field(description="How many units or packages.")
    unit_amount: DecimalText | None = strawberry.field(description="The amount for each of them.")
    flat_amount: DecimalText | None = strawberry.field(description="An amount due once.")
    from_: DecimalText | None = strawberry.field(
        name="from", description="The quantity above which the step's tier begins."
    )
    up_to: DecimalText | None = strawberry.field(
        description="The quantity at which the step's tier ends; null when it is open."
    )
    amount: DecimalText = strawberry.field(description="What the step comes to, not yet rounded.")

    @classmethod
    def of(cls, step: pricing.Step) -> "PricingStep":
        """The step as it is shown."""
        return cls(
            description=step.description,
            quantity=optional_decimal(step.quantity),
            unit_amount=optional_decimal(step.unit_amount),
            flat_amount=optional_decimal(step.flat_amount),
            from_=optional_decimal(step.from_quantity),
            up_to=optional_decimal(step.up_to),
            amount=decimal_text(step.amount),
        )


@strawberry.type(description="What a quantity would cost.")
class PriceQuote:
    """What a quantity would cost."""

    amount: Money = strawberry.field(description="The amount as it would stand on an invoice.")
    exact_amount: DecimalText = strawberry.field(description="The amount before it was rounded.")
    steps: list[PricingStep] = strawberry.field(description="How the amount came about.")


def quote(asked: PricingInput, currency: Currency, quantity: DecimalText) -> PriceQuote:
    """Rate a quantity. Raises `Rejected` naming the argument that is wrong."""
    model = asked.read(("pricing",))
    pricing.check(model, ("pricing",))
    check_currency(currency, ("currency",))
    steps = pricing.rate(model, parse_amount(quantity, ("quantity",)))
    exact = pricing.total(steps)
    return PriceQuote(
        amount=money(round_to_minor(exact, currency), currency),
        exact_amount=decimal_text(exact),
        steps=[PricingStep.of(step) for step in steps],
    )


def _optional(text: DecimalText | None, path: Path) -> Decimal | None:
    return None if text is None else parse_decimal(text, path)

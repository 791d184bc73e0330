"""How a quantity becomes an amount: the pricing models as input, their steps as output."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

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
from domain.money import (
    check_currency,
    format_decimal,
    parse_amount,
    parse_decimal,
    round_to_minor,
)
from domain.pricing import RoundingMode
from domain.statements import IssuedStep

RECORDS_LIMIT = 1_000
"""How many records a quote looks at."""

described(
    RoundingMode,
    "Which way a part of a whole package or unit goes.",
    UP="A package or unit that is begun counts.",
    DOWN="Only a full package or unit counts.",
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


@strawberry.input(
    description="A percentage of a metered amount, with amounts and limits for each usage record. "
    "Records are priced one by one in time order."
)
class PercentagePricingInput:
    """A percentage of a metered amount."""

    rate: DecimalText = strawberry.field(
        description='The percentage: "1.5" is 1.5 %, so an amount of 200 costs 3.'
    )
    fixed_amount: DecimalText | None = strawberry.field(
        default=DecimalText("0"), description="An amount for each record that is not free."
    )
    free_records: int | None = strawberry.field(
        default=None,
        description="How many records are free; 0 or left out, their number frees none. With a "
        "freeAmount as well, both end with whichever is used up first.",
    )
    free_amount: DecimalText | None = strawberry.field(
        default=None,
        description="How much of the metered amount is free; 0 or left out, none. The record that "
        "goes beyond it is charged for what lies beyond.",
    )
    minimum_per_record: DecimalText | None = strawberry.field(
        default=None,
        description="What a record that is not free costs at least, its fixedAmount included.",
    )
    maximum_per_record: DecimalText | None = strawberry.field(
        default=None,
        description="What a record that is not free costs at most, its fixedAmount included.",
    )

    def read(self, path: Path) -> pricing.Percentage:
        """The model that is meant. Raises `Rejected` for a number that is none."""
        path = (*path, "percentage")
        fixed = _optional(self.fixed_amount, (*path, "fixedAmount"))
        return pricing.Percentage(
            rate=parse_decimal(self.rate, (*path, "rate")),
            fixed_amount=Decimal(0) if fixed is None else fixed,
            free_records=self.free_records,
            free_amount=_optional(self.free_amount, (*path, "freeAmount")),
            minimum_per_record=_optional(self.minimum_per_record, (*path, "minimumPerRecord")),
            maximum_per_record=_optional(self.maximum_per_record, (*path, "maximumPerRecord")),
        )


@strawberry.input(description="One tier of an amount: up to where it reaches and its percentage.")
class PercentageTierInput:
    """One tier of an amount as it is asked for."""

    up_to: DecimalText | None = strawberry.field(
        default=None, description="The last amount in it; left out on the last tier only."
    )
    rate: DecimalText | None = strawberry.field(
        default=None, description='The percentage of the amount within it: "1.5" is 1.5 %.'
    )
    flat_amount: DecimalText | None = strawberry.field(
        default=None, description="An amount due once the tier is entered."
    )

    def read(self, path: Path) -> pricing.PercentageTier:
        """The tier that is meant. Raises `Rejected` for a number that is none."""
        return pricing.PercentageTier(
            up_to=_optional(self.up_to, (*path, "upTo")),
            rate=_optional(self.rate, (*path, "rate")),
            flat_amount=_optional(self.flat_amount, (*path, "flatAmount")),
        )


@strawberry.input(description="Tiers of an amount in ascending order, the last one open.")
class GraduatedPercentagePricingInput:
    """Tiers of an amount as they are asked for."""

    tiers: list[PercentageTierInput] = strawberry.field(
        description="The tiers, each from where the one before ends; the last has no upTo."
    )

    def read(self, path: Path) -> pricing.GraduatedPercentage:
        """The model that is meant. Raises `Rejected` for a number that is none."""
        path = (*path, "graduatedPercentage", "tiers")
        return pricing.GraduatedPercentage(
            tiers=tuple(tier.read((*path, str(index))) for index, tier in enumerate(self.tiers))
        )


@strawberry.input(
    description="Changes around a price, always in this order: unit conversion, included units, "
    "the price, percentage discount, maximum, minimum. Each is a step of the charge."
)
class PriceModifiersInput:
    """Changes around a price."""

    divide_by: DecimalText | None = strawberry.field(
        default=None,
        description="Convert the quantity first, such as bytes by 1000000 to megabytes.",
    )
    divide_rounding: RoundingMode | None = strawberry.field(
        default=None,
        description="Round the converted quantity to whole units; left out, it stays exact.",
    )
    included_units: DecimalText | None = strawberry.field(
        default=None, description="Converted units that are free; tiers begin after them."
    )
    percentage_discount: DecimalText | None = strawberry.field(
        default=None, description='Take this percentage off: "10" is 10 %; at most 100.'
    )
    minimum_amount: DecimalText | None = strawberry.field(
        default=None, description="The least that is charged, also without usage."
    )
    maximum_amount: DecimalText | None = strawberry.field(
        default=None, description="The most that is charged."
    )

    def read(self, path: Path) -> pricing.Modifiers:
        """The modifiers that are meant. Raises `Rejected` for a number that is none."""
        return pricing.Modifiers(
            divide_by=_optional(self.divide_by, (*path, "divideBy")),
            divide_rounding=self.divide_rounding,
            included_units=_optional(self.included_units, (*path, "includedUnits")),
            percentage_discount=_optional(self.percentage_discount, (*path, "percentageDiscount")),
            minimum_amount=_optional(self.minimum_amount, (*path, "minimumAmount")),
            maximum_amount=_optional(self.maximum_amount, (*path, "maximumAmount")),
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
    percentage: PercentagePricingInput | None = strawberry.field(
        default=strawberry.UNSET, description="A percentage of a metered amount."
    )
    graduated_percentage: GraduatedPercentagePricingInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="The part of a metered amount within each tier at that tier's percentage.",
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
        if self.percentage:
            return self.percentage.read(path)
        if self.graduated_percentage:
            return self.graduated_percentage.read(path)
        raise Rejected(Code.REQUIRED, path, "name one pricing model")


@strawberry.type(
    description="One step of a charge: amount = quantity x unitAmount + flatAmount, or, with none "
    "of them, a change of the amount so far."
)
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
    def of(cls, step: pricing.Step | IssuedStep) -> "PricingStep":
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


def quote(
    asked: PricingInput,
    currency: Currency,
    quantity: DecimalText,
    around: PriceModifiersInput | None,
    record_values: Sequence[DecimalText] | None,
) -> PriceQuote:
    """Rate a quantity. Raises `Rejected` naming the argument that is wrong."""
    model = asked.read(("pricing",))
    pricing.check(model, ("pricing",))
    check_currency(currency, ("currency",))
    modifiers = around.read(("modifiers",)) if around else None
    if modifiers:
        modifiers.check(("modifiers",))
    whole = parse_amount(quantity, ("quantity",))
    records = None if record_values is None else _records(record_values, whole)
    steps = pricing.rate(model, whole, records, modifiers)
    exact = pricing.total(steps)
    return PriceQuote(
        amount=money(round_to_minor(exact, currency), currency),
        exact_amount=decimal_text(exact),
        steps=[PricingStep.of(step) for step in steps],
    )


def _records(texts: Sequence[DecimalText], whole: Decimal) -> Sequence[Decimal]:
    """The values of single records, which must make up the quantity. Raises `Rejected`."""
    path = ("recordValues",)
    if len(texts) > RECORDS_LIMIT:
        raise Rejected(Code.LIMIT_EXCEEDED, path, f"at most {RECORDS_LIMIT} records")
    values = [parse_decimal(text, (*path, str(index))) for index, text in enumerate(texts)]
    together = sum(map(Fraction, values), Fraction(0))
    if max(together, Fraction(0)) != Fraction(whole):
        message = f"the records add up to {format_decimal(together)}, which is not the quantity"
        raise Rejected(Code.INVALID_VALUE, path, message)
    return values


def _optional(text: DecimalText | None, path: Path) -> Decimal | None:
    return None if text is None else parse_decimal(text, path)

"""What a price asks from when: its versions, and how to supersede them."""

import strawberry
from msgspec import UNSET, UnsetType

from app.schema.pricing import PriceModifiersInput, PricingInput
from app.schema.scalars import InstantText, Json, as_json, instant_text, optional_instant
from domain import prices
from domain.pricing import Modifiers


@strawberry.type(description="What a price asks from an instant on. A version never changes.")
class PriceVersion:
    """A version of a price as it is shown."""

    number: int = strawberry.field(
        description="The versions of a price are numbered as they are set, from 1."
    )
    effective_at: InstantText | None = strawberry.field(
        description="From when it is in force, until the next version is; null for the first, "
        "which is from the beginning of time."
    )
    pricing: Json = strawberry.field(
        description="How a quantity becomes an amount: the model's name and its values."
    )
    modifiers: Json | None = strawberry.field(
        description="The changes around it, by the names of PriceModifiersInput; null for none."
    )
    created_at: InstantText = strawberry.field(description="When it was set.")

    @classmethod
    def of(cls, state: prices.PriceVersion) -> "PriceVersion":
        """The version as it is shown."""
        return cls(
            number=state.number,
            effective_at=instant_text(state.effective_at) if state.effective_at else None,
            pricing=Json(as_json(state.pricing)),
            modifiers=Json(as_json(state.modifiers)) if state.modifiers else None,
            created_at=instant_text(state.created_at),
        )


@strawberry.input(
    description="What a price asks from an instant on; what is left out stays as it is then."
)
class SupersedePriceInput:
    """What a price asks from an instant on."""

    price_id: strawberry.ID = strawberry.field(description="The price to supersede.")
    effective_at: InstantText | None = strawberry.field(
        default=None,
        description="From when, now when left out. Usage before it, and licences for periods that "
        "began before it, are charged by the version in force at their time.",
    )
    pricing: PricingInput | None = strawberry.field(
        default=None, description="How a quantity becomes an amount from then on."
    )
    modifiers: strawberry.Maybe[PriceModifiersInput | None] = strawberry.field(
        description="The changes around it from then on; null for none."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> prices.SupersedePrice:
        """The command that is meant. Raises `Rejected` for a number or time that is none."""
        return prices.SupersedePrice(
            price_id=self.price_id,
            effective_at=optional_instant(self.effective_at, ("input", "effectiveAt")),
            pricing=self.pricing.read(("input", "pricing")) if self.pricing else None,
            modifiers=self._modifiers(),
        )

    def _modifiers(self) -> Modifiers | UnsetType | None:
        if self.modifiers is None:
            return UNSET
        given = self.modifiers.value
        return given.read(("input", "modifiers")) if given else None

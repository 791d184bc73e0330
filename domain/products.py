"""What is sold: a product is the thing that prices are asked for.

Life cycle: created (active).
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from domain.decider import Event, registered
from domain.text import NOTE_BYTES, check_optional, check_text

# -------------------------------------------------------------------------------------- events


@registered
class ProductCreated(Event, frozen=True, kw_only=True):
    """A product was put into the catalogue."""

    topic: ClassVar[str] = "product.created/1"
    id: str
    name: str
    description: str | None
    unit_label: str | None
    created_at: datetime


# --------------------------------------------------------------------------------------- state


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product as it stands; `unit_label` is what one unit is called, such as "token"."""

    id: str
    name: str
    description: str | None
    unit_label: str | None
    active: bool
    created_at: datetime


def evolve(state: Product | None, event: Event) -> Product | None:
    """The product after one more fact."""
    match event:
        case ProductCreated():
            return Product(
                id=event.id,
                name=event.name,
                description=event.description,
                unit_label=event.unit_label,
                active=True,
                created_at=event.created_at,
            )
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class CreateProduct(msgspec.Struct, frozen=True, kw_only=True):
    """Put a product into the catalogue."""

    name: str
    description: str | None = None
    unit_label: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the new id and the time."""

    id: str
    at: datetime


def decide(state: Product | None, command: CreateProduct, facts: Facts) -> list[Event]:
    """Create the product, or say which text cannot be kept."""
    if state is not None:
        return []
    return [
        ProductCreated(
            id=facts.id,
            name=check_text(command.name, ("input", "name")),
            description=check_optional(command.description, ("input", "description"), NOTE_BYTES),
            unit_label=check_optional(command.unit_label, ("input", "unitLabel")),
            created_at=facts.at,
        )
    ]

"""What is sold: a product is the thing that prices are asked for.

Life cycle: created (active) -> archived. What it is called may be updated at any time.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.decider import Event, existing, registered
from domain.text import NOTE_BYTES, check_optional, check_text

_CHANGEABLE = ("name", "description", "unit_label")

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


@registered
class ProductUpdated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A product is described otherwise; what is not named stayed as it was."""

    topic: ClassVar[str] = "product.updated/1"
    id: str
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    unit_label: str | UnsetType | None = UNSET


@registered
class ProductArchived(Event, frozen=True, kw_only=True):
    """A product takes no new prices; those that it has go on."""

    topic: ClassVar[str] = "product.archived/1"
    id: str
    archived_at: datetime


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
        case ProductUpdated() if state is not None:
            return replace(state, **_named(event))
        case ProductArchived() if state is not None:
            return replace(state, active=False)
        case _:
            return state


def _named(change: "ProductUpdated | UpdateProduct") -> dict[str, Any]:
    """The fields that a change names, with what they change to."""
    values = {name: getattr(change, name) for name in _CHANGEABLE}
    return {name: value for name, value in values.items() if value is not UNSET}


# ------------------------------------------------------------------------------------ commands


class CreateProduct(msgspec.Struct, frozen=True, kw_only=True):
    """Put a product into the catalogue."""

    name: str
    description: str | None = None
    unit_label: str | None = None


class UpdateProduct(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a product otherwise: unset stays as it is, None is cleared."""

    product_id: str
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    unit_label: str | UnsetType | None = UNSET


class ArchiveProduct(msgspec.Struct, frozen=True, kw_only=True):
    """Take no new prices for a product."""

    product_id: str


Command = CreateProduct | UpdateProduct | ArchiveProduct


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the new id and the time."""

    id: str
    at: datetime


def decide(state: Product | None, command: Command, facts: Facts) -> list[Event]:
    """Create, describe or archive a product, or say what stands in the way."""
    match command:
        case CreateProduct():
            return [] if state is not None else [_created(command, facts)]
        case UpdateProduct():
            return _updated(existing(state, "product", command.product_id), command)
        case ArchiveProduct():
            known = existing(state, "product", command.product_id)
            if not known.active:
                return []
            return [ProductArchived(id=known.id, archived_at=facts.at)]


def _created(command: CreateProduct, facts: Facts) -> ProductCreated:
    return ProductCreated(
        id=facts.id,
        name=check_text(command.name, ("input", "name")),
        description=check_optional(command.description, ("input", "description"), NOTE_BYTES),
        unit_label=check_optional(command.unit_label, ("input", "unitLabel")),
        created_at=facts.at,
    )


def _updated(state: Product, command: UpdateProduct) -> list[Event]:
    """The fields that really change, checked as at creation."""
    named = _named(command)
    changes = {name: value for name, value in named.items() if value != getattr(state, name)}
    checks: dict[str, Callable[[Any], Any]] = {
        "name": lambda name: check_text(name, ("input", "name")),
        "description": lambda text: check_optional(text, ("input", "description"), NOTE_BYTES),
        "unit_label": lambda label: check_optional(label, ("input", "unitLabel")),
    }
    checked = {name: checks[name](value) for name, value in changes.items()}
    return [ProductUpdated(id=state.id, **checked)] if checked else []

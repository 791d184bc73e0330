"""Who is billed: a customer, known by our id and, if they like, by the id their own system uses.

Life cycle: created (active) -> archived. What is known of it may be updated at any time.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.decider import Code, Event, Rejected, existing, registered
from domain.periods import check_zone
from domain.text import NOTE_BYTES, check_optional, check_text

_OWN_ID = re.compile("cus_[0-9a-hjkmnp-tv-z]{26}")
"""How Tallybook writes the ids of customers; others begin theirs with `cus_`, too."""

_CHANGEABLE = ("name", "email", "description", "external_id", "time_zone")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

# -------------------------------------------------------------------------------------- events


@registered
class CustomerCreated(Event, frozen=True, kw_only=True):
    """A customer was taken on; usage already recorded under either of its ids is theirs."""

    topic: ClassVar[str] = "customer.created/1"
    id: str
    name: str
    email: str | None
    description: str | None
    external_id: str | None
    time_zone: str
    created_at: datetime


@registered
class CustomerUpdated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a customer changed; what is not named stayed as it was."""

    topic: ClassVar[str] = "customer.updated/1"
    id: str
    name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    external_id: str | UnsetType | None = UNSET
    time_zone: str | UnsetType = UNSET


@registered
class CustomerArchived(Event, frozen=True, kw_only=True):
    """A customer takes no new subscriptions; what it has goes on, and its usage still counts."""

    topic: ClassVar[str] = "customer.archived/1"
    id: str
    archived_at: datetime


# --------------------------------------------------------------------------------------- state


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as it stands; its billing periods follow local midnight in `time_zone`."""

    id: str
    name: str
    email: str | None
    description: str | None
    external_id: str | None
    time_zone: str
    created_at: datetime
    archived_at: datetime | None = None


def evolve(state: Customer | None, event: Event) -> Customer | None:
    """The customer after one more fact."""
    match event:
        case CustomerCreated():
            return Customer(
                id=event.id,
                name=event.name,
                email=event.email,
                description=event.description,
                external_id=event.external_id,
                time_zone=event.time_zone,
                created_at=event.created_at,
            )
        case CustomerUpdated() if state is not None:
            return replace(state, **_named(event))
        case CustomerArchived() if state is not None:
            return replace(state, archived_at=event.archived_at)
        case _:
            return state


def _named(change: "CustomerUpdated | UpdateCustomer") -> dict[str, Any]:
    """The fields that a change names, with what they change to."""
    values = {name: getattr(change, name) for name in _CHANGEABLE}
    return {name: value for name, value in values.items() if value is not UNSET}


# ------------------------------------------------------------------------------------ commands


class CreateCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """Take on a customer."""

    name: str
    email: str | None = None
    description: str | None = None
    external_id: str | None = None
    time_zone: str | None = None


class UpdateCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """Change what is known of a customer: unset stays as it is, None is cleared."""

    customer_id: str
    name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    external_id: str | UnsetType | None = UNSET
    time_zone: str | UnsetType = UNSET


class ArchiveCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """Take no new subscriptions for a customer."""

    customer_id: str


Command = CreateCustomer | UpdateCustomer | ArchiveCustomer


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside; `external_id_owner` is who has that id already."""

    id: str
    at: datetime
    external_id_owner: str | None


def decide(state: Customer | None, command: Command, facts: Facts) -> list[Event]:
    """Take on, change or archive a customer, or say what stands in the way."""
    match command:
        case CreateCustomer():
            return [] if state is not None else [_created(command, facts)]
        case UpdateCustomer():
            return _updated(existing(state, "customer", command.customer_id), command, facts)
        case ArchiveCustomer():
            known = existing(state, "customer", command.customer_id)
            if known.archived_at is not None:
                return []
            return [CustomerArchived(id=known.id, archived_at=facts.at)]


def _created(command: CreateCustomer, facts: Facts) -> CustomerCreated:
    zone = command.time_zone or "UTC"
    return CustomerCreated(
        id=facts.id,
        name=check_text(command.name, ("input", "name")),
        email=_check_email(command.email),
        description=check_optional(command.description, ("input", "description"), NOTE_BYTES),
        external_id=_check_external_id(command.external_id, facts),
        time_zone=check_zone(zone, ("input", "timeZone")),
        created_at=facts.at,
    )


def _updated(state: Customer, command: UpdateCustomer, facts: Facts) -> list[Event]:
    """The fields that really change, checked as at creation."""
    named = _named(command)
    changes = {name: value for name, value in named.items() if value != getattr(state, name)}
    checks: dict[str, Callable[[Any], Any]] = {
        "name": lambda name: check_text(name, ("input", "name")),
        "email": _check_email,
        "description": lambda text: check_optional(text, ("input", "description"), NOTE_BYTES),
        "external_id": lambda external_id: _check_external_id(external_id, facts),
        "time_zone": lambda zone: check_zone(zone, ("input", "timeZone")),
    }
    checked = {name: checks[name](value) for name, value in changes.items()}
    return [CustomerUpdated(id=state.id, **checked)] if checked else []


def _check_email(email: str | None) -> str | None:
    """Looks like an address; whether it can be reached is not ours to know."""
    path = ("input", "email")
    kept = check_optional(email, path)
    if kept is not None and not _EMAIL.fullmatch(kept):
        raise Rejected(Code.INVALID_VALUE, path, "email must look like name@domain")
    return kept


def _check_external_id(external_id: str | None, facts: Facts) -> str | None:
    """Usage names a customer by either id, so no id may mean two customers."""
    path = ("input", "externalId")
    kept = check_optional(external_id, path)
    if kept is None:
        return None
    if _OWN_ID.fullmatch(kept):
        message = "externalId must not be written as Tallybook's own ids are"
        raise Rejected(Code.INVALID_VALUE, path, message)
    if facts.external_id_owner is not None:
        message = f"externalId is already that of {facts.external_id_owner}"
        raise Rejected(Code.ALREADY_EXISTS, path, message)
    return kept

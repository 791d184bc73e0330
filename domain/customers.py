"""Who is billed: a customer, known by our id and, if they like, by the id their own system uses.

Life cycle: created.
"""

import re
from datetime import datetime
from typing import ClassVar

import msgspec

from domain.decider import Code, Event, Rejected, registered
from domain.periods import check_zone
from domain.text import NOTE_BYTES, check_optional, check_text

ID_PREFIX = "cus_"
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
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class CreateCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """Take on a customer."""

    name: str
    email: str | None = None
    description: str | None = None
    external_id: str | None = None
    time_zone: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside; `external_id_owner` is who has that id already."""

    id: str
    at: datetime
    external_id_owner: str | None


def decide(state: Customer | None, command: CreateCustomer, facts: Facts) -> list[Event]:
    """Create the customer, or say which part of the input stands in the way."""
    if state is not None:
        return []
    zone = command.time_zone or "UTC"
    return [
        CustomerCreated(
            id=facts.id,
            name=check_text(command.name, ("input", "name")),
            email=_check_email(command.email),
            description=check_optional(command.description, ("input", "description"), NOTE_BYTES),
            external_id=_check_external_id(command.external_id, facts),
            time_zone=check_zone(zone, ("input", "timeZone")),
            created_at=facts.at,
        )
    ]


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
    if kept.startswith(ID_PREFIX):
        message = f"externalId must not start with {ID_PREFIX}, which marks Tallybook's own ids"
        raise Rejected(Code.INVALID_VALUE, path, message)
    if facts.external_id_owner is not None:
        message = f"externalId is already that of {facts.external_id_owner}"
        raise Rejected(Code.ALREADY_EXISTS, path, message)
    return kept

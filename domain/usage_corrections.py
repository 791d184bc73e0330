"""What was recorded wrongly: a usage record is voided or amended, and the ledger keeps every step.

Life cycle of an accepted record: recorded -> amended (any number of times) -> voided.

A correction stands in the stream of the batch that holds the record, so that two of them cannot
pass each other unseen. It never changes what it corrects, nor the record's identity: sent again, a
voided record is still a duplicate. Who used what, and when, is never amended: a record that is
wrong in these is voided, and a new one is sent.
"""

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from domain import usage
from domain.decider import Code, Event, Path, Rejected, registered
from domain.periods import format_instant, from_us
from domain.text import NOTE_BYTES, check_optional
from domain.usage import RecordInput, UsageRecord, UsageRecorded

# -------------------------------------------------------------------------------------- events


@registered
class UsageVoided(Event, frozen=True, kw_only=True):
    """A usage record does not count; `position` and `row` say where the ledger holds it."""

    topic: ClassVar[str] = "usage.voided/1"
    source: str
    id: str
    position: int
    row: int
    reason: str | None
    voided_at: datetime


@registered
class UsageAmended(Event, frozen=True, kw_only=True):
    """A usage record says something else from now on: all of it, not only what is different."""

    topic: ClassVar[str] = "usage.amended/1"
    source: str
    id: str
    position: int
    row: int
    value: str | None
    properties: dict[str, str]
    reason: str | None
    amended_at: datetime


Correction = UsageVoided | UsageAmended

# --------------------------------------------------------------------------------------- state


class Corrected(msgspec.Struct, frozen=True):
    """A usage record with what it says now, and whether it still counts."""

    record: UsageRecord
    voided: bool = False


def evolve(state: Corrected | None, event: Event) -> Corrected | None:
    """The record after one more fact; of the batch that holds it, it is given itself alone.

    Each correction says all there is to say, so that the last one is enough.
    """
    match event:
        case UsageRecorded(records=(record,)):
            return Corrected(record)
        case UsageAmended() if state is not None:
            content = {"value": event.value, "properties": event.properties}
            return replace(state, record=replace(state.record, **content))
        case UsageVoided() if state is not None:
            return replace(state, voided=True)
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class VoidUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Let a usage record count no longer."""

    id: str
    source: str = "default"
    reason: str | None = None


class AmendUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Let a usage record say something else; what is left out stays, properties change as one."""

    id: str
    source: str = "default"
    value: str | None = None
    properties: dict[str, Any] | None = None
    reason: str | None = None


Command = VoidUsage | AmendUsage


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: where the record stands, and what its meters read.

    `meters` is what a new record of the same kind would be judged by.
    """

    at: datetime
    position: int
    row: int
    meters: usage.Facts


def decide(state: Corrected | None, command: Command, facts: Facts | None) -> list[Event]:
    """Void or amend a usage record, or say what stands in the way; unknown ones have no facts."""
    if state is None or facts is None:
        message = f"there is no usage record {command.id!r} of source {command.source!r}"
        raise Rejected(Code.NOT_FOUND, ("input", "id"), message)
    match command:
        case VoidUsage():
            return [] if state.voided else [_voided(state.record, command, facts)]
        case AmendUsage():
            return _amended(state, command, facts)


def _voided(record: UsageRecord, command: VoidUsage, facts: Facts) -> UsageVoided:
    return UsageVoided(
        source=record.source,
        id=record.id,
        position=facts.position,
        row=facts.row,
        reason=_check_reason(command),
        voided_at=facts.at,
    )


def _amended(state: Corrected, command: AmendUsage, facts: Facts) -> list[Event]:
    """The content as it becomes, unless the record says so already."""
    known = state.record
    if state.voided:
        message = f"usage record {known.id!r} is voided; send a new one instead"
        raise Rejected(Code.WRONG_STATE, ("input", "id"), message)
    if command.value is None and command.properties is None:
        message = "say what to amend: value, properties or both"
        raise Rejected(Code.REQUIRED, ("input", "value"), message)
    record = _check_content(known, command, facts)
    if (record.value, record.properties) == (known.value, known.properties):
        return []
    return [
        UsageAmended(
            source=known.source,
            id=known.id,
            position=facts.position,
            row=facts.row,
            value=record.value,
            properties=record.properties,
            reason=_check_reason(command),
            amended_at=facts.at,
        )
    ]


def _check_content(known: UsageRecord, command: AmendUsage, facts: Facts) -> UsageRecord:
    """The record with what it should say, judged as if it had been sent so."""
    value, properties = command.value, command.properties
    if properties is None:  # a new value takes the place of one that stands there in words
        kept = known.properties.items()
        properties = {name: text for name, text in kept if name != "value"}
    elif value is None and not (isinstance(properties, dict) and "value" in properties):
        value = known.value
    offered = RecordInput(
        id=known.id,
        source=known.source,
        event_name=known.event_name,
        customer=known.customer,
        timestamp=format_instant(from_us(known.timestamp_us)),
        value=value,
        properties=properties,
    )
    try:
        return usage.checked(offered, facts.meters)
    except Rejected as refusal:
        path: Path = ("input", *refusal.path)
        raise Rejected(refusal.code, path, refusal.message) from None


def _check_reason(command: Command) -> str | None:
    return check_optional(command.reason, ("input", "reason"), NOTE_BYTES)

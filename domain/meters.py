"""What is measured: a meter says how usage records of one name add up to a quantity.

Life cycle: created (active) -> archived. Its name may be updated at any time.
"""

from datetime import datetime
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from domain.aggregation import Aggregation
from domain.decider import Code, Event, Path, Rejected, existing, registered
from domain.text import VALUE_BYTES, check_text

DIMENSIONS_LIMIT = 20


# -------------------------------------------------------------------------------------- events


@registered
class MeterCreated(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A meter was defined; it also sees the usage records that were already there.

    `carries_over` came later: it is stored only when it is set, so that all others stay as they
    were.
    """

    topic: ClassVar[str] = "meter.created/1"
    id: str
    name: str
    event_name: str
    aggregation: Aggregation
    value_property: str
    dimensions: tuple[str, ...]
    created_at: datetime
    carries_over: bool = False


@registered
class MeterUpdated(Event, frozen=True, kw_only=True):
    """A meter is called otherwise; what it measures never changes."""

    topic: ClassVar[str] = "meter.updated/1"
    id: str
    name: str


@registered
class MeterArchived(Event, frozen=True, kw_only=True):
    """A meter takes no new prices; usage is still measured, and billed by the prices it has."""

    topic: ClassVar[str] = "meter.archived/1"
    id: str
    archived_at: datetime


# --------------------------------------------------------------------------------------- state


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A meter as it stands: which records it reads, which property, and how they aggregate.

    When it carries over, a period begins with the level at which the one before it ended.
    """

    id: str
    name: str
    event_name: str
    aggregation: Aggregation
    value_property: str
    dimensions: tuple[str, ...]
    active: bool
    created_at: datetime
    carries_over: bool = False

    @property
    def needs_value(self) -> bool:
        """Whether a usage record without a numeric value would be lost on this meter."""
        return self.aggregation not in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT)

    @property
    def needs_text(self) -> bool:
        """Whether a usage record without any value, numeric or not, would be lost on this meter."""
        return self.aggregation is Aggregation.UNIQUE_COUNT


def evolve(state: Meter | None, event: Event) -> Meter | None:
    """The meter after one more fact."""
    match event:
        case MeterCreated():
            return Meter(
                id=event.id,
                name=event.name,
                event_name=event.event_name,
                aggregation=event.aggregation,
                value_property=event.value_property,
                dimensions=event.dimensions,
                active=True,
                created_at=event.created_at,
                carries_over=event.carries_over,
            )
        case MeterUpdated() if state is not None:
            return replace(state, name=event.name)
        case MeterArchived() if state is not None:
            return replace(state, active=False)
        case _:
            return state


# ------------------------------------------------------------------------------------ commands


class CreateMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Define a meter over the usage records named `event_name`."""

    name: str
    event_name: str
    aggregation: Aggregation
    value_property: str = "value"
    dimensions: tuple[str, ...] = ()
    carries_over: bool = False


class UpdateMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Call a meter otherwise."""

    meter_id: str
    name: str


class ArchiveMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Take no new prices over a meter."""

    meter_id: str


Command = CreateMeter | UpdateMeter | ArchiveMeter


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the new id and the time."""

    id: str
    at: datetime


def decide(state: Meter | None, command: Command, facts: Facts) -> list[Event]:
    """Define, rename or archive a meter, or say what cannot be kept (RULES, Meters)."""
    match command:
        case CreateMeter():
            return [] if state is not None else [_created(command, facts)]
        case UpdateMeter():
            meter = existing(state, "meter", command.meter_id)
            if command.name == meter.name:
                return []
            return [MeterUpdated(id=meter.id, name=check_text(command.name, ("input", "name")))]
        case ArchiveMeter():
            meter = existing(state, "meter", command.meter_id)
            if not meter.active:
                return []
            return [MeterArchived(id=meter.id, archived_at=facts.at)]


def _created(command: CreateMeter, facts: Facts) -> MeterCreated:
    at: Path = ("input",)
    return MeterCreated(
        id=facts.id,
        name=check_text(command.name, (*at, "name")),
        event_name=check_text(command.event_name, (*at, "eventName")),
        aggregation=command.aggregation,
        value_property=check_text(command.value_property, (*at, "valueProperty")),
        dimensions=_check_dimensions(command, (*at, "dimensions")),
        created_at=facts.at,
        carries_over=_check_carrying(command, (*at, "carriesOver")),
    )


def _check_carrying(command: CreateMeter, path: Path) -> bool:
    """Only a level can be carried over into the next period."""
    if command.carries_over and command.aggregation is not Aggregation.WEIGHTED_SUM:
        message = f"only WEIGHTED_SUM has a level to carry over; {command.aggregation} has none"
        raise Rejected(Code.INVALID_VALUE, path, message)
    return command.carries_over


def _check_dimensions(command: CreateMeter, path: Path) -> tuple[str, ...]:
    """Declared once each, at most twenty, and never the property that is measured."""
    if len(command.dimensions) > DIMENSIONS_LIMIT:
        message = f"a meter has at most {DIMENSIONS_LIMIT} dimensions"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    for index, name in enumerate(command.dimensions):
        here = (*path, str(index))
        check_text(name, here, VALUE_BYTES)
        if name in command.dimensions[:index]:
            raise Rejected(Code.INVALID_VALUE, here, f"dimension {name} is declared twice")
        if name == command.value_property:
            message = f"{name} is the value property; it cannot be a dimension too"
            raise Rejected(Code.INVALID_VALUE, here, message)
    return command.dimensions

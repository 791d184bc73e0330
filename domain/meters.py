"""What is measured: a meter says how usage records of one name add up to a quantity.

Life cycle: created (active) -> archived. Its name may be updated at any time. What it measures may
be revised from an instant on, before or after now: each usage record is measured by the version in
force at its timestamp (RULES, "Meters").
"""

from datetime import datetime
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain.aggregation import Aggregation
from domain.decider import Code, Event, Path, Rejected, existing, registered
from domain.meter_versions import (
    InForce,
    Version,
    check_carrying,
    check_dimensions,
    timeline,
    widened,
)
from domain.periods import format_instant
from domain.text import check_text

VERSIONS_LIMIT = 100


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
    """A meter is called otherwise; what it measures stays."""

    topic: ClassVar[str] = "meter.updated/1"
    id: str
    name: str


@registered
class MeterRevised(Event, frozen=True, kw_only=True):
    """A meter measures otherwise the records from an instant on, until its next version."""

    topic: ClassVar[str] = "meter.revised/1"
    id: str
    number: int
    effective_at: datetime
    aggregation: Aggregation
    value_property: str
    dimensions: tuple[str, ...]
    carries_over: bool
    revised_at: datetime


@registered
class MeterArchived(Event, frozen=True, kw_only=True):
    """A meter takes no new prices; usage is still measured, and billed by the prices it has."""

    topic: ClassVar[str] = "meter.archived/1"
    id: str
    archived_at: datetime


# --------------------------------------------------------------------------------------- state


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A meter as it stands: which records it reads, which property, and how they aggregate.

    When it carries over, a period begins with the level at which the one before it ended. The
    definition beside its name is that of the first version; `revisions` are the later ones, in the
    order in which they were recorded.
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
    revisions: tuple[Version, ...] = ()

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version in the order recorded, also one that later ones left no time to."""
        first = Version(
            number=1,
            effective_at=None,
            aggregation=self.aggregation,
            value_property=self.value_property,
            dimensions=self.dimensions,
            carries_over=self.carries_over,
            created_at=self.created_at,
        )
        return (first, *self.revisions)

    @property
    def timeline(self) -> tuple[InForce, ...]:
        """The versions that are in force at some time, in the order of time."""
        return timeline(self.versions)

    def in_force(self, instant: datetime) -> Version:
        """The version that measures the records of an instant."""
        return next(one.version for one in self.timeline if instant < one.until)

    def measuring(self, version: Version) -> "Meter":
        """The meter as one of its versions defines it."""
        return replace(
            self,
            aggregation=version.aggregation,
            value_property=version.value_property,
            dimensions=version.dimensions,
            carries_over=version.carries_over,
        )

    @property
    def all_dimensions(self) -> tuple[str, ...]:
        """The dimensions of the latest version, which declares those of all others."""
        return self.timeline[-1].version.dimensions

    @property
    def only_aggregation(self) -> Aggregation | None:
        """The aggregation that is in force at all times; None when there are several."""
        several = {one.version.aggregation for one in self.timeline}
        return several.pop() if len(several) == 1 else None

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
        case MeterRevised() if state is not None:
            version = Version(
                number=event.number,
                effective_at=event.effective_at,
                aggregation=event.aggregation,
                value_property=event.value_property,
                dimensions=event.dimensions,
                carries_over=event.carries_over,
                created_at=event.revised_at,
            )
            return replace(state, revisions=(*state.revisions, version))
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


class ReviseMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Measure otherwise from an instant on, by default from now; what is left out stays."""

    meter_id: str
    effective_at: datetime | None = None
    aggregation: Aggregation | UnsetType = UNSET
    value_property: str | UnsetType = UNSET
    dimensions: tuple[str, ...] | UnsetType = UNSET
    carries_over: bool | UnsetType = UNSET


class ArchiveMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Take no new prices over a meter."""

    meter_id: str


Command = CreateMeter | UpdateMeter | ReviseMeter | ArchiveMeter


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the new id, the time, and whether a price needs sums.

    `priced_by_records` says that a price over the meter looks at single records.
    """

    id: str
    at: datetime
    priced_by_records: bool = False


def decide(state: Meter | None, command: Command, facts: Facts) -> list[Event]:
    """Define, rename, revise or archive a meter, or say what cannot be kept (RULES, Meters)."""
    match command:
        case CreateMeter():
            return [] if state is not None else [_created(command, facts)]
        case UpdateMeter():
            meter = existing(state, "meter", command.meter_id)
            if command.name == meter.name:
                return []
            return [MeterUpdated(id=meter.id, name=check_text(command.name, ("input", "name")))]
        case ReviseMeter():
            return _revised(existing(state, "meter", command.meter_id), command, facts)
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
        dimensions=check_dimensions(command.dimensions, command.value_property),
        created_at=facts.at,
        carries_over=check_carrying(command.aggregation, carries_over=command.carries_over),
    )


def _revised(meter: Meter, command: ReviseMeter, facts: Facts) -> list[Event]:
    """One more version, or nothing when it would measure as the one that is in force then."""
    if not meter.active:
        message = f"meter {meter.id} is archived"
        raise Rejected(Code.WRONG_STATE, ("input", "meterId"), message)
    effective_at = facts.at if command.effective_at is None else command.effective_at
    before = meter.in_force(effective_at)
    after = _redefined(before, command)
    if after == before:
        return []
    if facts.priced_by_records and after.aggregation is not Aggregation.SUM:
        message = "a price over this meter looks at single records, which it must sum up"
        raise Rejected(Code.WRONG_STATE, ("input", "aggregation"), message)
    _check_later(meter, effective_at, command)
    if len(meter.versions) >= VERSIONS_LIMIT:
        message = f"a meter has at most {VERSIONS_LIMIT} versions"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "meterId"), message)
    revised = MeterRevised(
        id=meter.id,
        number=len(meter.versions) + 1,
        effective_at=effective_at,
        aggregation=after.aggregation,
        value_property=after.value_property,
        dimensions=after.dimensions,
        carries_over=after.carries_over,
        revised_at=facts.at,
    )
    return [revised]


def _redefined(version: Version, command: ReviseMeter) -> Version:
    """The version with everything that is to be otherwise."""
    aggregation, name, dimensions = command.aggregation, command.value_property, command.dimensions
    if aggregation is UNSET:
        aggregation = version.aggregation
    if name is UNSET:
        name = version.value_property
    elif check_text(name, ("input", "valueProperty")) in version.dimensions:
        message = f"{name} is a dimension; it cannot be the value property too"
        raise Rejected(Code.INVALID_VALUE, ("input", "valueProperty"), message)
    if dimensions is UNSET:
        dimensions = version.dimensions
    else:
        dimensions = widened(version, check_dimensions(dimensions, name))
    if command.carries_over is not UNSET:
        carries_over = check_carrying(aggregation, carries_over=command.carries_over)
    else:  # what is no level any more carries none over
        carries_over = version.carries_over and aggregation is Aggregation.WEIGHTED_SUM
    return replace(
        version,
        aggregation=aggregation,
        value_property=name,
        dimensions=dimensions,
        carries_over=carries_over,
    )


def _check_later(meter: Meter, effective_at: datetime, command: ReviseMeter) -> None:
    """Nor does a version that is in force later drop a dimension that is declared now."""
    if command.dimensions is UNSET:
        return
    later = (one.version for one in meter.timeline if one.version.since > effective_at)
    following = next(later, None)
    for index, name in enumerate(command.dimensions):
        if following is not None and name not in following.dimensions:
            message = (
                f"version {following.number}, in force from {format_instant(following.since)}, "
                f"declares no dimension {name}: revise that one first"
            )
            raise Rejected(Code.INVALID_VALUE, ("input", "dimensions", str(index)), message)

"""What is measured: meters, how to create them, and how to redefine one from an instant on."""

from typing import Annotated

import strawberry
from msgspec import UNSET

from app.schema.as_of import AsKnown, found
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Node,
    Page,
    objects,
)
from app.schema.context import Info
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver, wanted
from app.schema.scalars import InstantText, described, instant_text, optional_instant
from domain import meters
from domain.aggregation import Aggregation
from domain.meter_versions import Version

described(
    Aggregation,
    "How a meter turns the usage records of a period into one quantity.",
    SUM="The total of the values; 0 without records.",
    COUNT="The number of records, with or without a value.",
    LAST="The value with the latest timestamp; 0 without records.",
    MAX="The largest value; none without records.",
    MIN="The smallest value; none without records.",
    AVERAGE="The total over the number of records; none without records.",
    UNIQUE_COUNT="How many different values there are; they need not be numbers.",
    WEIGHTED_SUM=(
        "A level that each record changes by its value, times the share of the period for which it"
        " lasts: 10 during the whole period is 10, during half of it 5."
    ),
)


@strawberry.type(description="One definition of a meter, for the records of a time.")
class MeterVersion:
    """One definition of a meter as it is shown."""

    number: int = strawberry.field(description="Which one it is, in the order recorded, from 1.")
    effective_at: InstantText | None = strawberry.field(
        description="The instant from which records are measured so; null for the first one."
    )
    aggregation: Aggregation = strawberry.field(description="How the records become a quantity.")
    value_property: str = strawberry.field(description="The property that is read.")
    dimensions: list[str] = strawberry.field(
        description="The properties that usage can be filtered and grouped by."
    )
    carries_over: bool = strawberry.field(
        description="Whether a period begins with the level at which the one before it ended."
    )
    created_at: InstantText = strawberry.field(description="When it was defined.")

    @classmethod
    def of(cls, version: Version) -> "MeterVersion":
        """The version as it is shown."""
        return cls(
            number=version.number,
            effective_at=instant_text(version.effective_at) if version.effective_at else None,
            aggregation=version.aggregation,
            value_property=version.value_property,
            dimensions=list(version.dimensions),
            carries_over=version.carries_over,
            created_at=instant_text(version.created_at),
        )


@strawberry.type(description="What is measured: how usage records of one name become a quantity.")
class Meter(Node):
    """A meter as it is shown."""

    name: str = strawberry.field(description="What the meter is called.")
    event_name: str = strawberry.field(description="The name of the usage records it reads.")
    active: bool = strawberry.field(description="Whether the meter reads new records.")
    created_at: InstantText = strawberry.field(description="When the meter was created.")
    state: strawberry.Private[meters.Meter]

    @classmethod
    def of(cls, state: meters.Meter) -> "Meter":
        """The meter as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            name=state.name,
            event_name=state.event_name,
            active=state.active,
            created_at=instant_text(state.created_at),
            state=state,
        )

    @resolver(description="How records of now become a quantity.")
    def aggregation(self, info: Info) -> Aggregation:
        return self._now(info).aggregation

    @resolver(description="The property that is read of records of now.")
    def value_property(self, info: Info) -> str:
        return self._now(info).value_property

    @resolver(description="The properties that usage of now can be filtered and grouped by.")
    def dimensions(self, info: Info) -> list[str]:
        return list(self._now(info).dimensions)

    @resolver(
        description=(
            "Whether a period that begins now does so with the level at which the one before it"
            " ended."
        )
    )
    def carries_over(self, info: Info) -> bool:
        return self._now(info).carries_over

    @resolver(
        description=(
            "Every definition that it has had, or will have, in the order recorded. A record is"
            " measured by the one with the latest effectiveAt not after its timestamp; of two with"
            " the same, by the one recorded later."
        )
    )
    def versions(self) -> list[MeterVersion]:
        return [MeterVersion.of(version) for version in self.state.versions]

    def _now(self, info: Info) -> Version:
        """The version that is in force now."""
        return self.state.in_force(info.context.now())


@strawberry.input(description="What to measure.")
class CreateMeterInput:
    """What to measure."""

    name: str = strawberry.field(description="What the meter is called.")
    event_name: str = strawberry.field(
        description="The name of the usage records to read; records sent before count too."
    )
    aggregation: Aggregation = strawberry.field(description="How the records become a quantity.")
    value_property: str | None = strawberry.field(
        default="value", description="The property that is read."
    )
    dimensions: list[str] | None = strawberry.field(
        default_factory=list,
        description="Up to 20 properties by which usage can be filtered and grouped.",
    )
    carries_over: bool | None = strawberry.field(
        default=False,
        description=(
            "Whether a period begins with the level at which the one before it ended, instead of"
            " zero; only for WEIGHTED_SUM."
        ),
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> meters.CreateMeter:
        """The command that is meant."""
        return meters.CreateMeter(
            name=self.name,
            event_name=self.event_name,
            aggregation=self.aggregation,
            value_property="value" if self.value_property is None else self.value_property,
            dimensions=tuple(self.dimensions or ()),
            carries_over=bool(self.carries_over),
        )


@strawberry.type(description="The new meter, or why there is none.")
class CreateMeterPayload(Payload):
    """The new meter, or why there is none."""

    meter: Meter | None = strawberry.field(description="The meter; null when it was refused.")


@strawberry.input(description="What to call a meter from now on.")
class UpdateMeterInput:
    """What to call a meter from now on."""

    meter_id: strawberry.ID = strawberry.field(description="The meter to change.")
    name: str = strawberry.field(description="What people call it.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> meters.UpdateMeter:
        """The command that is meant."""
        return meters.UpdateMeter(meter_id=self.meter_id, name=self.name)


@strawberry.type(description="The meter as it now is, or why it stayed as it was.")
class UpdateMeterPayload(Payload):
    """The meter as it now is, or why it stayed as it was."""

    meter: Meter | None = strawberry.field(description="The meter; null when it was refused.")


@strawberry.input(
    description="How a meter measures from an instant on; what is left out stays as it is then."
)
class ReviseMeterInput:
    """How a meter measures from an instant on."""

    meter_id: strawberry.ID = strawberry.field(description="The meter to revise.")
    effective_at: InstantText | None = strawberry.field(
        default=None,
        description=(
            "The instant from which records are measured so, by their timestamps, up to the next"
            " version; before or after now, which is the default."
        ),
    )
    aggregation: strawberry.Maybe[Aggregation] = strawberry.field(
        description=(
            "How the records become a quantity. It stays SUM while a price over the meter looks at"
            " single records."
        )
    )
    value_property: strawberry.Maybe[str] = strawberry.field(
        description="The property that is read."
    )
    dimensions: strawberry.Maybe[list[str]] = strawberry.field(
        description=(
            "Up to 20 properties by which usage can be filtered and grouped: those that there are,"
            " and more; none can be dropped."
        )
    )
    carries_over: strawberry.Maybe[bool] = strawberry.field(
        description=(
            "Whether a period begins with the level at which the one before it ended; only for"
            " WEIGHTED_SUM, and over when it is no longer that."
        )
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> meters.ReviseMeter:
        """The command that is meant. Raises `Rejected` for an instant that is none."""
        dimensions = wanted(self.dimensions)
        return meters.ReviseMeter(
            meter_id=self.meter_id,
            effective_at=optional_instant(self.effective_at, ("input", "effectiveAt")),
            aggregation=wanted(self.aggregation),
            value_property=wanted(self.value_property),
            dimensions=dimensions if dimensions is UNSET else tuple(dimensions),
            carries_over=wanted(self.carries_over),
        )


@strawberry.type(description="The meter with its new version, or why it stayed as it was.")
class ReviseMeterPayload(Payload):
    """The meter with its new version, or why it stayed as it was."""

    meter: Meter | None = strawberry.field(description="The meter; null when it was refused.")


@strawberry.input(description="The meter that takes no new prices.")
class ArchiveMeterInput:
    """The meter that takes no new prices."""

    meter_id: strawberry.ID = strawberry.field(description="The meter to archive.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> meters.ArchiveMeter:
        """The command that is meant."""
        return meters.ArchiveMeter(meter_id=self.meter_id)


@strawberry.type(description="The archived meter, or why it is not.")
class ArchiveMeterPayload(Payload):
    """The archived meter, or why it is not."""

    meter: Meter | None = strawberry.field(description="The meter; null when it was refused.")


@strawberry.type
class MeterQueries:
    """Asking for meters."""

    @resolver(description="The meter with this id; null when there is none.")
    async def meter(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of a meter.")],
        as_of: AsKnown = None,
    ) -> Meter | None:
        state = await found(info, meters.Meter, id, as_of)
        return Meter.of(state) if state else None

    @resolver(description="Meters in the order of their creation.")
    async def meters(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        name: Annotated[
            str | None, strawberry.argument(description="Only those called exactly this.")
        ] = None,
        event_name: Annotated[
            str | None,
            strawberry.argument(description="Only those that read usage records of this name."),
        ] = None,
    ) -> Connection[Meter]:
        page = Page.of(first, after, last, before)
        return await objects(info, meters.Meter, Meter.of, page, name=name, eventName=event_name)


@strawberry.type
class MeterMutations:
    """Changing meters."""

    @mutation(description="Define what is measured.")
    async def create_meter(
        self,
        info: Info,
        input: Annotated[CreateMeterInput, strawberry.argument(description="What to measure.")],
    ) -> CreateMeterPayload:
        done = await info.context.execute(meters.Meter, input.command, input.idempotency_key)
        return CreateMeterPayload(
            meter=Meter.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Call a meter otherwise; what it measures stays.")
    async def update_meter(
        self,
        info: Info,
        input: Annotated[UpdateMeterInput, strawberry.argument(description="Which one.")],
    ) -> UpdateMeterPayload:
        done = await info.context.execute(meters.Meter, input.command, input.idempotency_key)
        return UpdateMeterPayload(
            meter=Meter.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(
        description=(
            "Measure otherwise from an instant on. Each record is measured by the version in force"
            " at its timestamp, so that records that are there already are aggregated anew."
        )
    )
    async def revise_meter(
        self,
        info: Info,
        input: Annotated[ReviseMeterInput, strawberry.argument(description="What to measure.")],
    ) -> ReviseMeterPayload:
        done = await info.context.execute(meters.Meter, input.command, input.idempotency_key)
        return ReviseMeterPayload(
            meter=Meter.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Take no new prices over a meter; usage is still measured and billed.")
    async def archive_meter(
        self,
        info: Info,
        input: Annotated[ArchiveMeterInput, strawberry.argument(description="Which one.")],
    ) -> ArchiveMeterPayload:
        done = await info.context.execute(meters.Meter, input.command, input.idempotency_key)
        return ArchiveMeterPayload(
            meter=Meter.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

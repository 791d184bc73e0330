"""Correcting usage: records that must not count, and records that should say something else."""

from typing import Annotated, Any, cast

import strawberry

from app.schema.context import Info
from app.schema.errors import Payload, UserError
from app.schema.fields import mutation
from app.schema.scalars import BigIntText, DecimalText, Json, big_int
from app.schema.usage_records import UsageRecord, record_of
from domain import usage_corrections
from domain.decider import Rejected

SOURCE = "default"
"""Who sends what does not say who sends it."""


@strawberry.input(description="A usage record that should count no longer.")
class VoidUsageInput:
    """A usage record that should count no longer."""

    id: str = strawberry.field(description="The record's id, as it was sent.")
    source: str | None = strawberry.field(default=SOURCE, description="Who sent it.")
    reason: str | None = strawberry.field(
        default=None, description="Why, for whoever reads the ledger later."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> usage_corrections.VoidUsage:
        """The command that is meant."""
        return usage_corrections.VoidUsage(
            id=self.id, source=_source(self.source), reason=self.reason
        )


@strawberry.input(
    description="What a usage record should say instead; a value or properties left out stay. "
    "Its event name, customer and timestamp stay for ever: where they are wrong, void the record "
    "and send a new one."
)
class AmendUsageInput:
    """What a usage record should say instead."""

    id: str = strawberry.field(description="The record's id, as it was sent.")
    source: str | None = strawberry.field(default=SOURCE, description="Who sent it.")
    value: DecimalText | None = strawberry.field(
        default=None, description="How much was used; short for the property of that name."
    )
    properties: Json | None = strawberry.field(
        default=None,
        description="All its other properties, in place of those it has; checked as when sent.",
    )
    reason: str | None = strawberry.field(
        default=None, description="Why, for whoever reads the ledger later."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> usage_corrections.AmendUsage:
        """The command that is meant."""
        return usage_corrections.AmendUsage(
            id=self.id,
            source=_source(self.source),
            value=self.value,
            properties=cast("dict[str, Any] | None", self.properties),
            reason=self.reason,
        )


@strawberry.type(description="The voided usage record, or why it is not.")
class VoidUsagePayload(Payload):
    """The voided usage record, or why it is not."""

    record: UsageRecord | None = strawberry.field(
        description="The record as it now is; null when it was refused."
    )


@strawberry.type(description="The amended usage record, or why it stayed as it was.")
class AmendUsagePayload(Payload):
    """The amended usage record, or why it stayed as it was."""

    record: UsageRecord | None = strawberry.field(
        description="The record as it now is; null when it was refused."
    )


@strawberry.type
class UsageCorrectionMutations:
    """Correcting usage."""

    @mutation(
        description="Let a usage record count no longer. It stays in the ledger, and so does its "
        "identity: sent again, it is still a duplicate."
    )
    async def void_usage(
        self,
        info: Info,
        input: Annotated[VoidUsageInput, strawberry.argument(description="Which one.")],
    ) -> VoidUsagePayload:
        record, refusals, position = await _correct(info, input)
        return VoidUsagePayload(record=record, user_errors=refusals, position=position)

    @mutation(
        description="Let a usage record say something else, as often as need be. What it said "
        "before stays in the ledger."
    )
    async def amend_usage(
        self,
        info: Info,
        input: Annotated[AmendUsageInput, strawberry.argument(description="What to amend.")],
    ) -> AmendUsagePayload:
        record, refusals, position = await _correct(info, input)
        return AmendUsagePayload(record=record, user_errors=refusals, position=position)


async def _correct(
    info: Info, input: VoidUsageInput | AmendUsageInput
) -> tuple[UsageRecord | None, list[UserError], BigIntText]:
    """Carry out a correction: the record as it now is, why it was refused, and the position."""
    context, command = info.context, input.command()
    ledger, key = context.ledger, input.idempotency_key
    try:
        done = await ledger.execute(command, key=key, actor=context.actor)
    except Rejected as refusal:
        return None, [UserError.of(refusal)], await context.position()
    record = await context.read(
        lambda views: record_of(views, ledger.store, command.source, command.id)
    )
    return record, [], big_int(done.position)


def _source(source: str | None) -> str:
    return SOURCE if source is None else source

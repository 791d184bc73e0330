"""Sending usage: records, and the receipt that each of them gets."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry

from app.jobs import Receipt
from app.logs import note
from app.receipts import Written, statuses_of
from app.schema.context import Info
from app.schema.errors import Payload, UserError
from app.schema.fast_inputs import offered
from app.schema.fields import mutation
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    InstantText,
    Json,
    big_int,
    described,
)
from domain.decider import Code, Path, Rejected
from domain.usage import RecordInput, Status

RECORDS_LIMIT = 1_000
"""The most usage records of one mutation; `/v1/usage` takes more."""

described(
    Status,
    "What became of a usage record that was sent.",
    name="UsageStatus",
    ACCEPTED="It was recorded, and its meter and customer are known.",
    UNMATCHED="It was recorded, and waits for its meter or customer to be created.",
    DUPLICATE="It was recorded before with the same content; it counts once.",
    CONFLICT="Its identity was recorded before with other content; nothing was written.",
    REJECTED="It was refused; nothing was written.",
)


@strawberry.input(description="Something that was used.")
class UsageRecordInput:
    """Something that was used."""

    id: str = strawberry.field(
        description="Its identity within its source, for ever: sent again it still counts once."
    )
    source: str | None = strawberry.field(default="default", description="Who sends it.")
    event_name: str = strawberry.field(description="What was used, as meters know it.")
    customer: str = strawberry.field(description="Who used it: our id of the customer or yours.")
    timestamp: InstantText | None = strawberry.field(
        default=None, description="When it was used; now when left out."
    )
    value: DecimalText | None = strawberry.field(
        default=None, description="How much was used; short for the property of that name."
    )
    properties: Json | None = strawberry.field(
        default=None, description="A flat object of up to 20 strings; numbers as decimal strings."
    )


@strawberry.input(description="What was used, at most 1,000 records.")
class RecordUsageInput:
    """What was used."""

    records: list[UsageRecordInput] = strawberry.field(
        description="The records; each is answered by itself."
    )

    def read(self) -> list[RecordInput]:
        """The records that were sent. Raises `Rejected` for none and for too many."""
        path = ("input", "records")
        if not self.records:
            raise Rejected(Code.REQUIRED, path, "send at least one record")
        if len(self.records) > RECORDS_LIMIT:
            message = f"at most {RECORDS_LIMIT} records at a time; POST /v1/usage takes more"
            raise Rejected(Code.LIMIT_EXCEEDED, path, message)
        return offered(self.records)


def _as_sent(type: type, sent: Mapping[str, Any], _: object) -> RecordUsageInput:
    """The input with its records as they came, not turned into objects of Strawberry's first."""
    return RecordUsageInput(records=sent["records"])


vars(RecordUsageInput)["__strawberry_definition__"].from_input = _as_sent


@strawberry.type(description="What became of one usage record.")
class UsageReceipt:
    """What became of one usage record."""

    id: str = strawberry.field(description="The record's id, as it was sent.")
    source: str = strawberry.field(description="The record's source, as it was sent.")
    status: Status = strawberry.field(description="What became of it.")
    position: BigIntText | None = strawberry.field(
        description="The ledger position that holds it; null when nothing does."
    )
    error: UserError | None = strawberry.field(description="Why it was refused.")

    @classmethod
    def of(cls, receipt: Receipt, path: Path) -> "UsageReceipt":
        """The receipt as it is shown; `path` is where the record stands in the input."""
        refusal = receipt.error
        if receipt.status is Status.CONFLICT:
            message = "this id was recorded before with other content"
            refusal = Rejected(Code.CONFLICT, ("id",), message)
        return cls(
            id=receipt.id,
            source=receipt.source,
            status=receipt.status,
            position=None if receipt.position is None else big_int(receipt.position),
            error=UserError.of(refusal, path) if refusal else None,
        )


def _receipts(root: "RecordUsagePayload") -> list[UsageReceipt]:
    """The receipts as they are shown; many who send records ask for their number alone."""
    return [
        UsageReceipt.of(receipt, ("input", "records", str(index)))
        for index, receipt in enumerate(root.judged)
    ]


@strawberry.type(description="What became of the usage records, one by one and in all.")
class RecordUsagePayload(Payload):
    """What became of the usage records."""

    judged: strawberry.Private[Sequence[Receipt]]
    receipts: list[UsageReceipt] = strawberry.field(
        resolver=_receipts, description="One for each record, in the order sent."
    )
    accepted: int = strawberry.field(description="How many were recorded and are counted.")
    unmatched: int = strawberry.field(description="How many were recorded and wait for a match.")
    duplicates: int = strawberry.field(description="How many were recorded before.")
    conflicts: int = strawberry.field(
        description="How many had the identity of another record with other content."
    )
    rejected: int = strawberry.field(description="How many were refused.")

    @classmethod
    def of(
        cls, receipts: Sequence[Receipt], position: BigIntText, refusals: list[UserError]
    ) -> "RecordUsagePayload":
        """The receipts as they are shown, and how many there are of each kind."""
        statuses = statuses_of(receipts)
        return cls(
            judged=receipts,
            accepted=statuses.count(Status.ACCEPTED),
            unmatched=statuses.count(Status.UNMATCHED),
            duplicates=statuses.count(Status.DUPLICATE),
            conflicts=statuses.count(Status.CONFLICT),
            rejected=statuses.count(Status.REJECTED),
            user_errors=refusals,
            position=position,
        )


def _newest(receipts: Sequence[Receipt]) -> int | None:
    """The newest position that records were written at; None when none was."""
    if isinstance(receipts, Written):
        return receipts.newest
    written = [
        receipt.position
        for receipt in receipts
        if receipt.position and receipt.status in {Status.ACCEPTED, Status.UNMATCHED}
    ]
    return max(written, default=None)


@strawberry.type
class UsageMutations:
    """Sending usage."""

    @mutation(description="Record usage: exactly once, however often it is sent.")
    async def record_usage(
        self,
        info: Info,
        input: Annotated[RecordUsageInput, strawberry.argument(description="What was used.")],
    ) -> RecordUsagePayload:
        context = info.context
        try:
            records = input.read()
        except Rejected as refusal:
            return RecordUsagePayload.of([], await context.position(), [UserError.of(refusal)])
        receipts = await context.ledger.record(records, context.actor)
        newest = _newest(receipts)
        note(position=newest)
        position = await context.position() if newest is None else big_int(newest)
        return RecordUsagePayload.of(receipts, position, [])

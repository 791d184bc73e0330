"""Moving a test clock, and seeing what fell due on the way."""

from typing import Annotated

import strawberry

from app.schema.context import Info
from app.schema.errors import Payload, UserError
from app.schema.fields import mutation
from app.schema.invoices import Invoice
from app.schema.ledgers import Clock
from app.schema.scalars import InstantText, big_int
from domain import invoices
from domain.decider import Rejected
from domain.periods import parse_instant
from projections import current
from projections.tables import Views

INVOICES_LIMIT = 1_000
"""The most invoices that one answer shows."""


@strawberry.input(description="Where to move the test clock.")
class AdvanceClockInput:
    """Where to move the test clock."""

    to: InstantText = strawberry.field(
        description="The instant, at or after the present one and at most ten years after it."
    )


@strawberry.type(description="The clock as it stands now, and what fell due on the way.")
class AdvanceClockPayload(Payload):
    """The clock as it stands now, and what fell due on the way."""

    clock: Clock | None = strawberry.field(description="The clock; null when it was not moved.")
    invoices: list[Invoice] = strawberry.field(
        description="The invoices that were drafted or issued on the way, in that order, as they "
        f"stand now: the first {INVOICES_LIMIT:,} of them."
    )


@strawberry.type
class ClockMutations:
    """Moving the clock."""

    @mutation(
        description="Move the test clock on. Everything that falls due on the way is done, each "
        "at its instant. A ledger with the system's clock refuses it."
    )
    async def advance_clock(
        self,
        info: Info,
        input: Annotated[
            AdvanceClockInput, strawberry.argument(description="Where to move the clock.")
        ],
    ) -> AdvanceClockPayload:
        context = info.context
        try:
            to = parse_instant(input.to, ("input", "to"))
            touched = await context.ledger.advance(to, context.actor)
        except Rejected as refusal:
            return AdvanceClockPayload(
                clock=None,
                invoices=[],
                user_errors=[UserError.of(refusal)],
                position=await context.position(),
            )

        def look_up(views: Views) -> AdvanceClockPayload:
            now = context.ledger.clock.now()
            found = [current.get(views, invoices.Invoice, id) for id in touched[:INVOICES_LIMIT]]
            return AdvanceClockPayload(
                clock=Clock.of(context.ledger.clock),
                invoices=[Invoice.of(views, one, now) for one in found if one is not None],
                user_errors=[],
                position=big_int(views.checkpoint()),
            )

        return await context.read(look_up)

"""The book itself: where it stands, and the facts that every number is computed from."""

import asyncio
from typing import Annotated

import strawberry

from app.clock import Clock as LedgerClock
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Node,
    Page,
    Types,
)
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.ledger_events import Asked, LedgerEvent, event_page
from app.schema.scalars import BigIntText, InstantText, big_int, instant_text
from app.schema.verifications import LedgerCheckpoint, checkpoint
from domain.decider import Code, Rejected
from domain.ledgers import LedgerState, Origin


@strawberry.type(description="What time it is for a ledger.")
class Clock:
    """What time it is for a ledger."""

    now: InstantText = strawberry.field(description="The present instant of the ledger.")
    is_test: bool = strawberry.field(description="Whether somebody moves this clock by hand.")

    @classmethod
    def of(cls, clock: LedgerClock) -> "Clock":
        """The clock as it stands."""
        return cls(now=instant_text(clock.now()), is_test=clock.is_test)


@strawberry.type(description="Where a fork leaves the ledger that it was made of.")
class LedgerOrigin:
    """Where a fork leaves another ledger, as it is shown."""

    ledger_id: strawberry.ID = strawberry.field(description="The ledger that it was forked from.")
    position: BigIntText = strawberry.field(description="The last position that both have.")
    hash: str = strawberry.field(
        description="The chain's hash there, in hexadecimal: both have it, too."
    )

    @classmethod
    def of(cls, origin: Origin) -> "LedgerOrigin":
        """The origin as it is shown."""
        return cls(
            ledger_id=strawberry.ID(origin.ledger_id),
            position=big_int(origin.position),
            hash=origin.hash,
        )


@strawberry.type(description="One business's ledger: the facts that every bill is computed from.")
class Ledger(Node):
    """A ledger as it is shown."""

    name: str = strawberry.field(description="What the ledger is called.")
    opened_at: InstantText = strawberry.field(description="When the ledger was begun.")
    forked_from: LedgerOrigin | None = strawberry.field(
        description="Of which ledger it is a fork, made to try anything; null when it is none."
    )

    @classmethod
    def of(cls, state: LedgerState) -> "Ledger":
        """The ledger as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            name=state.name,
            opened_at=instant_text(state.opened_at),
            forked_from=LedgerOrigin.of(state.forked_from) if state.forked_from else None,
        )

    @resolver(description="The position of the newest fact.")
    async def position(self, info: Info) -> BigIntText:
        position, _ = await info.context.head()
        return big_int(position)

    @resolver(description="The chain's hash at the newest fact: it covers all before it.")
    async def head_hash(self, info: Info) -> str:
        _, hash = await info.context.head()
        return hash.hex()

    @resolver(description="Where the ledger stands, signed.")
    async def checkpoint(self, info: Info) -> LedgerCheckpoint:
        if info.context.until is not None:
            message = "a checkpoint is signed for where the ledger stands now, without asOf"
            raise Rejected(Code.INVALID_VALUE, ("asOf",), message)
        return await checkpoint(info)

    @resolver(description="What time it is for the ledger.")
    def clock(self, info: Info) -> Clock:
        clock = info.context.ledger.clock
        return Clock(now=instant_text(info.context.now()), is_test=clock.is_test)


@strawberry.type
class LedgerQueries:
    """Asking for the ledger and its facts."""

    @resolver(description="The ledger served here.")
    def ledger(self, info: Info) -> Ledger:
        return Ledger.of(info.context.ledger.state)

    @resolver(description="Facts in the order in which they were recorded.")
    async def ledger_events(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        subject_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only the facts about this object."),
        ] = None,
        types: Types = None,
        customer_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description="Only what touches this customer: the facts about itself, its "
                "subscriptions, invoices, payments and one-off items, and corrections of its usage."
            ),
        ] = None,
        with_usage: Annotated[
            bool | None,
            strawberry.argument(
                description="With customerId, also the batches that hold usage records of the "
                "customer. A page looks into every batch that it passes over."
            ),
        ] = False,
        recorded_from: Annotated[
            InstantText | None,
            strawberry.argument(description="Only facts that were recorded at this instant or on."),
        ] = None,
        recorded_until: Annotated[
            InstantText | None,
            strawberry.argument(description="Only facts that were recorded before this instant."),
        ] = None,
    ) -> Connection[LedgerEvent]:
        page = Page.of(first, after, last, before)
        if with_usage and customer_id is None:
            message = "withUsage is about the usage of a customer; give customerId"
            raise Rejected(Code.REQUIRED, ("customerId",), message)
        asked = Asked.of(
            info,
            subject_id=subject_id,
            customer_id=customer_id,
            types=types,
            with_usage=bool(with_usage),
        )
        within = await asyncio.to_thread(
            asked.recorded, info.context.ledger, recorded_from, recorded_until
        )
        return await event_page(info, page, within)

"""The book itself: where it stands, and the facts that every number is computed from."""

import asyncio
from collections.abc import Sequence
from functools import partial
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
    connection,
    cursor_at,
    taken,
)
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.scalars import (
    BigIntText,
    InstantText,
    Json,
    as_json,
    big_int,
    instant_text,
)
from app.schema.verifications import LedgerCheckpoint, checkpoint
from app.store import Store
from domain.decider import Code, Recorded, Rejected
from domain.ledgers import LedgerState, Origin
from domain.periods import from_us
from domain.text import check_text
from projections import history

TYPES_LIMIT = 100


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
        position, _ = await asyncio.to_thread(info.context.ledger.store.head)
        return big_int(position)

    @resolver(description="The chain's hash at the newest fact: it covers all before it.")
    async def head_hash(self, info: Info) -> str:
        _, hash = await asyncio.to_thread(info.context.ledger.store.head)
        return hash.hex()

    @resolver(description="Where the ledger stands, signed.")
    async def checkpoint(self, info: Info) -> LedgerCheckpoint:
        return await checkpoint(info)

    @resolver(description="What time it is for the ledger.")
    def clock(self, info: Info) -> Clock:
        return Clock.of(info.context.ledger.clock)


@strawberry.type(description="A fact in the ledger; it never changes.")
class LedgerEvent:
    """A fact in the ledger as it is shown."""

    position: BigIntText = strawberry.field(description="Where in the ledger the fact stands.")
    type: str = strawberry.field(description="What kind of fact it is, such as price.created.")
    version: int = strawberry.field(description="Which version of its kind the data has.")
    subject_id: strawberry.ID = strawberry.field(description="The object the fact is about.")
    recorded_at: InstantText = strawberry.field(description="When the ledger recorded it.")
    actor: str | None = strawberry.field(description="Who caused it; null when unknown.")
    hash: str = strawberry.field(
        description="The chain's hash at this fact, in hexadecimal; it covers all facts before."
    )
    recorded: strawberry.Private[Recorded]

    @resolver(description="The fact itself.")
    async def data(self) -> Json:
        # A batch of usage is large, and only some readers want to see it.
        return Json(await asyncio.to_thread(as_json, self.recorded.event))

    @classmethod
    def of(cls, recorded: Recorded, hash: bytes) -> "LedgerEvent":
        """The fact as it is shown."""
        type, _, version = recorded.event.topic.partition("/")
        return cls(
            position=big_int(recorded.position),
            type=type,
            version=int(version),
            subject_id=strawberry.ID(recorded.stream_id),
            recorded_at=instant_text(from_us(recorded.envelope.recorded_at_us)),
            actor=recorded.envelope.actor,
            hash=hash.hex(),
            recorded=recorded,
        )


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
        types: Annotated[
            list[str] | None,
            strawberry.argument(description="Only facts of these kinds, such as price.created."),
        ] = None,
    ) -> Connection[LedgerEvent]:
        page = Page.of(first, after, last, before)
        subject = None if subject_id is None else check_text(subject_id, ("subjectId",))
        wanted = None if types is None else _types(types)
        found = await info.context.read(
            lambda views: taken(partial(history.positions, views, subject, wanted), page)
        )
        events = await asyncio.to_thread(_events, info.context.ledger.store, found.entries)
        return connection(
            [(cursor_at(position), event) for position, event in events],
            has_next=found.has_next,
            has_previous=found.has_previous,
            count=lambda views: history.count(views, subject, wanted),
        )


def _types(types: list[str]) -> list[str]:
    """Kinds of facts that can be looked up. Raises `Rejected`."""
    if len(types) > TYPES_LIMIT:
        raise Rejected(Code.LIMIT_EXCEEDED, ("types",), f"at most {TYPES_LIMIT} types")
    return [check_text(type, ("types", str(index))) for index, type in enumerate(types)]


def _events(store: Store, positions: Sequence[int]) -> list[tuple[int, LedgerEvent]]:
    """The facts at these positions, with their hashes."""
    hashes = store.hashes(positions)
    recorded = [(position, store.at(position)) for position in positions]
    return [(at, LedgerEvent.of(one, hashes[at])) for at, one in recorded if one is not None]

"""Being told what happens: facts of the ledger in order, and how much is used by now.

A subscriber is a position in the ledger and nothing else. Whenever the ledger has moved it reads on
from there, a short page at a time, and only when the one before has been sent: whoever reads slowly
holds neither memory nor the writer.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, NamedTuple

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from app import facts
from app.ledger import Ledger
from app.schema.connections import Types
from app.schema.context import Info, existing
from app.schema.fields import subscription
from app.schema.ledger_events import Asked, LedgerEvent
from app.schema.scalars import BigIntText, PeriodInput
from app.schema.summaries import UsageSummary, summary_of
from domain import billing_calendar, periods
from domain.customers import Customer
from domain.decider import EVENTS, Code, Rejected
from domain.meters import Meter
from domain.periods import UsageWindow
from domain.subscriptions import Subscription
from projections import current, invoice_previews
from projections.tables import Views

PAGE_EVENTS = 20
"""The most facts that are read ahead for a subscriber."""
PAGE_BYTES = 65_536
"""How large they may be together: a batch of usage alone may have a mebibyte."""
SUBSCRIPTIONS_LIMIT = 100
"""How many subscriptions of a customer are searched for one that bills a meter."""

_LONGER_THAN_A_MONTH = timedelta(days=32)
_LONGEST_WAIT = timedelta(hours=1)


class Place(NamedTuple):
    """Facts read on from a position, and where the next ones are to be looked for."""

    events: Sequence[LedgerEvent]
    position: int
    at_end: bool


@strawberry.type(
    description="What can be followed: each answer comes when the ledger has something new."
)
class LiveUpdates:
    """What can be followed."""

    @subscription(
        description="Facts of the ledger in order, each once, as soon as they are recorded. Who "
        "was cut off goes on with the last position as `after` and misses nothing."
    )
    async def ledger_event_added(
        self,
        info: Info,
        after: Annotated[
            BigIntText | None,
            strawberry.argument(
                description="Begin with the facts after this position, 0 for all; left out, with "
                "what is recorded from now on."
            ),
        ] = None,
        types: Types = None,
        subject_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only the facts about this object."),
        ] = None,
    ) -> AsyncGenerator[LedgerEvent, None]:
        asked = Asked.of(info, subject_id=subject_id, types=types)
        for index, type in enumerate(types or ()):
            if type not in _known_types():
                message = f"there are no facts of the type {type}"
                raise Rejected(Code.INVALID_VALUE, ("types", str(index)), message)
        ledger = info.context.ledger
        head, _ = await asyncio.to_thread(ledger.store.head)
        return _added(ledger, asked, _position(after, head))

    @subscription(
        description="How much a customer has used on a meter by now: at once, and again whenever "
        "it has changed. Changes that come faster than they are read become one newest answer."
    )
    async def usage_changed(
        self,
        info: Info,
        meter_id: Annotated[strawberry.ID, strawberry.argument(description="The meter.")],
        customer_id: Annotated[strawberry.ID, strawberry.argument(description="The customer.")],
        period: Annotated[
            PeriodInput | None,
            strawberry.argument(
                description="The time asked for. Left out, the billing period that runs now: of "
                "the customer's first subscription with a price on the meter, or else the "
                "calendar month in the customer's time zone. The next one follows by itself."
            ),
        ] = None,
    ) -> AsyncGenerator[UsageSummary, None]:
        fixed = period.read(("period",)) if period else None
        ledger = info.context.ledger

        def check() -> None:
            with ledger.snapshot() as views:
                existing(views, Meter, meter_id, "meterId")
                existing(views, Customer, customer_id, "customerId")

        await asyncio.to_thread(check)
        return _changed(ledger, meter_id, customer_id, fixed)


def _known_types() -> set[str]:
    return {topic.partition("/")[0] for topic in EVENTS}


def _position(after: str | None, head: int) -> int:
    """Where a subscriber begins. Raises `Rejected` for a position that the ledger does not have."""
    if after is None:
        return head
    if not 0 <= int(after) <= head:
        # Perhaps an older copy of the ledger is served: to wait here would pass over facts of it.
        message = f"the ledger has the positions 1 to {head}"
        raise Rejected(Code.INVALID_VALUE, ("after",), message)
    return int(after)


async def _added(ledger: Ledger, asked: Asked, position: int) -> AsyncGenerator[LedgerEvent, None]:
    """The facts after a position, and from then on each as it is recorded."""
    with ledger.announcements.following() as board:
        while True:
            moving = board.moving()
            place = await board.read(
                (position, asked.subject, _key(asked.types)), _reading(ledger, asked, position)
            )
            for event in place.events:
                yield event
            position = place.position
            if place.at_end:
                await moving.wait()


def _key(types: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if types is None else tuple(types)


def _reading(ledger: Ledger, asked: Asked, after: int) -> Callable[[], Place]:
    """Reads the next facts after a position."""

    def read() -> Place:
        with ledger.snapshot() as views:
            fetch = asked.fetch(views)
            found = fetch(after=after, before=None, limit=PAGE_EVENTS, backwards=False)
            folded = views.checkpoint()
        events: list[LedgerEvent] = []
        size = 0
        for position in found:
            [fact] = facts.at(ledger.store, [position])
            size += len(fact.state)
            events.append(LedgerEvent.of(ledger.store, fact))
            if size > PAGE_BYTES:
                return Place(events, position, at_end=False)
        if len(found) == PAGE_EVENTS:
            return Place(events, found[-1], at_end=False)
        # Nothing up to here is left that was asked for; views made anew may be a little behind.
        return Place(events, max(after, folded, *found), at_end=True)

    return read


async def _changed(
    ledger: Ledger, meter_id: str, customer_id: str, fixed: periods.Period | None
) -> AsyncGenerator[UsageSummary, None]:
    """The summary now, and again each time that it is another one."""

    def read() -> tuple[periods.Period, UsageSummary]:
        with ledger.snapshot() as views:
            period = fixed or _running(views, meter_id, customer_id, ledger.clock.now())
            return period, summary_of(views, meter_id, customer_id, period)

    told: UsageSummary | None = None
    with ledger.announcements.following() as board:
        while True:
            moving = board.moving()
            period, summary = await board.read((meter_id, customer_id, fixed), read)
            if summary != told:
                yield summary
                told = summary
            await _wait(ledger, moving, None if fixed else period.end)


async def _wait(ledger: Ledger, moving: asyncio.Event, until: datetime | None) -> None:
    """Wait for the ledger to move, or for the end of a period that runs by the system's clock."""
    if until is None or ledger.clock.is_test:
        await moving.wait()
        return
    left = max(timedelta(), min(until - ledger.clock.now(), _LONGEST_WAIT))
    with suppress(TimeoutError):
        async with asyncio.timeout(left.total_seconds()):
            await moving.wait()


def _running(views: Views, meter_id: str, customer_id: str, now: datetime) -> periods.Period:
    """The billing period in which the meter's usage is billed to the customer by now.

    Without a subscription that bills it, the calendar month where the customer is.
    """
    keys = {"customerId": customer_id}
    for found in current.select(views, Subscription, keys, limit=SUBSCRIPTIONS_LIMIT):
        held: Subscription = found.state
        prices = invoice_previews.prices_of(views, held)
        for item in held.items_at(now):
            price = prices[item.price_id]
            if price.meter_id == meter_id:
                return billing_calendar.current_period(held, price, now)
    zone = existing(views, Customer, customer_id, "customerId").state.time_zone
    around = periods.Period(now - _LONGER_THAN_A_MONTH, now + _LONGER_THAN_A_MONTH)
    months = pairwise(periods.windows(around, UsageWindow.MONTH, zone, limit=10))
    return next(periods.Period(start, end) for start, end in months if start <= now < end)


class Streamed(SchemaExtension):
    """Refuses a subscription where only one answer can be given."""

    def on_execute(self) -> Iterator[None]:
        """Before the execution. Raises a `GraphQLError`."""
        asked = self.execution_context
        if asked.operation_type is OperationType.SUBSCRIPTION and not asked.context.streams:
            message = (
                "a subscription has many answers: ask over a websocket, or accept an event stream"
            )
            raise GraphQLError(message, extensions={"code": "NOT_STREAMED"})
        yield

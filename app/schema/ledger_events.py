"""The facts of the ledger as they are shown: each by itself, and in pages of what happened."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Self

import strawberry

from app import facts
from app.facts import Fact
from app.ledger import Ledger
from app.schema.connections import (
    After,
    Connection,
    Fetch,
    First,
    Page,
    Types,
    bad_cursor,
    connection,
    cursor_at,
    limit_of,
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
from app.schema.usage_records import UsageRecord, records_at
from app.store import Store
from domain.customers import Customer
from domain.decider import Code, Rejected
from domain.periods import from_us, parse_instant, to_us
from domain.text import check_text
from domain.usage import UsageRecorded
from projections import current, history, usage_batches
from projections.tables import Views

TYPES_LIMIT = 100
RECORDED = "usage.recorded"


@strawberry.type(description="A usage record where it stands in the ledger.")
class RecordedUsage:
    """A usage record of a batch as it is shown."""

    position: BigIntText = strawberry.field(description="The position of the batch.")
    row: int = strawberry.field(description="Which record of the batch it is, from 0.")
    record: UsageRecord = strawberry.field(
        description="The record: as it was sent, what it says since it was amended, and whether it "
        "was voided."
    )
    hash: str = strawberry.field(
        description="The chain's hash at the batch, in hexadecimal; it covers the record."
    )


@strawberry.type(description="A fact in the ledger; it never changes.")
class LedgerEvent:
    """A fact in the ledger as it is shown."""

    position: BigIntText = strawberry.field(description="Where in the ledger the fact stands.")
    type: str = strawberry.field(description="What kind of fact it is, such as price.created.")
    version: int = strawberry.field(description="Which version of its kind the data has.")
    subject_id: strawberry.ID = strawberry.field(description="The object the fact is about.")
    recorded_at: InstantText = strawberry.field(description="When the ledger recorded it.")
    actor: str | None = strawberry.field(description="Who caused it; null when unknown.")
    caused_by: BigIntText | None = strawberry.field(
        description="The position of the fact that led to this one in the same transaction, such "
        "as the subscription whose first invoice it is; null when none did."
    )
    idempotency_key: str | None = strawberry.field(
        description="The key that the command came with, or that due work is done under; null "
        "without one."
    )
    hash: str = strawberry.field(
        description="The chain's hash at this fact, in hexadecimal; it covers all facts before."
    )
    fact: strawberry.Private[Fact]

    @classmethod
    def of(cls, store: Store, fact: Fact) -> "LedgerEvent":
        """The fact as it is shown."""
        type, _, version = fact.newest_topic(store).partition("/")
        envelope = fact.envelope(store)
        cause = envelope.caused_by
        return cls(
            position=big_int(fact.position),
            type=type,
            version=int(version),
            subject_id=strawberry.ID(fact.originator_id),
            recorded_at=instant_text(from_us(envelope.recorded_at_us)),
            actor=envelope.actor,
            caused_by=None if cause is None else big_int(cause),
            idempotency_key=envelope.idempotency_key,
            hash=fact.hash.hex(),
            fact=fact,
        )

    @resolver(description="The fact itself.")
    async def data(self, info: Info) -> Json:
        # A batch of usage is large, and only some readers want to see it.
        context = info.context
        store = context.ledger.store
        return Json(await context.off_the_loop(lambda: as_json(self.fact.event(store))))

    @resolver(
        description="The usage records of a batch, in the order recorded, each with what became of "
        "it; null for a fact of another kind."
    )
    async def records(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[RecordedUsage] | None:
        if self.type != RECORDED:
            return None
        limit, start = limit_of(first, "first"), _row(after)
        context = info.context
        batch = await context.off_the_loop(partial(self.fact.event, context.ledger.store))
        assert isinstance(batch, UsageRecorded)
        count = batch.count
        rows = range(start, min(start + limit, count))
        shown = await records_at(info, self.fact.position, rows)
        return connection(
            [
                (
                    f"r{row}",
                    RecordedUsage(
                        position=self.position, row=row, record=shown[row], hash=self.hash
                    ),
                )
                for row in rows
            ],
            has_next=rows.stop < count,
            has_previous=start > 0,
            count=lambda _: count,
            bounded=True,
        )


def _row(cursor: str | None) -> int:
    """The row after a cursor; the first one without any. Raises `Rejected`."""
    if cursor is None:
        return 0
    digits = cursor.removeprefix("r")
    if not (cursor.startswith("r") and digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise bad_cursor("after")
    return int(digits) + 1


class Asked(NamedTuple):
    """Which facts are asked for; what is left out means any. Bounds are positions, exclusive."""

    subject: str | None = None
    also: str | None = None
    types: Sequence[str] | None = None
    after: int = 0
    before: int = history.ALL
    batches_of: str | None = None
    """The customer of whose usage records the batches are wanted, too."""

    @classmethod
    def of(
        cls,
        info: Info,
        *,
        subject_id: str | None = None,
        customer_id: str | None = None,
        types: list[str] | None = None,
        with_usage: bool = False,
    ) -> Self:
        """What the arguments mean, up to the moment that is asked about. Raises `Rejected`."""
        subject = None if subject_id is None else check_text(subject_id, ("subjectId",))
        customer = None if customer_id is None else check_text(customer_id, ("customerId",))
        until = info.context.until
        return cls(
            subject=subject or customer,
            also=customer if subject else None,
            types=None if types is None else _types(types),
            before=history.ALL if until is None else until + 1,
            batches_of=customer if with_usage else None,
        )

    def recorded(self, ledger: Ledger, since: str | None, until: str | None) -> Self:
        """Only those that were recorded in a time, which is a stretch of the ledger.

        Raises `Rejected`.
        """
        after, before = self.after, self.before
        if since is not None:
            at_us = to_us(parse_instant(since, ("recordedFrom",)))
            after = max(after, ledger.position_at(at_us - 1))
        if until is not None:
            at_us = to_us(parse_instant(until, ("recordedUntil",)))
            before = min(before, ledger.position_at(at_us - 1) + 1)
        return self._replace(after=after, before=before)

    def fetch(self, views: Views) -> Fetch[int]:
        """Reads the positions of these facts."""
        return partial(self._positions, views)

    def _positions(
        self,
        views: Views,
        *,
        after: int | None,
        before: int | None,
        limit: int,
        backwards: bool,
    ) -> list[int]:
        within = self._replace(
            after=max(self.after, after or 0),
            before=self.before if before is None else min(self.before, before),
        )
        places = history.positions(
            views,
            self.subject,
            self.types,
            also=self.also,
            after=within.after,
            before=within.before,
            limit=limit,
            backwards=backwards,
        )
        batches = within._batches(views, limit, backwards=backwards)
        return sorted({*places, *batches}, reverse=backwards)[:limit]

    def count(self, views: Views) -> int:
        """How many facts these are."""
        bounds = {"after": self.after, "before": self.before}
        found = history.count(views, self.subject, self.types, also=self.also, **bounds)
        return found + len(self._batches(views, -1))

    def _batches(self, views: Views, limit: int, *, backwards: bool = False) -> list[int]:
        """Where the batches stand that hold records of the customer."""
        if self.batches_of is None or (self.types is not None and RECORDED not in self.types):
            return []
        customer = current.find(views, Customer, self.batches_of)
        if customer is None:
            return []
        look = partial(usage_batches.holding, views, customer)
        if self.also is None:
            return look(after=self.after, before=self.before, limit=limit, backwards=backwards)
        theirs = history.positions(
            views, self.subject, [RECORDED], after=self.after, before=self.before, limit=-1
        )
        return [at for at in theirs if look(after=at - 1, before=at + 1, limit=1)]


def _types(types: list[str]) -> list[str]:
    """Kinds of facts that can be looked up. Raises `Rejected`."""
    if len(types) > TYPES_LIMIT:
        raise Rejected(Code.LIMIT_EXCEEDED, ("types",), f"at most {TYPES_LIMIT} types")
    return [check_text(type, ("types", str(index))) for index, type in enumerate(types)]


async def event_at(info: Info, position: int) -> LedgerEvent:
    """The fact at a position that has one."""
    context = info.context
    [event] = await context.off_the_loop(partial(_events, context.ledger.store, [position]))
    return event


async def event_page(info: Info, page: Page, asked: Asked) -> Connection[LedgerEvent]:
    """A page of facts in the order in which they were recorded."""
    return await _page(info, page, asked.fetch, asked.count)


async def record_history(
    info: Info, page: Page, happened: Sequence[tuple[int, str]], types: Types
) -> Connection[LedgerEvent]:
    """A page of what happened to one usage record: (position, type) of each fact, in order."""
    wanted = None if types is None else _types(types)
    places = [at for at, type in happened if wanted is None or type in wanted]

    def read(*, after: int | None, before: int | None, limit: int, backwards: bool) -> list[int]:
        end = history.ALL if before is None else before
        between = [at for at in places if (after or 0) < at < end]
        return list(islice(reversed(between) if backwards else between, limit))

    return await _page(info, page, lambda _: read, lambda _: len(places))


async def _page(
    info: Info,
    page: Page,
    fetch: Callable[[Views], Fetch[int]],
    count: Callable[[Views], int],
) -> Connection[LedgerEvent]:
    context = info.context
    found = await context.read(lambda views: taken(fetch(views), page), bounded=True)
    shown = await context.off_the_loop(partial(_events, context.ledger.store, found.entries))
    return connection(
        [(cursor_at(event.fact.position), event) for event in shown],
        has_next=found.has_next,
        has_previous=found.has_previous,
        count=count,
        bounded=True,
    )


def _events(store: Store, positions: Sequence[int]) -> list[LedgerEvent]:
    """The facts at these positions, with their hashes."""
    return [LedgerEvent.of(store, fact) for fact in facts.at(store, positions)]

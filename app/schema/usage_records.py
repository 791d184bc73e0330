"""What was used, record by record: usage records, and how to list them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated

import strawberry

from app.schema.as_of import AsKnown, go_back, stream_until
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Page,
    Types,
)
from app.schema.context import Info, existing
from app.schema.customers import Customer
from app.schema.fields import resolver
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    InstantText,
    Json,
    PeriodInput,
    big_int,
    described,
    instant_text,
)
from app.schema.usage_pages import page_of
from app.sent_records import SentRecords
from app.store import Store
from domain import customers, meters
from domain.periods import from_us, to_us
from domain.usage import RecordInput, UsageRecorded, identifiable
from projections import as_of, current, usage_corrections, usage_records
from projections.tables import Views
from projections.usage_corrections import Noted
from projections.usage_records import Listed, Place, Wanted

if TYPE_CHECKING:
    from app.schema.ledger_events import LedgerEvent


class State(StrEnum):
    """What has become of a usage record since it was recorded."""

    COUNTED = "COUNTED"
    UNMATCHED = "UNMATCHED"
    AMENDED = "AMENDED"
    VOIDED = "VOIDED"


class CorrectionKind(StrEnum):
    """What a correction did to a usage record."""

    AMENDED = "AMENDED"
    VOIDED = "VOIDED"


described(
    State,
    "What has become of a usage record since it was recorded.",
    name="UsageRecordState",
    COUNTED="It has a meter and a customer, counts as it was sent, and was never corrected.",
    UNMATCHED="It waits for a meter that reads it or for its customer.",
    AMENDED="It has a meter and a customer, and counts as it was last amended.",
    VOIDED="It does not count, and never will again.",
)
described(
    CorrectionKind,
    "What a correction did to a usage record.",
    name="UsageCorrectionKind",
    AMENDED="From then on it says something else.",
    VOIDED="From then on it does not count.",
)


@strawberry.type(description="A correction of a usage record; like the record, it stays for ever.")
class UsageCorrection:
    """A correction of a usage record as it is shown."""

    kind: CorrectionKind = strawberry.field(description="What it did.")
    value: DecimalText | None = strawberry.field(
        description="How much was used, as it was amended; null when it was voided."
    )
    properties: Json | None = strawberry.field(
        description="The other properties, as they were amended; null when it was voided."
    )
    reason: str | None = strawberry.field(description="Why, in the words of whoever did it.")
    actor: str | None = strawberry.field(description="Who did it; null when unknown.")
    recorded_at: InstantText = strawberry.field(description="When the ledger recorded it.")
    position: BigIntText = strawberry.field(description="The ledger position that holds it.")

    @property
    def topic(self) -> str:
        """The type of the fact."""
        return f"usage.{self.kind.value.lower()}"

    @classmethod
    def of(cls, noted: Noted) -> "UsageCorrection":
        """The correction as it is shown."""
        return cls(
            kind=CorrectionKind.VOIDED if noted.voided else CorrectionKind.AMENDED,
            value=_decimal(noted.value),
            properties=None if noted.voided else Json(noted.properties),
            reason=noted.reason,
            actor=noted.actor,
            recorded_at=instant_text(from_us(noted.recorded_at_us)),
            position=big_int(noted.position),
        )


@strawberry.type(description="A record of something used; it is counted exactly once.")
class UsageRecord:
    """A usage record as it is shown."""

    id: str = strawberry.field(description="Its identity within its source.")
    source: str = strawberry.field(description="Who sent it.")
    event_name: str = strawberry.field(description="What was used, as meters know it.")
    customer: Customer | None = strawberry.field(
        description="Who used it; null while nobody has the id it names."
    )
    timestamp: InstantText = strawberry.field(description="When it was used.")
    value: DecimalText | None = strawberry.field(
        description="How much was used, as it was last amended."
    )
    properties: Json = strawberry.field(
        description="Its other properties, by name, as they were last amended."
    )
    state: State = strawberry.field(description="Whether it is counted.")
    position: BigIntText = strawberry.field(description="The ledger position that holds it.")
    row: int = strawberry.field(
        description="Which of the records at that position it is, counted from 0."
    )
    hash: str = strawberry.field(
        description="The chain's hash at that position, in hexadecimal; it covers the record."
    )
    recorded_at: InstantText = strawberry.field(description="When the ledger recorded it.")
    original_value: DecimalText | None = strawberry.field(
        description="How much was used, as it was sent."
    )
    original_properties: Json = strawberry.field(
        description="Its other properties, by name, as they were sent."
    )
    corrections: list[UsageCorrection] = strawberry.field(
        description="How it was corrected, the first correction first; empty when it never was."
    )

    @resolver(
        description="What happened to it, in the order recorded: the batch that it came in, and "
        "its corrections."
    )
    async def history(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        types: Types = None,
    ) -> Connection[Annotated["LedgerEvent", strawberry.lazy("app.schema.ledger_events")]]:
        # A batch shows its records, and a record its batch: one has to import the other late.
        from app.schema.ledger_events import RECORDED, record_history

        page = Page.of(first, after, last, before)
        happened = [(int(self.position), RECORDED)]
        happened += [(int(one.position), one.topic) for one in self.corrections]
        return await record_history(info, page, happened, types)


class Showing:
    """Shows the usage records of one answer; reads each batch and each customer once."""

    def __init__(self, views: Views, store: Store) -> None:
        self._views = views
        self._sent = SentRecords(store)
        self._customer = cache(self._find_customer)

    def show(self, position: int, row: int, *, waiting: bool) -> UsageRecord:
        """The record at a place of the ledger as it is shown."""
        sent = self._sent.at(position, row)
        record = sent.record
        noted = usage_corrections.of(self._views, position, row)
        amended = [one for one in noted if not one.voided]
        now = amended[-1] if amended else record
        return UsageRecord(
            id=record.id,
            source=record.source,
            event_name=record.event_name,
            customer=self._customer(record.customer),
            timestamp=instant_text(from_us(record.timestamp_us)),
            value=_decimal(now.value),
            properties=Json(now.properties),
            state=_state(noted, waiting),
            position=big_int(position),
            row=row,
            hash=sent.hash.hex(),
            recorded_at=instant_text(from_us(sent.envelope.recorded_at_us)),
            original_value=_decimal(record.value),
            original_properties=Json(record.properties),
            corrections=[UsageCorrection.of(one) for one in noted],
        )

    def _find_customer(self, key: str) -> Customer | None:
        ref = usage_records.customer_ref(self._views, key)
        state = None if ref is None else current.at(self._views, customers.Customer, ref)
        return Customer.of(state) if state else None


def _decimal(value: str | None) -> DecimalText | None:
    return None if value is None else DecimalText(value)


def _state(noted: Sequence[Noted], waiting: bool) -> State:
    """What has become of a record with these corrections."""
    if noted and noted[-1].voided:
        return State.VOIDED
    if waiting:
        return State.UNMATCHED
    return State.AMENDED if noted else State.COUNTED


def record_page(
    showing: Showing,
    records: Callable[[Place], Iterator[Listed]],
    first: int | None,
    after: str | None,
    count: Callable[[Views], int],
    *,
    customer: str | None = None,
) -> Connection[UsageRecord]:
    """A page of usage records; `records` reads them in the order of time after a place.

    `customer` is whose they are, if that is known. Raises `Rejected` naming the argument that is
    wrong.
    """

    def show(one: Listed) -> UsageRecord:
        return showing.show(one.position, one.row, waiting=one.waiting)

    return page_of(show, records, first, after, count, customer=customer)


@strawberry.type
class UsageRecordQueries:
    """Asking for usage records."""

    @resolver(description="Usage records, voided ones too, in the order in which they happened.")
    async def usage_records(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        meter_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only those of the name that this meter reads."),
        ] = None,
        customer_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this customer.")
        ] = None,
        period: Annotated[
            PeriodInput | None, strawberry.argument(description="Only those of this period.")
        ] = None,
        state: Annotated[
            State | None, strawberry.argument(description="Only those in this state.")
        ] = None,
    ) -> Connection[UsageRecord]:
        voided = state in {None, State.VOIDED}

        def look_up(views: Views) -> Connection[UsageRecord]:
            wanted = _wanted(views, meter_id, customer_id, period, state)
            return record_page(
                Showing(views, info.context.ledger.store),
                lambda place: usage_corrections.listed(views, wanted, place, voided=voided),
                first,
                after,
                lambda later: usage_corrections.count(later, wanted, voided=voided),
            )

        return await info.context.read(look_up)

    @resolver(description="The usage record with this identity; null when there is none.")
    async def usage_record(
        self,
        info: Info,
        id: Annotated[str, strawberry.argument(description="The id that its sender gave it.")],
        source: Annotated[str | None, strawberry.argument(description="Who sent it.")] = "default",
        as_of: AsKnown = None,
    ) -> UsageRecord | None:
        store = info.context.ledger.store
        sender = "default" if source is None else source
        await go_back(info, as_of)
        until = info.context.until
        if until is None:
            return await info.context.read(lambda views: record_of(views, store, sender, id))
        place = await asyncio.to_thread(_place_of, store, sender, id)
        if place is None or place[0] > until:
            return None
        position, row = place
        return (await records_at(info, position, [row]))[row]


def _wanted(
    views: Views,
    meter_id: str | None,
    customer_id: str | None,
    period: PeriodInput | None,
    state: State | None,
) -> Wanted:
    """The records that the arguments mean. Raises `Rejected` for ids that name nothing."""
    meter = None if meter_id is None else existing(views, meters.Meter, meter_id, "meterId")
    customer = (
        None
        if customer_id is None
        else existing(views, customers.Customer, customer_id, "customerId")
    )
    asked = None if period is None else period.read(("period",))
    return Wanted(
        meter=usage_records.meters_over(views, meter.state.event_name)[0] if meter else None,
        customer=customer,
        start_us=to_us(asked.start) if asked else 0,
        end_us=to_us(asked.end) if asked else 2**62,
        matched=state in {None, State.COUNTED, State.AMENDED},
        waiting=state in {None, State.UNMATCHED},
        amended=None if state is None else state is State.AMENDED,
    )


async def records_at(info: Info, position: int, rows: Sequence[int]) -> Mapping[int, UsageRecord]:
    """Some records of the batch at a position by their rows, as known now or at the moment asked.

    What is known of them then is folded from the facts about them, their meters and customers.
    """
    ledger, until = info.context.ledger, info.context.until
    store = ledger.store

    def show(views: Views) -> Mapping[int, UsageRecord]:
        showing, waiting = Showing(views, store), partial(usage_records.is_waiting, views)
        return {row: showing.show(position, row, waiting=waiting(position, row)) for row in rows}

    def look_up(views: Views) -> Mapping[int, UsageRecord]:
        if until is None:
            return show(views)
        batch = store.at(position)
        assert batch is not None, f"the ledger has no position {position}"
        assert isinstance(batch.event, UsageRecorded)
        placed = [(position, row, batch.event.record(row)) for row in rows]
        stream = stream_until(ledger, until)
        with as_of.records_known(views, store.at, stream, placed, until) as then:
            return show(then)

    return await info.context.read(look_up, bounded=True)


def _place_of(store: Store, source: str, id: str) -> tuple[int, int] | None:
    """Where the record with this identity stands, if there is one."""
    offered = RecordInput(id=id, source=source, event_name="", customer="")
    return store.identity(source, id) if identifiable(offered) else None


def record_of(views: Views, store: Store, source: str, id: str) -> UsageRecord | None:
    """The record with this identity, if the views have seen it."""
    place = _place_of(store, source, id)
    if place is None or place[0] > views.checkpoint():
        return None
    return Showing(views, store).show(*place, waiting=usage_records.is_waiting(views, *place))

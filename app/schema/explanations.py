"""Why a line says what it says: its parts, the facts behind them, and its usage records."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import strawberry

from app import explained as words
from app.schema.connections import After, Connection, First
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.ledger_events import LedgerEvent, event_at
from app.schema.meters import MeterVersion
from app.schema.pricing import PricingStep
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    Money,
    Period,
    big_int,
    decimal_text,
    money,
    optional_decimal,
)
from app.schema.shares import TimeShare
from app.schema.usage_pages import page_of
from app.schema.usage_records import Showing, UsageRecord
from domain.adjustments import Charged
from projections import explanations, rated_again
from projections.explanations import Again, Explaining, Invoiced, Parts
from projections.meter_summaries import Question
from projections.rated_again import Measured
from projections.tables import Views
from projections.usage_records import Listed

T = TypeVar("T")


@strawberry.type(description="A version of a meter that measured usage of a line.")
class MeterInForce:
    """A version of a meter in the time of a line, as it is shown."""

    meter_id: strawberry.ID = strawberry.field(description="The meter.")
    version: MeterVersion = strawberry.field(description="How it measured then.")
    period: Period = strawberry.field(description="The part of the line's time that it measured.")
    made_at: strawberry.Private[int]

    @classmethod
    def of(cls, state: explanations.MeterInForce) -> "MeterInForce":
        """The version as it is shown."""
        return cls(
            meter_id=strawberry.ID(state.meter_id),
            version=MeterVersion.of(state.version),
            period=Period.of(state.period),
            made_at=state.position,
        )

    @resolver(description="The fact that made this version.")
    async def event(self, info: Info) -> LedgerEvent:
        return await event_at(info, self.made_at)


@strawberry.type(description="What an invoice had billed for a period that is rated again.")
class ChargedLine:
    """An earlier line for the same period as it is shown."""

    line_id: strawberry.ID = strawberry.field(description="The line.")
    invoice_number: str = strawberry.field(description="The number of its invoice.")
    quantity: DecimalText = strawberry.field(description="How much it charged.")
    exact_amount: DecimalText = strawberry.field(description="Its amount before it was rounded.")
    amount: Money = strawberry.field(description="What it asked.")

    @classmethod
    def of(cls, charged: Charged, currency: str) -> "ChargedLine":
        """The line as it is shown."""
        return cls(
            line_id=strawberry.ID(charged.line.id),
            invoice_number=charged.number,
            quantity=decimal_text(charged.line.quantity),
            exact_amount=decimal_text(charged.line.exact),
            amount=money(charged.line.amount, currency),
        )


@strawberry.type(description="What a meter read in a period, counted record by record.")
class MeterReading:
    """What a meter read as it is shown."""

    period: Period = strawberry.field(description="The period.")
    quantity: DecimalText = strawberry.field(description="How much is billed of it, never below 0.")
    record_count: BigIntText = strawberry.field(description="How many records it is made of.")
    carried_over: DecimalText = strawberry.field(
        description="The level with which the period began."
    )
    imagined_count: int = strawberry.field(
        description="How many more records there are that were never sent, in a preview."
    )

    @classmethod
    def of(cls, measured: Measured) -> "MeterReading":
        """The reading as it is shown."""
        return cls(
            period=Period.of(measured.period),
            quantity=decimal_text(measured.reading.quantity),
            record_count=big_int(measured.count),
            carried_over=decimal_text(measured.carried),
            imagined_count=measured.imagined,
        )


@strawberry.type(description="A part of a line, rated again from its usage records.")
class RatedPart:
    """A part of a line rated again, as it is shown."""

    period: Period = strawberry.field(description="The time that is charged.")
    quantity: DecimalText = strawberry.field(description="How much is charged.")
    exact_amount: DecimalText = strawberry.field(description="The amount before it is rounded.")
    amount: Money = strawberry.field(description="The amount, rounded.")
    steps: list[PricingStep] = strawberry.field(description="How the amount came about.")
    usage: MeterReading | None = strawberry.field(
        description="What the meter read, since tiers and allowances began; null for a licence."
    )
    settled: MeterReading | None = strawberry.field(
        description="What of that an earlier version of the price settled; null without one."
    )

    @classmethod
    def of(cls, part: rated_again.Rated, currency: str) -> "RatedPart":
        """The part as it is shown."""
        return cls(
            period=Period.of(part.line.period),
            quantity=decimal_text(part.line.quantity),
            exact_amount=decimal_text(part.line.exact),
            amount=money(part.line.amount, currency),
            steps=[PricingStep.of(step) for step in part.line.steps],
            usage=MeterReading.of(part.usage) if part.usage else None,
            settled=MeterReading.of(part.settled) if part.settled else None,
        )


@strawberry.type(description="A line made again from its parts, record by record.")
class LineCheck:
    """A line made again as it is shown."""

    holds: bool = strawberry.field(
        description="Whether the line says just this: quantity, steps, exact amount and amount."
    )
    quantity: DecimalText | None = strawberry.field(
        description="The quantity, from the records; null if its parts make no such line any more."
    )
    exact_amount: DecimalText | None = strawberry.field(
        description="The sum of the steps; null if its parts make no such line any more."
    )
    amount: Money | None = strawberry.field(
        description="The amount, rounded; null if its parts make no such line any more."
    )
    parts: list[RatedPart] = strawberry.field(
        description="What was rated for it; of an adjustment, each part of the period as it was "
        "known by then."
    )
    sentences: list[str] = strawberry.field(description="The same in words.")

    @classmethod
    def of(cls, again: Again, parts: Parts, currency: str, zone: str) -> "LineCheck":
        """The line made again as it is shown."""
        made = again.line
        return cls(
            holds=again.holds,
            quantity=decimal_text(made.quantity) if made else None,
            exact_amount=decimal_text(made.exact) if made else None,
            amount=money(made.amount, currency) if made else None,
            parts=[RatedPart.of(part, currency) for part in again.rated],
            sentences=[*words.of_again(again, parts, currency, zone)],
        )


@strawberry.type(description="A usage record as a line counts it.")
class CountedRecord:
    """A usage record as a line counts it, as it is shown."""

    value: DecimalText | None = strawberry.field(
        description="The number that was counted, as it was known then; null where records, or "
        "different texts, are counted."
    )
    text: str | None = strawberry.field(
        description="What the record said, where that is not read as a number."
    )
    record: UsageRecord = strawberry.field(
        description="The record as it stands now, with where the ledger holds it."
    )


@strawberry.type(description="Why a line says what it says, as known when it was computed.")
class LineExplanation:
    """An explanation as it is shown."""

    sentences: list[str] = strawberry.field(
        description="Where the line comes from, in words; dates are those of the customer."
    )
    meters: list[MeterInForce] = strawberry.field(
        description="How its usage was measured, in the order of time; empty for a licence."
    )
    shares: list[TimeShare] = strawberry.field(
        description="The part of a period that a licence is for; then, of a credit, the part of "
        "that which is given back. Empty for a whole period."
    )
    charged: list[ChargedLine] = strawberry.field(
        description="What invoices had billed for the period that an adjustment rates again."
    )
    parts: strawberry.Private[Parts]
    invoiced: strawberry.Private[Invoiced]
    index: strawberry.Private[int]

    @resolver(
        description="The fact that made the version of the price; null without a price, and when "
        "several versions were in force."
    )
    async def price_event(self, info: Info) -> LedgerEvent | None:
        return await _event_if_any(info, self.parts.price_at)

    @resolver(
        description="The fact behind the line: what set the terms of a licence, or ended those "
        "that are credited, or the one-off item. Null for usage, and in a preview of a change."
    )
    async def event(self, info: Info) -> LedgerEvent | None:
        return await _event_if_any(info, self.parts.made_at)

    @resolver(
        description="The usage records that made the quantity, in time order: those of the line's "
        "period, as they were known; of an adjustment, all that are rated again."
    )
    async def records(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[CountedRecord]:
        store, customer = info.context.ledger.store, self.invoiced.statement.customer_id

        def page(views: Views) -> Connection[CountedRecord]:
            explaining = Explaining(views, store.at, self.invoiced)
            show = partial(_counted, explaining.asked(self.index), Showing(views, store))
            with explaining.counted(self.index) as records:
                return page_of(show, records, first, after, count, customer=customer)

        def count(later: Views) -> int:
            return Explaining(later, store.at, self.invoiced).count(self.index)

        return await info.context.read(page, customer=customer)

    @resolver(
        description="The line made again from its parts: as much work as there are records behind "
        "it."
    )
    async def check(self, info: Info) -> LineCheck:
        said = self.invoiced.statement
        again = await _read(info, self.invoiced, lambda one: one.again(self.index), usage=True)
        return LineCheck.of(again, self.parts, said.currency, said.billed_to.time_zone)


async def explained(info: Info, invoiced: Invoiced, index: int) -> LineExplanation:
    """The explanation of a line of an invoice."""
    parts = await _read(info, invoiced, lambda one: one.parts(index), usage=False)
    said = invoiced.statement
    return LineExplanation(
        sentences=[*words.of_parts(parts, said.currency, said.billed_to.time_zone)],
        meters=[MeterInForce.of(one) for one in parts.meters],
        shares=[TimeShare.of(one) for one in parts.shares],
        charged=[ChargedLine.of(one, said.currency) for one in parts.charged],
        parts=parts,
        invoiced=invoiced,
        index=index,
    )


async def _read(
    info: Info, invoiced: Invoiced, function: Callable[[Explaining], T], *, usage: bool
) -> T:
    """What a function says of an invoice, off the event loop.

    At an earlier moment it reads the customer's views of then, which know whatever the invoice was
    computed from; `usage` says whether that is also asked about.
    """
    fact_at, customer = info.context.ledger.store.at, invoiced.statement.customer_id
    return await info.context.read(
        lambda views: function(Explaining(views, fact_at, invoiced)), customer=customer, usage=usage
    )


def _counted(asked: Question | None, showing: Showing, record: Listed) -> CountedRecord:
    """A record with what the meter read of it."""
    sample = asked.counts(record) if asked else None
    assert sample is not None, f"the record at {record.place} is counted"
    return CountedRecord(
        value=optional_decimal(sample.value),
        text=sample.text if sample.value is None else None,
        record=showing.show(record.position, record.row, waiting=False),
    )


async def _event_if_any(info: Info, position: int | None) -> LedgerEvent | None:
    return None if position is None else await event_at(info, position)

"""What is owed, one by one: the lines of an invoice, their steps, and the records behind them."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeAlias

import strawberry

from app.ledger import Ledger
from app.schema.connections import After, Connection, First
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.price_versions import PriceVersion
from app.schema.prices import Price
from app.schema.pricing import PricingStep
from app.schema.scalars import (
    DecimalText,
    Money,
    Period,
    decimal_text,
    described,
    money,
)
from app.schema.usage_records import Showing, UsageRecord, record_page
from domain import customers, prices
from domain.periods import to_us
from domain.rating import LineKind
from domain.statements import IssuedLine, Statement
from projections import (
    billed_usage,
    current,
    invoice_previews,
    late_usage,
    meter_summaries,
    usage_records,
)
from projections.meter_summaries import Question
from projections.tables import Views
from projections.usage_records import Listed, Place, Wanted

described(
    LineKind,
    "Why a line stands on an invoice.",
    name="InvoiceLineKind",
    RECURRING="A licence for a period.",
    USAGE="What a meter counted in a period.",
    PRORATION="A licence for the rest of a period in which it changed, or a credit for it.",
    ADJUSTMENT="The difference that usage makes which came late, for a period billed before.",
    ONE_OFF="Something that is billed, or credited, once.",
)


RatedBy: TypeAlias = Mapping[str, prices.Price]
"""The prices that lines were rated by, by their ids."""


def price_ids(statement: Statement) -> list[str]:
    """The ids of the prices that the lines of a statement were rated by."""
    return sorted({line.price_id for line in statement.lines if line.price_id is not None})


def prices_of(views: Views, statement: Statement) -> RatedBy:
    """The prices that the lines of a statement were rated by."""
    found = {id: current.get(views, prices.Price, id) for id in price_ids(statement)}
    return {id: price for id, price in found.items() if price is not None}


@strawberry.type(description="One line of an invoice.")
class InvoiceLine:
    """One line of an invoice as it is shown."""

    id: strawberry.ID = strawberry.field(description="The line's id, unique on all invoices.")
    kind: LineKind = strawberry.field(description="Why it stands on the invoice.")
    description: str = strawberry.field(description="What is charged, in words.")
    subscription_item_id: strawberry.ID | None = strawberry.field(
        description="The item of the subscription it is for; null for what has no price."
    )
    period: Period = strawberry.field(description="The time that is charged.")
    quantity: DecimalText | None = strawberry.field(description="How much is charged.")
    adjusts_invoice_id: strawberry.ID | None = strawberry.field(
        description="The invoice of which an adjustment rates a period again; else null."
    )
    amount: Money = strawberry.field(description="What is owed, rounded once.")
    exact_amount: DecimalText = strawberry.field(description="The amount before it was rounded.")
    steps: list[PricingStep] = strawberry.field(description="How the amount came about.")
    line: strawberry.Private[IssuedLine]
    statement: strawberry.Private[Statement]
    issued: strawberry.Private[bool]
    rated_by: strawberry.Private[prices.Price | None]

    @classmethod
    def of(
        cls, line: IssuedLine, statement: Statement, price: prices.Price | None, *, issued: bool
    ) -> "InvoiceLine":
        """The line as it is shown, with the price that it was rated by."""
        return cls(
            id=strawberry.ID(line.id),
            kind=line.kind,
            description=line.description,
            subscription_item_id=strawberry.ID(line.item_id) if line.item_id else None,
            period=Period.of(line.period),
            quantity=decimal_text(line.quantity),
            adjusts_invoice_id=strawberry.ID(line.adjusts) if line.adjusts else None,
            amount=money(line.amount, statement.currency),
            exact_amount=decimal_text(line.exact),
            steps=[PricingStep.of(step) for step in line.steps],
            line=line,
            statement=statement,
            issued=issued,
            rated_by=price,
        )

    @classmethod
    def all_of(
        cls, statement: Statement, rated_by: RatedBy, *, issued: bool
    ) -> list["InvoiceLine"]:
        """The lines of a statement as they are shown, with the prices by their ids."""
        return [
            cls.of(line, statement, rated_by.get(line.price_id or ""), issued=issued)
            for line in statement.lines
        ]

    @resolver(description="The price it was rated by; null for what has none.")
    def price(self) -> Price | None:
        return Price.of(self.rated_by) if self.rated_by else None

    @resolver(description="The version of the price that was in force; null for what has none.")
    def price_version(self) -> PriceVersion | None:
        state, number = self.rated_by, self.line.price_version
        return PriceVersion.of(state.version(number)) if state and number else None

    @resolver(
        description="The usage records behind the line, in time order; none behind a licence. "
        "Behind an issued line, those that had been recorded when it was issued; behind an "
        "adjustment, those that came late or were corrected."
    )
    async def usage(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[UsageRecord]:
        ledger = info.context.ledger
        state = self.rated_by

        def look_up(views: Views) -> Connection[UsageRecord]:
            return self._usage(ledger, views, state, first, after)

        return await info.context.read(look_up, customer=self.statement.customer_id)

    def _usage(
        self,
        ledger: Ledger,
        views: Views,
        price: prices.Price | None,
        first: int | None,
        after: str | None,
    ) -> Connection[UsageRecord]:
        """The records that the line's meter counted for its customer in its period."""
        showing, customer = Showing(views, ledger.store), self.statement.customer_id
        if price is None or not price.metered:
            return record_page(
                showing, lambda _: iter(()), first, after, lambda _: 0, customer=customer
            )
        if self.line.adjusts is not None:
            return self._causes(ledger, views, first, after)
        asked = invoice_previews.question(views, price, customer)

        def count(later: Views) -> int:
            if self.issued:
                return sum(1 for _ in self._counted(later, asked, usage_records.BEGINNING))
            return meter_summaries.quantity(later, asked, self.line.period).count

        return record_page(
            showing,
            lambda place: self._counted(views, asked, place),
            first,
            after,
            count,
            customer=customer,
        )

    def _causes(
        self, ledger: Ledger, views: Views, first: int | None, after: str | None
    ) -> Connection[UsageRecord]:
        """The records for which an adjustment is made."""
        billed = billed_usage.adjusted_by(views, self.line)
        assert billed is not None, f"{self.line.id} adjusts what was billed"
        invoice_id = self.line.id.rpartition("_")[0] if self.issued else None

        def causes(later: Views, place: Place = usage_records.BEGINNING) -> Iterator[Listed]:
            return late_usage.causes(later, billed, invoice_id, place)

        def count(later: Views) -> int:
            return sum(1 for _ in causes(later))

        showing, customer = Showing(views, ledger.store), self.statement.customer_id
        return record_page(showing, partial(causes, views), first, after, count, customer=customer)

    def _counted(self, views: Views, asked: Question, after: Place) -> Iterator[Listed]:
        """The records after a place; behind an issued line, none that was recorded later."""
        wanted = Wanted(
            meter=asked.meters[0],
            customer=current.find(views, customers.Customer, self.statement.customer_id),
            start_us=to_us(self.line.period.start),
            end_us=to_us(self.line.period.end),
            waiting=False,
        )
        for record in usage_records.listed(views, wanted, after):
            in_time = not self.issued or record.position <= self.statement.position
            if in_time and asked.counts(record) is not None:
                yield record

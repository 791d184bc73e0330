"""What is owed, one by one: the lines of an invoice, their steps, and the records behind them."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeAlias

import strawberry

from app.ledger import Ledger
from app.schema.connections import After, Connection, First
from app.schema.context import Info
from app.schema.explanations import LineExplanation, explained
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
from domain import prices
from domain.rating import LineKind
from domain.statements import IssuedLine, Statement
from projections.explanations import Explaining, Invoiced
from projections.tables import Views
from projections.usage_records import BEGINNING, Listed, Place

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


def prices_of(views: Views, invoiced: Invoiced) -> RatedBy:
    """The prices that the lines of an invoice were rated by; one of them may only be supposed."""
    ids = price_ids(invoiced.statement)
    return {id: invoiced.supposed.price_of(views, id) for id in ids}


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
    index: strawberry.Private[int]
    invoiced: strawberry.Private[Invoiced]
    rated_by: strawberry.Private[prices.Price | None]

    @classmethod
    def all_of(cls, invoiced: Invoiced, rated_by: RatedBy) -> list["InvoiceLine"]:
        """The lines of an invoice as they are shown, with the prices by their ids."""
        return [
            cls._of(invoiced, index, rated_by.get(line.price_id or ""))
            for index, line in enumerate(invoiced.statement.lines)
        ]

    @classmethod
    def _of(cls, invoiced: Invoiced, index: int, price: prices.Price | None) -> "InvoiceLine":
        """The line as it is shown, with the price that it was rated by."""
        line = invoiced.statement.lines[index]
        return cls(
            id=strawberry.ID(line.id),
            kind=line.kind,
            description=line.description,
            subscription_item_id=strawberry.ID(line.item_id) if line.item_id else None,
            period=Period.of(line.period),
            quantity=decimal_text(line.quantity),
            adjusts_invoice_id=strawberry.ID(line.adjusts) if line.adjusts else None,
            amount=money(line.amount, invoiced.statement.currency),
            exact_amount=decimal_text(line.exact),
            steps=[PricingStep.of(step) for step in line.steps],
            line=line,
            index=index,
            invoiced=invoiced,
            rated_by=price,
        )

    @resolver(description="The price it was rated by; null for what has none.")
    def price(self) -> Price | None:
        return Price.of(self.rated_by) if self.rated_by else None

    @resolver(description="The version of the price that was in force; null for what has none.")
    def price_version(self) -> PriceVersion | None:
        state, number = self.rated_by, self.line.price_version
        return PriceVersion.of(state.version(number)) if state and number else None

    @resolver(
        description="The usage records behind the line, in time order; none behind a licence. "
        "Behind an issued line, those that had been recorded when it was issued, also if they "
        "were voided since; behind an adjustment, those that came late or were corrected."
    )
    async def usage(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[UsageRecord]:
        ledger = info.context.ledger
        page = self._usage if self.line.adjusts is None else self._causes

        def look_up(views: Views) -> Connection[UsageRecord]:
            return page(ledger, views, first, after)

        customer = self.invoiced.statement.customer_id
        return await info.context.read(look_up, customer=customer)

    @resolver(
        description="Why it says what it says: its parts, down to the facts and the usage records."
    )
    async def explanation(self, info: Info) -> LineExplanation:
        return await explained(info, self.invoiced, self.index)

    def _usage(
        self, ledger: Ledger, views: Views, first: int | None, after: str | None
    ) -> Connection[UsageRecord]:
        """The records that the line's meter counted for its customer in its period."""
        invoiced, event_at = self.invoiced, ledger.store.at
        customer = invoiced.statement.customer_id

        def count(later: Views) -> int:
            return Explaining(later, event_at, invoiced).count(self.index)

        with Explaining(views, event_at, invoiced).counted(self.index) as records:
            showing = Showing(views, ledger.store)
            return record_page(showing, records, first, after, count, customer=customer)

    def _causes(
        self, ledger: Ledger, views: Views, first: int | None, after: str | None
    ) -> Connection[UsageRecord]:
        """The records for which an adjustment is made."""
        invoiced, event_at = self.invoiced, ledger.store.at

        def causes(later: Views, place: Place = BEGINNING) -> Iterator[Listed]:
            return Explaining(later, event_at, invoiced).causes(self.index, place)

        def count(later: Views) -> int:
            return sum(1 for _ in causes(later))

        showing, customer = Showing(views, ledger.store), invoiced.statement.customer_id
        return record_page(showing, partial(causes, views), first, after, count, customer=customer)

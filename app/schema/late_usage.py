"""What became of usage: what waits for an adjustment, what is written off, and that it adds up."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, TypeVar

import strawberry

from app.schema.connections import (
    After,
    Connection,
    First,
    Page,
    connection,
    cursor_at,
    taken,
)
from app.schema.context import Info, existing
from app.schema.fields import resolver
from app.schema.invoice_queries import shown
from app.schema.invoices import Invoice
from app.schema.prices import Price
from app.schema.pricing import PricingStep
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    Money,
    Period,
    PeriodInput,
    big_int,
    decimal_text,
    described,
    money,
)
from app.schema.subscriptions import Subscription
from app.schema.usage_records import Showing, UsageRecord, record_page
from domain import customers, invoices, meters, prices, subscriptions
from domain.periods import to_us
from domain.rating import Line
from projections import invoice_previews, late_usage, reconciliation
from projections.billed_usage import BilledPeriod, Closed
from projections.late_usage import WAITING, WRITTEN_OFF, Asked
from projections.tables import Views
from projections.usage_records import BEGINNING, Listed, Place

N = TypeVar("N")

described(
    Closed,
    "Why usage of a billed period is written off.",
    name="WrittenOffReason",
    DISCARDED="The subscription was canceled without settling it.",
    VOIDED="Its invoice was voided.",
    REPORTED="It came late, and its price says lateUsage REPORT: it is not billed any more.",
)


@strawberry.interface(description="Usage of one item that an invoice has billed, for one period.")
class BilledUsage:
    """Usage that an invoice has billed, as it is shown."""

    subscription_item_id: strawberry.ID = strawberry.field(
        description="The item of the subscription whose usage it is."
    )
    period: Period = strawberry.field(description="The time that was billed.")
    billed: strawberry.Private[BilledPeriod]

    @resolver(description="The subscription that it is of.")
    async def subscription(self, info: Info) -> Subscription:
        id = self.billed.subscription_id
        return Subscription.of(await info.context.get(subscriptions.Subscription, id))

    @resolver(description="The price that it is rated by.")
    async def price(self, info: Info) -> Price:
        return Price.of(await info.context.get(prices.Price, self.billed.price_id))

    @resolver(description="The invoice that billed it first.")
    async def invoice(self, info: Info) -> Invoice:
        return await shown(info, await info.context.get(invoices.Invoice, self.billed.invoice_id))


@strawberry.type(
    description="A billed period that comes to something else since usage of it came late, or was "
    "corrected, or its price or meter changed; the next invoice has the difference."
)
class WaitingAdjustment(BilledUsage):
    """An adjustment to come, as it is shown."""

    quantity: DecimalText = strawberry.field(description="How much more was used than was billed.")
    amount: Money = strawberry.field(description="What is owed for it, negative if it is credited.")
    steps: list[PricingStep] = strawberry.field(
        description="What the period comes to now, less what was billed for it."
    )

    @classmethod
    def of(cls, billed: BilledPeriod, line: Line, currency: str) -> "WaitingAdjustment":
        """The adjustment as it is shown."""
        return cls(
            subscription_item_id=strawberry.ID(billed.item_id),
            period=Period.of(billed.period),
            quantity=decimal_text(line.quantity),
            amount=money(line.amount, currency),
            steps=[PricingStep.of(step) for step in line.steps],
            billed=billed,
        )

    @resolver(description="The usage records that came late or were corrected, in time order.")
    async def usage(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[UsageRecord]:
        return await _records(
            info,
            lambda views, place: late_usage.causes(views, self.billed, None, place),
            first,
            after,
        )


@strawberry.type(description="Usage that was recorded and will not be paid for by anybody.")
class WrittenOffUsage(BilledUsage):
    """Usage that is written off, as it is shown."""

    reason: Closed = strawberry.field(description="Why it is written off.")

    @classmethod
    def of(cls, billed: BilledPeriod) -> "WrittenOffUsage":
        """The usage as it is shown."""
        assert billed.closed is not None, "what is written off has a reason"
        return cls(
            subscription_item_id=strawberry.ID(billed.item_id),
            period=Period.of(billed.period),
            reason=billed.closed,
            billed=billed,
        )

    @resolver(description="The usage records that are written off, in time order.")
    async def usage(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[UsageRecord]:
        return await _records(
            info,
            lambda views, place: late_usage.written_off(views, self.billed, place),
            first,
            after,
        )


@strawberry.type(
    description="What became of a customer's usage records of a meter. Nothing recorded disappears:"
    " accepted = billed + waiting + writtenOff + voided."
)
class UsageReconciliation:
    """What became of usage records, counted."""

    accepted: BigIntText = strawberry.field(description="How many records were accepted.")
    billed: BigIntText = strawberry.field(
        description="How many are on an issued invoice as they are now, be it at nothing."
    )
    waiting: BigIntText = strawberry.field(
        description="How many wait: for the end of their period, for the issue of its invoice, for"
        " an adjustment, for a price, a meter or a customer."
    )
    written_off: BigIntText = strawberry.field(description="How many will not be paid for.")
    voided: BigIntText = strawberry.field(description="How many were voided.")

    @classmethod
    def of(cls, found: reconciliation.Reconciliation) -> "UsageReconciliation":
        """The counts as they are shown."""
        return cls(
            accepted=big_int(found.accepted),
            billed=big_int(found.billed),
            waiting=big_int(found.waiting),
            written_off=big_int(found.written_off),
            voided=big_int(found.voided),
        )


OfCustomer = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only those of this customer.")
]
OfSubscription = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only those of this subscription.")
]


@strawberry.type
class LateUsageQueries:
    """Asking what became of usage."""

    @resolver(description="What became of a customer's usage records of a meter, counted.")
    async def usage_reconciliation(
        self,
        info: Info,
        meter_id: Annotated[
            strawberry.ID, strawberry.argument(description="The meter that reads them.")
        ],
        customer_id: Annotated[strawberry.ID, strawberry.argument(description="Who used it.")],
        period: Annotated[
            PeriodInput | None,
            strawberry.argument(description="Only those of this period; left out, all."),
        ] = None,
    ) -> UsageReconciliation:
        asked = None if period is None else period.read(("period",))

        def look_up(views: Views) -> UsageReconciliation:
            meter = existing(views, meters.Meter, meter_id, "meterId")
            customer = existing(views, customers.Customer, customer_id, "customerId")
            bounds = () if asked is None else (to_us(asked.start), to_us(asked.end))
            return UsageReconciliation.of(reconciliation.reconcile(views, meter, customer, *bounds))

        return await info.context.read(look_up)

    @resolver(
        description="Billed periods that wait for an adjustment, in the order in which they were "
        "billed; what comes late is on the next invoice of its subscription."
    )
    async def waiting_adjustments(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        customer_id: OfCustomer = None,
        subscription_id: OfSubscription = None,
    ) -> Connection[WaitingAdjustment]:
        def show(views: Views, billed: BilledPeriod) -> WaitingAdjustment:
            line, currency = invoice_previews.adjustment(views, billed)
            return WaitingAdjustment.of(billed, line, currency)

        return await _page(info, WAITING, show, (first, after), (customer_id, subscription_id))

    @resolver(
        description="Billed periods of which usage is written off, in the order in which they were "
        "billed: what was discarded, what a void invoice had, and what came late for a price that "
        "reports it only."
    )
    async def written_off_usage(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        customer_id: OfCustomer = None,
        subscription_id: OfSubscription = None,
    ) -> Connection[WrittenOffUsage]:
        def show(views: Views, billed: BilledPeriod) -> WrittenOffUsage:
            return WrittenOffUsage.of(billed)

        return await _page(info, WRITTEN_OFF, show, (first, after), (customer_id, subscription_id))


async def _page(
    info: Info,
    condition: str,
    show: Callable[[Views, BilledPeriod], N],
    asked: tuple[int | None, str | None],
    whose: tuple[str | None, str | None],
) -> Connection[N]:
    """A page of billed periods. Raises `Rejected` for ids that name nothing."""
    page = Page.of(*asked, None, None)
    customer_id, subscription_id = whose

    def look_up(views: Views) -> Connection[N]:
        customer = None
        if customer_id is not None:
            customer = existing(views, customers.Customer, customer_id, "customerId").position
        if subscription_id is not None:
            existing(views, subscriptions.Subscription, subscription_id, "subscriptionId")
        wanted = Asked(customer_ref=customer, subscription_id=subscription_id)
        found = taken(partial(late_usage.listed, views, condition, wanted), page)
        return connection(
            [(cursor_at(one.ref), show(views, one)) for one in found.entries],
            has_next=found.has_next,
            has_previous=found.has_previous,
            count=lambda later: late_usage.count(later, condition, wanted),
        )

    return await info.context.read(look_up)


async def _records(
    info: Info,
    listed: Callable[[Views, Place], Iterator[Listed]],
    first: int | None,
    after: str | None,
) -> Connection[UsageRecord]:
    """A page of the usage records that are listed."""
    store = info.context.ledger.store

    def count(views: Views) -> int:
        return sum(1 for _ in listed(views, BEGINNING))

    return await info.context.read(
        lambda views: record_page(
            Showing(views, store), partial(listed, views), first, after, count
        )
    )

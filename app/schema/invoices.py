"""What is owed: invoice previews, computed from the ledger as it is at the moment of asking."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, cast

import strawberry

from app.commands import IMAGINED_ID, imagined_subscription
from app.schema.connections import After, Connection, First, Node
from app.schema.context import Info, existing
from app.schema.customers import Customer
from app.schema.fields import resolver
from app.schema.price_versions import PriceVersion
from app.schema.prices import Price
from app.schema.pricing import PricingStep
from app.schema.scalars import (
    BigIntText,
    Currency,
    DecimalText,
    InstantText,
    Json,
    Money,
    Period,
    big_int,
    decimal_text,
    described,
    instant_text,
    money,
    optional_instant,
)
from app.schema.subscriptions import PreviewSubscriptionInput, Subscription
from app.schema.usage_records import Showing, UsageRecord, record_page
from domain import customers, prices, products, subscriptions, usage
from domain.collection import CollectionMethod
from domain.decider import Code, Path, Rejected
from domain.periods import format_instant, to_us
from domain.rating import Line, LineKind
from domain.text import check_text
from projections import current, invoice_previews, meter_summaries, usage_records
from projections.invoice_previews import Hypothetical, Preview
from projections.needed_properties import needs
from projections.tables import Views
from projections.usage_records import Listed, Place, Wanted

EXTRA_USAGE_LIMIT = 1_000


class Status(StrEnum):
    """Where an invoice stands."""

    PREVIEW = "PREVIEW"


described(
    Status,
    "Where an invoice stands.",
    name="InvoiceStatus",
    PREVIEW="It has not been issued; it says what would be owed.",
)
described(
    LineKind,
    "Why a line stands on an invoice.",
    name="InvoiceLineKind",
    RECURRING="A licence for a period.",
    PRORATION="A licence for the rest of a period in which it changed, or a credit for it.",
    USAGE="What a meter counted in a period.",
)


@strawberry.type(description="One line of an invoice.")
class InvoiceLine:
    """One line of an invoice as it is shown."""

    id: strawberry.ID = strawberry.field(description="The line's id, unique on all invoices.")
    kind: LineKind = strawberry.field(description="Why it stands on the invoice.")
    description: str = strawberry.field(description="What is charged, in words.")
    price: Price | None = strawberry.field(description="The price it was rated by.")
    price_version: PriceVersion | None = strawberry.field(
        description="The version of the price that was in force."
    )
    subscription_item_id: strawberry.ID | None = strawberry.field(
        description="The item of the subscription it is for."
    )
    period: Period = strawberry.field(description="The time that is charged.")
    quantity: DecimalText | None = strawberry.field(description="How much is charged.")
    amount: Money = strawberry.field(description="What is owed, rounded once.")
    exact_amount: DecimalText = strawberry.field(description="The amount before it was rounded.")
    steps: list[PricingStep] = strawberry.field(description="How the amount came about.")
    line: strawberry.Private[Line]
    customer_id: strawberry.Private[str]

    @resolver(
        description="The usage records behind the line, in time order; none behind a licence."
    )
    async def usage(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[UsageRecord]:
        store = info.context.ledger.store
        return await info.context.read(
            lambda views: self._usage(Showing(views, store), views, first, after)
        )

    def _usage(
        self, showing: Showing, views: Views, first: int | None, after: str | None
    ) -> Connection[UsageRecord]:
        """The records that the line's meter counted for its customer in its period."""
        price = self.price.state if self.price else None
        if price is None or not price.metered:
            return record_page(showing, lambda _: iter(()), first, after, lambda _: 0)
        asked = invoice_previews.question(views, price, self.customer_id)
        wanted = Wanted(
            meter=asked.meters[0],
            customer=current.find(views, customers.Customer, self.customer_id),
            start_us=to_us(self.line.period.start),
            end_us=to_us(self.line.period.end),
            waiting=False,
        )

        def counted(after: Place) -> Iterator[Listed]:
            for record in usage_records.listed(views, wanted, after):
                if asked.counts(record) is not None:
                    yield record

        return record_page(
            showing,
            counted,
            first,
            after,
            lambda later: meter_summaries.quantity(later, asked, self.line.period).count,
        )


@strawberry.type(description="What a customer owes for a subscription at one instant.")
class Invoice(Node):
    """An invoice as it is shown."""

    number: str | None = strawberry.field(description="Its number; null until it is issued.")
    status: Status = strawberry.field(description="Where it stands.")
    currency: Currency = strawberry.field(description="The currency of all its amounts.")
    collection_method: CollectionMethod = strawberry.field(description="How it is paid.")
    at: InstantText = strawberry.field(description="The instant it is computed for.")
    issued_at: InstantText | None = strawberry.field(
        description="When it was issued; null for a preview."
    )
    due_at: InstantText | None = strawberry.field(
        description="When it is due, if it is sent; null when it is charged."
    )
    period: Period = strawberry.field(description="The billing period it closes or opens.")
    lines: list[InvoiceLine] = strawberry.field(description="What is owed, one by one.")
    subtotal: Money = strawberry.field(description="The sum of the lines.")
    total: Money = strawberry.field(description="What is owed in all.")
    amount_due: Money = strawberry.field(description="What is still to be paid.")
    amount_paid: Money = strawberry.field(description="What has been paid.")
    position: BigIntText = strawberry.field(
        description="The ledger position up to which everything is in it."
    )
    content_hash: str = strawberry.field(
        description="A fingerprint of what is owed and why; equal invoices have equal ones."
    )
    preview: strawberry.Private[Preview]

    @resolver(description="Who owes it.")
    async def customer(self, info: Info) -> Customer:
        id = self.preview.subscription.customer_id
        return Customer.of(await info.context.get(customers.Customer, id))

    @resolver(description="The subscription that it bills; null when there is none yet.")
    def subscription(self) -> Subscription | None:
        state = self.preview.subscription
        return None if state.id == IMAGINED_ID else Subscription.of(state)

    @classmethod
    def of(cls, preview: Preview, lines: Sequence[InvoiceLine]) -> "Invoice":
        """The preview as it is shown."""
        bill, subscription = preview.bill, preview.subscription
        total = money(bill.total, bill.currency)
        return cls(
            id=strawberry.ID(_id(preview)),
            number=None,
            status=Status.PREVIEW,
            currency=Currency(bill.currency),
            collection_method=subscription.collection_method,
            at=instant_text(bill.at),
            issued_at=None,
            due_at=_due_at(subscription, bill.at),
            period=Period.of(bill.period),
            lines=list(lines),
            subtotal=total,
            total=total,
            amount_due=total,
            amount_paid=money(Decimal(0), bill.currency),
            position=big_int(preview.position),
            content_hash=preview.content_hash,
            preview=preview,
        )


def _id(preview: Preview) -> str:
    return f"preview_{preview.subscription.id}_{format_instant(preview.bill.at)}"


def _due_at(subscription: subscriptions.Subscription, at: datetime) -> InstantText | None:
    """When a sent invoice is due."""
    if subscription.days_until_due is None:
        return None
    return instant_text(at + timedelta(days=subscription.days_until_due))


def _lines(views: Views, preview: Preview) -> list[InvoiceLine]:
    """The lines as they are shown, with what they are called."""
    rated_by = invoice_previews.prices_of(views, preview.subscription)
    return [
        _line(views, preview, line, rated_by[line.price_id], number)
        for number, line in enumerate(preview.bill.lines, start=1)
    ]


def _line(
    views: Views, preview: Preview, line: Line, price: prices.Price, number: int
) -> InvoiceLine:
    product = current.get(views, products.Product, price.product_id)
    assert product is not None, f"{price.id} is the price of a product that was never created"
    nickname = f" ({price.nickname})" if price.nickname else ""
    return InvoiceLine(
        id=strawberry.ID(f"{_id(preview)}_{number}"),
        kind=line.kind,
        description=f"{product.name}{nickname}",
        price=Price.of(price),
        price_version=PriceVersion.of(price.version(line.price_version)),
        subscription_item_id=strawberry.ID(line.item_id),
        period=Period.of(line.period),
        quantity=decimal_text(line.quantity),
        amount=money(line.amount, preview.bill.currency),
        exact_amount=decimal_text(line.exact),
        steps=[PricingStep.of(step) for step in line.steps],
        line=line,
        customer_id=preview.subscription.customer_id,
    )


@strawberry.input(description="Usage that was never sent, to see what it would cost.")
class HypotheticalUsageInput:
    """Usage that was never sent."""

    event_name: str = strawberry.field(description="What would be used, as meters know it.")
    timestamp: InstantText | None = strawberry.field(
        default=None, description="When; left out, in whatever period is billed."
    )
    value: DecimalText | None = strawberry.field(
        default=None, description="How much; short for the property of that name."
    )
    properties: Json | None = strawberry.field(
        default=None, description="A flat object of up to 20 strings; numbers as decimal strings."
    )

    def read(self, views: Views, at: datetime, path: Path) -> Hypothetical:
        """The usage that is meant, judged as if it had been sent, at `at` unless it says when.

        Raises `Rejected`.
        """
        check_text(self.event_name, (*path, "eventName"))
        offered = usage.RecordInput(
            id="extra",
            event_name=self.event_name,
            customer="anybody",
            timestamp=self.timestamp,
            value=self.value,
            properties=cast("dict[str, Any] | None", self.properties),
        )
        needed = needs(usage_records.meters_over(views, self.event_name))
        facts = usage.Facts(
            at_us=to_us(at),
            value_properties={self.event_name: needed.numbers},
            text_properties={self.event_name: needed.texts},
            at_times={self.event_name: needed.at_times},
            customers=(),
            recorded={},
        )
        decided = usage.decide(usage.RecordUsage(records=[offered]), facts)
        refusal = decided.verdicts[0].error
        if refusal is not None:
            raise Rejected(refusal.code, (*path, *refusal.path), refusal.message)
        record = decided.events[0].records[0]
        return Hypothetical(
            event_name=record.event_name,
            timestamp=optional_instant(self.timestamp, (*path, "timestamp")),
            value=record.value,
            properties=record.properties,
        )


async def previewed(
    info: Info,
    find: Callable[[Views], subscriptions.Subscription],
    *,
    at: datetime | None = None,
    extra: Sequence[HypotheticalUsageInput] = (),
) -> Invoice | None:
    """The invoice of a subscription at an instant, by default its next one.

    None when the subscription has not started by then. Raises `Rejected`.
    """
    if len(extra) > EXTRA_USAGE_LIMIT:
        message = f"at most {EXTRA_USAGE_LIMIT} records"
        raise Rejected(Code.LIMIT_EXCEEDED, ("extraUsage",), message)

    def look_up(views: Views) -> Invoice | None:
        subscription = find(views)
        now = info.context.ledger.clock.now()
        within = invoice_previews.last_instant(views, subscription, now=now, at=at)
        imagined = [
            one.read(views, within, ("extraUsage", str(index))) for index, one in enumerate(extra)
        ]
        preview = invoice_previews.preview(views, subscription, now=now, at=at, extra=imagined)
        return Invoice.of(preview, _lines(views, preview)) if preview else None

    return await info.context.read(look_up)


def subscription_named(id: str) -> Callable[[Views], subscriptions.Subscription]:
    """Finds the subscription that an argument names. Raises `Rejected` NOT_FOUND."""

    def find(views: Views) -> subscriptions.Subscription:
        found = existing(views, subscriptions.Subscription, id, "subscriptionId")
        state: subscriptions.Subscription = found.state
        return state

    return find


@strawberry.type
class InvoiceQueries:
    """Asking for invoices."""

    @resolver(
        description="The invoice that would be issued, without any lag; null before the start."
    )
    async def invoice_preview(
        self,
        info: Info,
        subscription_id: Annotated[
            strawberry.ID, strawberry.argument(description="The subscription to bill.")
        ],
        at: Annotated[
            InstantText | None,
            strawberry.argument(
                description="When it would be issued; left out, at the current period's end."
            ),
        ] = None,
        extra_usage: Annotated[
            list[HypotheticalUsageInput] | None,
            strawberry.argument(description="Usage to add as if it had been sent."),
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
    ) -> Invoice | None:
        instant = optional_instant(at, ("at",))
        find = subscription_named(subscription_id)
        return await previewed(info, find, at=instant, extra=extra_usage or ())

    @resolver(
        description="An invoice of a subscription that does not exist: what would be owed if it "
        "did, the usage already sent included. Nothing is written."
    )
    async def subscription_preview(
        self,
        info: Info,
        input: Annotated[
            PreviewSubscriptionInput, strawberry.argument(description="Who would subscribe.")
        ],
        at: Annotated[
            InstantText | None,
            strawberry.argument(
                description="When it would be issued; left out, at the end of the period that "
                "is running, or at a start to come. At the start it is the first invoice."
            ),
        ] = None,
        extra_usage: Annotated[
            list[HypotheticalUsageInput] | None,
            strawberry.argument(description="Usage to add as if it had been sent."),
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
    ) -> Invoice | None:
        command, instant = input.command(), optional_instant(at, ("at",))
        now = info.context.ledger.clock.now()

        def imagine(views: Views) -> subscriptions.Subscription:
            return imagined_subscription(views, command, now)

        return await previewed(info, imagine, at=instant, extra=extra_usage or ())

"""What it costs: prices and how to set them."""

from typing import Annotated

import strawberry

from app.schema.as_of import AsKnown, found
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Node,
    Page,
    objects,
)
from app.schema.context import Info
from app.schema.errors import Payload
from app.schema.fields import mutation, resolver
from app.schema.meters import Meter
from app.schema.price_versions import PriceVersion, SupersedePriceInput
from app.schema.pricing import PriceModifiersInput, PriceQuote, PricingInput, quote
from app.schema.products import Product
from app.schema.scalars import (
    Currency,
    DecimalText,
    InstantText,
    Json,
    described,
    instant_text,
)
from domain import meter_filters, meters, periods, prices, products
from domain.late_usage import LateUsage
from domain.periods import IntervalUnit
from domain.prices import Timing

described(
    IntervalUnit,
    "What a billing interval is counted in.",
    DAY="Days, by the local calendar.",
    WEEK="Weeks of seven days.",
    MONTH="Calendar months; a month without the anchor's day ends on its last day.",
    YEAR="Calendar years.",
)
described(
    Timing,
    "Whether a period is billed when it begins or when it has ended.",
    name="BillingTiming",
    IN_ADVANCE="When the period begins.",
    IN_ARREARS="When the period has ended.",
)


described(
    LateUsage,
    "What becomes of usage that comes late or is corrected when its period is billed already.",
    ADJUST="The difference is billed, or credited, on the next invoice.",
    REPORT="It is not billed any more; it is listed by writtenOffUsage.",
)


@strawberry.type(description="How often a price is billed.")
class Interval:
    """How often a price is billed."""

    unit: IntervalUnit = strawberry.field(description="What the interval is counted in.")
    count: int = strawberry.field(description="How many units make one billing period.")


@strawberry.type(description="Only usage whose dimension has one of these values.")
class DimensionFilterSetting:
    """A filter of a price as it is shown."""

    name: str = strawberry.field(description="A dimension that the meter declares.")
    values: list[str] = strawberry.field(description="The values that are let through.")


@strawberry.input(description="How often a price is billed.")
class IntervalInput:
    """How often a price is billed."""

    unit: IntervalUnit = strawberry.field(description="What the interval is counted in.")
    count: int | None = strawberry.field(
        default=1, description="How many units make one billing period, up to three years."
    )

    def read(self) -> periods.Interval:
        """The interval that is meant."""
        return periods.Interval(unit=self.unit, count=1 if self.count is None else self.count)


@strawberry.input(description="Only usage whose dimension has one of these values.")
class DimensionFilter:
    """Only usage whose dimension has one of these values."""

    name: str = strawberry.field(description="A dimension that the meter declares.")
    values: list[str] = strawberry.field(description="The values to let through, at least one.")


@strawberry.type(
    description="What a product costs: per licensed unit, or over a meter. What it asks never "
    "changes: it is superseded from an instant on."
)
class Price(Node):
    """A price as it is shown."""

    nickname: str | None = strawberry.field(description="What tells it from its product's others.")
    lookup_key: str | None = strawberry.field(description="A key of your own to find it by.")
    currency: Currency = strawberry.field(description="The currency it is billed in.")
    interval: Interval = strawberry.field(description="How often it is billed.")
    timing: Timing = strawberry.field(description="When in its period it is billed.")
    late_usage: LateUsage = strawberry.field(
        description="What becomes of usage that comes when its period is billed already."
    )
    active: bool = strawberry.field(description="Whether it can be subscribed to.")
    versions: list[PriceVersion] = strawberry.field(
        description="All that it has asked, asks and will ask, in the order of taking effect."
    )
    meter_filter: list[DimensionFilterSetting] = strawberry.field(
        description="Which of the meter's usage it bills; empty for all of it."
    )
    created_at: InstantText = strawberry.field(description="When the price was set.")
    state: strawberry.Private[prices.Price]

    @classmethod
    def of(cls, state: prices.Price) -> "Price":
        """The price as it is shown."""
        return cls(
            id=strawberry.ID(state.id),
            nickname=state.nickname,
            lookup_key=state.lookup_key,
            currency=Currency(state.currency),
            interval=Interval(unit=state.interval.unit, count=state.interval.count),
            timing=state.timing,
            late_usage=state.late_usage,
            active=state.active,
            versions=[PriceVersion.of(version) for version in state.versions],
            meter_filter=[
                DimensionFilterSetting(name=one.name, values=list(one.values))
                for one in state.meter_filter
            ],
            created_at=instant_text(state.created_at),
            state=state,
        )

    @resolver(description="How a quantity becomes an amount now: the model's name and its values.")
    def pricing(self, info: Info) -> Json:
        return PriceVersion.of(self._in_force(info)).pricing

    @resolver(
        description="The changes around it now, by the names of PriceModifiersInput; null for none."
    )
    def modifiers(self, info: Info) -> Json | None:
        return PriceVersion.of(self._in_force(info)).modifiers

    def _in_force(self, info: Info) -> prices.PriceVersion:
        return self.state.version_at(info.context.now())

    @resolver(description="What it is the price of.")
    async def product(self, info: Info) -> Product:
        return Product.of(await info.context.get(products.Product, self.state.product_id))

    @resolver(description="What it bills the usage of; null for a licensed price.")
    async def meter(self, info: Info) -> Meter | None:
        if self.state.meter_id is None:
            return None
        return Meter.of(await info.context.get(meters.Meter, self.state.meter_id))


@strawberry.input(description="What to ask for a product.")
class CreatePriceInput:
    """What to ask for a product."""

    product_id: strawberry.ID = strawberry.field(description="What it is the price of.")
    currency: Currency = strawberry.field(description="The currency to bill in.")
    interval: IntervalInput = strawberry.field(description="How often to bill.")
    meter_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The meter whose usage it bills; left out, it is licensed by quantity.",
    )
    meter_filter: list[DimensionFilter] | None = strawberry.field(
        default=None, description="Only this part of the meter's usage."
    )
    timing: Timing | None = strawberry.field(
        default=None,
        description="Left out: usage is billed in arrears, a licence in advance.",
    )
    late_usage: LateUsage | None = strawberry.field(
        default=LateUsage.ADJUST,
        description="What becomes of usage that comes when its period is billed already.",
    )
    pricing: PricingInput = strawberry.field(
        description="How a quantity becomes an amount. What looks at single records (a percentage "
        "with fixedAmount, freeRecords or limits) needs a meter that sums."
    )
    modifiers: PriceModifiersInput | None = strawberry.field(
        default=None, description="Changes around it, such as included units or a discount."
    )
    nickname: str | None = strawberry.field(
        default=None, description="What tells it from its product's other prices."
    )
    lookup_key: str | None = strawberry.field(
        default=None, description="A key of your own to find it by; no two prices share one."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> prices.CreatePrice:
        """The command that is meant. Raises `Rejected` for a number that is none."""
        return prices.CreatePrice(
            product_id=self.product_id,
            currency=self.currency,
            interval=self.interval.read(),
            meter_id=self.meter_id,
            meter_filter=tuple(
                meter_filters.DimensionFilter(name=one.name, values=tuple(one.values))
                for one in self.meter_filter or ()
            ),
            timing=self.timing,
            late_usage=self.late_usage or LateUsage.ADJUST,
            pricing=self.pricing.read(("input", "pricing")),
            modifiers=self.modifiers.read(("input", "modifiers")) if self.modifiers else None,
            nickname=self.nickname,
            lookup_key=self.lookup_key,
        )


@strawberry.type(description="The new price, or why there is none.")
class CreatePricePayload(Payload):
    """The new price, or why there is none."""

    price: Price | None = strawberry.field(description="The price; null when it was refused.")


@strawberry.type(description="The price with its new version, or why it has none.")
class SupersedePricePayload(Payload):
    """The price with its new version, or why it has none."""

    price: Price | None = strawberry.field(description="The price; null when it was refused.")


@strawberry.input(description="The price that takes no new subscriptions.")
class ArchivePriceInput:
    """The price that takes no new subscriptions."""

    price_id: strawberry.ID = strawberry.field(description="The price to archive.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Sent again with the same key, the first result is answered."
    )

    def command(self) -> prices.ArchivePrice:
        """The command that is meant."""
        return prices.ArchivePrice(price_id=self.price_id)


@strawberry.type(description="The archived price, or why it is not.")
class ArchivePricePayload(Payload):
    """The archived price, or why it is not."""

    price: Price | None = strawberry.field(description="The price; null when it was refused.")


@strawberry.type
class PriceQueries:
    """Asking for prices."""

    @resolver(description="The price with this id; null when there is none.")
    async def price(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of a price.")],
        as_of: AsKnown = None,
    ) -> Price | None:
        state = await found(info, prices.Price, id, as_of)
        return Price.of(state) if state else None

    @resolver(description="Prices in the order of their creation.")
    async def prices(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        lookup_key: Annotated[
            str | None, strawberry.argument(description="Only the one with this key of yours.")
        ] = None,
        product_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this product.")
        ] = None,
        meter_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those over this meter.")
        ] = None,
    ) -> Connection[Price]:
        page = Page.of(first, after, last, before)
        keys = {"lookupKey": lookup_key, "productId": product_id, "meterId": meter_id}
        return await objects(info, prices.Price, Price.of, page, **keys)

    @resolver(description="What a quantity would cost, step by step, before any price is set.")
    def price_quote(
        self,
        pricing: Annotated[
            PricingInput, strawberry.argument(description="How a quantity becomes an amount.")
        ],
        currency: Annotated[
            Currency, strawberry.argument(description="The currency the amount is rounded to.")
        ],
        quantity: Annotated[
            DecimalText, strawberry.argument(description="How much is used; not negative.")
        ],
        modifiers: Annotated[
            PriceModifiersInput | None, strawberry.argument(description="Changes around the price.")
        ] = None,
        record_values: Annotated[
            list[DecimalText] | None,
            strawberry.argument(
                description="The records that make up the quantity, in time order, for pricing "
                "that looks at single ones; left out, the quantity is that of a single record."
            ),
        ] = None,
    ) -> PriceQuote:
        return quote(pricing, currency, quantity, modifiers, record_values)


@strawberry.type
class PriceMutations:
    """Changing prices."""

    @mutation(description="Set a price for a product.")
    async def create_price(
        self,
        info: Info,
        input: Annotated[CreatePriceInput, strawberry.argument(description="What to ask for it.")],
    ) -> CreatePricePayload:
        done = await info.context.execute(prices.Price, input.command, input.idempotency_key)
        return CreatePricePayload(
            price=Price.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(
        description="Let a price ask something else from an instant on. Every subscription that "
        "has it follows; usage is charged by the version in force when it happened."
    )
    async def supersede_price(
        self,
        info: Info,
        input: Annotated[SupersedePriceInput, strawberry.argument(description="What, and when.")],
    ) -> SupersedePricePayload:
        done = await info.context.execute(prices.Price, input.command, input.idempotency_key)
        return SupersedePricePayload(
            price=Price.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

    @mutation(description="Take no new subscriptions to a price; those that have it go on.")
    async def archive_price(
        self,
        info: Info,
        input: Annotated[ArchivePriceInput, strawberry.argument(description="Which one.")],
    ) -> ArchivePricePayload:
        done = await info.context.execute(prices.Price, input.command, input.idempotency_key)
        return ArchivePricePayload(
            price=Price.of(done.state) if done.state else None,
            user_errors=done.user_errors,
            position=done.position,
        )

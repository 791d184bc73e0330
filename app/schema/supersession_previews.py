"""What superseding a price would come to, for those who have it, before it is done."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import strawberry

from app.commands import imagined_price
from app.schema.connections import limit_of
from app.schema.context import Info, existing
from app.schema.fields import resolver
from app.schema.invoices import Invoice
from app.schema.price_versions import SupersedePriceInput
from app.schema.scalars import InstantText, Money, money, optional_instant
from app.schema.subscriptions import Subscription
from domain import prices, subscriptions
from domain.decider import Code, Rejected
from domain.money import EXACT
from projections import supersessions
from projections.invoice_previews import Preview
from projections.supersessions import Effect
from projections.tables import Views


@strawberry.type(description="The next invoice of a subscription, before and after.")
class SubscriptionSupersession:
    """What superseding a price would do to one subscription, as it is shown."""

    difference: Money = strawberry.field(description="How much more is owed after than before.")
    effect: strawberry.Private[Effect]

    @classmethod
    def of(cls, effect: Effect, currency: str) -> "SubscriptionSupersession":
        """The effect as it is shown."""
        return cls(difference=money(effect.difference, currency), effect=effect)

    @resolver(description="Who has the price.")
    async def subscription(self, info: Info) -> Subscription:
        id = self.effect.subscription_id
        return Subscription.of(await info.context.get(subscriptions.Subscription, id))

    @resolver(description="Its next invoice as the price is now; null when none is to come.")
    async def before(self, info: Info) -> Invoice | None:
        return await _shown(info, self.effect.before)

    @resolver(
        description="Its next invoice as it would be, adjustments of billed periods included; "
        "null when none would come."
    )
    async def after(self, info: Info) -> Invoice | None:
        return await _shown(info, self.effect.after)


async def _shown(info: Info, preview: Preview | None) -> Invoice | None:
    if preview is None:
        return None
    customer = preview.subscription.customer_id
    return await info.context.read(
        lambda views: Invoice.previewed(views, preview), customer=customer
    )


@strawberry.type(description="What the next invoices would come to if a price were superseded.")
class PriceSupersessionPreview:
    """What superseding a price would come to, as it is shown."""

    before: Money = strawberry.field(description="What the next invoices come to, all together.")
    after: Money = strawberry.field(description="What they would come to.")
    difference: Money = strawberry.field(description="How much more that is.")
    subscription_count: int = strawberry.field(
        description="How many subscriptions have or had the price, and get an invoice."
    )
    effects: strawberry.Private[Sequence[Effect]]
    currency: strawberry.Private[str]

    @classmethod
    def of(cls, effects: Sequence[Effect], currency: str) -> "PriceSupersessionPreview":
        """The effects as they are shown."""
        was, would = Decimal(0), Decimal(0)
        for one in effects:
            was = EXACT.add(was, supersessions.total(one.before))
            would = EXACT.add(would, supersessions.total(one.after))
        return cls(
            before=money(was, currency),
            after=money(would, currency),
            difference=money(EXACT.subtract(would, was), currency),
            subscription_count=len(effects),
            effects=effects,
            currency=currency,
        )

    @resolver(
        description="Each subscription of the price, the largest differences first, gains and "
        "losses."
    )
    def subscriptions(
        self,
        first: Annotated[
            int | None, strawberry.argument(description="How many to show, up to 100.")
        ] = 20,
        skip: Annotated[
            int | None, strawberry.argument(description="How many to pass over first.")
        ] = 0,
    ) -> list[SubscriptionSupersession]:
        start = skip or 0
        if start < 0:
            raise Rejected(Code.INVALID_VALUE, ("skip",), "skip must not be negative")
        shown = self.effects[start : start + limit_of(20 if first is None else first, "first")]
        return [SubscriptionSupersession.of(one, self.currency) for one in shown]


@strawberry.type
class SupersessionQueries:
    """Asking what superseding a price would come to."""

    @resolver(
        description="What the next invoices would come to if a price were superseded, for every "
        "subscription that has it or for one: before and after. Nothing is written."
    )
    async def price_supersession_preview(
        self,
        info: Info,
        input: Annotated[
            SupersedePriceInput, strawberry.argument(description="What it would ask, from when.")
        ],
        subscription_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only this subscription; all of the price if not."),
        ] = None,
        at: Annotated[
            InstantText | None,
            strawberry.argument(
                description="When the invoices would be issued; left out, each when it is next."
            ),
        ] = None,
    ) -> PriceSupersessionPreview:
        command, instant = input.command(), optional_instant(at, ("at",))
        now = info.context.now()

        def look_up(views: Views) -> PriceSupersessionPreview:
            supposed = imagined_price(views, command, now)
            price: prices.Price = existing(views, prices.Price, command.price_id, "input").state
            found = supersessions.effects(
                views,
                price,
                supposed,
                now=now,
                at=instant,
                subscription=_named(views, price, subscription_id),
            )
            return PriceSupersessionPreview.of(found, price.currency)

        return await info.context.read(look_up)


def _named(views: Views, price: prices.Price, id: str | None) -> subscriptions.Subscription | None:
    """The subscription that is asked about, if one is. Raises `Rejected`."""
    if id is None:
        return None
    state: subscriptions.Subscription = existing(
        views, subscriptions.Subscription, id, "subscriptionId"
    ).state
    if price.id not in {stretch.item.price_id for stretch in state.stretches}:
        message = f"{id} never had price {price.id}"
        raise Rejected(Code.INVALID_VALUE, ("subscriptionId",), message)
    return state

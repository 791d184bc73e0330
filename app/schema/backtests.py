"""What another pricing would have come to over the real history of a price."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

import strawberry

from app.schema.connections import limit_of
from app.schema.context import Info, existing
from app.schema.customers import Customer
from app.schema.fields import resolver
from app.schema.pricing import PriceModifiersInput, PricingInput
from app.schema.scalars import Money, PeriodInput, money
from domain import customers, prices, pricing
from domain.aggregation import Aggregation
from domain.decider import Code, Rejected
from domain.meters import Meter
from domain.money import EXACT
from projections import backtests, current
from projections.backtests import Outcome
from projections.tables import Views


@strawberry.type(description="What one customer was charged, and would have been.")
class CustomerBacktest:
    """What one customer was charged, and would have been, as it is shown."""

    baseline: Money = strawberry.field(description="What was charged.")
    candidate: Money = strawberry.field(description="What the candidate would have charged.")
    difference: Money = strawberry.field(description="How much more that is.")
    outcome: strawberry.Private[Outcome]

    @classmethod
    def of(cls, outcome: Outcome, currency: str) -> "CustomerBacktest":
        """The outcome as it is shown."""
        return cls(
            baseline=money(outcome.baseline, currency),
            candidate=money(outcome.candidate, currency),
            difference=money(outcome.difference, currency),
            outcome=outcome,
        )

    @resolver(description="Who.")
    async def customer(self, info: Info) -> Customer:
        id = self.outcome.customer_id
        return Customer.of(await info.context.get(customers.Customer, id))


@strawberry.type(description="What a price charged, and what another pricing would have charged.")
class PriceBacktest:
    """The outcome of a backtest as it is shown."""

    baseline: Money = strawberry.field(description="What was charged, all customers together.")
    candidate: Money = strawberry.field(description="What the candidate would have charged.")
    difference: Money = strawberry.field(description="How much more that is.")
    outcomes: strawberry.Private[list[Outcome]]
    currency: strawberry.Private[str]

    @resolver(
        description="Each customer of the price, the largest differences first, gains and losses."
    )
    def customers(
        self,
        first: Annotated[
            int | None, strawberry.argument(description="How many to show, up to 100.")
        ] = 100,
        skip: Annotated[
            int | None, strawberry.argument(description="How many to pass over first.")
        ] = 0,
    ) -> list[CustomerBacktest]:
        start = skip or 0
        if start < 0:
            raise Rejected(Code.INVALID_VALUE, ("skip",), "skip must not be negative")
        shown = self.outcomes[start : start + limit_of(100 if first is None else first, "first")]
        return [CustomerBacktest.of(one, self.currency) for one in shown]


AHEAD = timedelta(days=366)
"""How far beyond now a backtest may look: of charges that are to come there is no end."""


@strawberry.type
class BacktestQueries:
    """Asking what another pricing would have come to."""

    @resolver(
        description="What another pricing would have come to over the real history of a price: "
        "what it charged in a period is rated again, and nothing is written. Of a period are "
        "usage whose billing periods end in it, and licences whose billing periods begin in it."
    )
    async def price_backtest(
        self,
        info: Info,
        price_id: Annotated[strawberry.ID, strawberry.argument(description="The price.")],
        candidate: Annotated[
            PricingInput, strawberry.argument(description="How it would be priced instead.")
        ],
        period: Annotated[PeriodInput, strawberry.argument(description="Which history.")],
        modifiers: Annotated[
            PriceModifiersInput | None,
            strawberry.argument(description="Changes around the candidate; none when left out."),
        ] = None,
    ) -> PriceBacktest:
        model = candidate.read(("candidate",))
        pricing.check(model, ("candidate",))
        around = modifiers.read(("modifiers",)) if modifiers else None
        if around:
            around.check(("modifiers",))
        asked = period.read(("period",))
        if asked.end > info.context.now() + AHEAD:
            message = (
                f"a backtest looks back: its period may end {AHEAD.days} days from now at most"
            )
            raise Rejected(Code.INVALID_VALUE, ("period", "end"), message)

        def look_up(views: Views) -> PriceBacktest:
            price: prices.Price = existing(views, prices.Price, price_id, "priceId").state
            _check_records(views, price, model)
            found = backtests.backtest(views, price, model, around, asked)
            was, would = Decimal(0), Decimal(0)
            for one in found:
                was, would = EXACT.add(was, one.baseline), EXACT.add(would, one.candidate)
            return PriceBacktest(
                baseline=money(was, price.currency),
                candidate=money(would, price.currency),
                difference=money(EXACT.subtract(would, was), price.currency),
                outcomes=found,
                currency=price.currency,
            )

        return await info.context.read(look_up)


def _check_records(views: Views, price: prices.Price, model: pricing.Pricing) -> None:
    """Pricing by single records needs a meter whose quantity is their sum. Raises `Rejected`."""
    meter = current.get(views, Meter, price.meter_id) if price.meter_id else None
    if model.needs_records and (meter is None or meter.only_aggregation is not Aggregation.SUM):
        message = "pricing that looks at single records needs a meter that sums them up"
        raise Rejected(Code.INVALID_VALUE, ("candidate",), message)

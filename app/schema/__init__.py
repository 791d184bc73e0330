"""The GraphQL schema: what clients can ask and do. Resolvers only translate."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import strawberry
from graphql import lexicographic_sort_schema, print_schema
from strawberry.extensions import ParserCache
from strawberry.schema.config import StrawberryConfig

from app.schema.as_of import AsKnown, go_back
from app.schema.asked_again import AskedAgain
from app.schema.backtests import BacktestQueries
from app.schema.clocks import ClockMutations
from app.schema.connections import Node
from app.schema.context import Closing, Context, Info
from app.schema.customers import Customer, CustomerMutations, CustomerQueries
from app.schema.execution import Execution
from app.schema.fields import resolver
from app.schema.invoice_items import InvoiceItem, InvoiceItemMutations
from app.schema.invoice_queries import InvoiceQueries, shown
from app.schema.late_usage import LateUsageQueries
from app.schema.ledgers import Ledger, LedgerQueries
from app.schema.limits import Limits
from app.schema.live_updates import LiveUpdates, Streamed
from app.schema.meters import Meter, MeterMutations, MeterQueries
from app.schema.previews import PreviewQueries
from app.schema.prices import Price, PriceMutations, PriceQueries
from app.schema.products import Product, ProductMutations, ProductQueries
from app.schema.scalars import SCALARS
from app.schema.settlements import SettlementMutations
from app.schema.subscription_changes import (
    SubscriptionChangeMutations,
    SubscriptionChangeQueries,
)
from app.schema.subscription_holds import SubscriptionHoldMutations
from app.schema.subscriptions import Subscription, SubscriptionMutations, SubscriptionQueries
from app.schema.summaries import SummaryQueries
from app.schema.supersession_previews import SupersessionQueries
from app.schema.unrated_usage import UnratedUsageQueries
from app.schema.usage import UsageMutations
from app.schema.usage_corrections import UsageCorrectionMutations
from app.schema.usage_records import UsageRecordQueries
from app.schema.verifications import VerificationQueries
from domain.decider import Code, Rejected
from projections.current import KINDS

__all__ = ["SHOWN", "Context", "schema", "sdl"]

NODES_LIMIT = 100
"""The most objects that may be asked for by their ids at once, as many as on a page."""

Show = Callable[[Info, Any], Awaitable[Node]]


def _by_itself(show: Callable[[Any], Node]) -> Show:
    """Shows an object from its own state alone."""

    async def alone(info: Info, state: Any) -> Node:
        return show(state)

    return alone


SHOWN: Mapping[str, Show] = {
    "led": _by_itself(Ledger.of),
    "met": _by_itself(Meter.of),
    "prod": _by_itself(Product.of),
    "price": _by_itself(Price.of),
    "cus": _by_itself(Customer.of),
    "sub": _by_itself(Subscription.of),
    "inv": shown,
    "ii": _by_itself(InvoiceItem.of),
}
"""How each kind of object is shown, by the prefix of its ids."""


@strawberry.type(description="What can be asked.")
class Query(
    LedgerQueries,
    InvoiceQueries,
    PreviewQueries,
    BacktestQueries,
    SupersessionQueries,
    SubscriptionQueries,
    SubscriptionChangeQueries,
    CustomerQueries,
    PriceQueries,
    ProductQueries,
    SummaryQueries,
    UsageRecordQueries,
    UnratedUsageQueries,
    LateUsageQueries,
    MeterQueries,
    VerificationQueries,
):
    """What can be asked."""

    @resolver(description="The object with this id, of any kind; null when there is none.")
    async def node(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of any object.")],
        as_of: AsKnown = None,
    ) -> Node | None:
        await go_back(info, as_of)
        return await _object(info, id)

    @resolver(
        description="The objects with these ids, of any kind, in this order; null where there is "
        "none."
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description=f"The ids of any objects, {NODES_LIMIT} at most."),
        ],
        as_of: AsKnown = None,
    ) -> list[Node | None]:
        if len(ids) > NODES_LIMIT:
            raise Rejected(Code.LIMIT_EXCEEDED, ("ids",), f"at most {NODES_LIMIT} ids")
        await go_back(info, as_of)
        return list(await asyncio.gather(*(_object(info, id) for id in ids)))


async def _object(info: Info, id: str) -> Node | None:
    """The object with an id; those asked for at the same time are looked up together."""
    prefix = id.partition("_")[0]
    if prefix not in SHOWN:
        return None
    state = await info.context.find(KINDS[prefix].state, id)
    return await SHOWN[prefix](info, state) if state else None


@strawberry.type(description="What can be done.")
class Mutation(
    ClockMutations,
    SubscriptionMutations,
    SettlementMutations,
    InvoiceItemMutations,
    SubscriptionChangeMutations,
    SubscriptionHoldMutations,
    CustomerMutations,
    PriceMutations,
    ProductMutations,
    UsageMutations,
    UsageCorrectionMutations,
    MeterMutations,
):
    """What can be done."""


schema = AskedAgain(
    query=Query,
    mutation=Mutation,
    subscription=LiveUpdates,
    config=StrawberryConfig(scalar_map=SCALARS, info_class=Info),
    extensions=[Closing, Streamed, Limits, ParserCache],
    execution_context_class=Execution,
)


def sdl() -> str:
    """The schema as text, sorted by names, so that two versions differ by what differs.

    It always says which its root types are, because a type here is named Subscription, which every
    tool would take for one otherwise.
    """
    return print_schema(lexicographic_sort_schema(schema._schema)) + "\n"

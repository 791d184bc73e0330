"""Asking for usage that will not be billed: no price of the customer's subscriptions covers it."""

import re
from collections.abc import Sequence
from itertools import chain, islice
from typing import Annotated

import strawberry

from app.schema.connections import After, Edge, First, PageInfo, bad_cursor, limit_of
from app.schema.context import Info, existing
from app.schema.customers import Customer
from app.schema.fields import resolver
from app.schema.meters import Meter
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    Period,
    PeriodInput,
    big_int,
    optional_decimal,
)
from domain import customers, periods
from domain.decider import Code, Rejected
from projections import unrated_usage
from projections.tables import Views
from projections.unrated_usage import BEGINNING, END_OF_CUSTOMER, Place, Search, Unrated

CUSTOMERS_LIMIT = 100
"""The most customers that are looked at for one page."""
SEEKS_LIMIT = 2_000_000
"""The most hours of meters that one page covers: a second of work, less where days are whole."""

_PLACE = re.compile(r"c([0-9]{1,18})\.([0-9]{1,18})")


@strawberry.type(description="What a customer used on a meter without any price for it.")
class UnratedUsage:
    """What a customer used on a meter without any price for it."""

    customer: Customer = strawberry.field(description="Who used it.")
    meter: Meter = strawberry.field(description="The meter that counted it.")
    period: Period = strawberry.field(description="The period that was asked for.")
    value: DecimalText | None = strawberry.field(
        description="The quantity, of the records that are not billed alone."
    )
    record_count: BigIntText = strawberry.field(description="How many records it is made of.")

    @classmethod
    def of(cls, found: Unrated, period: periods.Period) -> "UnratedUsage":
        """The usage as it is shown."""
        return cls(
            customer=Customer.of(found.customer.state),
            meter=Meter.of(found.meter.meter),
            period=Period.of(period),
            value=optional_decimal(found.value),
            record_count=big_int(found.count),
        )


@strawberry.type(
    description=(
        "A page of usage that will not be billed. Only so many customers are looked at for one"
        " page, so that it may be short, or empty, while hasNextPage says that there may be more."
    )
)
class UnratedUsageConnection:
    """A page of usage that will not be billed."""

    edges: list[Edge[UnratedUsage]] = strawberry.field(
        description="The entries with their cursors."
    )
    page_info: PageInfo = strawberry.field(description="Where the page stands in the list.")

    @resolver(description="The entries without their cursors.")
    def nodes(self) -> list[UnratedUsage]:
        return [edge.node for edge in self.edges]


@strawberry.type
class UnratedUsageQueries:
    """Asking for usage that will not be billed."""

    @resolver(
        description=(
            "Usage that was recorded and matched, but that no price of the customer's subscriptions"
            " covers: none is over its meter, or their filters leave it out, or it happened outside"
            " their time. By customer, then by meter, in the order of their creation."
        )
    )
    async def unrated_usage(
        self,
        info: Info,
        period: Annotated[
            PeriodInput, strawberry.argument(description="When it was used; any bounds.")
        ],
        customer_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only that of this customer.")
        ] = None,
        first: First = None,
        after: After = None,
    ) -> UnratedUsageConnection:
        asked, limit, place = period.read(("period",)), limit_of(first, "first"), _place(after)

        def look_up(views: Views) -> UnratedUsageConnection:
            search = Search(views, asked)
            most = min(CUSTOMERS_LIMIT, SEEKS_LIMIT // search.seeks)
            if not most:
                message = "this is more than can be looked through at a time: shorten the period"
                raise Rejected(Code.LIMIT_EXCEEDED, ("period",), message)
            if customer_id is None:
                several = unrated_usage.customers_from(views, place, most + 1)
            else:
                several = [existing(views, customers.Customer, customer_id, "customerId")]
            unrated = chain.from_iterable(search.of(one, place) for one in several[:most])
            found = list(islice(unrated, limit + 1))
            shown = [(one.place, UnratedUsage.of(one, asked)) for one in found[:limit]]
            unseen = several[most - 1].position if len(several) > most else None
            return _page(shown, place, full=len(found) > limit, last_seen=unseen)

        return await info.context.read(look_up)


def _page(
    shown: Sequence[tuple[Place, UnratedUsage]], after: Place, *, full: bool, last_seen: int | None
) -> UnratedUsageConnection:
    """A page of entries; `last_seen` is the last customer looked at when there are others."""
    edges = [Edge(cursor=_cursor(place), node=node) for place, node in shown]
    end = edges[-1].cursor if edges else None
    if last_seen is not None and not full:
        end = _cursor((last_seen, END_OF_CUSTOMER))
    page = PageInfo(
        has_next_page=full or last_seen is not None,
        has_previous_page=after != BEGINNING,
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=end,
    )
    return UnratedUsageConnection(edges=edges, page_info=page)


def _cursor(place: Place) -> str:
    return "c{}.{}".format(*place)


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return BEGINNING
    match = _PLACE.fullmatch(cursor)
    if match is None:
        raise bad_cursor("after")
    return int(match[1]), int(match[2])

"""Asking for invoices: one by its id, or lists of them."""

import asyncio
from functools import partial
from typing import Annotated

import strawberry

from app.schema.as_of import AsKnown, found
from app.schema.connections import (
    After,
    Before,
    Connection,
    First,
    Last,
    Page,
    Slice,
    connection,
    cursor_at,
    taken,
)
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.invoice_lines import price_ids
from app.schema.invoices import Invoice, Status
from app.schema.scalars import PeriodInput
from domain import invoices, periods, prices
from domain.text import check_text
from projections import current
from projections.explanations import Invoiced
from projections.tables import Views


async def shown(info: Info, state: invoices.Invoice) -> Invoice:
    """An invoice as it is shown now, or at the moment that is asked about."""
    now, said = info.context.now(), state.statement
    if said is None:
        return await info.context.read(
            lambda views: Invoice.of(views, state, now), customer=state.customer_id
        )
    ids = price_ids(said)
    rated = await asyncio.gather(*(info.context.get(prices.Price, id) for id in ids))
    rated_by = dict(zip(ids, rated, strict=True))
    return Invoice.issued(state, Invoiced.of(state, said), now, rated_by)


async def invoice_page(
    info: Info,
    page: Page,
    period: periods.Period | None = None,
    *,
    customer: str | None = None,
    **keys: str | None,
) -> Connection[Invoice]:
    """A page of invoices in the order in which they were drafted, found by these keys.

    A key is named as its argument is; None asks for any. With a period, those for an instant that
    lies in it. `customer` is whose they are, if that is known. Raises `Rejected`.
    """
    ranges: current.Ranges = {}
    if period is not None:
        ranges = {"at": (current.instant_key(period.start), current.instant_key(period.end))}
    wanted = {name: check_text(key, (name,)) for name, key in keys.items() if key is not None}
    now = info.context.now()

    def there(views: Views) -> Slice[current.Found]:
        return taken(partial(current.select, views, invoices.Invoice, wanted, ranges=ranges), page)

    def look_up(views: Views) -> Connection[Invoice]:
        found = there(views)
        return connection(
            [(cursor_at(one.position), Invoice.of(views, one.state, now)) for one in found.entries],
            has_next=found.has_next,
            has_previous=found.has_previous,
            count=lambda later: current.count(later, invoices.Invoice, wanted, ranges=ranges),
            customer=customer,
        )

    def has_draft(views: Views) -> bool:
        return any(one.state.statement is None for one in there(views).entries)

    # At an earlier moment, what was used is gathered only for what is not issued yet.
    usage = info.context.until is None or await info.context.read(
        has_draft, customer=customer, usage=False
    )
    return await info.context.read(look_up, customer=customer, usage=usage)


@strawberry.type
class InvoiceQueries:
    """Asking for invoices."""

    @resolver(description="The invoice with this id; null when there is none, or it is a preview.")
    async def invoice(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The id of an invoice.")],
        as_of: AsKnown = None,
    ) -> Invoice | None:
        state = await found(info, invoices.Invoice, id, as_of)
        return await shown(info, state) if state else None

    @resolver(description="Invoices in the order in which they were drafted.")
    async def invoices(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        customer_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only those of this customer.")
        ] = None,
        subscription_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Only those of this subscription."),
        ] = None,
        status: Annotated[
            Status | None, strawberry.argument(description="Only those that stand here.")
        ] = None,
        number: Annotated[
            str | None, strawberry.argument(description="Only the one with this number.")
        ] = None,
        period: Annotated[
            PeriodInput | None,
            strawberry.argument(description="Only those for an instant that lies in this time."),
        ] = None,
    ) -> Connection[Invoice]:
        page = Page.of(first, after, last, before)
        return await invoice_page(
            info,
            page,
            period.read(("period",)) if period else None,
            customerId=customer_id,
            subscriptionId=subscription_id,
            status=None if status is None else status.value,
            number=number,
        )

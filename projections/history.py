"""What happened to a thing: each object's positions in the ledger, and everybody's by type."""

from collections.abc import Sequence

from domain.decider import EVENTS, Event, Recorded
from domain.invoice_items import InvoiceItemCreated
from domain.invoices import InvoiceDrafted, InvoiceFinalized
from domain.prices import PriceCreated
from domain.settlements import (
    CreditNoteCreated,
    InvoiceMarkedUncollectible,
    InvoiceOverdue,
    InvoiceVoided,
    PaymentRecorded,
)
from domain.subscriptions import SubscriptionChanged, SubscriptionCreated
from projections import current, usage_corrections
from projections.current import Found
from projections.tables import Table, Views

HISTORY = Table("history", "subject TEXT, position INTEGER, type TEXT", key="subject, position")
TABLES = (HISTORY,)

EVERYTHING = ""
"""The subject under which every event stands."""


def apply(views: Views, recorded: Recorded) -> None:
    """Note the fact under everything that it is about."""
    type = recorded.event.topic.partition("/")[0]
    subjects = {EVERYTHING, recorded.stream_id, *related(recorded.event)}
    subjects |= {*usage_corrections.about(views, recorded.event)}
    rows = [(subject, recorded.position, type) for subject in sorted(subjects)]
    views.insert("history", rows)


def apply_batch(views: Views, batch: Recorded) -> None:
    """Note a fact that is about nothing but itself: a batch of usage."""
    type = batch.event.topic.partition("/")[0]
    rows = [(subject, batch.position, type) for subject in (EVERYTHING, batch.stream_id)]
    views.insert("history", rows)


def related(event: Event) -> Sequence[str]:
    """The other objects that a fact is about: a price is part of its product's history too."""
    match event:
        case PriceCreated():
            return [event.product_id, *([event.meter_id] if event.meter_id else [])]
        case SubscriptionCreated():
            return [event.customer_id, *(item.price_id for item in event.items)]
        case SubscriptionChanged():
            return [item.price_id for item in event.begun]
        case InvoiceDrafted() | InvoiceFinalized() | InvoiceItemCreated():
            return [event.subscription_id, event.customer_id]
        case PaymentRecorded() | CreditNoteCreated() | InvoiceVoided():
            return [event.customer_id]
        case InvoiceMarkedUncollectible() | InvoiceOverdue():
            return [event.customer_id]
        case _:
            return []


def positions(
    views: Views,
    subject: str | None,
    types: Sequence[str] | None,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    backwards: bool = False,
) -> list[int]:
    """Where in the ledger the events of a subject and of these types stand, None for all.

    `after` and `before` are positions, both exclusive; `backwards` gives the last ones first.
    """
    where, parameters = "subject=?", [subject or EVERYTHING]
    bounds: list[int] = []
    if types is not None:
        where += f" AND type IN ({','.join('?' * len(types))})"
        parameters += types
    if after is not None:
        where += " AND position>?"
        bounds.append(after)
    if before is not None:
        where += " AND position<?"
        bounds.append(before)
    order = "DESC" if backwards else "ASC"
    rows = views.rows(
        f"SELECT position FROM history WHERE {where} ORDER BY position {order} LIMIT ?",
        [*parameters, *bounds, limit],
    )
    return [row[0] for row in rows]


def count(views: Views, subject: str | None, types: Sequence[str] | None) -> int:
    """How many events of a subject and of these types the ledger holds, None for all."""
    where, parameters = "subject=?", [subject or EVERYTHING]
    if types is not None:
        where += f" AND type IN ({','.join('?' * len(types))})"
        parameters += types
    row = views.row(f"SELECT COUNT(*) FROM history WHERE {where}", parameters)
    return int(row[0]) if row else 0


def own(views: Views, found: Found, until: int) -> list[int]:
    """Where the facts of one object's own stream stand, up to a position."""
    if found.position > until:
        return []
    if found.version == 1:
        return [found.position]
    kind = current.KIND_OF[type(found.state)]
    types = {topic.partition("/")[0] for topic in EVENTS if topic.startswith(f"{kind.name}.")}
    return positions(views, found.state.id, sorted(types), before=until + 1, limit=-1)

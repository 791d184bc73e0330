"""What happened to a thing: each object's positions in the ledger, and everybody's by type."""

from collections.abc import Sequence
from heapq import merge
from itertools import islice

from domain.customers import CustomerCreated, CustomerUpdated
from domain.decider import EVENTS, Event, Recorded
from domain.invoice_items import InvoiceItem
from domain.invoices import Invoice
from domain.prices import Price
from domain.subscriptions import Subscription, SubscriptionChanged, SubscriptionCreated
from projections import current, usage_corrections
from projections.current import Found
from projections.tables import Table, Views

HISTORY = Table(
    "history",
    "subject TEXT, position INTEGER, type TEXT",
    key="subject, position",
    indexes=["subject, type, position"],
)
TABLES = (HISTORY,)

EVERYTHING = ""
"""The subject under which every event stands."""

ALL = 2**62
"""Later than any position."""
_OWNED = {Price, Subscription, Invoice, InvoiceItem}


def apply(views: Views, recorded: Recorded) -> None:
    """Note the fact under everything that it is about."""
    type = recorded.event.topic.partition("/")[0]
    subjects = {EVERYTHING, recorded.stream_id, *related(recorded.event)}
    subjects |= {*owners(views, recorded.stream_id)}
    subjects |= {*usage_corrections.about(views, recorded.event)}
    rows = [(subject, recorded.position, type) for subject in sorted(subjects)]
    views.insert("history", rows)


def apply_batch(views: Views, batch: Recorded) -> None:
    """Note a fact that is about nothing but itself: a batch of usage."""
    type = batch.event.topic.partition("/")[0]
    rows = [(subject, batch.position, type) for subject in (EVERYTHING, batch.stream_id)]
    views.insert("history", rows)


def related(event: Event) -> Sequence[str]:
    """What else a fact is about: who takes on a price, and whom senders' keys come to mean."""
    match event:
        case CustomerCreated(external_id=str() as key) | CustomerUpdated(external_id=str() as key):
            return [subject_of_key(key)]
        case SubscriptionCreated():
            return [item.price_id for item in event.items]
        case SubscriptionChanged():
            return [item.price_id for item in event.begun]
        case _:
            return []


def subject_of_key(external_id: str) -> str:
    """The subject under which stands which customers ever had an id of a sender's own."""
    return f"externalId:{external_id}"


def owners(views: Views, id: str) -> Sequence[str]:
    """What an object belongs to: whatever happens to a price is its product's history too."""
    kind = current.KINDS.get(id.partition("_")[0])
    if kind is None or kind.state not in _OWNED:
        return []
    found = current.find(views, kind.state, id)
    match found.state if found else None:
        case Price(product_id=product_id, meter_id=meter_id):
            return [product_id, *([meter_id] if meter_id else [])]
        case Subscription(customer_id=customer_id):
            return [customer_id]
        case Invoice() | InvoiceItem() as owned:
            return [owned.subscription_id, owned.customer_id]
        case _:
            return []


def positions(
    views: Views,
    subject: str | None,
    types: Sequence[str] | None,
    *,
    also: str | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    backwards: bool = False,
) -> list[int]:
    """Where in the ledger the events of a subject and of these types stand, None for all.

    With `also`, those that are about this other subject too. `after` and `before` are positions,
    both exclusive; `backwards` gives the last ones first. Each type is looked up by itself, so that
    a page of rare ones does not read past all the others.
    """
    where, parameters = _where(subject, also)
    if after is not None:
        where += " AND position>?"
        parameters.append(after)
    if before is not None:
        where += " AND position<?"
        parameters.append(before)
    order = "DESC" if backwards else "ASC"
    ending = f"ORDER BY position {order} LIMIT ?"
    if types is None:
        rows = [
            views.rows(f"SELECT position FROM history WHERE {where} {ending}", [*parameters, limit])
        ]
    else:
        sql = f"SELECT position FROM history WHERE {where} AND type=? {ending}"
        rows = [views.rows(sql, [*parameters, type, limit]) for type in dict.fromkeys(types)]
    found = merge(*rows, reverse=backwards)
    return [row[0] for row in islice(found, None if limit < 0 else limit)]


def count(
    views: Views,
    subject: str | None,
    types: Sequence[str] | None,
    *,
    also: str | None = None,
    after: int | None = None,
    before: int | None = None,
) -> int:
    """How many events `positions` would find without a limit."""
    where, parameters = _where(subject, also)
    if types is not None:
        where += f" AND type IN ({','.join('?' * len(types))})"
        parameters += types
    where += " AND position>? AND position<?"
    parameters += [after or 0, ALL if before is None else before]
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


def _where(subject: str | None, also: str | None) -> tuple[str, list[object]]:
    """The condition that an event is about a subject, and about the other one."""
    where = "subject=?"
    parameters: list[object] = [subject or EVERYTHING]
    if also is not None:
        where += " AND EXISTS (SELECT 1 FROM history AS other"
        where += " WHERE other.subject=? AND other.position=history.position)"
        parameters.append(also)
    return where, parameters

"""What things are now: the latest state of each object by its own `evolve`, and look-up by key."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from domain import (
    customers,
    invoice_items,
    ledgers,
    meters,
    prices,
    products,
    settlements,
    subscriptions,
)
from domain.customers import Customer
from domain.decider import Event, Recorded
from domain.invoice_items import InvoiceItem
from domain.invoices import Invoice
from domain.ledgers import LedgerState
from domain.meters import Meter
from domain.money import decode_number, encode_number
from domain.periods import to_us
from domain.prices import Price
from domain.products import Product
from domain.subscriptions import Subscription
from projections.tables import Row, Table, Views

OBJECTS = Table(
    "objects",
    "id TEXT, kind TEXT, position INTEGER, version INTEGER, state BLOB",
    key="id",
    indexes=["kind, position"],
)
KEYS = Table(
    "object_keys",
    "kind TEXT, field TEXT, value TEXT, position INTEGER, id TEXT",
    key="kind, field, value, position",
)
TABLES = (OBJECTS, KEYS)

State = LedgerState | Meter | Product | Price | Customer | Subscription | Invoice | InvoiceItem
T = TypeVar("T", bound=State)

Ranges = Mapping[str, tuple[str, str]]
"""For a field of the keys, from which value up to which other one, exclusive."""
_EVERYTHING: Ranges = {}


def instant_key(instant: datetime) -> str:
    """An instant as a key that sorts as time goes."""
    return f"{to_us(instant):020}"


class Kind(msgspec.Struct, frozen=True):
    """One kind of object: the prefix of its ids, its name, fold, type, and keys to find it by."""

    prefix: str
    name: str
    evolve: Callable[[Any, Event], Any]
    state: type[State]
    keys: Callable[[Any], Sequence[tuple[str, str | None]]]


_KINDS = (
    Kind("led", "ledger", ledgers.evolve, LedgerState, lambda _: ()),
    Kind(
        "met",
        "meter",
        meters.evolve,
        Meter,
        lambda meter: (("name", meter.name), ("eventName", meter.event_name)),
    ),
    Kind("prod", "product", products.evolve, Product, lambda product: (("name", product.name),)),
    Kind(
        "price",
        "price",
        prices.evolve,
        Price,
        lambda price: (
            ("lookupKey", price.lookup_key),
            ("productId", price.product_id),
            ("meterId", price.meter_id),
        ),
    ),
    Kind(
        "cus",
        "customer",
        customers.evolve,
        Customer,
        lambda customer: (
            ("name", customer.name),
            ("email", customer.email),
            ("externalId", customer.external_id),
        ),
    ),
    Kind(
        "sub",
        "subscription",
        subscriptions.evolve,
        Subscription,
        lambda subscription: (
            ("customerId", subscription.customer_id),
            *(("priceId", id) for id in sorted({s.item.price_id for s in subscription.stretches})),
        ),
    ),
    Kind(
        "inv",
        "invoice",
        settlements.evolve,
        Invoice,
        lambda invoice: (
            ("customerId", invoice.customer_id),
            ("subscriptionId", invoice.subscription_id),
            ("status", invoice.status),
            ("number", invoice.printed_number),
            ("at", instant_key(invoice.at)),
        ),
    ),
    Kind(
        "ii",
        "invoice item",
        invoice_items.evolve,
        InvoiceItem,
        lambda item: (("customerId", item.customer_id), ("subscriptionId", item.subscription_id)),
    ),
)

KINDS: Mapping[str, Kind] = {kind.prefix: kind for kind in _KINDS}
"""Every kind of object by the prefix of its ids."""

KIND_OF: Mapping[type[Any], Kind] = {kind.state: kind for kind in KINDS.values()}

_KNOWN = 1_000
"""How many objects a transaction remembers that it looked up."""

_encode = msgspec.msgpack.Encoder(enc_hook=encode_number).encode


class Found(msgspec.Struct, frozen=True):
    """An object as it stands, and where in the ledger it was created."""

    position: int
    version: int
    state: Any


def apply(views: Views, recorded: Recorded) -> None:
    """Fold one fact into the object that it is about."""
    kind = KINDS.get(recorded.stream_id.partition("_")[0])
    if kind is None:
        return
    before = find(views, kind.state, recorded.stream_id)
    state = kind.evolve(before.state if before else None, recorded.event)
    if state is None:
        return
    position = before.position if before else recorded.position
    if before:
        _forget_keys(views, kind, before)
    row = (recorded.stream_id, kind.name, position, recorded.stream_version, _encode(state))
    views.put(OBJECTS, row)
    if views.known is not None:
        views.known.pop((kind.name, recorded.stream_id), None)
    for field, value in kind.keys(state):
        if value is not None:
            key = (kind.name, field, value, position, recorded.stream_id)
            views.execute("INSERT INTO object_keys VALUES (?,?,?,?,?)", key)


def _forget_keys(views: Views, kind: Kind, before: Found) -> None:
    """The keys of the former state, so that it is no longer found by them."""
    for field, value in kind.keys(before.state):
        if value is not None:
            views.execute(
                "DELETE FROM object_keys WHERE kind=? AND field=? AND value=? AND position=?",
                (kind.name, field, value, before.position),
            )


def storable(text: str) -> bool:
    """Whether a text that nobody has checked yet can be looked up at all."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def find(views: Views, type: type[T], id: str) -> Found | None:
    """The object of this type with this id, and where it was created."""
    if not storable(id):
        return None
    kind, known = KIND_OF[type], views.known
    if known is not None and (kind.name, id) in known:
        found: Found | None = known[kind.name, id]
        return found
    row = views.row(
        "SELECT position, version, state FROM objects WHERE id=? AND kind=?", (id, kind.name)
    )
    found = _found(kind, row) if row else None
    if known is not None and len(known) < _KNOWN:
        known[kind.name, id] = found
    return found


def get(views: Views, type: type[T], id: str) -> T | None:
    """The object of this type with this id."""
    found = find(views, type, id)
    state: T | None = found.state if found else None
    return state


def ledger(views: Views) -> Found:
    """The ledger itself; of a fork the last one, for it begins with the facts of another."""
    [found] = select(views, LedgerState, {}, limit=1, backwards=True)
    return found


def at(views: Views, type: type[T], position: int) -> T | None:
    """The object of this type that was created at a position."""
    kind = KIND_OF[type]
    row = views.row(
        "SELECT position, version, state FROM objects WHERE kind=? AND position=?",
        (kind.name, position),
    )
    state: T | None = _found(kind, row).state if row else None
    return state


def owner(views: Views, type: type[State], field: str, value: str | None) -> str | None:
    """The id of the first object that has this key, if any has."""
    if value is None or not storable(value):
        return None
    row = views.row(
        "SELECT id FROM object_keys WHERE kind=? AND field=? AND value=? ORDER BY position LIMIT 1",
        (KIND_OF[type].name, field, value),
    )
    return row[0] if row else None


def positions(views: Views, type: type[State], ids: Sequence[str]) -> dict[str, int]:
    """Where the objects of this type were created, by those of the ids that there are."""
    # Asked for by its kind, too, SQLite would look through all of that kind.
    sql, name = "SELECT id, kind, position FROM objects WHERE id IN :them", KIND_OF[type].name
    rows = views.of_many(sql, list(filter(storable, ids)))
    return {id: position for id, kind, position in rows if kind == name}


def owners(views: Views, type: type[State], field: str, values: Sequence[str]) -> dict[str, str]:
    """The ids of the first objects that have these keys, by those of the keys that any has."""
    sql = "SELECT value, id, position FROM object_keys WHERE kind=? AND field=? AND value IN :them"
    rows = views.of_many(sql, list(filter(storable, values)), [KIND_OF[type].name, field])
    last_first = sorted(rows, key=itemgetter(2), reverse=True)
    return {value: id for value, id, _ in last_first}


def select(
    views: Views,
    type: type[State],
    keys: Mapping[str, str],
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    backwards: bool = False,
    ranges: Ranges = _EVERYTHING,
) -> list[Found]:
    """Objects of a type in the order of their creation, those that have all of these keys.

    And a key in each of the ranges. `after` and `before` are positions, both exclusive; `backwards`
    gives the last ones first.
    """
    where, parameters = _where(KIND_OF[type], keys, ranges)
    if after is not None:
        where += " AND position>?"
        parameters.append(after)
    if before is not None:
        where += " AND position<?"
        parameters.append(before)
    order = "DESC" if backwards else "ASC"
    rows = views.rows(
        f"SELECT position, version, state FROM objects WHERE {where} "
        f"ORDER BY position {order} LIMIT ?",
        [*parameters, limit],
    )
    return [_found(KIND_OF[type], row) for row in rows]


def count(
    views: Views, type: type[State], keys: Mapping[str, str], *, ranges: Ranges = _EVERYTHING
) -> int:
    """How many objects of a type have all of these keys, and one in each of the ranges."""
    where, parameters = _where(KIND_OF[type], keys, ranges)
    row = views.row(f"SELECT COUNT(*) FROM objects WHERE {where}", parameters)
    return int(row[0]) if row else 0


def _where(kind: Kind, keys: Mapping[str, str], ranges: Ranges) -> tuple[str, list[Any]]:
    """The condition that an object is of this kind and is found by each of the keys and ranges."""
    where, parameters = "kind=?", [kind.name]
    if not all(map(storable, keys.values())):
        where += " AND FALSE"
        keys = {}
    for field, value in keys.items():
        where += " AND position IN (SELECT position FROM object_keys"
        where += " WHERE kind=? AND field=? AND value=?)"
        parameters += [kind.name, field, value]
    for field, (start, end) in ranges.items():
        where += " AND position IN (SELECT position FROM object_keys"
        where += " WHERE kind=? AND field=? AND value>=? AND value<?)"
        parameters += [kind.name, field, start, end]
    return where, parameters


def _found(kind: Kind, row: Row) -> Found:
    state = msgspec.msgpack.decode(row[2], type=kind.state, dec_hook=decode_number)
    return Found(row[0], row[1], state)

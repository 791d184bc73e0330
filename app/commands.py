"""From a command to facts in the ledger: gather what deciding needs, decide, append, answer.

Every command takes the same way, in the writer's thread: the idempotency key first, then the facts
from the views as of its turn, then the domain's decision, then the events.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import UNSET

from app import invoice_facts, subscription_facts
from app.clock import new_id
from app.jobs import CommandJob
from app.store import KeyRow
from app.writer import Group
from domain import (
    customers,
    invoice_items,
    invoices,
    meters,
    prices,
    products,
    settlements,
    subscription_changes,
    subscription_holds,
    subscriptions,
    usage,
    usage_corrections,
)
from domain.customers import Customer
from domain.decider import Code, Event, Rejected, fold
from domain.invoice_items import InvoiceItem
from domain.invoices import Invoice
from domain.meters import Meter
from domain.periods import from_us
from domain.prices import Price, PriceSuperseded
from domain.products import Product
from domain.subscriptions import Subscription
from domain.text import check_text
from domain.usage import RecordInput, UsageRecorded
from projections import current
from projections import usage_corrections as corrections
from projections.supposed import Supposed
from projections.tables import Views

Command = (
    meters.Command
    | products.Command
    | prices.Command
    | customers.Command
    | subscriptions.CreateSubscription
    | subscription_changes.Command
    | subscription_holds.Command
    | usage_corrections.Command
    | invoices.Command
    | settlements.Command
    | invoice_items.CreateInvoiceItem
)


IMAGINED_ID = "new"
"""The id of what does not exist, and is only asked about."""


class Done(msgspec.Struct, frozen=True):
    """What a command came to: the object it is about, and the position of its last event."""

    subject: str
    position: int


class Decided(msgspec.Struct, frozen=True):
    """What a command decides: a stream, how many facts stand in it, and the facts that follow."""

    stream: str
    version: int
    events: list[Event]


class Handler(msgspec.Struct, frozen=True):
    """How one command is handled: its kind of object, its facts and its decision.

    `subject` reads the id of an existing object off the command; without it, one is created.
    """

    kind: type[current.State]
    facts: Callable[[Views, Any, str, datetime], Any]
    decide: Callable[[Any, Any, Any], list[Event]]
    subject: Callable[[Any], str] | None = None

    def __call__(self, group: Group, command: Any) -> Decided:
        """Gather the facts as of the command's turn, and decide."""
        found: current.Found | None = None
        if self.subject is None:
            id = new_id(current.KIND_OF[self.kind].prefix)
        else:
            id = self.subject(command)
            found = current.find(group.views, self.kind, id)
        facts = self.facts(group.views, command, id, from_us(group.now_us))
        events = self.decide(found.state if found else None, command, facts)
        return Decided(id, found.version if found else 0, events)


def job(command: Command, *, key: str | None, actor: str | None) -> CommandJob[Done]:
    """The command as a job for the writer. Its answer is `Done`, or it fails with `Rejected`."""
    digest = hashlib.blake2b(_content(command), digest_size=16).digest()
    return CommandJob(lambda group: handle(group, command, key, digest, actor), actor)


def handle(
    group: Group, command: Command, key: str | None, digest: bytes, actor: str | None
) -> Done:
    """Answer a repeat with the first result; otherwise decide and append. Raises `Rejected`."""
    if key is not None:
        check_text(key, ("input", "idempotencyKey"))
        used = group.key(key)
        if used is not None:
            return _repeated(used, digest)
    decided = HANDLERS[type(command)](group, command)
    position = group.next_position - 1
    for version, event in enumerate(decided.events, start=decided.version + 1):
        position = group.append(decided.stream, version, event, actor, key)
    if key is not None:
        group.keys[key] = KeyRow(key, digest, decided.stream, position)
    return Done(decided.stream, position)


def _repeated(used: KeyRow, digest: bytes) -> Done:
    if used.digest != digest:
        message = "this idempotency key was used with another input"
        raise Rejected(Code.IDEMPOTENCY_KEY_REUSED, ("input", "idempotencyKey"), message)
    return Done(used.subject, used.position)


def _content(command: Command) -> bytes:
    """What makes two inputs the same: the command's name, and every value that is not a default.

    A field that commands get later has a default, so that an old key still means the same input.
    """
    given = {
        field.name: value
        for field in msgspec.structs.fields(command)
        if (value := getattr(command, field.name)) != field.default
    }
    try:
        return msgspec.msgpack.encode((type(command).__name__, given), order="sorted")
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return b""  # half of a surrogate pair, or a property that is no text: refused by name


def imagined_subscription(
    views: Views, command: subscriptions.CreateSubscription, at: datetime
) -> Subscription:
    """The subscription that a command would create, decided as if for real and written nowhere.

    Raises `Rejected`, as creating it would.
    """
    facts = subscription_facts.creation(views, command, IMAGINED_ID, at)
    state = fold(subscriptions.evolve, subscriptions.decide(None, command, facts))
    assert state is not None, "creating a subscription makes one"
    return state


def imagined_change(
    views: Views, command: subscription_changes.Command, at: datetime
) -> Subscription:
    """A subscription as a command would change it, decided as if for real and written nowhere.

    Raises `Rejected`, as carrying it out would.
    """
    state = current.get(views, Subscription, command.subscription_id)
    facts = subscription_facts.change(views, command, command.subscription_id, at)
    for event in subscription_changes.decide(state, command, facts):
        state = subscriptions.evolve(state, event)
    assert state is not None, "what is not there cannot be changed"
    return state


def imagined_price(views: Views, command: prices.SupersedePrice, at: datetime) -> Supposed:
    """A price as a command would supersede it, decided as if for real and written nowhere.

    Raises `Rejected`, as superseding it would.
    """
    state = current.get(views, Price, command.price_id)
    facts = _price_that_exists(views, command.price_id, at)
    events = prices.decide(state, command, facts)
    for event in events:
        state = prices.evolve(state, event)
    since = next((one.effective_at for one in events if isinstance(one, PriceSuperseded)), None)
    return Supposed(price=state, since=since)


# --------------------------------------------------------------------------------------- facts


def _meter(views: Views, command: meters.Command, id: str, at: datetime) -> meters.Facts:
    if not isinstance(command, meters.ReviseMeter):
        return meters.Facts(id=id, at=at)
    over = current.select(views, Price, {"meterId": id}, limit=-1)
    by_records = any(
        version.pricing.needs_records for price in over for version in price.state.versions
    )
    return meters.Facts(id=id, at=at, priced_by_records=by_records)


def _product(views: Views, command: products.Command, id: str, at: datetime) -> products.Facts:
    return products.Facts(id=id, at=at)


def _price(views: Views, command: prices.Command, id: str, at: datetime) -> prices.Facts:
    if not isinstance(command, prices.CreatePrice):
        return _price_that_exists(views, id, at)
    meter = current.get(views, Meter, command.meter_id) if command.meter_id else None
    product = current.get(views, Product, command.product_id)
    return prices.Facts(
        id=id,
        at=at,
        product_exists=product is not None,
        product_archived=product is not None and not product.active,
        meter_archived=meter is not None and not meter.active,
        meter_dimensions=meter.all_dimensions if meter else None,
        meter_aggregation=meter.only_aggregation if meter else None,
        lookup_key_owner=current.owner(views, Price, "lookupKey", command.lookup_key),
    )


def _price_that_exists(views: Views, id: str, at: datetime) -> prices.Facts:
    """What superseding or archiving a price needs to know: what its meter adds up."""
    price = current.get(views, Price, id)
    meter = current.get(views, Meter, price.meter_id) if price and price.meter_id else None
    return prices.Facts(
        id=id,
        at=at,
        product_exists=True,
        meter_dimensions=None,
        meter_aggregation=meter.only_aggregation if meter else None,
        lookup_key_owner=None,
    )


def _customer(views: Views, command: customers.Command, id: str, at: datetime) -> customers.Facts:
    wanted = None
    if not isinstance(command, customers.ArchiveCustomer) and command.external_id is not UNSET:
        wanted = command.external_id
    owner = current.owner(views, Customer, "externalId", wanted)
    return customers.Facts(id=id, at=at, external_id_owner=owner)


SETTLEMENT = Handler(
    Invoice, invoice_facts.settlement, settlements.decide, lambda command: command.invoice_id
)


# ---------------------------------------------------------------------------------- corrections


def _correct(group: Group, command: usage_corrections.Command) -> Decided:
    """Decide about one record of a batch, as the batch and its last correction have left it."""
    offered = RecordInput(id=command.id, source=command.source, event_name="", customer="")
    place = group.identity(command.source, command.id) if usage.identifiable(offered) else None
    if place is None:
        return Decided("", 0, usage_corrections.decide(None, command, None))
    batch = group.at(place[0])
    assert isinstance(batch.event, UsageRecorded)
    record = batch.event.record(place[1])
    last = corrections.last(group.views, *place)
    history = [UsageRecorded.of([record]), *([group.at(last).event] if last else [])]
    facts = usage_corrections.Facts(
        at=from_us(group.now_us),
        position=place[0],
        row=place[1],
        meters=group.facts({record.event_name}, {record.customer}, {}),
    )
    events = usage_corrections.decide(fold(usage_corrections.evolve, history), command, facts)
    return Decided(batch.stream_id, 1 + corrections.count_in(group.views, place[0]), events)


HANDLERS: Mapping[type[Command], Callable[[Group, Any], Decided]] = {
    meters.CreateMeter: Handler(Meter, _meter, meters.decide),
    meters.UpdateMeter: Handler(Meter, _meter, meters.decide, lambda command: command.meter_id),
    meters.ReviseMeter: Handler(Meter, _meter, meters.decide, lambda command: command.meter_id),
    meters.ArchiveMeter: Handler(Meter, _meter, meters.decide, lambda command: command.meter_id),
    products.CreateProduct: Handler(Product, _product, products.decide),
    products.UpdateProduct: Handler(
        Product, _product, products.decide, lambda command: command.product_id
    ),
    products.ArchiveProduct: Handler(
        Product, _product, products.decide, lambda command: command.product_id
    ),
    prices.CreatePrice: Handler(Price, _price, prices.decide),
    prices.SupersedePrice: Handler(Price, _price, prices.decide, lambda command: command.price_id),
    prices.ArchivePrice: Handler(Price, _price, prices.decide, lambda command: command.price_id),
    customers.CreateCustomer: Handler(Customer, _customer, customers.decide),
    customers.UpdateCustomer: Handler(
        Customer, _customer, customers.decide, lambda command: command.customer_id
    ),
    customers.ArchiveCustomer: Handler(
        Customer, _customer, customers.decide, lambda command: command.customer_id
    ),
    subscriptions.CreateSubscription: Handler(
        Subscription, subscription_facts.creation, subscriptions.decide
    ),
    **dict.fromkeys(
        get_args(subscription_holds.Command),
        Handler(
            Subscription,
            subscription_facts.hold,
            subscription_holds.decide,
            lambda command: command.subscription_id,
        ),
    ),
    **dict.fromkeys(
        get_args(subscription_changes.Command),
        Handler(
            Subscription,
            subscription_facts.change,
            subscription_changes.decide,
            lambda command: command.subscription_id,
        ),
    ),
    usage_corrections.VoidUsage: _correct,
    usage_corrections.AmendUsage: _correct,
    invoices.DraftInvoice: Handler(Invoice, invoice_facts.invoice, invoices.decide),
    invoices.FinalizeInvoice: Handler(
        Invoice, invoice_facts.invoice, invoices.decide, lambda command: command.invoice_id
    ),
    **dict.fromkeys(get_args(settlements.Command), SETTLEMENT),
    invoice_items.CreateInvoiceItem: Handler(
        InvoiceItem, invoice_facts.invoice_item, invoice_items.decide
    ),
}
"""Every command with how it is handled."""

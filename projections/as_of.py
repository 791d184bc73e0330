"""What was known at an earlier position: the views of one customer, folded from what concerns it.

A bill is a fold, so what a bill said is the same fold over another stretch of the ledger. Small
views in memory get every fact up to the position about the customer, its subscriptions, their
prices, products and meters, and its own usage records, each at its place. Whatever reads views
reads these: no second engine can disagree. The work is that of the objects involved, however long
the ledger is.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter, itemgetter

from msgspec import UNSET

from domain.customers import Customer, CustomerUpdated
from domain.decider import Recorded
from domain.meters import Meter
from domain.periods import to_us
from domain.prices import Price
from domain.products import Product
from domain.subscriptions import Subscription
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from projections import current, history, usage_corrections, usage_records
from projections.current import Found
from projections.engine import Engine
from projections.tables import IN_MEMORY, Views
from projections.usage_blocks import Matched
from projections.usage_records import Placed, meters_over

EventAt = Callable[[int], Recorded | None]
"""Reads the event at a position of the ledger."""

Stream = Callable[[str], Sequence[Recorded]]
"""Reads what happened to one object by itself up to the position that is asked about."""

FAR_US = 2**62
"""Later than any instant."""


@contextmanager
def known(
    now: Views,
    event_at: EventAt,
    customer_id: str,
    position: int,
    *,
    meters: Sequence[str] = (),
    since_us: int = FAR_US,
    usage: bool = True,
) -> Iterator[Views]:
    """Views of one customer as of a position, folded from what the views of now know of it.

    `meters` are asked about beside those of the customer's own prices, and usage from `since_us` on
    beside that of its subscriptions. The customer need not have existed then. Without `usage`, they
    say nothing of what was used, and so nothing of drafts and previews, but cost much less.
    """
    asked = _Asked(now, event_at, customer_id, position, since_us)
    events = asked.events(meters)
    with _folded(events, asked.records() if usage else (), position) as then:
        yield then


@contextmanager
def records_known(
    now: Views, event_at: EventAt, stream: Stream, placed: Sequence[Placed], position: int
) -> Iterator[Views]:
    """Views of some usage records as of a position: what they said, and whether they counted."""
    ids, corrections = set[str](), list[int]()
    for name in {record.event_name for _, _, record in placed}:
        ids |= {one.meter.id for one in meters_over(now, name)}
    for key in {record.customer for _, _, record in placed}:
        named = history.positions(now, history.subject_of_key(key), None, limit=-1)
        ids |= {key, *(event.stream_id for event in _read(event_at, named))}
    for at, row, _ in placed:
        corrections += [one.position for one in usage_corrections.of(now, at, row)]
    about = [event for id in ids for event in stream(id)]
    events = [*about, *_read(event_at, (at for at in corrections if at <= position))]
    with _folded(sorted(events, key=attrgetter("position")), placed, position) as then:
        yield then


def _read(event_at: EventAt, positions: Iterable[int]) -> list[Recorded]:
    """The events at some positions."""
    return [event for event in map(event_at, positions) if event is not None]


@contextmanager
def _folded(
    events: Sequence[Recorded], records: Sequence[Placed], position: int
) -> Iterator[Views]:
    """Views in memory of nothing but these facts, each at its place."""
    engine = Engine(IN_MEMORY)
    try:
        with engine.database.transaction() as views:
            for event, before in _between(events, records):
                engine.recall(before)
                engine.apply([event] if event else [])
            views.set_meta("position", position)
        yield views
    finally:
        engine.close()


def _between(
    events: Sequence[Recorded], records: Sequence[Placed]
) -> Iterator[tuple[Recorded | None, Sequence[Placed]]]:
    """Each event with the usage records between the one before and it; the last ones with none."""
    start = 0
    for event in events:
        end = bisect_left(records, event.position, lo=start, key=itemgetter(0))
        yield event, records[start:end]
        start = end
    yield None, records[start:]


class _Asked:
    """One customer at one position, and where in the ledger to look for it."""

    def __init__(
        self, now: Views, event_at: EventAt, customer_id: str, position: int, since_us: int
    ) -> None:
        self._now = now
        self._event_at = event_at
        self._position = position
        self._customer = current.find(now, Customer, customer_id)
        self._meters: dict[str, Found] = {}
        self._batches: dict[int, Recorded] = {}
        self._since_asked = since_us

    def events(self, meters: Sequence[str]) -> list[Recorded]:
        """Every fact up to the position about the customer and what it subscribes to."""
        places: set[int] = set()
        for id in meters:
            self._add_meter(id)
        if self._customer is not None:
            places.update(self._history(self._customer.state.id))
            keys = {"customerId": self._customer.state.id}
            for one in current.select(self._now, Subscription, keys, limit=-1):
                places.update(self._history(one.state.id))
                for price_id in {stretch.item.price_id for stretch in one.state.stretches}:
                    places.update(self._price(price_id))
        for found in self._meters.values():
            places.update(self._own(found))
        return [
            event
            for place in sorted(places)
            if (event := self._event_at(place)) is not None
            and not isinstance(event.event, UsageRecorded)
        ]

    def records(self) -> list[Placed]:
        """The customer's usage records up to the position, as they were recorded, in order.

        What was corrected is read again from the ledger. So is everything, if the customer was
        ever known to senders by another key: a record counts from when its key meant the customer.
        """
        if self._customer is None:
            return []
        again = self._corrected()
        as_sent = self._has_other_keys()
        found: dict[tuple[int, int], UsageRecord | None] = dict.fromkeys(again)
        for name, ref in self._event_refs().items():
            for record in self._matched(ref):
                place = (record.position, record.row)
                if place not in again:
                    found[place] = None if as_sent else self._as_sent(name, record)
        return [
            (*place, known or self._original(*place))
            for place, known in sorted(found.items(), key=itemgetter(0))
            if place[0] <= self._position
        ]

    def _as_sent(self, event_name: str, record: Matched) -> UsageRecord:
        """A record as it was sent, but for what nobody counts by: its own id, and whose key."""
        assert self._customer is not None
        customer = self._customer.state.id
        told = (record.timestamp_us, record.value, record.properties)
        return UsageRecord("", "", event_name, customer, *told)

    def _has_other_keys(self) -> bool:
        """Whether senders' keys ever came to mean the customer, or ceased to."""
        assert self._customer is not None
        id = self._customer.state.id
        changes = history.positions(self._now, id, ["customer.updated"], limit=-1)
        return any(
            isinstance(found.event, CustomerUpdated) and found.event.external_id is not UNSET
            for found in map(self._event_at, changes)
            if found is not None
        )

    def _matched(self, event_ref: int) -> Iterator[Matched]:
        assert self._customer is not None
        return usage_records.between(
            self._now, event_ref, self._customer.position, self._since_us(), FAR_US
        )

    def _since_us(self) -> int:
        """From when on usage can matter: levels are carried over from ever before."""
        assert self._customer is not None
        refs = [ref for name in self._event_refs() for ref in meters_over(self._now, name)]
        keys = {"customerId": self._customer.state.id}
        found = current.select(self._now, Subscription, keys, limit=-1)
        if not found or any(ref.meter.carries_over for ref in refs):
            return 0
        return min(self._since_asked, *(to_us(one.state.start_at) for one in found))

    def _history(self, subject: str) -> list[int]:
        return history.positions(self._now, subject, None, before=self._position + 1, limit=-1)

    def _own(self, found: Found) -> list[int]:
        """Where the facts of one object's own stream stand, up to the position."""
        return history.own(self._now, found, self._position)

    def _price(self, id: str) -> list[int]:
        """The facts of a price and of its product; its meter is asked about, too."""
        price = current.find(self._now, Price, id)
        assert price is not None, f"no price {id}"
        product = current.find(self._now, Product, price.state.product_id)
        assert product is not None, f"no product {price.state.product_id}"
        if price.state.meter_id is not None:
            self._add_meter(price.state.meter_id)
        return [*self._own(price), *self._own(product)]

    def _add_meter(self, id: str) -> None:
        """A meter, and all the others over the same event name, which may be older."""
        found = current.find(self._now, Meter, id)
        if found is None or id in self._meters:
            return
        for one in current.select(
            self._now, Meter, {"eventName": found.state.event_name}, limit=-1
        ):
            self._meters[one.state.id] = one

    def _event_refs(self) -> dict[str, int]:
        names = {one.state.event_name for one in self._meters.values()}
        return {name: meters_over(self._now, name)[0].ref for name in names}

    def _corrected(self) -> set[tuple[int, int]]:
        """The places of the customer's records that were ever corrected."""
        assert self._customer is not None
        types = ["usage.amended", "usage.voided"]
        places = history.positions(self._now, self._customer.state.id, types, limit=-1)
        events = [found.event for found in map(self._event_at, places) if found is not None]
        return {
            (event.position, event.row)
            for event in events
            if isinstance(event, UsageAmended | UsageVoided)
        }

    def _original(self, position: int, row: int) -> UsageRecord:
        """A record as it was recorded."""
        batch = self._batches.get(position) or self._event_at(position)
        assert batch is not None, f"nothing stands at {position}"
        self._batches[position] = batch
        assert isinstance(batch.event, UsageRecorded), f"no usage stands at {position}"
        return batch.event.record(row)

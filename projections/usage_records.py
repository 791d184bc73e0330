"""Every usage record where a question finds it: matched ones by time, the others until they match.

The matched are kept in blocks (`usage_blocks.py`). A meter or a customer stands in them as its
reference: the position at which it was created. What a sender called a record is in the ledger, at
its place.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

import msgspec

from domain.customers import Customer
from domain.meters import Meter
from domain.periods import END_OF_TIME, to_us
from domain.usage import UsageRecord
from projections import current, usage_blocks
from projections.tables import Row, Table, Views
from projections.usage_blocks import Matched

ALWAYS_US = 2**62
"""The end of a version that no other one follows."""
REFS_PER_METER = 128
"""More than a meter has versions, so that no two versions of any meters share a reference."""

CUSTOMERS_REMEMBERED = 200_000
"""Senders' keys whose meaning is kept in memory, some 30 MB, before they are read anew."""

UNMATCHED = Table(
    "usage_unmatched",
    "position INTEGER, row INTEGER, timestamp_us INTEGER, event_name TEXT, customer TEXT, "
    "id TEXT, source TEXT, value TEXT, properties TEXT",
    key="position, row",
    indexes=["event_name", "customer", "timestamp_us"],
)
TABLES = (usage_blocks.BLOCKS, UNMATCHED)

Placed = tuple[int, int, UsageRecord]
"""(position, row, record): a usage record at its place in the ledger."""

Bucket = tuple[int, int, int, int]
"""(meter, hour, customer, dimensions) of a bucket, as references."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class MeterRef(msgspec.Struct, frozen=True):
    """One version of a meter, its reference, and the time whose records it measures."""

    ref: int
    meter: Meter
    """The meter as this version defines it."""
    since_us: int = 0
    until_us: int = ALWAYS_US

    @property
    def always(self) -> bool:
        """Whether it measures every record: no other version of its meter does any."""
        return self.since_us == 0 and self.until_us == ALWAYS_US

    def measures(self, timestamp_us: int) -> bool:
        """Whether a record of this time is measured by this version."""
        return self.since_us <= timestamp_us < self.until_us


class Matching:
    """Which meters read an event name and which customer a key means, kept between batches.

    Of customers at most so many, unless all are kept for who has to say what was asked.
    """

    def __init__(self, *, keeps_all: bool = False) -> None:
        self._keeps_all = keeps_all
        self._meters: dict[str, tuple[MeterRef, ...]] = {}
        self._customers: dict[str, int | None] = {}

    def forget(self) -> None:
        """Trust nothing remembered: what it was read from was undone or has changed."""
        self._meters.clear()
        self._customers.clear()

    @property
    def known(self) -> tuple[dict[str, tuple[MeterRef, ...]], dict[str, int | None]]:
        """What it was asked for so far: the meters over names, and the customers of keys."""
        return self._meters, self._customers

    def meters(self, views: Views, event_name: str) -> tuple[MeterRef, ...]:
        """The versions of the meters over an event name, as `meters_over`."""
        known = self._meters.get(event_name)
        if known is None:
            known = self._meters[event_name] = meters_over(views, event_name)
        return known

    def customers(self, views: Views, keys: Iterable[str]) -> dict[str, int | None]:
        """The references of the customers that keys mean, our ids or theirs, or any text at all."""
        known = self._customers
        if len(known) > CUSTOMERS_REMEMBERED and not self._keeps_all:
            known.clear()
        missing = [key for key in keys if key not in known]
        if missing:
            refs = customer_refs(views, list(filter(current.storable, missing)))
            known |= dict.fromkeys(missing) | refs
        return known

    def customer(self, views: Views, key: str) -> int | None:
        """The reference of the customer that one key means."""
        return self.customers(views, (key,))[key]


def meters_over(views: Views, event_name: str) -> tuple[MeterRef, ...]:
    """The versions of the meters over an event name, in the order of their creation."""
    found = current.select(views, Meter, {"eventName": event_name}, limit=-1)
    return tuple(version for one in found for version in versions_of(one))


def versions_of(found: current.Found) -> list[MeterRef]:
    """The first version of a meter, then the later ones that are in force at some time.

    The first one is there even when no time is left to it: its reference is that of the meter.
    """
    meter: Meter = found.state
    times = {one.version.number: one for one in meter.timeline}
    versions = [MeterRef(found.position, meter, 0, 0)] if 1 not in times else []
    for number, one in sorted(times.items()):
        ref = version_ref(found.position, number)
        since_us = to_us(one.version.since)
        until_us = ALWAYS_US if one.until == END_OF_TIME else to_us(one.until)
        versions.append(MeterRef(ref, meter.measuring(one.version), since_us, until_us))
    return versions


def version_ref(meter_ref: int, number: int) -> int:
    """The reference of a version: of the first one, the meter's; below zero for later ones."""
    return meter_ref if number == 1 else -(meter_ref * REFS_PER_METER + number)


def customer_ref(views: Views, key: str) -> int | None:
    """The reference of the customer with this id or external id."""
    found = current.find(views, Customer, key)
    if found is None:
        owner = current.owner(views, Customer, "externalId", key)
        found = current.find(views, Customer, owner) if owner else None
    return found.position if found else None


def customer_refs(views: Views, keys: Sequence[str]) -> dict[str, int | None]:
    """The references of the customers with these ids or external ids, as `customer_ref`."""
    found: dict[str, int | None] = dict.fromkeys(keys)
    found |= current.positions(views, Customer, keys)
    others = [key for key, ref in found.items() if ref is None]
    owners = current.owners(views, Customer, "externalId", others)
    refs = current.positions(views, Customer, list(set(owners.values())))
    return found | {key: refs.get(owner) for key, owner in owners.items()}


def event_ref(meters: Sequence[MeterRef]) -> int:
    """The reference of an event name: that of the first meter over it."""
    return meters[0].ref


def keep_unmatched(views: Views, waiting: Iterable[Placed]) -> None:
    """Keep records that no meter or no customer matches yet."""
    rows = [
        (
            position,
            row,
            record.timestamp_us,
            record.event_name,
            record.customer,
            record.id,
            record.source,
            record.value,
            properties_text(record.properties),
        )
        for position, row, record in waiting
    ]
    views.insert("usage_unmatched", rows)


def take_unmatched(views: Views, field: str, value: str) -> list[tuple[int, int, UsageRecord]]:
    """The waiting records of an event name or of a customer's key: (position, row, record)."""
    rows = views.rows(
        "SELECT position, row, id, source, event_name, customer, timestamp_us, value, properties "
        f"FROM usage_unmatched WHERE {field}=? ORDER BY position, row",
        (value,),
    )
    return [(row[0], row[1], _record(row[2:])) for row in rows]


def release_unmatched(views: Views, places: Iterable[tuple[int, int]]) -> None:
    """These records wait no longer."""
    for position, row in places:
        views.execute("DELETE FROM usage_unmatched WHERE position=? AND row=?", (position, row))


def between(
    views: Views, event: int, customer: int, start_us: int, end_us: int
) -> Iterator[Matched]:
    """A customer's records between two instants, in time order, those of an instant as recorded."""
    for hour in usage_blocks.in_hours(views, event, customer, start_us, end_us):
        yield from hour


def properties_text(properties: dict[str, str]) -> str | None:
    """Properties as they stand in a row."""
    return _encode(properties).decode() if properties else None


def parse_properties(text: str | None) -> dict[str, str]:
    """Properties from how they stand in a row."""
    return _decode(text) if text else {}


def _record(row: Row) -> UsageRecord:
    id, source, event_name, customer, timestamp_us, value, properties = row
    return UsageRecord(
        id, source, event_name, customer, timestamp_us, value, parse_properties(properties)
    )


# ------------------------------------------------------------------------------------ listing

Place = tuple[int, int, int]
"""(timestamp, position, row) of a usage record: its place among all records in time order."""
BEGINNING: Place = (-1, -1, -1)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which usage records are asked for; a meter, customer or period left out means any.

    `meter` is the first one over its event name. `matched` and `waiting` say which kinds;
    `amended`, of those that are matched, whether only amended ones or only the others.
    """

    meter: MeterRef | None = None
    customer: current.Found | None = None
    start_us: int = 0
    end_us: int = 2**62
    matched: bool = True
    waiting: bool = True
    amended: bool | None = None

    @property
    def range(self) -> usage_blocks.Range:
        """Where the matched ones are."""
        return usage_blocks.Range(
            start_us=self.start_us,
            end_us=self.end_us,
            event=self.meter.ref if self.meter else None,
            customer=self.customer.position if self.customer else None,
        )


class Listed(Matched, frozen=True, kw_only=True):
    """A usage record of a list; one that waits may have no customer yet, which is reference 0."""

    waiting: bool

    @property
    def place(self) -> Place:
        """Where it stands among all records in time order."""
        return self.time_and_place


def listed(views: Views, wanted: Wanted, after: Place = BEGINNING) -> Iterator[Listed]:
    """Usage records in the order of time, each read only when it is asked for."""
    matched = _matched(views, wanted, after) if wanted.matched else iter(())
    waiting = _waiting(views, wanted, after) if wanted.waiting else iter(())
    return merge(matched, waiting, key=lambda record: record.place)


def count(views: Views, wanted: Wanted) -> int:
    """How many usage records these are."""
    found = 0
    if wanted.matched and wanted.amended is None:
        found = usage_blocks.count(views, wanted.range)
    elif wanted.matched:
        found = sum(1 for _ in _matched(views, wanted, BEGINNING))
    if wanted.waiting:
        where, parameters = _where_waiting(wanted, BEGINNING)
        row = views.row(f"SELECT COUNT(*) FROM usage_unmatched WHERE {where}", parameters)
        found += int(row[0]) if row else 0
    return found


def is_waiting(views: Views, position: int, row: int) -> bool:
    """Whether the record at this place has no meter or no customer yet."""
    sql = "SELECT 1 FROM usage_unmatched WHERE position=? AND row=?"
    return views.row(sql, (position, row)) is not None


def _matched(views: Views, wanted: Wanted, after: Place) -> Iterator[Listed]:
    asked = msgspec.structs.replace(wanted.range, start_us=max(wanted.start_us, after[0]))
    if wanted.amended:
        rows = views.rows("SELECT DISTINCT place FROM usage_corrections")
        kept = usage_blocks.at_places(views, (place for (place,) in rows), asked)
        found: Iterable[Matched] = sorted(kept, key=lambda record: record.time_and_place)
    else:
        found = usage_blocks.in_order(views, asked)
    for record in found:
        if record.time_and_place <= after:
            continue
        if wanted.amended is False and _is_corrected(views, record):
            continue
        yield Listed(*msgspec.structs.astuple(record), waiting=False)


def _is_corrected(views: Views, record: Matched) -> bool:
    sql = "SELECT 1 FROM usage_corrections WHERE place=?"
    return views.row(sql, (record.in_ledger,)) is not None


def _waiting(views: Views, wanted: Wanted, after: Place) -> Iterator[Listed]:
    where, parameters = _where_waiting(wanted, after)
    for timestamp_us, position, row, value, properties, customer in views.scan(
        "SELECT timestamp_us, position, row, value, properties, customer FROM usage_unmatched "
        f"WHERE {where} ORDER BY timestamp_us, position, row",
        parameters,
    ):
        ref = customer_ref(views, customer) or 0
        known = parse_properties(properties)
        yield Listed(ref, timestamp_us, position, row, value, known, waiting=True)


def _where_waiting(wanted: Wanted, after: Place) -> tuple[str, Sequence[object]]:
    """The condition that finds the waiting records."""
    where = "timestamp_us>=? AND timestamp_us<? AND (timestamp_us, position, row)>(?,?,?)"
    parameters: list[object] = [wanted.start_us, wanted.end_us, *after]
    if wanted.meter is not None:
        where += " AND event_name=?"
        parameters.append(wanted.meter.meter.event_name)
    if wanted.customer is not None:
        where += " AND customer IN (?,?)"
        parameters += [wanted.customer.state.id, wanted.customer.state.external_id]
    return where, parameters

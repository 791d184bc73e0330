"""Usage records together, as the ledger holds them: by columns, and one by one for who wants rows.

A `usage.recorded` event says the same few names, customers and properties a thousand times; kept by
columns it is a quarter smaller, and read in less than half the time (`columns.py`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from domain.columns import Column, column, packed, placed, unpacked
from domain.decider import Event, registered, upcasts
from domain.record_ids import ID_BYTES, packed_ids, written_id, written_ids

Properties = dict[str, str]
_encode = msgspec.msgpack.Encoder(order="sorted").encode


class UsageRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One accepted record; `value` is its plain decimal text, `customer` the id its sender used."""

    id: str
    source: str
    event_name: str
    customer: str
    timestamp_us: int
    value: str | None
    properties: Properties

    def property(self, name: str) -> str | None:
        """The text of one property; `value` is the property of that name."""
        return (
            self.value if name == "value" and self.value is not None else self.properties.get(name)
        )


@registered
class UsageRecorded(Event, frozen=True, kw_only=True, dict=True):
    """Usage records were accepted, in this order.

    `ids` are 16 bytes each when all are UUIDs as UUIDs are written, else their texts; `times` are
    microseconds after the earliest.
    """

    topic: ClassVar[str] = "usage.recorded/2"
    parts: ClassVar[tuple[str, ...]] = ("records",)
    ids: bytes | list[str]
    sources: Column[str]
    event_names: Column[str]
    customers: Column[str]
    earliest_us: int
    times: bytes
    values: Column[str | None]
    properties: Column[Properties]

    def __post_init__(self) -> None:
        """Refuse what is no batch: it may have been read from anywhere."""
        count = self.count
        if isinstance(self.ids, bytes) and len(self.ids) != ID_BYTES * count:
            raise ValueError(f"{len(self.ids)} bytes hold no {count} ids")
        for texts in (self.sources, self.event_names, self.customers):
            texts.check(count, len)
        self.values.check(count, _length)
        self.properties.check(count, _size)
        unpacked(self.times, count)

    @classmethod
    def of(cls, records: Sequence[UsageRecord]) -> "UsageRecorded":
        """The event that holds these records."""
        return cls.by_columns(
            [one.id for one in records],
            [one.source for one in records],
            [one.event_name for one in records],
            [one.customer for one in records],
            [one.timestamp_us for one in records],
            [one.value for one in records],
            [one.properties for one in records],
        )

    @classmethod
    def by_columns(
        cls,
        ids: Sequence[str],
        sources: Sequence[str],
        event_names: Sequence[str],
        customers: Sequence[str],
        times_us: Sequence[int],
        values: Sequence[str | None],
        properties: Sequence[Properties],
    ) -> "UsageRecorded":
        """The event that holds the records of which these are the columns."""
        earliest_us = min(times_us, default=0)
        return cls(
            ids=packed_ids(ids) or list(ids),
            sources=column(sources),
            event_names=column(event_names),
            customers=column(customers),
            earliest_us=earliest_us,
            times=packed([at_us - earliest_us for at_us in times_us]),
            values=column(values),
            properties=_properties_column(properties),
        )

    @property
    def count(self) -> int:
        """How many records it holds."""
        return len(self.ids) // ID_BYTES if isinstance(self.ids, bytes) else len(self.ids)

    @property
    def times_us(self) -> list[int]:
        """When each was used."""
        earliest_us = self.earliest_us
        return [earliest_us + after for after in unpacked(self.times, self.count)]

    @cached_property
    def records(self) -> tuple[UsageRecord, ...]:
        """The records one by one; those that came with equal properties share them."""
        count = self.count
        return tuple(
            map(
                UsageRecord,
                written_ids(self.ids) if isinstance(self.ids, bytes) else self.ids,
                self.sources.spread(count),
                self.event_names.spread(count),
                self.customers.spread(count),
                self.times_us,
                self.values.spread(count),
                self.properties.spread(count),
            )
        )

    def record(self, row: int) -> UsageRecord:
        """One of the records, without making the others. Raises `IndexError`."""
        count = self.count
        if not 0 <= row < count:
            raise IndexError(f"there is no row {row} among {count}")
        ids = self.ids
        return UsageRecord(
            written_id(ids[row * ID_BYTES : (row + 1) * ID_BYTES])
            if isinstance(ids, bytes)
            else ids[row],
            self.sources.at(row, count),
            self.event_names.at(row, count),
            self.customers.at(row, count),
            self.earliest_us + unpacked(self.times, count)[row],
            self.values.at(row, count),
            self.properties.at(row, count),
        )


class _ByRows(msgspec.Struct):
    """The first version."""

    records: tuple[UsageRecord, ...]


@upcasts("usage.recorded/1")
def _by_columns(data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The first version held its records one by one."""
    event = UsageRecorded.of(msgspec.convert(data, _ByRows).records)
    return UsageRecorded.topic, msgspec.structs.asdict(event)


def _properties_column(several: Sequence[Properties]) -> Column[Properties]:
    """Equal properties are kept once, in the order of their names."""
    told = list(map(_encode, several))
    kinds = dict(zip(told, several, strict=True))
    places = {one: place for place, one in enumerate(kinds)}
    each = [dict(sorted(properties.items())) for properties in kinds.values()]
    return placed(each, list(map(places.__getitem__, told)))


def _length(value: str | None) -> int:
    return len(value or "")


def _size(properties: Properties) -> int:
    """How long all names and values are."""
    return sum(map(len, properties)) + sum(map(len, properties.values()))

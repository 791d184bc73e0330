"""Usage as the facts have it: records with their corrections, and what a meter reads of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

from msgspec import UNSET
from msgspec.structs import replace

from domain.aggregation import Aggregation
from domain.customers import CustomerCreated, CustomerUpdated
from domain.decider import Recorded
from domain.meters import MeterCreated, MeterRevised
from domain.periods import END_OF_TIME, EPOCH, Period, from_us
from domain.prices import PriceCreated
from domain.usage import Identity, UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from tests.histories.subscribed import Asked, Subscribed


class Doubled(Exception):
    """A usage record stands in the log twice; the message says where."""


class Used:
    """Usage records as they stand by now."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._owners: dict[Identity, str] = {}
        self.meters: dict[str, MeterCreated] = {}
        self._measures: dict[str, list[tuple[datetime, Aggregation]]] = {}
        self.places: dict[Identity, int] = {}
        self._records: dict[Identity, UsageRecord] = {}
        self._voided: set[Identity] = set()

    def read(self, recorded: Recorded) -> None:
        """Take one more fact into account."""
        match recorded.event:
            case CustomerCreated() as event:
                self._keys[event.id] = event.id
                self._is_known_as(event.id, event.external_id)
            case CustomerUpdated() as event if event.external_id is not UNSET:
                self._is_known_as(event.id, event.external_id)
            case MeterCreated() as event:
                self.meters[event.id] = event
                self._measures[event.id] = [(EPOCH, event.aggregation)]
            case MeterRevised() as event:
                self._measures[event.id].append((event.effective_at, event.aggregation))
            case UsageRecorded() as event:
                for one in event.records:
                    if (one.source, one.id) in self._records:
                        raise Doubled(f"{one} is there again at {recorded.position}")
                    self.places[one.source, one.id] = recorded.position
                    self._records[one.source, one.id] = one
            case UsageVoided() as event:
                self._voided.add((event.source, event.id))
            case UsageAmended() as event:
                before = self._records[event.source, event.id]
                after = replace(before, value=event.value, properties=event.properties)
                self._records[event.source, event.id] = after
        self._match()

    def _is_known_as(self, id: str, key: str | None) -> None:
        """A customer goes by another name from now on."""
        self._keys = {one: whose for one, whose in self._keys.items() if whose != id or one == id}
        if key is not None:
            self._keys[key] = id

    def _match(self) -> None:
        """A record is that of whoever went by its customer's name when its meter was there, too."""
        names = {meter.event_name for meter in self.meters.values()}
        for identity, record in self._records.items():
            if record.event_name in names and record.customer in self._keys:
                self._owners.setdefault(identity, self._keys[record.customer])

    def counts(self, meter: MeterCreated, customer_id: str) -> tuple[int, int]:
        """How many records of a customer a meter has, and how many of them are voided."""
        found = [identity for identity, _ in self._of(meter, customer_id)]
        return len(found), len(self._voided.intersection(found))

    def counting(self, meter: MeterCreated, customer_id: str) -> list[UsageRecord]:
        """The records of a customer that a meter has and that are not voided."""
        return [
            one for identity, one in self._of(meter, customer_id) if identity not in self._voided
        ]

    def newest(self, meter: MeterCreated, customer_id: str) -> datetime | None:
        """When the record of a customer happened that was recorded last."""
        times = [from_us(record.timestamp_us) for _, record in self._of(meter, customer_id)]
        return times[-1] if times else None

    def quantity(self, known: Subscribed, price: Asked, period: Period) -> Fraction:
        """What is billed for a period: what the meter reads, never less than nothing."""
        meter = self.meters[price.created.meter_id or ""]
        whole = known.period(price.created, period.start).whole
        return max(
            self.reading(meter, known.created.customer_id, period, whole, price.created),
            Fraction(0),
        )

    def reading(
        self,
        meter: MeterCreated,
        customer_id: str,
        period: Period,
        whole: Period,
        price: PriceCreated | None = None,
    ) -> Fraction:
        """What a meter reads in a period: what is read at each time at which it is one meter."""
        values = [
            (from_us(record.timestamp_us), Fraction(Decimal(record.value or 0)))
            for record in self.counting(meter, customer_id)
            if price is None or passes(record, price)
        ]
        if meter.aggregation is Aggregation.WEIGHTED_SUM:
            lasting = (
                value * Period(max(at, period.start), period.end).microseconds
                for at, value in values
                if at < period.end
            )
            return sum(lasting, Fraction(0)) / whole.microseconds
        total = Fraction(0)
        for since, until, aggregation in self._stretches(meter):
            part = [value for at, value in values if period.contains(at) and since <= at < until]
            total += _AGGREGATED[aggregation](part)
        return total

    def _stretches(self, meter: MeterCreated) -> Iterator[tuple[datetime, datetime, Aggregation]]:
        """From when until when a meter aggregates in the same way; what was said last counts."""
        found = sorted(dict(self._measures[meter.id]).items())
        for aggregation, alike in groupby(found, key=lambda one: one[1]):
            since = next(alike)[0]
            later = (at for at, other in found if at > since and other is not aggregation)
            yield since, next(later, END_OF_TIME), aggregation

    def _of(self, meter: MeterCreated, customer_id: str) -> Iterator[tuple[Identity, UsageRecord]]:
        for identity, record in self._records.items():
            if record.event_name == meter.event_name and self._owners.get(identity) == customer_id:
                yield identity, record


def passes(record: UsageRecord, price: PriceCreated) -> bool:
    """Whether a record passes the filter of a price."""
    return all(record.properties.get(one.name) in one.values for one in price.meter_filter)


_AGGREGATED: Mapping[Aggregation, Callable[[Sequence[Fraction]], Fraction]] = {
    Aggregation.SUM: lambda values: sum(values, Fraction(0)),
    Aggregation.MAX: lambda values: max(values, default=Fraction(0)),
    Aggregation.COUNT: lambda values: Fraction(len(values)),
}
"""What several values come to."""

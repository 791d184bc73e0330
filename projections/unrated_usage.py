"""What no price covers: usage with a meter and a customer that no subscription of theirs will bill.

A price covers usage of its meter that passes its filter, from the start of a subscription that has
it. The rest is found as any quantity is: between the instants at which coverage changes, whole hour
buckets by their dimension values, and the records of the hours that such an instant cuts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec

from domain.aggregation import Value
from domain.customers import Customer
from domain.meters import Meter
from domain.periods import Period
from domain.subscriptions import Subscription
from projections import current, meter_summaries
from projections.current import Found
from projections.invoice_previews import prices_of
from projections.meter_summaries import Filter, Question
from projections.tables import Views
from projections.usage_blocks import HOUR_US
from projections.usage_records import MeterRef, versions_of

Place = tuple[int, int]
"""(customer, meter) as references: the order of a list of unrated usage."""
BEGINNING: Place = (-1, -1)
END_OF_CUSTOMER = 10**18 - 1
"""A place after every meter."""


class Unrated(msgspec.Struct, frozen=True, kw_only=True):
    """What one customer used on one meter without any price for it."""

    customer: Found
    meter: MeterRef
    value: Value
    count: int

    @property
    def place(self) -> Place:
        """Where it stands in a list."""
        return (self.customer.position, self.meter.ref)


class Cover(msgspec.Struct, frozen=True):
    """The time in which a subscription bills what passes a filter."""

    period: Period
    filter: Filter


def customers_from(views: Views, place: Place, limit: int) -> list[Found]:
    """Customers in the order of their creation, from the one that a place belongs to."""
    return current.select(views, Customer, {}, after=place[0] - 1, limit=limit)


class Search:
    """Looks for unrated usage of a period; reads the meters once, however many customers."""

    def __init__(self, views: Views, period: Period) -> None:
        self._views = views
        self._period = period
        self._meters: list[MeterRef] = []
        self._over: dict[str, list[MeterRef]] = {}
        for found in current.select(views, Meter, {}, limit=-1):
            versions = versions_of(found)
            self._meters.append(versions[0])
            self._over.setdefault(found.state.event_name, []).extend(versions)

    @property
    def seeks(self) -> int:
        """The most buckets that are looked for at a customer: the hours of the period, by meter."""
        return max(1, self._period.microseconds // HOUR_US * len(self._meters))

    def of(self, customer: Found, after: Place = BEGINNING) -> Iterator[Unrated]:
        """What a customer used and nobody will bill, by meter, after a place."""
        covers = _covers(self._views, customer.state.id)
        for meter in self._meters:
            parts = list(_uncovered(self._period, covers.get(meter.meter.id, ())))
            if parts and (customer.position, meter.ref) > after:
                asked = Question(
                    meter=meter,
                    meters=self._over[meter.meter.event_name],
                    customer_ref=customer.position,
                )
                count, value = self._quantity(asked, parts)
                if count or value:
                    yield Unrated(customer=customer, meter=meter, value=value, count=count)

    def _quantity(
        self, asked: Question, parts: Iterable[tuple[Period, Sequence[Filter]]]
    ) -> tuple[int, Value]:
        """How many records the parts hold, without what is billed in them, and their quantity."""
        # A level that is carried over is billed from where its price begins, whatever made it.
        carried = any(version.meter.carries_over for version in asked.versions)
        found = meter_summaries.nothing(asked, self._period)
        for part, billed in parts:
            left = msgspec.structs.replace(asked, without=billed)
            state = meter_summaries.quantity(self._views, left, part)
            found = found.merge(state.ended(part) if carried else state)
        return found.count, found.value(self._period)


def _covers(views: Views, customer_id: str) -> Mapping[str, Sequence[Cover]]:
    """What a customer's subscriptions bill, by meter."""
    found: dict[str, list[Cover]] = {}
    for one in current.select(views, Subscription, {"customerId": customer_id}, limit=-1):
        prices = prices_of(views, one.state)
        for stretch in one.state.stretches:
            price = prices[stretch.item.price_id]
            since, until = one.state.since(stretch), one.state.until(stretch)
            if price.meter_id is not None and since < until:
                filter = {wanted.name: wanted.values for wanted in price.meter_filter}
                cover = Cover(Period(since, until), filter)
                found.setdefault(price.meter_id, []).append(cover)
    return found


def _uncovered(period: Period, covers: Sequence[Cover]) -> Iterator[tuple[Period, list[Filter]]]:
    """The parts of a period in which not everything is billed, and what is billed in them.

    >>> from domain.periods import parse_instant
    >>> days = [parse_instant(f"2026-01-0{day}T00:00:00Z", ()) for day in (1, 2, 3)]
    >>> small = Cover(Period(days[0], days[2]), {"model": ["small"]})
    >>> rest = Cover(Period(days[1], days[2]), {})
    >>> [(part.end.day, billed) for part, billed in _uncovered(small.period, [small, rest])]
    [(2, [{'model': ['small']}])]
    """
    for start, end in pairwise(_edges(period, covers)):
        active = [
            cover.filter
            for cover in covers
            if cover.period.start <= start and end <= cover.period.end
        ]
        if all(active):  # an empty filter takes everything
            yield Period(start, end), active


def _edges(period: Period, covers: Iterable[Cover]) -> list[datetime]:
    """The period's bounds and every instant within it at which coverage changes."""
    changes = {edge for one in covers for edge in (one.period.start, one.period.end)}
    within = (edge for edge in changes if period.contains(edge))
    return sorted({period.start, period.end, *within})

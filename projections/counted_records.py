"""The usage records that a number was made of, as they were when it was made.

A number is pinned to a position of the ledger. What was recorded later is no part of it, and what
was corrected later counts as it was. Records are read where they stand now, so that the first of
them are there at once; only what was corrected since is read again from the ledger.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import merge

import msgspec
from msgspec import UNSET

from domain.aggregation import Sample
from domain.customers import CustomerUpdated
from domain.meters import Meter
from domain.periods import Period, to_us
from domain.prices import Price
from domain.usage import UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from projections import as_of, current, usage_corrections, usage_records
from projections.current import Found
from projections.meter_summaries import Question
from projections.past import Known
from projections.usage_records import BEGINNING, Listed, MeterRef, Place, Wanted


class Records:
    """One customer's usage records as they were known at a position."""

    def __init__(self, known: Known, customer: Found) -> None:
        self._known = known
        self._customer = customer
        self._corrected = _corrected(known, customer)

    def listed(self, asked: Question, period: Period, after: Place = BEGINNING) -> Iterator[Listed]:
        """The records that a meter counted in a period, in time order, after a place."""
        start_us, end_us = to_us(period.start), to_us(period.end)
        return (record for record, _ in self.sampled(asked, start_us, end_us, after))

    def sampled(
        self, asked: Question, start_us: int, end_us: int, after: Place = BEGINNING
    ) -> Iterator[tuple[Listed, Sample]]:
        """The same between two instants, each with what the meter reads of it."""
        for record in self._all(asked, start_us, end_us, after):
            sample = asked.counts(record)
            if sample is not None:
                yield record, sample

    def _all(self, asked: Question, start_us: int, end_us: int, after: Place) -> Iterator[Listed]:
        """Whatever was recorded under the name that the meter reads."""
        wanted = Wanted(
            meter=asked.meters[0],
            customer=self._customer,
            start_us=start_us,
            end_us=end_us,
            waiting=False,
        )
        name = asked.meter.meter.event_name
        again = [
            record
            for record in self._corrected.get(name, ())
            if start_us <= record.timestamp_us < end_us and record.place > after
        ]
        changed = {record.place for record in again}
        unchanged = (
            record
            for record in usage_records.listed(self._known.views, wanted, after)
            if record.position <= self._known.position and record.place not in changed
        )
        return merge(unchanged, again, key=lambda record: record.place)


@contextmanager
def counted(known: Known, customer: Found) -> Iterator[Records]:
    """The records of a customer as they were known.

    If senders' keys have come to mean the customer since, or ceased to, nothing that stands now
    says which records were its own: then they are told from views of then.
    """
    id = customer.state.id
    if not _has_other_keys(known, id):
        yield Records(known, customer)
        return
    with as_of.known(known.views, known.event_at, id, known.position) as then:
        yield Records(Known(then, known.event_at, known.position), customer)


def question(known: Known, price: Price, customer_ref: int) -> Question:
    """Which usage a metered price bills, by the meters as they were known."""
    assert price.meter_id is not None
    meter = known.get(Meter, price.meter_id)
    assert meter is not None, f"no meter {price.meter_id}"
    meters = meters_over(known, meter.event_name)
    return Question(
        meter=next(one for one in meters if one.meter.id == meter.id),
        meters=meters,
        customer_ref=customer_ref,
        filter={wanted.name: wanted.values for wanted in price.meter_filter},
    )


def meters_over(known: Known, event_name: str) -> Sequence[MeterRef]:
    """The versions of the meters over an event name, as they were known."""
    found = current.select(known.views, Meter, {"eventName": event_name}, limit=-1)
    then = [
        msgspec.structs.replace(one, state=state)
        for one in found
        if (state := known.then(Meter, one)) is not None
    ]
    return tuple(version for one in then for version in usage_records.versions_of(one))


def _has_other_keys(known: Known, customer_id: str) -> bool:
    """Whether senders' keys have come to mean the customer since, or ceased to."""
    changes = known.changed_since(customer_id, ["customer.updated"])
    events = (known.fact(place).event for place in changes)
    return any(isinstance(e, CustomerUpdated) and e.external_id is not UNSET for e in events)


def _corrected(known: Known, customer: Found) -> dict[str, list[Listed]]:
    """The customer's records that were corrected since, as they were: in time order, by name."""
    found: dict[tuple[int, int], UsageAmended | UsageVoided] = {}
    for place in known.changed_since(customer.state.id, ["usage.amended", "usage.voided"]):
        event = known.fact(place).event
        assert isinstance(event, UsageAmended | UsageVoided)
        if event.position <= known.position:
            found[event.position, event.row] = event
    by_name: dict[str, list[Listed]] = {}
    for position, row in found:
        name, record = _as_known(known, customer, position, row)
        by_name.setdefault(name, []).append(record)
    return {
        name: sorted(records, key=lambda record: record.place) for name, records in by_name.items()
    }


def _as_known(known: Known, customer: Found, position: int, row: int) -> tuple[str, Listed]:
    """A record and its name, as it was: as it was last amended by then, or as it was sent."""
    batch = known.fact(position).event
    assert isinstance(batch, UsageRecorded), f"no usage stands at {position}"
    sent = batch.record(row)
    value, properties = sent.value, sent.properties
    for one in usage_corrections.of(known.views, position, row):
        if one.position <= known.position:
            value, properties = one.value, one.properties
    told = (customer.position, sent.timestamp_us, position, row, value, properties)
    return sent.event_name, Listed(*told, waiting=False)

"""What became of everything that was accepted: nothing recorded disappears.

Each record of a customer that a meter reads is billed, or waits, or is written off, or was voided,
and never two of these (RULES, "Invoices").
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise

import msgspec

from domain.decider import Code, Rejected
from domain.prices import Price
from projections import billed_usage, current, late_usage, usage_corrections, usage_records
from projections.billed_usage import BilledPeriod, Closed
from projections.current import Found
from projections.meter_summaries import Question
from projections.tables import Views
from projections.usage_blocks import ROWS_PER_EVENT
from projections.usage_records import Listed, Wanted, meters_over

RECORDS_LIMIT = 1_000_000
"""The most records that are looked at for one answer."""


class Standing(StrEnum):
    """What has become of a record that counts."""

    BILLED = "BILLED"
    WAITING = "WAITING"
    WRITTEN_OFF = "WRITTEN_OFF"


class Reconciliation(msgspec.Struct, frozen=True):
    """How many records were accepted, and what became of them."""

    accepted: int
    billed: int
    waiting: int
    written_off: int
    voided: int


def reconcile(
    views: Views, meter: Found, customer: Found, start_us: int = 0, end_us: int = 2**62
) -> Reconciliation:
    """What became of a customer's records of a meter that happened between two instants.

    Raises `Rejected` LIMIT_EXCEEDED when there are too many to look at.
    """
    meters = meters_over(views, meter.state.event_name)
    wanted = Wanted(meter=meters[0], customer=customer, start_us=start_us, end_us=end_us)
    accepted = usage_corrections.count(views, wanted)
    if accepted > RECORDS_LIMIT:
        message = f"these are more than {RECORDS_LIMIT} records: shorten the period"
        raise Rejected(Code.LIMIT_EXCEEDED, ("period",), message)
    search = Search(views, meter, customer)
    found = Counter(map(search.standing, usage_records.listed(views, wanted)))
    return Reconciliation(
        accepted=accepted,
        billed=found[Standing.BILLED],
        waiting=found[Standing.WAITING],
        written_off=found[Standing.WRITTEN_OFF],
        voided=accepted - usage_corrections.count(views, wanted, voided=False),
    )


class Search:
    """Says what has become of single records of a customer and a meter."""

    def __init__(self, views: Views, meter: Found, customer: Found) -> None:
        meters = meters_over(views, meter.state.event_name)
        event = usage_records.event_ref(meters)
        self._billed: list[tuple[BilledPeriod, Question]] = []
        self._waiting: set[int] = set()
        self._late: dict[int, set[int]] = {}
        for one in billed_usage.of_customer(views, customer.position, event):
            price = current.get(views, Price, one.price_id)
            if price is not None and price.meter_id == meter.state.id:
                asked = billed_usage.question(views, meters, one.price_id, customer.position)
                self._billed.append((one, asked))
                self._note_late(views, one)
        edges = {edge for one, _ in self._billed for edge in (one.since_us, one.end_us)}
        self._edges = sorted(edges)
        self._between = [self._within(*bounds) for bounds in pairwise(self._edges)]

    def standing(self, record: Listed) -> Standing:
        """What has become of a record that is not voided.

        It waits when any billed period is to be adjusted for it, and when none has it; else it is
        billed when it is on any issued invoice.
        """
        place = record.position * ROWS_PER_EVENT + record.row
        if record.waiting or place in self._waiting:
            return Standing.WAITING
        found = set(self._standings(record, place))
        if Standing.BILLED in found or not found:
            return Standing.BILLED if found else Standing.WAITING
        return Standing.WRITTEN_OFF

    def _standings(self, record: Listed, place: int) -> Iterator[Standing]:
        """How the record stands in each billed period that has it."""
        index = bisect_right(self._edges, record.timestamp_us) - 1
        if not 0 <= index < len(self._between):
            return
        for billed, asked in self._between[index]:
            if asked.takes(record):
                late = place in self._late.get(billed.ref, ())
                yield _standing(billed.closed, late=late)

    def _note_late(self, views: Views, billed: BilledPeriod) -> None:
        """What waits in a billed period; in one that is closed, what stands otherwise for it."""
        if billed.waits:
            self._waiting.update(late_usage.places(views, billed, adjusted=False))
        elif billed.closed is not None:
            adjusted = billed.closed is Closed.VOIDED
            self._late[billed.ref] = {*late_usage.places(views, billed, adjusted=adjusted)}

    def _within(self, start_us: int, end_us: int) -> list[tuple[BilledPeriod, Question]]:
        return [
            (one, asked)
            for one, asked in self._billed
            if one.since_us <= start_us and end_us <= one.end_us
        ]


def _standing(closed: Closed | None, *, late: bool) -> Standing:
    """How a record stands in a billed period; `late` if it came late and is treated otherwise."""
    match closed:
        case None:
            return Standing.BILLED
        case Closed.REPORTED:
            return Standing.WRITTEN_OFF if late else Standing.BILLED
        case Closed.VOIDED:  # what came late is on another invoice
            return Standing.BILLED if late else Standing.WRITTEN_OFF
        case Closed.DISCARDED:
            return Standing.WRITTEN_OFF

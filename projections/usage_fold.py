"""Folding usage records: each goes where its meters and its customer find it, or where it waits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from projections import billed_usage, buckets, usage_blocks, usage_records
from projections.billed_usage import BilledUntil
from projections.buckets import Folding
from projections.tables import Views
from projections.usage_blocks import Matched
from projections.usage_records import Matching, MeterRef, Placed


class UsageFold:
    """Folds usage, and remembers between batches what it needs to know for it."""

    def __init__(self, folding: Folding | None = None, matching: Matching | None = None) -> None:
        self.matching = matching or Matching()
        self.folding = folding or Folding()
        self.billed_until = BilledUntil()

    def forget(self) -> None:
        """Trust nothing remembered, after a transaction was undone."""
        self.matching.forget()
        self.folding.forget()
        self.billed_until.forget()

    def late(self, views: Views, matched: Sequence[Matched]) -> list[Matched]:
        """Those records in whose time something of their customer is billed already."""
        until = self.billed_until.of(views, {record.customer_ref for record in matched})
        if not matched or max(until.values()) <= min(one.timestamp_us for one in matched):
            return []
        return [one for one in matched if one.timestamp_us < until[one.customer_ref]]

    def match(
        self, views: Views, records: Sequence[Placed], released_at: int | None = None
    ) -> set[str]:
        """Put records where their meters and customer find them, or where they wait for them.

        The answer is the subscriptions that they come late for: as they are recorded, or when they
        are released at a position.
        """
        matching = self.matching
        meters = {
            name: matching.meters(views, name) for name in {r.event_name for _, _, r in records}
        }
        customers = matching.customers(views, {r.customer for _, _, r in records})
        if None in customers.values() or not all(meters.values()):
            waiting, records = _parted(records, meters, customers)
            usage_records.keep_unmatched(views, waiting)
        by_event = _by_event_name(records, len(meters))
        keep = usage_blocks.keep if released_at is None else usage_blocks.add
        touched: set[str] = set()
        for name, placed in by_event.items():
            matched = [
                Matched(
                    customers[record.customer] or 0,
                    record.timestamp_us,
                    at,
                    row,
                    record.value,
                    record.properties,
                )
                for at, row, record in placed
            ]
            keep(views, meters[name][0].ref, matched)
            for meter in meters[name]:
                buckets.add(views, self.folding, meter, matched)
            late = [(record,) for record in self.late(views, matched)]
            touched |= billed_usage.come_late(views, released_at, meters[name], late)
        return touched


def _parted(
    records: Sequence[Placed],
    meters: Mapping[str, Sequence[MeterRef]],
    customers: Mapping[str, int | None],
) -> tuple[list[Placed], list[Placed]]:
    """Those of the records that have no meter or no customer, and the others."""
    waiting: list[Placed] = []
    matched: list[Placed] = []
    for one in records:
        known = meters[one[2].event_name] and customers[one[2].customer] is not None
        (matched if known else waiting).append(one)
    return waiting, matched


def _by_event_name(records: Sequence[Placed], names: int) -> dict[str, Sequence[Placed]]:
    """Records by their event name, of which there are at most so many."""
    if not records or names == 1:
        return {records[0][2].event_name: records} if records else {}
    found: defaultdict[str, list[Placed]] = defaultdict(list)
    for one in records:
        found[one[2].event_name].append(one)
    return dict(found)

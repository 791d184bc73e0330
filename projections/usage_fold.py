"""Folding usage records: each goes where its meters and its customer find it, or where it waits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast

from domain.columns import Column
from domain.usage import UsageRecorded
from projections import billed_usage, buckets, usage_blocks, usage_records
from projections.billed_usage import BilledUntil
from projections.buckets import Folding
from projections.fresh_usage import Fresh
from projections.matched_columns import MatchedColumns
from projections.tables import Views
from projections.usage_blocks import Matched
from projections.usage_records import Matching, MeterRef, Placed


class UsageFold:
    """Folds usage, and remembers between batches what it needs to know for it."""

    def __init__(self, folding: Folding | None = None, matching: Matching | None = None) -> None:
        self.matching = matching or Matching()
        self.folding = folding or Folding()
        self.fresh = Fresh(self.folding, self.matching)
        self.billed_until = BilledUntil()

    def forget(self) -> None:
        """Trust nothing remembered, after a transaction was undone."""
        self.matching.forget()
        self.folding.forget()
        self.fresh.forget()
        self.billed_until.forget()

    def forget_usage(self) -> None:
        """Trust nothing remembered that usage adds to, after somebody else wrote usage only."""
        self.folding.days.forget()
        self.fresh.forget()

    def late(self, views: Views, matched: Sequence[Matched]) -> list[Matched]:
        """Those records in whose time something of their customer is billed already."""
        until = self.billed_until.of(views, {record.customer_ref for record in matched})
        return [one for one in matched if one.timestamp_us < until[one.customer_ref]]

    def match_batch(
        self, views: Views, position: int, batch: UsageRecorded, *, fresh: bool = False
    ) -> set[str]:
        """Put the records of the event at a position where `match` puts them, by whole columns.

        When they are to stay `fresh` they are not added to their days yet.
        """
        names = batch.event_names
        meters = {name: self.matching.meters(views, name) for name in names.each}
        known = self.matching.customers(views, batch.customers.each)
        refs = [known[key] for key in batch.customers.each]
        count = batch.count
        if not count or None in refs or not all(meters.values()):
            placed = [(position, row, record) for row, record in enumerate(batch.records)]
            return self.match(views, placed, fresh=fresh)
        columns = MatchedColumns(
            Column(cast("list[int]", refs), batch.customers.places).spread(count),
            batch.times_us,
            [position] * count,
            range(count),
            batch.values.spread(count),
            batch.properties.spread(count),
        )
        if len(names.each) == 1:
            return self._fold(views, meters[names.each[0]], columns, fresh=fresh)
        of_each = names.spread(count)
        touched: set[str] = set()
        for name in dict.fromkeys(of_each):
            of_name = columns.only([one == name for one in of_each])
            touched |= self._fold(views, meters[name], of_name, fresh=fresh)
        return touched

    def match(
        self,
        views: Views,
        records: Sequence[Placed],
        released_at: int | None = None,
        *,
        fresh: bool = False,
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
        touched: set[str] = set()
        for name, placed in _by_event_name(records, len(meters)).items():
            columns = MatchedColumns(
                [customers[record.customer] or 0 for _, _, record in placed],
                [record.timestamp_us for _, _, record in placed],
                [position for position, _, _ in placed],
                [row for _, row, _ in placed],
                [record.value for _, _, record in placed],
                [record.properties for _, _, record in placed],
            )
            touched |= self._fold(views, meters[name], columns, released_at, fresh=fresh)
        return touched

    def _fold(
        self,
        views: Views,
        meters: Sequence[MeterRef],
        columns: MatchedColumns,
        released_at: int | None = None,
        *,
        fresh: bool = False,
    ) -> set[str]:
        """Keep matched records of one event name and add them to their meters."""
        if released_at is None:
            blocks = usage_blocks.keep(views, meters[0].ref, columns)
            if fresh:
                self.fresh.came(views, columns.positions[0], blocks)
        else:
            usage_blocks.add(views, meters[0].ref, columns.records)
        for meter in meters:
            buckets.add(views, self.fresh.folding if fresh else self.folding, meter, columns)
        until = self.billed_until.of(views, set(columns.customer_refs))
        if max(until.values()) <= min(columns.times_us):
            return set()
        late = [(record,) for record in self.late(views, columns.records)]
        return billed_usage.come_late(views, released_at, meters, late)


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

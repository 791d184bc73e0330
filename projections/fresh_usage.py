"""Usage that is fresh: it stands in its blocks, and is not added to the rows of its days yet.

With every batch a row for each of its customers would be read, added to and written. Instead a
share of the customers (`usage_blocks.py`) has its days brought up to date when enough has come for
it, one share after the other, so that what many batches add to a day is written once. Until then
whoever asks for a customer's totals adds what is fresh to them. How far the days of a share stand
changes no answer, so a dump shows every day as if nothing were fresh.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from heapq import merge
from itertools import groupby

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, State, UniqueCount
from domain.meters import Meter
from domain.usage_corrections import Correction
from projections import buckets, current, usage_blocks, usage_days
from projections.buckets import DimensionRefs, Folding, Labels
from projections.held_usage import HeldUsage
from projections.matched_columns import MatchedColumns
from projections.tables import Row, Table, Views
from projections.totals import decimal_of
from projections.usage_blocks import HOUR_US, ROWS_PER_EVENT, SHARES
from projections.usage_days import Days
from projections.usage_records import Matching, MeterRef

ENOUGH_BLOCKS = 64
"""Fresh blocks of a share at which its turn can come."""
ENOUGH_RECORDS = 4_096
"""Fresh records of a share at which its turn can come."""
TOO_MANY = 2
"""So many times enough, and the share does not wait for its turn."""

_NOTED = "days"
_NONE = -1
"""The number of dimension values that should have one and have none: the views are not right."""
_encode = msgspec.msgpack.Encoder().encode


class Standing(msgspec.Struct, array_like=True):
    """Up to which position the days of each share are written, and what has come since."""

    positions: list[int]
    blocks: list[int]
    records: list[int]

    @classmethod
    def at(cls, position: int) -> "Standing":
        """All days are written up to a position."""
        return cls([position] * SHARES, [0] * SHARES, [0] * SHARES)

    @property
    def is_enough(self) -> bool:
        """Whether enough of any share is fresh."""
        return max(self.blocks) >= ENOUGH_BLOCKS or max(self.records) >= ENOUGH_RECORDS

    def of(self, share: int) -> tuple[int, int, int]:
        """After which position a share is fresh, and how many blocks and records of it are."""
        return (self.positions[share], self.blocks[share], self.records[share])

    def fullness(self, share: int) -> tuple[int, int]:
        """How many times enough of a share is fresh, and how many records that is."""
        times = (self.blocks[share] // ENOUGH_BLOCKS, self.records[share] // ENOUGH_RECORDS)
        return max(times), self.records[share]


_decode = msgspec.msgpack.Decoder(Standing).decode


def standing(views: Views) -> Standing | None:
    """How far the days stand; None when they stand where the views do."""
    noted = views.meta(_NOTED)
    return None if noted is None else _decode(noted)


# ------------------------------------------------------------------------------------- writing


class Fresh:
    """What is fresh, for whoever writes the views; it remembers it between transactions."""

    def __init__(self, folding: Folding, matching: Matching) -> None:
        self._folding = folding
        self._matching = matching
        self._held = HeldUsage()
        self.folding = Folding(self._held, folding.dimensions)
        """What folds usage that stays fresh."""
        self._known: Standing | None = None
        self._changed = False
        self._brought = 0
        """How many records this transaction brought, until the next one begins."""

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self._known = None
        self._changed = False
        self._brought = 0
        self._held.forget()

    def came(self, views: Views, position: int, blocks: Sequence[tuple[int, int]]) -> None:
        """The event at a position brought blocks, each of a share and with so many records."""
        standing = self._standing(views)
        if standing is None:
            standing = self._known = Standing.at(position - 1)
        for share, records in blocks:
            standing.blocks[share] += 1
            standing.records[share] += records
            self._brought += records
        self._held.came(standing.positions, blocks)
        self._changed = True

    def take_turns(self, views: Views, position: int) -> None:
        """As a transaction begins, bring up to date the days of the shares of which most is fresh.

        Up to a position, if that is enough: one share, about as many records as the transaction
        before brought, and all of which far too much is fresh, so that none waits for all of them.
        """
        if not self._held.begins(views):
            return
        brought, self._brought = self._brought, 0
        standing = self._standing(views)
        if standing is None or not standing.is_enough:
            return
        full = sorted(((*standing.fullness(share), share) for share in range(SHARES)), reverse=True)
        for turn, (times, records, share) in enumerate(full):
            if times < (1 if brought > 0 or not turn else TOO_MANY):
                break
            self.settle(views, share, position)
            brought -= records

    def settle(self, views: Views, share: int, position: int) -> None:
        """Add what is fresh of a share, of events up to a position, to the rows of its days."""
        standing = self._standing(views)
        if standing is None:
            return
        if standing.blocks[share]:
            self._add(views, share, standing.of(share))
        self._held.forget_coming()  # some of it is written now
        standing.positions[share] = position
        standing.blocks[share] = standing.records[share] = 0
        self._changed = True

    def settle_customers(self, views: Views, refs: Iterable[int], position: int) -> None:
        """As `settle`, of the shares of some customers: their records are about to change."""
        for share in sorted({ref % SHARES for ref in refs}):
            self.settle(views, share, position)

    def settle_record(self, views: Views, event: Correction, position: int) -> None:
        """As `settle`, of the share of a record that is about to be corrected, if it is fresh."""
        standing = self._standing(views)
        if standing is not None and min(standing.positions) < event.position:
            found = usage_blocks.at(views, event.position * ROWS_PER_EVENT + event.row)
            if found is not None:
                self.settle_customers(views, [found[1].customer_ref], position)

    def settle_all(self, views: Views, position: int) -> None:
        """As `settle`, of every share."""
        for share in range(SHARES):
            self.settle(views, share, position)

    def went_by(self, views: Views, position: int) -> None:
        """Events up to a position were added to days as they came; nothing was fresh before."""
        if self._standing(views) is not None:
            self._known = Standing.at(position)
            self._changed = True

    def noted(self) -> Mapping[str, object]:
        """What is to be noted of how far the days stand, now that it will be."""
        if not self._changed:
            return {}
        self._changed = False
        return {_NOTED: _encode(self._known)}

    def _standing(self, views: Views) -> Standing | None:
        if self._known is None:
            self._known = standing(views)
        return self._known

    def _add(self, views: Views, share: int, standing: tuple[int, int, int]) -> None:
        hours = self._held.take(share, standing)
        if hours is None:
            _count(views, share, standing[0], self._matching, self._folding)
            self._folding.days.write(views)
            return
        for meter_ref, added in hours.items():
            usage_days.write(views, meter_ref, added)


def _count(views: Views, share: int, after: int, matching: Matching, folding: Folding) -> None:
    """Add the records of a share after a position to their days."""
    for event_ref, rows in usage_blocks.of_share(views, share, after).items():
        records = MatchedColumns(*zip(*rows, strict=True))
        for meter in _meters(views, matching, event_ref):
            counted = buckets.totals(views, folding.dimensions, meter, records)
            folding.days.add(views, meter.ref, *counted)


def _meters(views: Views, matching: Matching, event_ref: int) -> Sequence[MeterRef]:
    """The versions of the meters over an event name that have totals."""
    first = current.at(views, Meter, event_ref)
    assert first is not None, f"no meter was created at {event_ref}"
    return [one for one in matching.meters(views, first.event_name) if buckets.has_totals(one)]


# ------------------------------------------------------------------------------------- reading


def between(
    views: Views, meter: MeterRef, event_ref: int, customer: int, edges: Sequence[int]
) -> Iterator[tuple[int, int, State]]:
    """A customer's buckets between instants, as `buckets.between`, and what is fresh of them."""
    yield from buckets.between(views, meter, customer, edges)
    if not buckets.has_totals(meter):
        return
    type = AGGREGATIONS[meter.meter.aggregation]
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    first, last = -(-edges[0] // HOUR_US), edges[-1] // HOUR_US
    for (hour, number), (count, units) in _of(views, meter, event_ref, customer).items():
        if first <= hour < last and hour not in cut:
            yield hour * HOUR_US, number, _state(type, count, units)


def _state(type: type[State], count: int, units: int) -> State:
    if issubclass(type, UniqueCount):
        return UniqueCount(count)
    assert issubclass(type, Additive), f"{type} has no totals"
    return type(count, decimal_of(units))


def _of(
    views: Views, meter: MeterRef, event_ref: int, customer: int
) -> dict[tuple[int, int], tuple[int, int]]:
    """What is fresh of a customer, by hour and dimension values: (count, units)."""
    known = standing(views)
    share = customer % SHARES
    if known is None or not known.blocks[share]:
        return {}
    after = known.positions[share]
    records = usage_blocks.of_customer(views, event_ref, customer, after)
    counted = buckets.totals(views, _ReadRefs(), meter, MatchedColumns.of(records))
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for hour, _, number, units in zip(*counted, strict=True):
        count, total = found.get((hour, number), (0, 0))
        found[hour, number] = (count + 1, total + units)
    return found


class _ReadRefs(DimensionRefs):
    """Numbers of dimension values for who only reads: each was given one as it was recorded."""

    def _number(self, views: Views, meter_ref: int, labels: Labels) -> int:
        known = buckets.number_of(views, meter_ref, labels)
        return _NONE if known is None else known


# ------------------------------------------------------------------------------------- listing


class _Apart(Days):
    """Days to which only what is fresh is added, and which nobody keeps."""

    def write(self, views: Views) -> None:
        """Keep it in memory."""


class _Days(Table):
    """The table of days, of which a dump shows what they come to."""

    def listed(self, views: Views) -> Iterator[Row]:
        """Every row in the order of the key, with what is fresh of it."""
        both = merge(super().listed(views), _fresh_days(views), key=usage_days.place_of)
        for _, rows in groupby(both, key=usage_days.place_of):
            yield reduce(usage_days.together, rows)


def _fresh_days(views: Views) -> Iterator[Row]:
    """What is fresh as rows of days, in the order of their key."""
    known = standing(views)
    if known is None:
        return
    apart = _Apart()
    for share in range(SHARES):
        if known.blocks[share]:
            _count(views, share, known.positions[share], Matching(), Folding(apart, _ReadRefs()))
    yield from apart.rows()


TABLES = (_Days(usage_days.NAME, usage_days.COLUMNS, usage_days.KEY),)

"""What each day adds up to, with what each of its hours does: a row per customer and dimensions.

A day's total stands in columns that the database can add up; its hours, of which most questions
need none, are packed beside it. Both are exact (`totals.py`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import add

import msgspec

from projections.tables import Row, Table, Views
from projections.totals import digits_of
from projections.usage_blocks import HOUR_US

HOURS_PER_DAY = 24
DAY_US = HOURS_PER_DAY * HOUR_US

PLACE = "meter_ref INTEGER, slot INTEGER, customer_ref INTEGER, dimensions_ref INTEGER"
KEY = "meter_ref, slot, customer_ref, dimensions_ref"

DAYS = Table(
    "usage_days",
    f"{PLACE}, count INTEGER, high INTEGER, low INTEGER, fraction INTEGER, hours BLOB",
    key=KEY,
)

REMEMBERED = 20_000
"""Days kept in memory between transactions, at most some 40 MB, before they are read anew."""
OPEN = 50_000
"""Days that may wait to be written, some 100 MB, before they are."""
_ROWS_PER_QUERY = 250

Day = tuple[int, int, int]
"""(day since 1970, customer, dimensions), the last two as references."""

Slots = list[int]
"""The counts of a day's hours, then their units, then the count and the units of the whole day."""
_COUNT, _UNITS = 2 * HOURS_PER_DAY, 2 * HOURS_PER_DAY + 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Slots).decode
_decode_large = msgspec.msgpack.Decoder(list[int | str]).decode


class Days:
    """Adds to days, and writes them when it is told to; it remembers them for what comes next.

    Usage goes on where it was, and a day that many batches add to is written once for all of them.
    """

    def __init__(self) -> None:
        self._known: defaultdict[int, dict[Day, Slots]] = defaultdict(dict)
        self._changed: defaultdict[int, set[Day]] = defaultdict(set)

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self._known.clear()
        self._changed.clear()

    def add(
        self,
        views: Views,
        meter_ref: int,
        hours: Sequence[int],
        customers: Sequence[int],
        dimensions: Sequence[int],
        units: Sequence[int],
        times: int = 1,
    ) -> None:
        """Add usage records, column by column, to their hours and days.

        `hours` count since 1970; customers and dimensions are references. Each record counts so
        many times: -1 takes it back.
        """
        of_hours = [hour // HOURS_PER_DAY for hour in hours]
        counts = [hour % HOURS_PER_DAY for hour in hours]
        days = list(zip(of_hours, customers, dimensions, strict=True))
        known, changed = self._known[meter_ref], self._changed[meter_ref]
        changed.update(days)
        try:
            found = [known[day] for day in days]
        except KeyError:
            missing = {day for day in days if day not in known}
            known |= self._read(views, meter_ref, list(missing))
            found = [known[day] for day in days]
        for slots, count, one in zip(found, counts, units, strict=True):
            slots[count] += times
            slots[count + HOURS_PER_DAY] += times * one
            slots[_COUNT] += times
            slots[_UNITS] += times * one
        if len(changed) > OPEN:
            self.write(views)

    def write(self, views: Views) -> None:
        """Write what was added; a day without a record left is none."""
        for meter_ref, changed in sorted(self._changed.items()):
            known = self._known[meter_ref]
            rows: list[Row] = []
            for day in sorted(changed):
                slots = known[day]
                if slots[_COUNT]:
                    total = digits_of(slots[_UNITS])
                    rows.append((meter_ref, *day, slots[_COUNT], *total, _packed(slots)))
                else:
                    where = "meter_ref=? AND slot=? AND customer_ref=? AND dimensions_ref=?"
                    views.execute(f"DELETE FROM usage_days WHERE {where}", (meter_ref, *day))
            views.insert("usage_days", rows, DAYS.replacing)
        self._changed.clear()
        if sum(map(len, self._known.values())) > REMEMBERED:
            self._known.clear()

    def merge(self, views: Views, meter_ref: int, days: Mapping[Day, Slots]) -> None:
        """Add to whole days what was gathered for them elsewhere."""
        known = self._known[meter_ref]
        missing = [day for day in days if day not in known]
        if missing:
            known |= self._read(views, meter_ref, missing)
        for day, slots in days.items():
            known[day] = list(map(add, known[day], slots))
        self._changed[meter_ref] |= days.keys()

    def taken(self) -> dict[int, dict[Day, Slots]]:
        """Everything that was added, of every meter, when nothing stood before."""
        return dict(self._known)

    def drop(self, views: Views, meter_ref: int, hour: int, customer: int) -> None:
        """Let an hour of a customer hold no records; their units must be 0."""
        self.write(views)
        for _, dimensions, count, _ in list(between(views, meter_ref, customer, hour, hour)):
            self.add(views, meter_ref, [hour], [customer], [dimensions], [0], -count)

    def _read(self, views: Views, meter_ref: int, days: Sequence[Day]) -> dict[Day, Slots]:
        """What stands of these days."""
        found = _standing(views, meter_ref, days)
        return {day: found.get(day) or nothing() for day in days}


def nothing() -> Slots:
    """A day without usage."""
    return [0] * (_UNITS + 1)


def _standing(views: Views, meter_ref: int, days: Sequence[Day]) -> dict[Day, Slots]:
    """Those of the days that stand in the views."""
    found: dict[Day, Slots] = {}
    for start in range(0, len(days), _ROWS_PER_QUERY):
        some = days[start : start + _ROWS_PER_QUERY]
        values = ",".join(["(?,?,?)"] * len(some))
        for day, customer, dimensions, packed in views.iterate(
            f"WITH wanted(s, c, d) AS (VALUES {values}) SELECT s, c, d, hours FROM wanted"
            " CROSS JOIN usage_days ON meter_ref=? AND slot=s AND customer_ref=c"
            " AND dimensions_ref=d",
            [*chain.from_iterable(some), meter_ref],
        ):
            found[day, customer, dimensions] = _unpacked(packed)
    return found


def _packed(slots: Slots) -> bytes:
    try:
        return _encode(slots)
    except OverflowError:  # units beyond 64 bits are kept as text
        return _encode([one if -(2**63) <= one < 2**63 else str(one) for one in slots])


def _unpacked(packed: bytes) -> Slots:
    try:
        return _decode(packed)
    except msgspec.ValidationError:
        return list(map(int, _decode_large(packed)))


def between(
    views: Views, meter_ref: int, customer: int, first: int, last: int
) -> Iterator[tuple[int, int, int, int]]:
    """A customer's hours from one to another: (hour, dimensions, count, units)."""
    rows = views.iterate(
        "WITH RECURSIVE slots(s) AS (SELECT ?1 UNION ALL SELECT s + 1 FROM slots WHERE s < ?2)"
        " SELECT slot, dimensions_ref, hours FROM slots CROSS JOIN usage_days"
        " ON meter_ref=?3 AND slot=s AND customer_ref=?4 /*ORDER BY slot, dimensions_ref*/",
        (first // HOURS_PER_DAY, last // HOURS_PER_DAY, meter_ref, customer),
    )
    for day, dimensions, packed in rows:
        slots = _unpacked(packed)
        start = day * HOURS_PER_DAY
        for hour in range(max(first - start, 0), min(last - start + 1, HOURS_PER_DAY)):
            if slots[hour]:
                yield start + hour, dimensions, slots[hour], slots[hour + HOURS_PER_DAY]

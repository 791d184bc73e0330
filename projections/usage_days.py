"""What each day adds up to, with what each of its hours does: a row per customer and dimensions.

A day's total stands in columns that the database can add up; its hours, of which most questions
need none, are packed beside it. Both are exact (`totals.py`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from itertools import chain

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

REMEMBERED = 50_000
"""Days kept in memory, some 30 MB, before they are read anew."""
_ROWS_PER_QUERY = 250

Day = tuple[int, int, int]
"""(day since 1970, customer, dimensions), the last two as references."""

_Hours = list[int | str]
"""The counts of a day's hours, then their units; those beyond 64 bits as text."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Hours).decode
_EMPTY = _encode([0] * (2 * HOURS_PER_DAY))


class Days:
    """Adds to days, and writes them when it is told to; it remembers those that it wrote last.

    Usage goes on where it was, and a day that many batches add to is written once for all of them.
    """

    def __init__(self) -> None:
        self._open: defaultdict[int, dict[Day, list[int]]] = defaultdict(dict)
        self._known: dict[tuple[int, Day], bytes] = {}

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self._open.clear()
        self._known.clear()

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
        opened = self._open[meter_ref]
        missing = set(days) - opened.keys()
        if missing:
            opened |= self._read(views, meter_ref, missing)
        for slots, count, one in zip(map(opened.__getitem__, days), counts, units, strict=True):
            slots[count] += times
            slots[count + HOURS_PER_DAY] += times * one

    def write(self, views: Views) -> None:
        """Write what was added; a day without a record left is none."""
        for meter_ref, opened in sorted(self._open.items()):
            if len(self._known) + len(opened) > REMEMBERED:
                self._known.clear()
            rows: list[Row] = []
            for day, slots in sorted(opened.items()):
                packed = self._known[meter_ref, day] = _packed(slots)
                count, total = sum(slots[:HOURS_PER_DAY]), sum(slots[HOURS_PER_DAY:])
                if count:
                    rows.append((meter_ref, *day, count, *digits_of(total), packed))
                else:
                    where = "meter_ref=? AND slot=? AND customer_ref=? AND dimensions_ref=?"
                    views.execute(f"DELETE FROM usage_days WHERE {where}", (meter_ref, *day))
            views.insert("usage_days", rows, _REPLACE)
        self._open.clear()

    def drop(self, views: Views, meter_ref: int, hour: int, customer: int) -> None:
        """Let an hour of a customer hold no records; their units must be 0."""
        self.write(views)
        for _, dimensions, count, _ in list(between(views, meter_ref, customer, hour, hour)):
            self.add(views, meter_ref, [hour], [customer], [dimensions], [0], -count)

    def _read(self, views: Views, meter_ref: int, days: Set[Day]) -> dict[Day, list[int]]:
        """What stands of these days: the counts of the hours, then their units."""
        found = {day: self._known.get((meter_ref, day)) for day in days}
        unknown = [day for day, packed in found.items() if packed is None]
        for start in range(0, len(unknown), _ROWS_PER_QUERY):
            some = unknown[start : start + _ROWS_PER_QUERY]
            values = ",".join(["(?,?,?)"] * len(some))
            for day, customer, dimensions, packed in views.iterate(
                f"WITH wanted(s, c, d) AS (VALUES {values}) SELECT s, c, d, hours FROM wanted"
                " CROSS JOIN usage_days ON meter_ref=? AND slot=s AND customer_ref=c"
                " AND dimensions_ref=d",
                [*chain.from_iterable(some), meter_ref],
            ):
                found[day, customer, dimensions] = packed
        return {day: _unpacked(packed or _EMPTY) for day, packed in found.items()}


_REPLACE = """ON CONFLICT DO UPDATE SET count=excluded.count, high=excluded.high,
 low=excluded.low, fraction=excluded.fraction, hours=excluded.hours"""


def _packed(slots: Sequence[int]) -> bytes:
    try:
        return _encode(slots)
    except OverflowError:
        return _encode([one if -(2**63) <= one < 2**63 else str(one) for one in slots])


def _unpacked(packed: bytes) -> list[int]:
    return list(map(int, _decode(packed)))


def between(
    views: Views, meter_ref: int, customer: int, first: int, last: int
) -> Iterator[tuple[int, int, int, int]]:
    """A customer's hours from one to another: (hour, dimensions, count, units)."""
    rows = views.iterate(
        "WITH RECURSIVE slots(s) AS (SELECT ?1 UNION ALL SELECT s + 1 FROM slots WHERE s < ?2)"
        " SELECT slot, dimensions_ref, hours FROM slots CROSS JOIN usage_days"
        " ON meter_ref=?3 AND slot=s AND customer_ref=?4",
        (first // HOURS_PER_DAY, last // HOURS_PER_DAY, meter_ref, customer),
    )
    for day, dimensions, packed in rows:
        slots = _unpacked(packed)
        start = day * HOURS_PER_DAY
        for hour in range(max(first - start, 0), min(last - start + 1, HOURS_PER_DAY)):
            if slots[hour]:
                yield start + hour, dimensions, slots[hour], slots[hour + HOURS_PER_DAY]

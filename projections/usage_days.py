"""What each day adds up to, hour by hour: a row holds the day of a group of the customers.

A row for each customer's day would be dear to write, since nearly every record may be of another
customer. So the days of some customers share a row, in which each is found without reading the
others, and only the hours that have any usage are there. Totals are exact: units of 10**-12.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import add

import msgspec

from projections.tables import Row, Table, Views
from projections.usage_blocks import HOUR_US

HOURS_PER_DAY = 24
DAY_US = HOURS_PER_DAY * HOUR_US

GROUPS = 1_024
"""Into how many groups the customers fall, so that a hundred thousand make a hundred to a row.

It is a multiple of the shares of `usage_blocks.py`: the days of a share have rows of their own.
"""

NAME = "usage_days"
COLUMNS = "meter_ref INTEGER, slot INTEGER, customers INTEGER, days BLOB"
KEY = "meter_ref, slot, customers"
DAYS = Table(NAME, COLUMNS, KEY)

OPEN = 100_000
"""Hours that may wait to be written, some 40 MB, before they are."""
_ROWS_PER_QUERY = 250

Hour = tuple[int, int, int]
"""(hour since 1970, customer, dimensions), the last two as references."""

_Hours = dict[int, tuple[int, int]]
"""The hours of a day that have any usage: how many records, and how many units they come to."""
_FIELDS = 3
"""How many numbers tell an hour."""
_Own = tuple[int, int]
"""(customer, dimensions): whose day it is."""
_Group = tuple[list[int], list[int], list[msgspec.Raw]]
"""A row's customers, their dimensions and their hours: each hour, its count, its units."""

_encode = msgspec.msgpack.Encoder().encode
_group = msgspec.msgpack.Decoder(_Group).decode
_hours = msgspec.msgpack.Decoder(list[int]).decode
_large_hours = msgspec.msgpack.Decoder(list[int | str]).decode


class Days:
    """Adds to days, and writes what was added when it is told to."""

    def __init__(self) -> None:
        self._added: defaultdict[int, dict[Hour, list[int]]] = defaultdict(dict)

    def forget(self) -> None:
        """What was added and is not written was undone."""
        self._added.clear()

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
        added = self._added[meter_ref]
        places = zip(hours, customers, dimensions, strict=True)
        for place, one in zip(places, units, strict=True):
            total = added.get(place)
            if total is None:
                added[place] = [times, times * one]
            else:
                total[0] += times
                total[1] += times * one
        if len(added) > OPEN:
            self.write(views)

    def merge(self, meter_ref: int, hours: Mapping[Hour, list[int]]) -> None:
        """Add what was gathered elsewhere."""
        added = self._added[meter_ref]
        for place, more in hours.items():
            total = added.get(place)
            added[place] = more if total is None else list(map(add, total, more))

    def taken(self) -> dict[int, dict[Hour, list[int]]]:
        """Everything that was added and is not written, by meter: counts and units."""
        return dict(self._added)

    def write(self, views: Views) -> None:
        """Write what was added; a day without a record left is none."""
        for meter_ref, hours in self._added.items():
            write(views, meter_ref, hours)
        self._added.clear()

    def rows(self) -> Iterator[Row]:
        """What was added and is not written as rows, in the order of their key."""
        for meter_ref, hours in sorted(self._added.items()):
            for place, more in sorted(_by_group(hours).items()):
                if packed := _with_more(None, more):
                    yield (meter_ref, *place, packed)

    def drop(self, views: Views, meter_ref: int, hour: int, customer: int) -> None:
        """Let an hour of a customer hold no records; their units must be 0."""
        self.write(views)
        for _, dimensions, count, _ in list(between(views, meter_ref, customer, hour, hour)):
            self.add(views, meter_ref, [hour], [customer], [dimensions], [0], -count)


# ------------------------------------------------------------------------------------- writing


def write(views: Views, meter_ref: int, hours: Mapping[Hour, Sequence[int]]) -> None:
    """Add hours of a meter to the rows of their days."""
    groups = _by_group(hours)
    places = sorted(groups)
    for start in range(0, len(places), _ROWS_PER_QUERY):
        some = places[start : start + _ROWS_PER_QUERY]
        _write(views, meter_ref, {place: groups[place] for place in some})


_Place = tuple[int, int]
"""(day since 1970, group of customers) of a row of one meter."""
_More = dict[_Own, list[int]]
"""What is added to a row: each hour, its count, its units."""


def _by_group(hours: Mapping[Hour, Sequence[int]]) -> dict[_Place, _More]:
    """What is added to each row."""
    groups: defaultdict[_Place, _More] = defaultdict(dict)
    for (hour, customer, number), (count, units) in hours.items():
        day = hour // HOURS_PER_DAY
        group = groups[day, customer % GROUPS]
        own = (customer, number)
        if own in group:
            group[own] += (hour - day * HOURS_PER_DAY, count, units)
        else:
            group[own] = [hour - day * HOURS_PER_DAY, count, units]
    return groups


def _write(views: Views, meter_ref: int, groups: Mapping[_Place, _More]) -> None:
    """Add to rows, some at a time."""
    keys = [(meter_ref, *place) for place in groups]
    found = {(day, group): days for _, day, group, days in views.by_key(DAYS, keys)}
    rows: list[Row] = []
    for place, more in groups.items():
        packed = _with_more(found.get(place), more)
        if packed is not None:
            rows.append((meter_ref, *place, packed))
        elif place in found:
            where = "meter_ref=? AND slot=? AND customers=?"
            views.execute(f"DELETE FROM usage_days WHERE {where}", (meter_ref, *place))
    views.insert("usage_days", rows, DAYS.replacing)


def _with_more(packed: bytes | None, more: _More) -> bytes | None:
    """A row's days with what is added to them; None when nothing is left of them."""
    days: dict[_Own, msgspec.Raw | list[int]] = {}
    if packed is not None:
        customers, numbers, known = _group(packed)
        days = dict(zip(zip(customers, numbers, strict=True), known, strict=True))
    for own, added in more.items():
        stood = days.get(own)
        hours = _together([] if stood is None else _unpacked(stood), added)
        if hours:
            days[own] = hours
        else:
            days.pop(own, None)
    return _packed(days) if days else None


def _together(hours: list[int], more: list[int]) -> list[int]:
    """What the hours of a day come to with those that are added, in their order.

    Mostly a single one is added, which is the last one there or comes after it.
    """
    if len(more) == _FIELDS:
        hour, count, units = more
        last = hours[-_FIELDS] if hours else -1
        if last < hour and count:
            return hours + more
        if last == hour and hours[-2] + count:
            hours[-2:] = (hours[-2] + count, hours[-1] + units)
            return hours
    return _sum(hours, more)


def _sum(hours: Sequence[int], more: Sequence[int]) -> list[int]:
    """The same of any hours; those without a record left are not there."""
    sums = _by_hour(hours)
    for hour, (count, units) in _by_hour(more).items():
        before = sums.get(hour, (0, 0))
        sums[hour] = (before[0] + count, before[1] + units)
    kept = [(hour, *total) for hour, total in sorted(sums.items()) if total[0]]
    return list(chain.from_iterable(kept))


def _by_hour(hours: Sequence[int]) -> _Hours:
    totals = zip(hours[1::_FIELDS], hours[2::_FIELDS], strict=True)
    return dict(zip(hours[::_FIELDS], totals, strict=True))


def _packed(days: Mapping[_Own, msgspec.Raw | list[int]]) -> bytes:
    order = sorted(days)
    customers, numbers = zip(*order, strict=True)
    hours = [days[own] for own in order]
    try:
        return _encode((customers, numbers, hours))
    except OverflowError:  # units beyond 64 bits are kept as text
        return _encode((customers, numbers, list(map(_as_text, hours))))


def _as_text(hours: msgspec.Raw | list[int]) -> msgspec.Raw | list[int | str]:
    if isinstance(hours, msgspec.Raw):
        return hours
    return [one if -(2**63) <= one < 2**63 else str(one) for one in hours]


def _unpacked(packed: msgspec.Raw | list[int]) -> list[int]:
    assert isinstance(packed, msgspec.Raw), "it stands in a row"
    try:
        return _hours(packed)
    except msgspec.ValidationError:
        return list(map(int, _large_hours(packed)))


def place_of(row: Row) -> Row:
    """The key of a row."""
    return row[:3]


def together(one: Row, other: Row) -> Row:
    """What two rows of the same days come to."""
    customers, numbers, known = _group(other[-1])
    owns = zip(customers, numbers, strict=True)
    more = dict(zip(owns, map(_unpacked, known), strict=True))
    return (*place_of(one), _with_more(one[-1], more))


# ------------------------------------------------------------------------------------- reading


def _read(
    views: Views, meter_ref: int, customer: int, first: int, last: int
) -> Iterator[tuple[int, int, _Hours]]:
    """A customer's days from one to another: (day, dimensions, hours)."""
    rows = views.iterate(
        "WITH RECURSIVE slots(s) AS (SELECT ?1 UNION ALL SELECT s + 1 FROM slots WHERE s < ?2)"
        " SELECT slot, days FROM slots CROSS JOIN usage_days"
        " ON meter_ref=?3 AND slot=s AND customers=?4 /*ORDER BY slot*/",
        (first, last, meter_ref, customer % GROUPS),
    )
    for day, packed in rows:
        customers, numbers, hours = _group(packed)
        at = bisect_left(customers, customer)
        while at < len(customers) and customers[at] == customer:
            yield day, numbers[at], _by_hour(_unpacked(hours[at]))
            at += 1


def days_between(
    views: Views, meter_ref: int, customer: int, first: int, last: int
) -> Iterator[tuple[int, int, int, int]]:
    """A customer's days from one to another: (day, dimensions, count, units)."""
    for day, number, hours in _read(views, meter_ref, customer, first, last):
        counts, units = zip(*hours.values(), strict=True)
        yield day, number, sum(counts), sum(units)


def between(
    views: Views, meter_ref: int, customer: int, first: int, last: int
) -> Iterator[tuple[int, int, int, int]]:
    """A customer's hours from one to another: (hour, dimensions, count, units)."""
    days = (first // HOURS_PER_DAY, last // HOURS_PER_DAY)
    for day, number, hours in _read(views, meter_ref, customer, *days):
        start = day * HOURS_PER_DAY
        for hour, (count, units) in hours.items():
            if first <= start + hour <= last:
                yield start + hour, number, count, units

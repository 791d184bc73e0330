"""Matched usage records as they are kept: blocks, found by their hour and by whose they are.

What one event brings for an hour and a share of the customers stands in one block, so that a batch
of a thousand records writes some dozens of rows, however many customers it is about. Whoever asks
for a customer's records of an hour decodes the blocks of the customer's share and leaves the rest.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import msgspec

from projections.tables import Row, Table, Views

if TYPE_CHECKING:
    from projections.matched_columns import MatchedColumns

HOUR_US = 3_600_000_000

ROWS_PER_EVENT = 1_024
"""More than an event holds; a record's place in the ledger is position * this + row."""

SHARES = 32
"""Into how many shares the customers fall: more make a read cheaper, and a write dearer."""

_EVERY_SHARE = ",".join(map(str, range(SHARES)))

BLOCKS = Table(
    "usage_blocks",
    "hour INTEGER, share INTEGER, position INTEGER, event_ref INTEGER, first_us INTEGER, "
    "last_us INTEGER, count INTEGER, records BLOB",
    key="hour, share, position, event_ref",
    indexes=["share, position"],
)


class Matched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A usage record whose meters and customer are known, as the meters see it."""

    customer_ref: int
    timestamp_us: int
    position: int
    row: int
    value: str | None
    properties: dict[str, str]

    @property
    def time_and_place(self) -> tuple[int, int, int]:
        """Where it stands among all records in time order: (timestamp, position, row)."""
        return (self.timestamp_us, self.position, self.row)

    @property
    def in_ledger(self) -> int:
        """Its place in the ledger as one number."""
        return self.position * ROWS_PER_EVENT + self.row

    def property(self, name: str) -> str | None:
        """The text of one property; `value` is the property of that name."""
        return (
            self.value if name == "value" and self.value is not None else self.properties.get(name)
        )


# Whose the records are stands before them, so that only those that are asked for are decoded.
_encode = msgspec.msgpack.Encoder(order="sorted").encode
_every = msgspec.msgpack.Decoder(tuple[msgspec.Raw, list[Matched]]).decode
_plain = msgspec.msgpack.Decoder(tuple[msgspec.Raw, list[Row]]).decode
_raw = msgspec.msgpack.Decoder(tuple[list[int], list[msgspec.Raw]]).decode
_record = msgspec.msgpack.Decoder(Matched).decode
_by_time = attrgetter("timestamp_us", "position", "row")
_by_row = attrgetter("row")

_COLUMNS = "hour, share, position, event_ref, records"


class Block(msgspec.Struct, frozen=True):
    """One event's records of one event name, hour and share of the customers, by row."""

    hour: int
    share: int
    position: int
    event_ref: int
    records: list[Matched]

    @classmethod
    def of(cls, row: Row) -> "Block":
        """A block from its row, selected as `_COLUMNS`."""
        hour, share, position, event_ref, records = row
        return cls(hour, share, position, event_ref, _decode(records))


# ------------------------------------------------------------------------------------- writing


def keep(views: Views, event_ref: int, records: "MatchedColumns") -> list[tuple[int, int]]:
    """Keep matched records of one event name, each event's in the order of its rows.

    The answer is the blocks that this made: of which share, and with how many records.
    """
    slots = [
        hour * SHARES + ref % SHARES
        for hour, ref in zip(records.hours, records.customer_refs, strict=True)
    ]
    places = zip(slots, records.positions, strict=True)
    gathered: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for place, content in zip(places, records.contents, strict=True):
        gathered[place].append(content)
    rows = [
        (slot // SHARES, slot % SHARES, position, event_ref, *_packed(together))
        for (slot, position), together in sorted(gathered.items())
    ]
    views.insert("usage_blocks", rows)
    return [(share, count) for _, share, _, _, _, _, count, _ in rows]


def _packed(contents: Sequence[Row]) -> tuple[int, int, int, bytes]:
    """What a row says of a block's records: the first and last time, how many, and themselves.

    They come as what each of their fields says.
    """
    whose = [content[0] for content in contents]
    times = [content[1] for content in contents]
    return min(times), max(times), len(times), _encode((whose, contents))


def _decode(packed: bytes) -> list[Matched]:
    """All records of a block."""
    return _every(packed)[1]


def _decode_of(packed: bytes, customer: int) -> list[Matched]:
    """The records of a block that are a customer's."""
    whose, records = _raw(packed)
    return [_record(one) for ref, one in zip(whose, records, strict=True) if ref == customer]


def add(views: Views, event_ref: int, records: Iterable[Matched]) -> None:
    """Keep records of which the blocks may stand already: they were recorded long before."""
    for record in records:
        place = (record.timestamp_us // HOUR_US, record.customer_ref % SHARES, record.position)
        known = _select(
            views, "hour=? AND share=? AND position=? AND event_ref=?", *place, event_ref
        )
        block = next(known, None) or Block(*place, event_ref, [])
        insort(block.records, record, key=_by_row)
        _put(views, block)


def change(views: Views, before: Matched, after: Matched | None) -> None:
    """Let a record say something else, or be kept no longer."""
    for block in _select(
        views,
        "hour=? AND share=? AND position=?",
        before.timestamp_us // HOUR_US,
        before.customer_ref % SHARES,
        before.position,
    ):
        others = [record for record in block.records if record.row != before.row]
        if len(others) == len(block.records):
            continue
        if after is not None:
            insort(others, after, key=_by_row)
        _put(views, msgspec.structs.replace(block, records=others))


def _put(views: Views, block: Block) -> None:
    """Let a block hold what it holds now; an empty one is none."""
    place = (block.hour, block.share, block.position, block.event_ref)
    views.execute(
        "DELETE FROM usage_blocks WHERE hour=? AND share=? AND position=? AND event_ref=?", place
    )
    if block.records:
        contents = list(map(msgspec.structs.astuple, block.records))
        views.insert("usage_blocks", [(*place, *_packed(contents))])


# ------------------------------------------------------------------------------------- reading


def in_hour(
    views: Views, hour: int, event: int, customer: int, start_us: int, end_us: int
) -> list[Matched]:
    """A customer's records of one hour between two instants, in time order."""
    rows = views.iterate(
        "SELECT records FROM usage_blocks WHERE hour=? AND share=? AND event_ref=?"
        " AND last_us>=? AND first_us<?",
        (hour, customer % SHARES, event, start_us, end_us),
    )
    found = [
        record
        for (records,) in rows
        for record in _decode_of(records, customer)
        if start_us <= record.timestamp_us < end_us
    ]
    found.sort(key=_by_time)
    return found


def in_hours(
    views: Views, event: int, customer: int, start_us: int, end_us: int
) -> Iterator[list[Matched]]:
    """A customer's records between two instants, hour by hour, each hour in time order."""
    of_customer = (customer % SHARES, event, start_us, end_us)
    rows = views.iterate(
        "WITH RECURSIVE hours(h) AS (SELECT MIN(hour) FROM usage_blocks WHERE hour>=?1 UNION ALL"
        " SELECT (SELECT MIN(hour) FROM usage_blocks WHERE hour>h) FROM hours WHERE h < ?2)"
        " SELECT h, records FROM hours CROSS JOIN usage_blocks"
        " ON hour=h AND share=?3 AND event_ref=?4 WHERE h<=?2 AND last_us>=?5 AND first_us<?6"
        " /*ORDER BY h*/",
        (start_us // HOUR_US, (end_us - 1) // HOUR_US, *of_customer),
    )
    for _, blocks in groupby(rows, key=itemgetter(0)):
        found = [
            record
            for _, records in blocks
            for record in _decode_of(records, customer)
            if start_us <= record.timestamp_us < end_us
        ]
        found.sort(key=_by_time)
        yield found


def hours(views: Views, first: int, last: int) -> Iterator[int]:
    """The hours in which anything was used, in order."""
    sql = "SELECT hour FROM usage_blocks WHERE hour>=? AND hour<=? ORDER BY hour LIMIT 1"
    while row := views.row(sql, (first, last)):
        yield row[0]
        first = row[0] + 1


def at(views: Views, place: int) -> tuple[int, Matched] | None:
    """The record at a place in the ledger, with the reference of its event name."""
    position, row = divmod(place, ROWS_PER_EVENT)
    found = (
        (block.event_ref, record)
        for block in of_event(views, position)
        for record in block.records
        if record.row == row
    )
    return next(found, None)


def at_places(
    views: Views, places: Iterable[int], asked: "Range | None" = None
) -> Iterator[Matched]:
    """Those of the records at these places in the ledger that are kept, in no order of time."""
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for place in places:
        position, row = divmod(place, ROWS_PER_EVENT)
        wanted[position].add(row)
    for position, rows in wanted.items():
        for block in of_event(views, position):
            if asked is None or asked.event in (None, block.event_ref):
                found = (record for record in block.records if record.row in rows)
                yield from found if asked is None else filter(asked.takes, found)


def of_event(views: Views, position: int) -> Iterator[Block]:
    """The blocks of the event at a position."""
    return _select(views, f"share IN ({_EVERY_SHARE}) AND position=?", position)


def of_share(views: Views, share: int, after: int) -> dict[int, list[Row]]:
    """What each record of a share after a position says, by the reference of its event name."""
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for event_ref, records in views.iterate(
        "SELECT event_ref, records FROM usage_blocks WHERE share=? AND position>?"
        " ORDER BY position, hour, event_ref",
        (share, after),
    ):
        found[event_ref] += _plain(records)[1]
    return dict(found)


def of_customer(views: Views, event_ref: int, customer: int, after: int) -> list[Matched]:
    """A customer's records of an event name after a position, in no order of time."""
    rows = views.iterate(
        "SELECT records FROM usage_blocks WHERE share=? AND position>? AND event_ref=?",
        (customer % SHARES, after, event_ref),
    )
    return [record for (records,) in rows for record in _decode_of(records, customer)]


def events_of(
    views: Views, customer: int, after: int, before: int, *, backwards: bool
) -> Iterator[int]:
    """Where the events stand that hold records of a customer, between two positions, exclusive.

    `backwards` gives the last ones first. Each is looked into when it is asked for.
    """
    last = None
    for position, records in views.scan(
        "SELECT position, records FROM usage_blocks WHERE position>? AND position<? AND share=?"
        f" ORDER BY position {'DESC' if backwards else 'ASC'}",
        (after, before, customer % SHARES),
    ):
        if position != last and customer in _raw(records)[0]:
            last = position
            yield position


def of_name(views: Views, event: int, start_us: int, end_us: int) -> Iterator[list[Matched]]:
    """The records of an event name between two instants, hour after hour, some at a time."""
    asked = Range(start_us=start_us, end_us=end_us, event=event)
    for hour in asked.hours(views):
        where, parameters = asked.where(hour)
        sql = f"SELECT records FROM usage_blocks WHERE {where} ORDER BY share, position"
        for (records,) in views.rows(sql, parameters):
            yield asked.taken(records)


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which blocks are looked into: of a time, an event name or of any, a customer or all."""

    start_us: int
    end_us: int
    event: int | None = None
    customer: int | None = None

    def takes(self, record: Matched) -> bool:
        """Whether a record of such a block is asked for."""
        is_theirs = self.customer is None or record.customer_ref == self.customer
        return is_theirs and self.start_us <= record.timestamp_us < self.end_us

    def taken(self, packed: bytes) -> list[Matched]:
        """Those records of a block that are asked for."""
        several = _decode(packed) if self.customer is None else _decode_of(packed, self.customer)
        return list(filter(self.takes, several))

    def where(self, hour: int) -> tuple[str, list[object]]:
        """The condition that finds the blocks of an hour."""
        where = "hour=? AND last_us>=? AND first_us<?"
        parameters: list[object] = [hour, self.start_us, self.end_us]
        if self.customer is not None:
            where += " AND share=?"
            parameters.append(self.customer % SHARES)
        if self.event is not None:
            where += " AND event_ref=?"
            parameters.append(self.event)
        return where, parameters

    def hours(self, views: Views) -> Iterator[int]:
        """The hours in which there may be any."""
        return hours(views, self.start_us // HOUR_US, (self.end_us - 1) // HOUR_US)


def in_order(views: Views, asked: Range) -> Iterator[Matched]:
    """Records in the order of time, those of an instant as recorded, each read when asked for.

    A block is opened only when the time comes at which it begins.
    """
    for hour in asked.hours(views):
        where, parameters = asked.where(hour)
        rows = views.rows(
            f"SELECT first_us, records FROM usage_blocks WHERE {where} ORDER BY first_us",
            parameters,
        )
        yield from _opened_in_turn(rows, asked)


def _opened_in_turn(rows: Sequence[Row], asked: Range) -> Iterator[Matched]:
    """The records of blocks that come in the order in which they begin."""
    opened: list[tuple[int, int, int, Matched]] = []
    for first_us, records in rows:
        while opened and opened[0][0] < first_us:
            yield heappop(opened)[-1]
        for record in asked.taken(records):
            heappush(opened, (record.timestamp_us, record.position, record.row, record))
    while opened:
        yield heappop(opened)[-1]


def count(views: Views, asked: Range) -> int:
    """How many records there are: by the blocks alone, but for those that are cut or shared."""
    found = 0
    for hour in asked.hours(views):
        where, parameters = asked.where(hour)
        whole = "FALSE" if asked.customer is not None else "first_us>=? AND last_us<?"
        inside = [asked.start_us, asked.end_us] if asked.customer is None else []
        row = views.row(
            f"SELECT SUM(count) FROM usage_blocks WHERE {where} AND {whole}",
            [*parameters, *inside],
        )
        found += (row and row[0]) or 0
        for (records,) in views.iterate(
            f"SELECT records FROM usage_blocks WHERE {where} AND NOT ({whole})",
            [*parameters, *inside],
        ):
            found += len(asked.taken(records))
    return found


def _select(views: Views, where: str, *parameters: object) -> Iterator[Block]:
    sql = f"SELECT {_COLUMNS} FROM usage_blocks WHERE {where} ORDER BY hour, share, position"
    return map(Block.of, views.rows(sql, parameters))

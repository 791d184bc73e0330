"""What each hour and each day adds up to: a bucket per meter, slot, customer and dimension values.

A bucket is a total (sum, count, average), a set of values that stand in a table of their own
(unique count), or the encoded state of any other aggregation. Buckets are clustered by time, so
that a batch of usage touches few of them; a customer's are found by one seek for each slot.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import compress, groupby

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, Sample, State, UniqueCount
from domain.meters import Meter
from projections import levels, usage_days
from projections.matched_columns import MatchedColumns
from projections.tables import Row, Table, Views
from projections.totals import decimal_of, scaled
from projections.usage_blocks import HOUR_US, Matched
from projections.usage_days import Days
from projections.usage_records import Bucket, MeterRef

PLACE = "meter_ref INTEGER, slot INTEGER, customer_ref INTEGER, dimensions_ref INTEGER"
KEY = "meter_ref, slot, customer_ref, dimensions_ref"


class Grain(msgspec.Struct, frozen=True):
    """A length of buckets, and their tables by content; a slot counts lengths since 1970."""

    hours: int
    states: Table
    uniques: Table

    @property
    def length_us(self) -> int:
        """How long a bucket is."""
        return self.hours * HOUR_US


HOURS = Grain(
    1,
    Table("usage_hour_states", f"{PLACE}, state BLOB", key=KEY),
    Table("usage_hour_uniques", f"{PLACE}, value TEXT", key=f"{KEY}, value"),
)
DAYS = Grain(
    24,
    Table("usage_day_states", f"{PLACE}, state BLOB", key=KEY),
    Table("usage_day_uniques", f"{PLACE}, value TEXT", key=f"{KEY}, value"),
)
GRAINS = (HOURS, DAYS)
DIMENSIONS = Table(
    "usage_dimensions",
    "meter_ref INTEGER, dimensions_ref INTEGER, labels TEXT",
    key="meter_ref, dimensions_ref",
    indexes=["meter_ref, labels"],
)
TABLES = (
    *(table for grain in GRAINS for table in (grain.states, grain.uniques)),
    levels.LEVELS,
    DIMENSIONS,
)

_SLOTS = """WITH RECURSIVE slots(s) AS
 (SELECT ?1 UNION ALL SELECT s + 1 FROM slots WHERE s < ?2)"""
_IN_SLOTS = "FROM slots CROSS JOIN {} ON meter_ref=?3 AND slot=s AND customer_ref=?4"
_BY_SLOT = "/*ORDER BY slot, dimensions_ref*/"
"""How the loop over the slots has them; what reads no loops, reads this."""

Labels = tuple[str | None, ...]
"""The values of a meter's dimensions, in the order of their declaration."""
CountedColumns = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]
"""What is added to totals, column by column: hours, customers, dimensions, units."""
_encode = msgspec.msgpack.encode
_json = msgspec.json.encode
_labels = msgspec.json.Decoder(Labels).decode


class DimensionRefs:
    """A small number for each combination of dimension values, remembered between batches."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Labels], int] = {}

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self._known.clear()

    def ref(self, views: Views, meter_ref: int, labels: Labels) -> int:
        """The number of this combination on this meter, a new one if it was never seen."""
        if not labels:
            return 0
        known = self._known.get((meter_ref, labels))
        if known is None:
            known = self._known[meter_ref, labels] = self._number(views, meter_ref, labels)
        return known

    def _number(self, views: Views, meter_ref: int, labels: Labels) -> int:
        return _intern(views, meter_ref, labels)


def number_of(views: Views, meter_ref: int, labels: Labels) -> int | None:
    """The number of a combination of dimension values; None when it has none."""
    row = views.row(
        "SELECT dimensions_ref FROM usage_dimensions WHERE meter_ref=? AND labels=?",
        (meter_ref, _json(labels).decode()),
    )
    return int(row[0]) if row else None


def _intern(views: Views, meter_ref: int, labels: Labels) -> int:
    known = number_of(views, meter_ref, labels)
    if known is not None:
        return known
    row = views.row("SELECT COUNT(*) FROM usage_dimensions WHERE meter_ref=?", (meter_ref,))
    ref = int(row[0]) + 1 if row else 1
    views.insert("usage_dimensions", [(meter_ref, ref, _json(labels).decode())])
    return ref


# ------------------------------------------------------------------------------------- writing


class Folding:
    """What folding usage remembers between batches: days, and numbers of dimension values."""

    def __init__(self, days: Days | None = None, dimensions: DimensionRefs | None = None) -> None:
        self.days = days or Days()
        self.dimensions = dimensions or DimensionRefs()

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self.days.forget()
        self.dimensions.forget()

    def write(self, views: Views) -> None:
        """Write whatever was added and is not written yet."""
        self.days.write(views)


def add(
    views: Views, folding: Folding, meter: MeterRef, records: MatchedColumns, times: int = 1
) -> None:
    """Add matched records to the buckets of one version of a meter, those that it measures.

    Totals take them back at -1 times.
    """
    if not meter.always:
        records = records.only(map(meter.measures, records.times_us))
    numbers = _numbers(views, folding.dimensions, meter, records)
    if has_totals(meter):
        folding.days.add(views, meter.ref, *_counted(meter.meter, records, numbers), times)
    type = AGGREGATIONS[meter.meter.aggregation]
    if issubclass(type, UniqueCount):
        _add_uniques(views, meter, records, numbers)
    elif not issubclass(type, Additive):
        _add_states(views, meter, records, numbers)


def has_totals(meter: MeterRef) -> bool:
    """Whether a meter has totals of its days; those of a unique count say how many records."""
    return issubclass(AGGREGATIONS[meter.meter.aggregation], Additive | UniqueCount)


def totals(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: MatchedColumns
) -> CountedColumns:
    """What records add to the totals of one version of a meter."""
    if not meter.always:
        records = records.only(map(meter.measures, records.times_us))
    return _counted(meter.meter, records, _numbers(views, refs, meter, records))


def _counted(meter: Meter, records: MatchedColumns, numbers: Sequence[int]) -> CountedColumns:
    """Column by column: hour, customer, number of the dimension values, units.

    A record without what the meter reads is left out: it was recorded before that was asked for.
    """
    units = _units(meter, records)
    counted = [one for one in units if one is not None]
    if len(counted) < len(records):
        kept = [one is not None for one in units]
        records, numbers = records.only(kept), list(compress(numbers, kept))
    return records.hours, records.customer_refs, numbers, counted


def _add_uniques(
    views: Views, meter: MeterRef, records: MatchedColumns, numbers: Sequence[int]
) -> None:
    """Each value is a row of its bucket, written once; the day counts the records."""
    texts = records.texts(meter.meter.value_property)
    for grain in GRAINS:
        values = {
            (meter.ref, hour // grain.hours, customer, number, text)
            for hour, customer, number, text in zip(
                records.hours, records.customer_refs, numbers, texts, strict=True
            )
            if text is not None  # recorded before this meter asked for the property
        }
        views.insert(grain.uniques.name, sorted(values), "ON CONFLICT DO NOTHING")


def _add_states(
    views: Views, meter: MeterRef, records: MatchedColumns, numbers: Sequence[int]
) -> None:
    """Other states fold in memory and are merged with the ones that stand."""
    type = AGGREGATIONS[meter.meter.aggregation]
    folded: dict[Bucket, State] = {}
    for record, number in zip(records.records, numbers, strict=True):
        sample = as_sample(meter.meter, record)
        if sample is None:
            continue
        key = (meter.ref, record.timestamp_us // HOUR_US, record.customer_ref, number)
        folded[key] = folded.get(key, type()).add(sample)
    days: dict[Bucket, State] = {}
    for (ref, hour, customer, number), state in folded.items():
        key = (ref, hour // DAYS.hours, customer, number)
        days[key] = days.get(key, type()).merge(state)
    merge_states(views, HOURS.states, type, folded)
    merge_states(views, DAYS.states, type, days)
    if meter.meter.carries_over:
        levels.add(views, folded)


def merge_states(
    views: Views, table: Table, type: type[State], folded: Mapping[Bucket, State]
) -> None:
    """Merge states into the buckets that stand."""
    for key in sorted(folded):
        row = views.row(
            f"SELECT state FROM {table.name} WHERE meter_ref=? AND slot=? AND customer_ref=? "
            "AND dimensions_ref=?",
            key,
        )
        state = folded[key]
        if row:
            state = msgspec.msgpack.decode(row[0], type=type).merge(state)
        views.put(table, (*key, _encode(state)))


def _units(meter: Meter, records: MatchedColumns) -> Sequence[int | None]:
    """What the meter reads of each record, in units; None for what it cannot read."""
    if meter.needs_text:
        found = records.texts(meter.value_property)
        return [None if text is None else 0 for text in found]
    if not meter.needs_value:
        return [0] * len(records)
    texts = records.texts(meter.value_property)
    return [None if text is None else scaled(text) for text in texts]


def _numbers(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: MatchedColumns
) -> Sequence[int]:
    """The number of each record's combination of dimension values."""
    dimensions = meter.meter.dimensions
    if not dimensions:
        return [0] * len(records)
    columns = [records.texts(name) for name in dimensions]
    if len(columns) == 1:
        [texts] = columns
        by_text = {text: refs.ref(views, meter.ref, (text,)) for text in dict.fromkeys(texts)}
        return list(map(by_text.__getitem__, texts))
    labels = list(zip(*columns, strict=True))
    known = {one: refs.ref(views, meter.ref, one) for one in dict.fromkeys(labels)}
    return list(map(known.__getitem__, labels))


def as_sample(meter: Meter, record: Matched) -> Sample | None:
    """The record as the meter reads it; None when it lacks the value that the meter needs."""
    text = record.property(meter.value_property)
    if not meter.needs_value:
        missing = meter.needs_text and text is None
        return None if missing else _sample(record, None, text)
    units = None if text is None else scaled(text)
    return None if units is None else _sample(record, decimal_of(units), text)


def _sample(record: Matched, value: Decimal | None, text: str | None) -> Sample:
    return Sample(record.timestamp_us, record.position, record.row, value, text)


def labels_of(meter: Meter, record: Matched) -> Labels:
    """The record's values of the meter's dimensions."""
    return tuple(map(record.property, meter.dimensions))


def labels_by_ref(views: Views, meter_ref: int) -> dict[int, Labels]:
    """The dimension values behind the numbers of a meter that declares dimensions."""
    rows: list[Row] = views.rows(
        "SELECT dimensions_ref, labels FROM usage_dimensions WHERE meter_ref=?"
        " ORDER BY dimensions_ref",
        (meter_ref,),
    )
    return {row[0]: _labels(row[1]) for row in rows}


# ------------------------------------------------------------------------------------- reading


def between(
    views: Views, meter: MeterRef, customer: int, edges: Sequence[int]
) -> Iterator[tuple[int, int, State]]:
    """A customer's buckets between instants, none of them cut by one: (start, dimensions, state).

    With two edges, the buckets of a run of days may come as one.
    """
    type = AGGREGATIONS[meter.meter.aggregation]
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    for grain, first, last in _runs(views, meter, type, edges):
        place = (first, last, meter.ref, customer)
        as_one = len(edges) == 2 and grain is DAYS
        for slot, ref, state in _read(views, grain, type, place, as_one):
            if grain is DAYS or slot not in cut:
                yield slot * grain.length_us, ref, state


def _runs(
    views: Views, meter: MeterRef, type: type[State], edges: Sequence[int]
) -> Iterator[tuple[Grain, int, int]]:
    """Runs of whole buckets between the edges: (grain, first slot, last slot).

    A day that no edge cuts is one bucket; of a day that is cut, its hours are.
    """
    table = usage_days.DAYS if issubclass(type, Additive) else DAYS.states
    if issubclass(type, UniqueCount):
        table = DAYS.uniques  # where every record that counts has its value, even a fresh one
    of_meter = f"(slot) FROM {table.name} WHERE meter_ref=?1"  # two queries: each is one seek
    ends = views.row(f"SELECT (SELECT MIN{of_meter}), (SELECT MAX{of_meter})", [meter.ref])
    if ends is None or ends[0] is None:
        return
    cut = {edge // DAYS.length_us for edge in edges if edge % DAYS.length_us}
    first = max(ends[0], edges[0] // DAYS.length_us)
    last = min(ends[1], (edges[-1] - 1) // DAYS.length_us)
    hours = (-(-edges[0] // HOUR_US), edges[-1] // HOUR_US - 1)
    for is_cut, run in groupby(range(first, last + 1), cut.__contains__):
        days = list(run)
        if not is_cut:
            yield DAYS, days[0], days[-1]
            continue
        start = max(days[0] * DAYS.hours, hours[0])
        end = min((days[-1] + 1) * DAYS.hours - 1, hours[1])
        if start <= end:
            yield HOURS, start, end


def _read(
    views: Views, grain: Grain, type: type[State], place: tuple[int, int, int, int], as_one: bool
) -> Iterator[tuple[int, int, State]]:
    """The buckets of one run: (slot, dimensions, state)."""
    if issubclass(type, UniqueCount):
        yield from _read_uniques(views, grain, place)
        return
    if not issubclass(type, Additive):
        inside = _IN_SLOTS.format(grain.states.name)
        for slot, ref, blob in views.iterate(
            f"{_SLOTS} SELECT slot, dimensions_ref, state {inside} {_BY_SLOT}", place
        ):
            yield slot, ref, msgspec.msgpack.decode(blob, type=type)
        return
    first, last, meter_ref, customer = place
    if grain is HOURS:
        totals = usage_days.between(views, meter_ref, customer, first, last)
    else:
        totals = usage_days.days_between(views, meter_ref, customer, first, last)
        totals = _as_one(totals) if as_one else totals
    for slot, ref, count, units in totals:
        yield slot, ref, type(count, decimal_of(units))


def _as_one(
    days: Iterable[tuple[int, int, int, int]],
) -> Iterator[tuple[int, int, int, int]]:
    """The days of each combination of dimension values added up, at the first of them."""
    found: dict[int, tuple[int, int, int]] = {}
    for slot, ref, count, units in days:
        first, counted, total = found.get(ref, (slot, 0, 0))
        found[ref] = (first, counted + count, total + units)
    for ref, (slot, count, units) in sorted(found.items()):
        yield slot, ref, count, units


def _read_uniques(
    views: Views, grain: Grain, place: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, UniqueCount]]:
    """The buckets of a unique count: how many records each has, then which values."""
    first, last, meter_ref, customer = place
    counted = usage_days.between if grain is HOURS else usage_days.days_between
    for slot, ref, count, _ in counted(views, meter_ref, customer, first, last):
        yield slot, ref, UniqueCount(count)
    inside = _IN_SLOTS.format(grain.uniques.name)
    rows = views.iterate(f"{_SLOTS} SELECT slot, dimensions_ref, value {inside} {_BY_SLOT}", place)
    for (slot, ref), found in groupby(rows, key=lambda row: row[:2]):
        yield slot, ref, UniqueCount(0, frozenset(row[2] for row in found))

"""How much was used: buckets per meter, customer and dimensions, and any window's quantity.

A quantity is whole days, the whole hours beside them, and the records at the window's two edges, so
that its cost does not grow with the number of records. Sums are exact: a total is three integers,
each a digit of base 10**12, which SQL adds up with carry; they hold any total of any number of
records.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, Sample, State, empty
from domain.meters import Meter
from domain.money import EXACT
from domain.periods import Period, to_us
from projections.tables import Row, Table, Views
from projections.totals import ADD_WITH_CARRY, digits_of, scaled, total_of
from projections.usage_records import HOUR_US, Matched, MeterRef, between, event_ref, in_hour

_PLACE = "meter_ref INTEGER, slot INTEGER, customer_ref INTEGER, dimensions_ref INTEGER"
_KEY = "meter_ref, slot, customer_ref, dimensions_ref"
_TOTAL = "count INTEGER, high INTEGER, low INTEGER, fraction INTEGER"


class Grain(msgspec.Struct, frozen=True):
    """A length of buckets: totals that the database adds up, and states of the other kinds."""

    length_us: int
    totals: Table
    states: Table


HOURS = Grain(
    HOUR_US,
    Table("usage_hours", f"{_PLACE}, {_TOTAL}", key=_KEY),
    Table("usage_hour_states", f"{_PLACE}, state BLOB", key=_KEY),
)
DAYS = Grain(
    24 * HOUR_US,
    Table("usage_days", f"{_PLACE}, {_TOTAL}", key=_KEY),
    Table("usage_day_states", f"{_PLACE}, state BLOB", key=_KEY),
)
DIMENSIONS = Table(
    "usage_dimensions",
    "meter_ref INTEGER, dimensions_ref INTEGER, labels TEXT",
    key="meter_ref, dimensions_ref",
    indexes=["meter_ref, labels"],
)
TABLES = (HOURS.totals, HOURS.states, DAYS.totals, DAYS.states, DIMENSIONS)

# Buckets lie time first, so that a batch of many customers touches few pages; a customer's are
# found by one seek for each slot.
_SLOTS = """WITH RECURSIVE slots(s) AS
 (SELECT ?1 UNION ALL SELECT s + 1 FROM slots WHERE s < ?2)"""
_IN_SLOTS = "FROM slots CROSS JOIN {} ON meter_ref=?3 AND slot=s AND customer_ref=?4"
_ONE_WINDOW = 2
"""The edges of a single window."""

Labels = tuple[str | None, ...]
"""The values of a meter's dimensions, in the order of their declaration."""
Key = tuple[int, int, int, int]
"""(meter, slot, customer, dimensions) of a bucket: its hour or day, the others as references."""

_encode = msgspec.msgpack.encode
_json = msgspec.json.encode
_labels = msgspec.json.Decoder(Labels).decode


class Summary(msgspec.Struct, frozen=True):
    """What one window adds up to, for one group of dimension values."""

    period: Period
    group: Labels
    state: State


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
            known = self._known[meter_ref, labels] = _intern(views, meter_ref, labels)
        return known


def _intern(views: Views, meter_ref: int, labels: Labels) -> int:
    text = _json(labels).decode()
    row = views.row(
        "SELECT dimensions_ref FROM usage_dimensions WHERE meter_ref=? AND labels=?",
        (meter_ref, text),
    )
    if row:
        return int(row[0])
    row = views.row("SELECT COUNT(*) FROM usage_dimensions WHERE meter_ref=?", (meter_ref,))
    ref = int(row[0]) + 1 if row else 1
    views.insert("usage_dimensions", [(meter_ref, ref, text)])
    return ref


# ------------------------------------------------------------------------------------- writing


def add(views: Views, refs: DimensionRefs, meter: MeterRef, records: Sequence[Matched]) -> None:
    """Add matched records to the buckets of one meter."""
    if issubclass(AGGREGATIONS[meter.meter.aggregation], Additive):
        _add_totals(views, refs, meter, records)
    else:
        _add_states(views, refs, meter, records)


def _add_totals(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Sequence[Matched]
) -> None:
    """Totals fold in memory and are added up by the database, without reading them first."""
    ref = meter.ref
    folded: dict[Key, list[int]] = {}
    numbers = _numbers(views, refs, meter, records)
    for record, text, number in zip(records, _texts(meter.meter, records), numbers, strict=True):
        value = None if text is None else scaled(text)
        if value is None:
            continue  # recorded before this meter asked for the property
        key = (ref, record.timestamp_us // HOUR_US, record.customer_ref, number)
        bucket = folded.get(key)
        if bucket is None:
            folded[key] = [1, value]
        else:
            bucket[0] += 1
            bucket[1] += value
    days: dict[Key, list[int]] = {}
    for (_, hour, customer, number), (count, total) in folded.items():
        day = days.setdefault((ref, hour // 24, customer, number), [0, 0])
        day[0] += count
        day[1] += total
    for table, buckets in ((HOURS.totals, folded), (DAYS.totals, days)):
        rows = [(*key, count, *digits_of(total)) for key, (count, total) in buckets.items()]
        rows.sort()
        views.insert(table.name, rows, ADD_WITH_CARRY)


def _texts(meter: Meter, records: Sequence[Matched]) -> Sequence[str | None]:
    """What the meter reads of each record; a meter that counts reads nothing."""
    if not meter.needs_value:
        return ["0"] * len(records)
    if meter.value_property == "value":
        return [record.value for record in records]
    return [record.property(meter.value_property) for record in records]


def _numbers(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Sequence[Matched]
) -> Sequence[int]:
    """The number of each record's combination of dimension values."""
    if not meter.meter.dimensions:
        return [0] * len(records)
    labels = [labels_of(meter.meter, record) for record in records]
    known = {one: refs.ref(views, meter.ref, one) for one in dict.fromkeys(labels)}
    return [known[one] for one in labels]


def _add_states(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Sequence[Matched]
) -> None:
    """Other states fold in memory and are merged with the ones that stand."""
    type = AGGREGATIONS[meter.meter.aggregation]
    folded: dict[Key, State] = {}
    for record in records:
        sample = as_sample(meter.meter, record)
        if sample is None:
            continue
        number = refs.ref(views, meter.ref, labels_of(meter.meter, record))
        key = (meter.ref, record.timestamp_us // HOUR_US, record.customer_ref, number)
        folded[key] = folded.get(key, type()).add(sample)
    days: dict[Key, State] = {}
    for (ref, hour, customer, number), state in folded.items():
        key = (ref, hour // 24, customer, number)
        days[key] = days.get(key, type()).merge(state)
    _merge_states(views, HOURS.states, type, folded)
    _merge_states(views, DAYS.states, type, days)


def _merge_states(
    views: Views, table: Table, type: type[State], folded: Mapping[Key, State]
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
        views.execute(
            f"INSERT OR REPLACE INTO {table.name} VALUES (?,?,?,?,?)", (*key, _encode(state))
        )


def as_sample(meter: Meter, record: Matched) -> Sample | None:
    """The record as the meter reads it; None when it lacks the value that the meter needs."""
    text = record.property(meter.value_property) if meter.needs_value else None
    units = None if text is None else scaled(text)
    if units is None and meter.needs_value:
        return None
    value = None if units is None else EXACT.scaleb(Decimal(units), -12)
    return Sample(record.timestamp_us, record.position, record.row, value)


def labels_of(meter: Meter, record: Matched) -> Labels:
    """The record's values of the meter's dimensions."""
    return tuple(map(record.property, meter.dimensions))


# ------------------------------------------------------------------------------------- reading


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which usage is asked for: a customer's on a meter, filtered and grouped by dimensions."""

    meter: MeterRef
    meters: Sequence[MeterRef]
    """All meters over the same event name, by which the records are found."""
    customer_ref: int
    filter: Mapping[str, Sequence[str]] = {}
    group_by: Sequence[str] = ()

    @property
    def additive(self) -> bool:
        """Whether the meter's buckets are totals."""
        return issubclass(AGGREGATIONS[self.meter.meter.aggregation], Additive)

    def group(self, labels: Labels) -> Labels | None:
        """The group that these dimension values belong to; None when they are filtered out."""
        values = dict(zip(self.meter.meter.dimensions, labels, strict=True))
        if any(values[name] not in wanted for name, wanted in self.filter.items()):
            return None
        return tuple(values[name] for name in self.group_by)

    def counts(self, record: Matched) -> Sample | None:
        """The record as the meter reads it; None when it is filtered out or lacks the value."""
        meter = self.meter.meter
        return None if self.group(labels_of(meter, record)) is None else as_sample(meter, record)


def quantity(views: Views, question: Question, period: Period) -> State:
    """What a customer used in one period, all groups together."""
    found = summaries(views, question, [period.start, period.end])
    return found[0].state if found else empty(question.meter.meter.aggregation)


def samples(views: Views, question: Question, period: Period) -> Iterator[Sample]:
    """Every record that is counted in one period, in time order: as much work as there are records.

    Only for what a quantity cannot tell.
    """
    event, customer = event_ref(question.meters), question.customer_ref
    for record in between(views, event, customer, to_us(period.start), to_us(period.end)):
        sample = question.counts(record)
        if sample is not None:
            yield sample


def summaries(views: Views, question: Question, boundaries: Sequence[datetime]) -> list[Summary]:
    """What each window between two boundaries adds up to, by group, leaving empty windows out.

    The windows come in order, and the groups of a window in the order of their values.
    """
    edges = [to_us(boundary) for boundary in boundaries]
    folded: dict[tuple[int, Labels], State] = {}
    for window, group, state in _parts(views, question, edges):
        before = folded.get((window, group))
        folded[window, group] = state if before is None else before.merge(state)
    ordered = sorted(folded, key=lambda key: (key[0], [(v is not None, v or "") for v in key[1]]))
    return [
        Summary(Period(start=boundaries[window], end=boundaries[window + 1]), group, state)
        for window, group in ordered
        for state in (folded[window, group],)
    ]


def _parts(
    views: Views, question: Question, edges: Sequence[int]
) -> Iterator[tuple[int, Labels, State]]:
    """The states of the windows: whole days and hours, and records of the hours an edge cuts."""
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    labels = _labels_by_ref(views, question.meter.ref)
    for grain, first, last in _stretches(views, question, edges):
        for slot, ref, state in _buckets(views, question, grain, first, last, len(edges)):
            group = question.group(labels[ref])
            if group is not None and (grain is DAYS or slot not in cut):
                yield bisect_right(edges, slot * grain.length_us) - 1, group, state
    meter = question.meter.meter
    for hour in sorted(cut):
        records = in_hour(
            views, hour, event_ref(question.meters), question.customer_ref, edges[0], edges[-1]
        )
        for record in records:
            sample = as_sample(meter, record)
            group = question.group(labels_of(meter, record))
            if sample is not None and group is not None:
                window = bisect_right(edges, record.timestamp_us) - 1
                yield window, group, empty(meter.aggregation).add(sample)


def _stretches(
    views: Views, question: Question, edges: Sequence[int]
) -> Iterator[tuple[Grain, int, int]]:
    """Runs of whole buckets between the edges, as (grain, first slot, last slot).

    A day that no edge cuts is one bucket; of a day that is cut, its hours are.
    """
    table = DAYS.totals if question.additive else DAYS.states
    of_meter = f"(slot) FROM {table.name} WHERE meter_ref=?1"  # two queries: each is one seek
    ends = views.row(f"SELECT (SELECT MIN{of_meter}), (SELECT MAX{of_meter})", [question.meter.ref])
    if ends is None or ends[0] is None:
        return
    cut = {edge // DAYS.length_us for edge in edges if edge % DAYS.length_us}
    first = max(ends[0], edges[0] // DAYS.length_us)
    last = min(ends[1], (edges[-1] - 1) // DAYS.length_us)
    hours = (-(-edges[0] // HOUR_US), edges[-1] // HOUR_US - 1)
    for is_cut, run in groupby(range(first, last + 1), cut.__contains__):
        days = list(run)
        if is_cut:
            start, end = max(days[0] * 24, hours[0]), min(days[-1] * 24 + 23, hours[1])
            if start <= end:
                yield HOURS, start, end
        else:
            yield DAYS, days[0], days[-1]


def _buckets(
    views: Views, question: Question, grain: Grain, first: int, last: int, edges: int
) -> Iterator[tuple[int, int, State]]:
    """The buckets of one run: (slot, dimensions, state)."""
    place = (first, last, question.meter.ref, question.customer_ref)
    type = AGGREGATIONS[question.meter.meter.aggregation]
    if not issubclass(type, Additive):
        inside = _IN_SLOTS.format(grain.states.name)
        for slot, ref, blob in views.iterate(
            f"{_SLOTS} SELECT slot, dimensions_ref, state {inside}", place
        ):
            yield slot, ref, msgspec.msgpack.decode(blob, type=type)
        return
    columns, group = "slot, dimensions_ref, count, high, low, fraction", ""
    if edges == _ONE_WINDOW and grain is DAYS:  # the database adds its buckets up
        columns = "MIN(slot), dimensions_ref, SUM(count), SUM(high), SUM(low), SUM(fraction)"
        group = "GROUP BY dimensions_ref"
    inside = _IN_SLOTS.format(grain.totals.name)
    for row in views.iterate(f"{_SLOTS} SELECT {columns} {inside} {group}", place):
        yield row[0], row[1], type(row[2], total_of(*row[3:]))


def _labels_by_ref(views: Views, meter_ref: int) -> dict[int, Labels]:
    """The dimension values behind the numbers of a meter; 0 stands for none declared."""
    rows: list[Row] = views.rows(
        "SELECT dimensions_ref, labels FROM usage_dimensions WHERE meter_ref=?", (meter_ref,)
    )
    return {0: (), **{row[0]: _labels(row[1]) for row in rows}}

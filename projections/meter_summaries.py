"""How much was used: hour buckets per meter, customer and dimensions, and any window's quantity.

A quantity is whole buckets merged with the records at the window's two edges, so that its cost does
not grow with the number of records. Sums are exact: a total is three integers, each a digit of base
10**12, which SQL adds up with carry; they hold any total of any number of records.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, Sample, State, empty
from domain.decider import Rejected
from domain.meters import Meter
from domain.money import EXACT, parse_decimal
from domain.periods import Period, to_us
from projections.tables import Row, Table, Views
from projections.usage_records import HOUR_US, Matched, MeterRef, between, event_ref, in_hour

DIGIT = 10**12
"""The base of a stored total's digits, which is also one unit in a total's smallest parts."""

BUCKETS = Table(
    "usage_buckets",
    "meter_ref INTEGER, hour INTEGER, customer_ref INTEGER, dimensions_ref INTEGER, "
    "count INTEGER, high INTEGER, low INTEGER, fraction INTEGER",
    key="meter_ref, hour, customer_ref, dimensions_ref",
)
STATES = Table(
    "usage_states",
    "meter_ref INTEGER, hour INTEGER, customer_ref INTEGER, dimensions_ref INTEGER, state BLOB",
    key="meter_ref, hour, customer_ref, dimensions_ref",
)
DIMENSIONS = Table(
    "usage_dimensions",
    "meter_ref INTEGER, dimensions_ref INTEGER, labels TEXT",
    key="meter_ref, dimensions_ref",
    indexes=["meter_ref, labels"],
)
TABLES = (BUCKETS, STATES, DIMENSIONS)

_ADD_WITH_CARRY = f"""ON CONFLICT DO UPDATE SET
 count = count + excluded.count,
 fraction = (fraction + excluded.fraction) % {DIGIT},
 low = (low + excluded.low + (fraction + excluded.fraction) / {DIGIT}) % {DIGIT},
 high = high + excluded.high
  + (low + excluded.low + (fraction + excluded.fraction) / {DIGIT}) / {DIGIT}"""

# Buckets lie time first, so that a batch of many customers touches few pages; a customer's are
# found by one seek for each hour.
_HOURS = """WITH RECURSIVE hours(h) AS
 (SELECT ?1 UNION ALL SELECT h + 1 FROM hours WHERE h < ?2)"""
_IN_HOURS = "FROM hours CROSS JOIN {} ON meter_ref=?3 AND hour=h AND customer_ref=?4"
_ONE_WINDOW = 2
"""The edges of a single window."""

Labels = tuple[str | None, ...]
"""The values of a meter's dimensions, in the order of their declaration."""
Key = tuple[int, int, int, int]
"""(meter, hour, customer, dimensions) of a bucket, as references."""

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


def add(views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]) -> None:
    """Add matched records to the buckets of one meter."""
    if issubclass(AGGREGATIONS[meter.meter.aggregation], Additive):
        _add_totals(views, refs, meter, records)
    else:
        _add_states(views, refs, meter, records)


def _add_totals(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]
) -> None:
    """Totals fold in memory and are added up by the database, without reading them first."""
    folded: dict[Key, list[int]] = {}
    name, ref = meter.meter.value_property, meter.ref
    dimensions, counting = meter.meter.dimensions, not meter.meter.needs_value
    known: dict[Labels, int] = {(): 0}
    for record in records:
        text = "0" if counting else record.property(name)
        value = None if text is None else _scaled(text)
        if value is None:
            continue  # recorded before this meter asked for the property
        labels = tuple(map(record.property, dimensions)) if dimensions else ()
        number = known.get(labels)
        if number is None:
            number = known[labels] = refs.ref(views, ref, labels)
        key = (ref, record.timestamp_us // HOUR_US, record.customer_ref, number)
        bucket = folded.get(key)
        if bucket is None:
            folded[key] = [1, value]
        else:
            bucket[0] += 1
            bucket[1] += value
    rows = [(*key, count, *_digits(total)) for key, (count, total) in folded.items()]
    rows.sort()
    views.insert("usage_buckets", rows, _ADD_WITH_CARRY)


def _add_states(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]
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
    for key in sorted(folded):
        row = views.row(
            "SELECT state FROM usage_states WHERE meter_ref=? AND hour=? AND customer_ref=? "
            "AND dimensions_ref=?",
            key,
        )
        state = folded[key]
        if row:
            state = msgspec.msgpack.decode(row[0], type=type).merge(state)
        views.execute(
            "INSERT OR REPLACE INTO usage_states VALUES (?,?,?,?,?)", (*key, _encode(state))
        )


@lru_cache(maxsize=65_536)
def _scaled(text: str) -> int | None:
    """A decimal text as a whole number of 10**-12 units; None when it is no decimal."""
    try:
        parse_decimal(text, ("value",))
    except Rejected:
        return None
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(12, "0"))


def _digits(total: int) -> tuple[int, int, int]:
    """A total as (high, low, fraction), only the high digit ever negative."""
    rest, fraction = divmod(total, DIGIT)
    high, low = divmod(rest, DIGIT)
    return high, low, fraction


def _total(high: int, low: int, fraction: int) -> Decimal:
    """The total that three digits stand for, which need not have been carried."""
    return EXACT.scaleb(Decimal((high * DIGIT + low) * DIGIT + fraction), -12)


def as_sample(meter: Meter, record: Matched) -> Sample | None:
    """The record as the meter reads it; None when it lacks the value that the meter needs."""
    text = record.property(meter.value_property) if meter.needs_value else None
    scaled = None if text is None else _scaled(text)
    if scaled is None and meter.needs_value:
        return None
    value = None if scaled is None else EXACT.scaleb(Decimal(scaled), -12)
    return Sample(record.timestamp_us, record.position, record.row, value)


def labels_of(meter: Meter, record: Matched) -> Labels:
    """The record's values of the meter's dimensions."""
    return tuple(record.property(name) for name in meter.dimensions)


# ------------------------------------------------------------------------------------- reading


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which usage is asked for: a customer's on a meter, filtered and grouped by dimensions."""

    meter: MeterRef
    meters: Sequence[MeterRef]
    """All meters over the same event name, by which the records are found."""
    customer_ref: int
    filter: Mapping[str, Sequence[str]] = {}
    group_by: Sequence[str] = ()

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
    """The states of the windows: whole buckets, and the records of hours that an edge cuts."""
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    labels = _labels_by_ref(views, question.meter.ref)
    for hour, ref, state in _buckets(views, question, edges, cut):
        group = question.group(labels[ref])
        if group is not None:
            yield bisect_right(edges, hour * HOUR_US) - 1, group, state
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


def _buckets(
    views: Views, question: Question, edges: Sequence[int], cut: set[int]
) -> Iterator[tuple[int, int, State]]:
    """The whole buckets between the first and the last edge: (hour, dimensions, state)."""
    first, last = -(-edges[0] // HOUR_US), edges[-1] // HOUR_US
    if first >= last:
        return
    place = (first, last - 1, question.meter.ref, question.customer_ref)
    type = AGGREGATIONS[question.meter.meter.aggregation]
    if not issubclass(type, Additive):
        for hour, ref, blob in views.iterate(
            f"{_HOURS} SELECT hour, dimensions_ref, state {_IN_HOURS.format('usage_states')}", place
        ):
            if hour not in cut:
                yield hour, ref, msgspec.msgpack.decode(blob, type=type)
        return
    columns, group = "hour, dimensions_ref, count, high, low, fraction", ""
    if len(edges) == _ONE_WINDOW:  # the database adds its buckets up
        columns = "MIN(hour), dimensions_ref, SUM(count), SUM(high), SUM(low), SUM(fraction)"
        group = "GROUP BY dimensions_ref"
    inside = _IN_HOURS.format("usage_buckets")
    for row in views.iterate(f"{_HOURS} SELECT {columns} {inside} {group}", place):
        if row[0] not in cut:
            yield row[0], row[1], type(row[2], _total(*row[3:]))


def _labels_by_ref(views: Views, meter_ref: int) -> dict[int, Labels]:
    """The dimension values behind the numbers of a meter; 0 stands for none declared."""
    rows: list[Row] = views.rows(
        "SELECT dimensions_ref, labels FROM usage_dimensions WHERE meter_ref=?", (meter_ref,)
    )
    return {0: (), **{row[0]: _labels(row[1]) for row in rows}}

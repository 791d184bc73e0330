"""What each hour adds up to: a bucket per meter, hour, customer and dimension values.

A bucket is a total (sum, count, average), a set of values that stand in a table of their own
(unique count), or the encoded state of any other aggregation. Buckets are clustered by time, so
that a batch of usage touches few of them.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, Sample, State, UniqueCount
from domain.meters import Meter
from domain.money import EXACT
from projections import levels
from projections.tables import Row, Table, Views
from projections.totals import ADD_WITH_CARRY, digits_of, scaled
from projections.usage_records import HOUR_US, Bucket, Matched, MeterRef

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
UNIQUES = Table(
    "usage_uniques",
    "meter_ref INTEGER, hour INTEGER, customer_ref INTEGER, dimensions_ref INTEGER, value TEXT",
    key="meter_ref, hour, customer_ref, dimensions_ref, value",
)
DIMENSIONS = Table(
    "usage_dimensions",
    "meter_ref INTEGER, dimensions_ref INTEGER, labels TEXT",
    key="meter_ref, dimensions_ref",
    indexes=["meter_ref, labels"],
)
TABLES = (BUCKETS, STATES, UNIQUES, levels.LEVELS, DIMENSIONS)

Labels = tuple[str | None, ...]
"""The values of a meter's dimensions, in the order of their declaration."""
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


def add(views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]) -> None:
    """Add matched records to the buckets of one meter."""
    type = AGGREGATIONS[meter.meter.aggregation]
    if issubclass(type, Additive):
        _add_totals(views, refs, meter, records)
    elif issubclass(type, UniqueCount):
        _add_uniques(views, refs, meter, records)
    else:
        _add_states(views, refs, meter, records)


def _add_totals(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]
) -> None:
    """Totals fold in memory and are added up by the database, without reading them first."""
    folded: dict[Bucket, list[int]] = {}
    name, ref = meter.meter.value_property, meter.ref
    dimensions, counting = meter.meter.dimensions, not meter.meter.needs_value
    known: dict[Labels, int] = {(): 0}
    for record in records:
        text = "0" if counting else record.property(name)
        value = None if text is None else scaled(text)
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
    rows = [(*key, count, *digits_of(total)) for key, (count, total) in folded.items()]
    rows.sort()
    views.insert("usage_buckets", rows, ADD_WITH_CARRY)


def _add_uniques(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]
) -> None:
    """Each value is a row of its bucket, written once; the bucket counts the records."""
    counts: dict[Bucket, int] = {}
    values: set[tuple[int, int, int, int, str]] = set()
    for record in records:
        text = record.property(meter.meter.value_property)
        if text is None:
            continue  # recorded before this meter asked for the property
        number = refs.ref(views, meter.ref, labels_of(meter.meter, record))
        key = (meter.ref, record.timestamp_us // HOUR_US, record.customer_ref, number)
        counts[key] = counts.get(key, 0) + 1
        values.add((*key, text))
    rows = [(*key, count, 0, 0, 0) for key, count in sorted(counts.items())]
    views.insert("usage_buckets", rows, ADD_WITH_CARRY)
    views.insert("usage_uniques", sorted(values), "ON CONFLICT DO NOTHING")


def _add_states(
    views: Views, refs: DimensionRefs, meter: MeterRef, records: Iterable[Matched]
) -> None:
    """Other states fold in memory and are merged with the ones that stand."""
    type = AGGREGATIONS[meter.meter.aggregation]
    folded: dict[Bucket, State] = {}
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
    if meter.meter.carries_over:
        levels.add(views, folded)


def as_sample(meter: Meter, record: Matched) -> Sample | None:
    """The record as the meter reads it; None when it lacks the value that the meter needs."""
    text = record.property(meter.value_property)
    if not meter.needs_value:
        missing = meter.needs_text and text is None
        return None if missing else _sample(record, None, text)
    units = None if text is None else scaled(text)
    return None if units is None else _sample(record, EXACT.scaleb(Decimal(units), -12), text)


def _sample(record: Matched, value: Decimal | None, text: str | None) -> Sample:
    return Sample(record.timestamp_us, record.position, record.row, value, text)


def labels_of(meter: Meter, record: Matched) -> Labels:
    """The record's values of the meter's dimensions."""
    return tuple(record.property(name) for name in meter.dimensions)


def labels_by_ref(views: Views, meter_ref: int) -> dict[int, Labels]:
    """The dimension values behind the numbers of a meter that declares dimensions."""
    rows: list[Row] = views.rows(
        "SELECT dimensions_ref, labels FROM usage_dimensions WHERE meter_ref=?", (meter_ref,)
    )
    return {row[0]: _labels(row[1]) for row in rows}

"""Counting anew after a correction: the buckets of one hour and of its day.

A total is corrected by the difference, which is exact. Anything else is not subtracted, because it
cannot be: a maximum does not know the next one. Its hour is made anew from its records as they are
now, its day from its hours, and so is the day's level.
"""

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, State, UniqueCount
from projections import buckets, levels, usage_records
from projections.buckets import DAYS, GRAINS, HOURS, DimensionRefs
from projections.levels import HOURS_PER_DAY
from projections.tables import Views
from projections.totals import ADD_WITH_CARRY
from projections.usage_corrections import Counted
from projections.usage_records import HOUR_US, Bucket, MeterRef

_OF_SLOT = "meter_ref=? AND slot=? AND customer_ref=?"


def recount(views: Views, refs: DimensionRefs, meter: MeterRef, counted: Counted) -> None:
    """Let the buckets of one meter hold the record as it is now, or no longer."""
    type = AGGREGATIONS[meter.meter.aggregation]
    if issubclass(type, Additive):
        _exchange(views, refs, meter, counted)
        return
    _drop(views, meter, counted)
    start_us = counted.hour * HOUR_US
    records = usage_records.in_hour(
        views,
        counted.hour,
        counted.event_ref,
        counted.customer_ref,
        start_us,
        start_us + HOUR_US,
    )
    buckets.add(views, refs, meter, records)  # the day now holds what this hour has
    if issubclass(type, UniqueCount):
        _add_other_values(views, meter, counted)
    else:
        _add_other_states(views, meter, counted, type)


def _exchange(views: Views, refs: DimensionRefs, meter: MeterRef, counted: Counted) -> None:
    """Take back what the record added to its totals, and add what it says now."""
    buckets.add(views, refs, meter, [counted.before], times=-1)
    if counted.after is not None:
        buckets.add(views, refs, meter, [counted.after])
    for grain in GRAINS:
        place = (meter.ref, counted.hour // grain.hours, counted.customer_ref)
        views.execute(f"DELETE FROM {grain.totals.name} WHERE {_OF_SLOT} AND count=0", place)


def _drop(views: Views, meter: MeterRef, counted: Counted) -> None:
    """Let the hour and its day hold nothing."""
    for grain in GRAINS:
        place = (meter.ref, counted.hour // grain.hours, counted.customer_ref)
        for table in (grain.totals, grain.states, grain.uniques):
            views.execute(f"DELETE FROM {table.name} WHERE {_OF_SLOT}", place)
    if meter.meter.carries_over:
        views.execute(
            "DELETE FROM usage_levels WHERE meter_ref=? AND customer_ref=? AND day=?",
            (meter.ref, counted.customer_ref, counted.hour // HOURS_PER_DAY),
        )


def _others(meter: MeterRef, counted: Counted) -> tuple[str, tuple[int, ...]]:
    """The condition that finds the buckets of the day's other hours: a seek for each of them."""
    day = counted.hour // DAYS.hours
    hours = range(day * DAYS.hours, (day + 1) * DAYS.hours)
    others = [hour for hour in hours if hour != counted.hour]
    marks = ",".join("?" * len(others))
    where = f"meter_ref=? AND slot IN ({marks}) AND customer_ref=?"
    return where, (meter.ref, *others, counted.customer_ref)


def _add_other_values(views: Views, meter: MeterRef, counted: Counted) -> None:
    """Add the other hours' counts and different values to the day."""
    where, parameters = _others(meter, counted)
    day = f"meter_ref, slot / {DAYS.hours}, customer_ref, dimensions_ref"
    for table, hours, columns, on_conflict in (
        (DAYS.totals, HOURS.totals, "count, high, low, fraction", ADD_WITH_CARRY),
        (DAYS.uniques, HOURS.uniques, "value", "ON CONFLICT DO NOTHING"),
    ):
        views.execute(
            f"INSERT INTO {table.name} SELECT {day}, {columns} FROM {hours.name} "
            f"WHERE {where} ORDER BY slot, dimensions_ref {on_conflict}",
            parameters,
        )


def _add_other_states(views: Views, meter: MeterRef, counted: Counted, type: type[State]) -> None:
    """Merge the other hours' states into the day, and their changes into its level."""
    where, parameters = _others(meter, counted)
    hours: dict[Bucket, State] = {}
    days: dict[Bucket, State] = {}
    for slot, number, blob in views.rows(
        f"SELECT slot, dimensions_ref, state FROM {HOURS.states.name} WHERE {where} "
        "ORDER BY slot, dimensions_ref",
        parameters,
    ):
        state = msgspec.msgpack.decode(blob, type=type)
        hours[meter.ref, slot, counted.customer_ref, number] = state
        day = (meter.ref, slot // DAYS.hours, counted.customer_ref, number)
        days[day] = days.get(day, type()).merge(state)
    buckets.merge_states(views, DAYS.states, type, days)
    if meter.meter.carries_over:
        levels.add(views, hours)

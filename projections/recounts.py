"""Counting anew after a correction: the buckets of one hour and of its day.

A total is corrected by the difference, which is exact. Anything else is not subtracted, because it
cannot be: a maximum does not know the next one. Its hour is made anew from its records as they are
now, its day from its hours, and so is the day's level.
"""

import msgspec

from domain.aggregation import AGGREGATIONS, Additive, State, UniqueCount
from projections import buckets, levels, usage_blocks
from projections.buckets import DAYS, GRAINS, HOURS, Folding
from projections.matched_columns import MatchedColumns
from projections.tables import Views
from projections.usage_blocks import HOUR_US
from projections.usage_corrections import Counted
from projections.usage_days import HOURS_PER_DAY
from projections.usage_records import Bucket, MeterRef

_OF_SLOT = "meter_ref=? AND slot=? AND customer_ref=?"


def recount(views: Views, folding: Folding, meter: MeterRef, counted: Counted) -> None:
    """Let the buckets of one meter hold the record as it is now, or no longer."""
    type = AGGREGATIONS[meter.meter.aggregation]
    if issubclass(type, Additive):
        _exchange(views, folding, meter, counted)
        return
    _drop(views, folding, meter, counted)
    start_us = counted.hour * HOUR_US
    records = usage_blocks.in_hour(
        views,
        counted.hour,
        counted.event_ref,
        counted.customer_ref,
        start_us,
        start_us + HOUR_US,
    )
    buckets.add(
        views, folding, meter, MatchedColumns.of(records)
    )  # the day now holds what this hour has
    if issubclass(type, UniqueCount):
        _add_other_values(views, meter, counted)
    else:
        _add_other_states(views, meter, counted, type)


def _exchange(views: Views, folding: Folding, meter: MeterRef, counted: Counted) -> None:
    """Take back what the record added to its totals, and add what it says now."""
    buckets.add(views, folding, meter, MatchedColumns.of([counted.before]), times=-1)
    if counted.after is not None:
        buckets.add(views, folding, meter, MatchedColumns.of([counted.after]))


def _drop(views: Views, folding: Folding, meter: MeterRef, counted: Counted) -> None:
    """Let the hour hold nothing, and of its day only what one row holds of all its hours."""
    folding.days.drop(views, meter.ref, counted.hour, counted.customer_ref)
    for grain in GRAINS:
        place = (meter.ref, counted.hour // grain.hours, counted.customer_ref)
        for table in (grain.states, grain.uniques):
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
    """Add the other hours' different values to the day."""
    where, parameters = _others(meter, counted)
    views.execute(
        f"INSERT INTO {DAYS.uniques.name} SELECT meter_ref, slot / {DAYS.hours}, customer_ref, "
        f"dimensions_ref, value FROM {HOURS.uniques.name} WHERE {where} ORDER BY slot, "
        "dimensions_ref ON CONFLICT DO NOTHING",
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

"""How high a level stood at the start of a day: what all changes before it come to.

Only meters that carry over need it. Their changes are added up by day, customer first, so that the
level at any instant is one range of days, then the hours and records of the day itself: years of
changes by the minute cost a row for each day.
"""

from collections.abc import Mapping
from decimal import Decimal

from domain.aggregation import State, WeightedSum
from projections.tables import Table, Views
from projections.totals import add_with_carry, digits_of, total_of, units_of
from projections.usage_days import HOURS_PER_DAY
from projections.usage_records import Bucket

LEVELS = Table(
    "usage_levels",
    "meter_ref INTEGER, customer_ref INTEGER, day INTEGER, dimensions_ref INTEGER, "
    "count INTEGER, high INTEGER, low INTEGER, fraction INTEGER",
    key="meter_ref, customer_ref, day, dimensions_ref",
)


def add(views: Views, changes: Mapping[Bucket, State]) -> None:
    """Add the changes of some hours to their days."""
    days: dict[Bucket, list[int]] = {}
    for (meter, hour, customer, dimensions), state in changes.items():
        assert isinstance(state, WeightedSum), "only a level is carried over"
        day = days.setdefault((meter, customer, hour // HOURS_PER_DAY, dimensions), [0, 0])
        day[0] += state.count
        day[1] += units_of(state.total)
    rows = [(*key, count, *digits_of(units)) for key, (count, units) in sorted(days.items())]
    views.insert("usage_levels", rows, add_with_carry(LEVELS))


def before(views: Views, meter_ref: int, customer_ref: int, day: int) -> list[tuple[int, Decimal]]:
    """For each combination of dimension values, by its number, the level as a day begins."""
    rows = views.rows(
        "SELECT dimensions_ref, SUM(high), SUM(low), SUM(fraction) FROM usage_levels "
        "WHERE meter_ref=? AND customer_ref=? AND day<? GROUP BY dimensions_ref"
        " ORDER BY dimensions_ref",
        (meter_ref, customer_ref, day),
    )
    return [(row[0], total_of(*row[1:])) for row in rows]

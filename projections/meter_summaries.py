"""How much was used: any window's quantity, by groups of dimension values.

A quantity is whole hour buckets merged with the records at the window's two edges, so that its cost
does not grow with the number of records.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby

import msgspec

from domain.aggregation import (
    AGGREGATIONS,
    Additive,
    State,
    UniqueCount,
    Value,
    WeightedSum,
    empty,
)
from domain.decider import Code, Rejected
from domain.money import EXACT
from domain.periods import Period, to_us
from projections import levels
from projections.buckets import Labels, as_sample, labels_by_ref, labels_of
from projections.levels import DAY_US
from projections.tables import Views
from projections.totals import total_of
from projections.usage_records import HOUR_US, MeterRef, event_ref, in_hour

CARRIED_LIMIT = 100_000
"""The most windows times groups into which a level is carried."""

# Buckets lie time first, so that a batch of many customers touches few pages; a customer's are
# found by one seek for each hour.
_HOURS = """WITH RECURSIVE hours(h) AS
 (SELECT ?1 UNION ALL SELECT h + 1 FROM hours WHERE h < ?2)"""
_IN_HOURS = "FROM hours CROSS JOIN {} ON meter_ref=?3 AND hour=h AND customer_ref=?4"
_ONE_WINDOW = 2
"""The edges of a single window."""

Filter = Mapping[str, Sequence[str]]
"""The values that usage may have in each dimension that is named."""


class Summary(msgspec.Struct, frozen=True):
    """What one window adds up to, for one group of dimension values."""

    period: Period
    group: Labels
    state: State

    @property
    def value(self) -> Value:
        """The quantity of the window."""
        return self.state.value(self.period)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which usage is asked for: a customer's on a meter, filtered and grouped by dimensions.

    Usage that any of the filters in `without` would take is left out.
    """

    meter: MeterRef
    meters: Sequence[MeterRef]
    """All meters over the same event name, by which the records are found."""
    customer_ref: int
    filter: Filter = {}
    without: Sequence[Filter] = ()
    group_by: Sequence[str] = ()

    def group(self, labels: Labels) -> Labels | None:
        """The group that these dimension values belong to; None when they are filtered out."""
        values = dict(zip(self.meter.meter.dimensions, labels, strict=True))
        if not _takes(self.filter, values) or any(_takes(one, values) for one in self.without):
            return None
        return tuple(values[name] for name in self.group_by)


def _takes(filter: Filter, values: Mapping[str, str | None]) -> bool:
    """Whether usage with these dimension values passes a filter."""
    return all(values[name] in wanted for name, wanted in filter.items())


def quantity(views: Views, question: Question, period: Period) -> State:
    """What a customer used in one period, all groups together."""
    found = summaries(views, question, [period.start, period.end])
    return found[0].state if found else empty(question.meter.meter.aggregation)


def summaries(views: Views, question: Question, boundaries: Sequence[datetime]) -> list[Summary]:
    """What each window between two boundaries adds up to, by group, leaving empty windows out.

    The windows come in order, and the groups of a window in the order of their values. A window in
    which nothing happens is not empty when a level is carried into it. Raises `Rejected`
    LIMIT_EXCEEDED when a level is carried into too many.
    """
    edges = [to_us(boundary) for boundary in boundaries]
    parts: defaultdict[tuple[int, Labels], list[State]] = defaultdict(list)
    for window, group, state in _parts(views, question, edges):
        parts[window, group].append(state)
    type = AGGREGATIONS[question.meter.meter.aggregation]
    folded = {key: type.merged(states) for key, states in parts.items()}
    if question.meter.meter.carries_over:
        _carry_over(folded, _levels(views, question, edges[0]), len(edges) - 1)
    ordered = sorted(folded, key=lambda key: (key[0], [(v is not None, v or "") for v in key[1]]))
    return [
        Summary(Period(start=boundaries[window], end=boundaries[window + 1]), group, state)
        for window, group in ordered
        for state in (folded[window, group],)
    ]


def _levels(views: Views, question: Question, at_us: int) -> dict[Labels, Decimal]:
    """The level of each group at an instant: whole days before it, and what the day adds."""
    day = at_us // DAY_US
    found: defaultdict[Labels, Decimal] = defaultdict(Decimal)
    groups = _groups_by_ref(views, question)
    for ref, total in levels.before(views, question.meter.ref, question.customer_ref, day):
        group = groups[ref]
        if group is not None:
            found[group] = EXACT.add(found[group], total)
    today = _parts(views, question, [day * DAY_US, at_us]) if at_us % DAY_US else ()
    for _, group, state in today:
        assert isinstance(state, WeightedSum)
        found[group] = EXACT.add(found[group], state.total)
    return dict(found)


def _groups_by_ref(views: Views, question: Question) -> dict[int, Labels | None]:
    """The group of each combination of dimension values; None for those that are filtered out."""
    if not question.meter.meter.dimensions:
        return {0: question.group(())}
    known = labels_by_ref(views, question.meter.ref)
    return {ref: question.group(labels) for ref, labels in known.items()}


def _carry_over(
    folded: dict[tuple[int, Labels], State], opening: Mapping[Labels, Decimal], windows: int
) -> None:
    """Let each window open with the level at which the one before it ended."""
    groups = {
        group: opening.get(group, Decimal(0)) for group in (*opening, *(g for _, g in folded))
    }
    if len(groups) * windows > CARRIED_LIMIT:
        message = f"more than {CARRIED_LIMIT} windows of groups: shorten the period"
        raise Rejected(Code.LIMIT_EXCEEDED, ("window",), message)
    for group, opens_with in groups.items():
        level = opens_with
        for window in range(windows):
            state = folded.get((window, group))
            if state is None and not level:
                continue
            opened = WeightedSum(opening=level)
            if isinstance(state, WeightedSum):
                opened = opened.merge(state)
            folded[window, group] = opened
            level = EXACT.add(level, opened.total)


def _parts(
    views: Views, question: Question, edges: Sequence[int]
) -> Iterator[tuple[int, Labels, State]]:
    """The states of the windows: whole buckets, and the records of hours that an edge cuts."""
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    groups = _groups_by_ref(views, question)
    for hour, ref, state in _buckets(views, question, edges, cut):
        group = groups[ref]
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
    if issubclass(type, UniqueCount):
        of_one = len(edges) == _ONE_WINDOW
        found = _unique_values(views, place) if of_one else _unique_buckets(views, place)
        yield from (bucket for bucket in found if bucket[0] not in cut)
        return
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
            yield row[0], row[1], type(row[2], total_of(*row[3:]))


def _unique_values(
    views: Views, place: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, UniqueCount]]:
    """The buckets of a unique count as if they were one: their values, then their records."""
    values: defaultdict[int, set[str]] = defaultdict(set)
    inside = _IN_HOURS.format("usage_uniques")
    for ref, value in views.iterate(f"{_HOURS} SELECT dimensions_ref, value {inside}", place):
        values[ref].add(value)
    inside = _IN_HOURS.format("usage_buckets")
    columns = "dimensions_ref, SUM(count)"
    for ref, count in views.rows(f"{_HOURS} SELECT {columns} {inside} GROUP BY 1", place):
        yield place[0], ref, UniqueCount(count, frozenset(values.pop(ref)))


def _unique_buckets(
    views: Views, place: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, UniqueCount]]:
    """The buckets of a unique count: how many records each has, then which values."""
    inside = _IN_HOURS.format("usage_buckets")
    for hour, ref, count in views.iterate(
        f"{_HOURS} SELECT hour, dimensions_ref, count {inside}", place
    ):
        yield hour, ref, UniqueCount(count)
    inside = _IN_HOURS.format("usage_uniques")
    rows = views.iterate(f"{_HOURS} SELECT hour, dimensions_ref, value {inside}", place)
    for (hour, ref), found in groupby(rows, key=lambda row: row[:2]):
        yield hour, ref, UniqueCount(0, frozenset(row[2] for row in found))

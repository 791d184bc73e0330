"""How much was used: any window's quantity, by groups of dimension values.

A quantity is whole days, the whole hours beside them, and the records at the window's two edges, so
that its cost does not grow with the number of records.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from domain.aggregation import (
    AGGREGATIONS,
    Sample,
    State,
    Value,
    WeightedSum,
    empty,
)
from domain.decider import Code, Rejected
from domain.money import EXACT
from domain.periods import Period, to_us
from projections import buckets, levels
from projections.buckets import Labels, as_sample, labels_by_ref, labels_of
from projections.levels import DAY_US
from projections.tables import Views
from projections.usage_records import HOUR_US, Matched, MeterRef, between, event_ref, in_hour

CARRIED_LIMIT = 100_000
"""The most windows times groups into which a level is carried."""

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

    def counts(self, record: Matched) -> Sample | None:
        """The record as the meter reads it; None when it is filtered out or lacks the value."""
        meter = self.meter.meter
        return None if self.group(labels_of(meter, record)) is None else as_sample(meter, record)


def _takes(filter: Filter, values: Mapping[str, str | None]) -> bool:
    """Whether usage with these dimension values passes a filter."""
    return all(values[name] in wanted for name, wanted in filter.items())


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
    """The states of the windows: whole days and hours, and records of the hours an edge cuts."""
    cut = {edge // HOUR_US for edge in edges if edge % HOUR_US}
    groups = _groups_by_ref(views, question)
    found = buckets.between(views, question.meter, question.customer_ref, edges)
    for start_us, ref, state in found:
        group = groups[ref]
        if group is not None:
            yield bisect_right(edges, start_us) - 1, group, state
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

"""How much was used: any window's quantity, by groups of dimension values.

A quantity is whole days, the whole hours beside them, and the records at the window's two edges, so
that its cost does not grow with the number of records. Where a meter was revised, each part of the
window is read from the buckets of the version in force in it.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby, pairwise, takewhile

import msgspec

from domain.aggregation import Aggregation, Sample, State, Value, WeightedSum, empty
from domain.decider import Code, Rejected
from domain.money import EXACT
from domain.periods import Period, to_us
from domain.settled import Settled, Stretch
from projections import fresh_usage, levels
from projections.buckets import Labels, as_sample, labels_by_ref, labels_of
from projections.tables import Views
from projections.usage_blocks import HOUR_US, Matched, in_hour
from projections.usage_days import DAY_US
from projections.usage_records import MeterRef, between, event_ref

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
    """Any version of the meter; it is asked for the usage of all of them."""
    meters: Sequence[MeterRef]
    """All versions of all meters over the same event name, by which the records are found."""
    customer_ref: int
    filter: Filter = {}
    without: Sequence[Filter] = ()
    group_by: Sequence[str] = ()

    @property
    def versions(self) -> list[MeterRef]:
        """The versions of the meter that are in force at some time, in the order of time."""
        id = self.meter.meter.id
        own = (one for one in self.meters if one.meter.id == id and one.since_us < one.until_us)
        return sorted(own, key=lambda version: version.since_us)

    def group(self, version: MeterRef, labels: Labels) -> Labels | None:
        """The group that a version's dimension values belong to; None when filtered out.

        A dimension that this version does not declare yet has no value.
        """
        values = dict(zip(version.meter.dimensions, labels, strict=True))
        if not _takes(self.filter, values) or any(_takes(one, values) for one in self.without):
            return None
        return tuple(map(values.get, self.group_by))

    def counts(self, record: Matched) -> Sample | None:
        """The record as the meter reads it at its time; None when filtered out or of no value."""
        return as_sample(self._version(record).meter, record) if self.takes(record) else None

    def takes(self, record: Matched) -> bool:
        """Whether the record passes the filters, whatever its value is."""
        version = self._version(record)
        return self.group(version, labels_of(version.meter, record)) is not None

    def _version(self, record: Matched) -> MeterRef:
        """The version of the meter that measures the record."""
        id, at_us = self.meter.meter.id, record.timestamp_us
        return next(one for one in self.meters if one.meter.id == id and one.measures(at_us))

    def carried_by(self, at_us: int) -> list[MeterRef]:
        """The versions whose level is there at an instant, the latest first: all carry it over."""
        begun = [one for one in self.versions if one.since_us <= at_us]
        return list(takewhile(lambda version: version.meter.carries_over, reversed(begun)))


def _takes(filter: Filter, values: Mapping[str, str | None]) -> bool:
    """Whether usage with these dimension values passes a filter."""
    return all(values.get(name) in wanted for name, wanted in filter.items())


def nothing(question: Question, period: Period) -> State:
    """The state of a period before anything was used in it."""
    return _state(_runs(question.versions), to_us(period.start), to_us(period.end), {})


def quantity(views: Views, question: Question, period: Period) -> State:
    """What a customer used in one period, all groups together."""
    found = summaries(views, question, [period.start, period.end])
    return found[0].state if found else nothing(question, period)


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
    versions = question.versions
    parts: defaultdict[Key, defaultdict[int, list[State]]] = defaultdict(lambda: defaultdict(list))
    for number, version in enumerate(versions):
        for window, group, state in _parts(views, question, version, edges):
            parts[window, group][number].append(state)
    folded: Folded = {
        key: {number: type(states[0]).merged(states) for number, states in by_version.items()}
        for key, by_version in parts.items()
    }
    if any(version.meter.carries_over for version in versions):
        _carry_over(folded, versions, edges, _levels(views, question, edges[0]))
    runs = _runs(versions)
    ordered = sorted(folded, key=lambda key: (key[0], [(v is not None, v or "") for v in key[1]]))
    return [
        Summary(
            Period(start=boundaries[window], end=boundaries[window + 1]),
            group,
            _state(runs, edges[window], edges[window + 1], folded[window, group]),
        )
        for window, group in ordered
    ]


# ------------------------------------------------------------------------------------ versions

Key = tuple[int, Labels]
"""The number of a window, and a group."""
Folded = dict[Key, dict[int, State]]
"""What each version adds up to, by its number in the order of time."""


class Run(msgspec.Struct, frozen=True):
    """Versions that follow one another and aggregate alike, so that their states merge."""

    aggregation: Aggregation
    since_us: int
    until_us: int
    numbers: Sequence[int]


def _runs(versions: Sequence[MeterRef]) -> list[Run]:
    """The runs of a meter's versions, in the order of time."""
    by_run = groupby(enumerate(versions), key=lambda one: one[1].meter.aggregation)
    runs = [(aggregation, list(several)) for aggregation, several in by_run]
    return [
        Run(aggregation, several[0][1].since_us, several[-1][1].until_us, [n for n, _ in several])
        for aggregation, several in runs
    ]


def _state(
    runs: Sequence[Run], start_us: int, end_us: int, by_version: Mapping[int, State]
) -> State:
    """What the versions in force between two instants add up to together."""
    if len(runs) == 1:
        return _run_state(runs[0], by_version)
    return Settled.of(
        Stretch(run.since_us, run.until_us, _run_state(run, by_version))
        for run in runs
        if _meets(run, start_us, end_us)
    )


def _run_state(run: Run, by_version: Mapping[int, State]) -> State:
    """What the versions of a run add up to together."""
    states = [by_version[number] for number in run.numbers if number in by_version]
    return states[0] if len(states) == 1 else empty(run.aggregation).merged(states)


def _meets(one: Run | MeterRef, start_us: int, end_us: int) -> bool:
    """Whether it is in force between two instants, or at both when they are one."""
    return one.since_us < max(end_us, start_us + 1) and start_us < one.until_us


# -------------------------------------------------------------------------------------- levels


def _levels(views: Views, question: Question, at_us: int) -> dict[Labels, Decimal]:
    """The level of each group at an instant: whole days before it, and what the day adds."""
    found: defaultdict[Labels, Decimal] = defaultdict(Decimal)
    for version in question.carried_by(at_us):
        end_us = min(at_us, version.until_us)
        day = end_us // DAY_US
        groups = _groups_by_ref(views, question, version)
        for ref, total in levels.before(views, version.ref, question.customer_ref, day):
            group = groups[ref]
            if group is not None:
                found[group] = EXACT.add(found[group], total)
        for _, group, state in _parts(views, question, version, [day * DAY_US, end_us]):
            assert isinstance(state, WeightedSum)
            found[group] = EXACT.add(found[group], state.total)
    return dict(found)


def _carry_over(
    folded: Folded,
    versions: Sequence[MeterRef],
    edges: Sequence[int],
    opening: Mapping[Labels, Decimal],
) -> None:
    """Let each window open with the level at which the one before it ended."""
    groups = {
        group: opening.get(group, Decimal(0)) for group in (*opening, *(g for _, g in folded))
    }
    if len(groups) * (len(edges) - 1) > CARRIED_LIMIT:
        message = f"more than {CARRIED_LIMIT} windows of groups: shorten the period"
        raise Rejected(Code.LIMIT_EXCEEDED, ("window",), message)
    for window, (start_us, end_us) in enumerate(pairwise(edges)):
        measured = [
            (number, version.meter.carries_over)
            for number, version in enumerate(versions)
            if _meets(version, start_us, end_us)
        ]
        for group, level in groups.items():
            groups[group] = _opened(folded, (window, group), measured, level)


def _opened(
    folded: Folded, key: Key, measured: Sequence[tuple[int, bool]], level: Decimal
) -> Decimal:
    """Open one window with a level, and say at which level it ends.

    `measured` are the versions in the window, and whether each carries over. The level passes from
    one to the next when both do; what only one of them knows begins, or ends, with it.
    """
    first, carries = measured[0]
    states = folded.get(key, {})
    if level and carries:
        opened = WeightedSum(opening=level)
        before = states.get(first)
        folded.setdefault(key, states)[first] = (
            opened.merge(before) if isinstance(before, WeightedSum) else opened
        )
    for number, carries in measured:
        change = states.get(number)
        if not carries:
            level = Decimal(0)
        elif isinstance(change, WeightedSum):
            level = EXACT.add(level, change.total)
    return level


# --------------------------------------------------------------------------------------- parts


def _groups_by_ref(views: Views, question: Question, version: MeterRef) -> dict[int, Labels | None]:
    """The group of each combination of dimension values; None for those that are filtered out."""
    if not version.meter.dimensions:
        return {0: question.group(version, ())}
    known = labels_by_ref(views, version.ref)
    return {ref: question.group(version, labels) for ref, labels in known.items()}


def _parts(
    views: Views, question: Question, version: MeterRef, edges: Sequence[int]
) -> Iterator[tuple[int, Labels, State]]:
    """What one version measured of the windows: whole days and hours, and records of cut hours."""
    start, end = max(edges[0], version.since_us), min(edges[-1], version.until_us)
    if start >= end:
        return
    own = [start, *(edge for edge in edges if start < edge < end), end]
    groups = _groups_by_ref(views, question, version)
    event, customer = event_ref(question.meters), question.customer_ref
    for start_us, ref, state in fresh_usage.between(views, version, event, customer, own):
        group = groups[ref]
        if group is not None:
            yield bisect_right(edges, start_us) - 1, group, state
    meter = version.meter
    for hour in sorted({edge // HOUR_US for edge in own if edge % HOUR_US}):
        for record in in_hour(views, hour, event, customer, start, end):
            sample = as_sample(meter, record)
            group = question.group(version, labels_of(meter, record))
            if sample is not None and group is not None:
                window = bisect_right(edges, record.timestamp_us) - 1
                yield window, group, empty(meter.aggregation).add(sample)

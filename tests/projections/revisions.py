"""What a revised meter measures, worked out by hand: every record by the version of its time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import groupby, pairwise

import msgspec

from domain.aggregation import Aggregation
from domain.periods import to_us
from domain.usage import UsageRecord
from projections.buckets import Labels

Filter = Mapping[str, Sequence[str]]
Found = dict[tuple[int, Labels], tuple[Fraction | None, int]]
"""The quantity and the number of records of each window and group."""


class Revision(msgspec.Struct, frozen=True):
    """One definition of a meter, from an instant on."""

    since: datetime
    aggregation: Aggregation
    value: str
    by: tuple[str, ...]
    carries_over: bool


class Read(msgspec.Struct, frozen=True):
    """A record as its version reads it."""

    at_us: int
    place: int
    group: Labels
    text: str | None
    value: Fraction | None


def version_at(versions: Sequence[Revision], at_us: int) -> Revision:
    """The one that began latest; of two that began together, the one recorded later."""
    begun = [one for one in versions if to_us(one.since) <= at_us]
    return max(enumerate(begun), key=lambda one: (one[1].since, one[0]))[1]


def read(
    records: Sequence[UsageRecord], versions: Sequence[Revision], only: Filter, by: Sequence[str]
) -> list[Read]:
    """The records that count, each by its version."""
    found: list[Read] = []
    for place, record in enumerate(records):
        version = version_at(versions, record.timestamp_us)
        labels = {name: record.property(name) for name in version.by}
        text = record.property(version.value)
        value = None if text is None or text == "many" else Fraction(text)
        lacking = {
            Aggregation.COUNT: False,
            Aggregation.UNIQUE_COUNT: text is None,
        }.get(version.aggregation, value is None)
        if lacking or any(labels.get(name) not in values for name, values in only.items()):
            continue
        group = tuple(labels.get(name) for name in by)
        found.append(Read(record.timestamp_us, place, group, text, value))
    return found


def measured(
    aggregation: Aggregation, records: Sequence[Read], end_us: int, length_us: int
) -> Fraction | None:
    """What one aggregation makes of the records of a stretch that ends at an instant."""
    values = [one.value for one in records if one.value is not None]
    total = sum(values, Fraction(0))
    match aggregation:
        case Aggregation.SUM:
            return total
        case Aggregation.COUNT:
            return Fraction(len(records))
        case Aggregation.UNIQUE_COUNT:
            return Fraction(len({one.text for one in records}))
        case Aggregation.LAST:
            latest = max(records, key=lambda one: (one.at_us, one.place), default=None)
            return Fraction(0) if latest is None else latest.value
        case Aggregation.MAX:
            return max(values, default=None)
        case Aggregation.MIN:
            return min(values, default=None)
        case Aggregation.AVERAGE:
            return total / len(values) if values else None
        case Aggregation.WEIGHTED_SUM:
            lasting = (one.value * (end_us - one.at_us) for one in records if one.value is not None)
            return sum(lasting, Fraction(0)) / length_us


def by_hand(
    records: Sequence[UsageRecord],
    versions: Sequence[Revision],
    edges: Sequence[int],
    only: Filter,
    group_by: Sequence[str],
) -> Found:
    """Each window and group in which anything counts: the sum over what was measured in turn."""
    known = read(records, versions, only, group_by)
    found: Found = {}
    for window, (start_us, end_us) in enumerate(pairwise(edges)):
        carried = [
            msgspec.structs.replace(one, at_us=start_us)
            for one in known
            if carried_to(versions, one.at_us, start_us)
        ]
        inside = [one for one in known if start_us <= one.at_us < end_us]
        opening = {
            group: sum(one.value or 0 for one in carried if one.group == group)
            for group in {one.group for one in carried}
        }
        groups = {one.group for one in inside} | {
            group for group, level in opening.items() if level
        }
        for group in groups:
            counted = [one for one in (*carried, *inside) if one.group == group]
            values = [
                measured(
                    aggregation,
                    [one for one in counted if since <= one.at_us < until],
                    until,
                    end_us - start_us,
                )
                for aggregation, since, until in runs(versions, start_us, end_us)
            ]
            some = [value for value in values if value is not None]
            count = sum(one.group == group for one in inside)
            found[window, group] = (sum(some, Fraction(0)) if some else None, count)
    return found


def runs(
    versions: Sequence[Revision], start_us: int, end_us: int
) -> list[tuple[Aggregation, int, int]]:
    """The stretches of a window in which the aggregation stays the same."""
    changes = {to_us(one.since) for one in versions}
    cuts = sorted({start_us, end_us, *(one for one in changes if start_us < one < end_us)})
    pieces = [
        (version_at(versions, since).aggregation, since, until) for since, until in pairwise(cuts)
    ]
    several = [list(run) for _, run in groupby(pieces, key=lambda piece: piece[0])]
    return [(run[0][0], run[0][1], run[-1][2]) for run in several]


def carried_to(versions: Sequence[Revision], at_us: int, start_us: int) -> bool:
    """Whether a change before an instant is still there: every version in between carries over."""
    between = {at_us, start_us, *(to_us(one.since) for one in versions)}
    return at_us < start_us and all(
        version_at(versions, instant).carries_over
        for instant in between
        if at_us <= instant <= start_us
    )

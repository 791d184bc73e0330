"""Which properties a usage record must have: what the meters over its name read, and when they do.

A meter that was revised reads one property until an instant and another from then on.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from domain.usage import Needed
from projections.usage_records import ALWAYS_US, MeterRef


class Needs(msgspec.Struct, frozen=True):
    """What records of one name must have: always, or at some times."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    at_times: tuple[Needed, ...]


def needs(meters: Iterable[MeterRef]) -> Needs:
    """What these meters read: as a number or as it is written."""
    times: defaultdict[tuple[str, bool], list[tuple[int, int]]] = defaultdict(list)
    for one in meters:
        if one.meter.needs_value or one.meter.needs_text:
            key = (one.meter.value_property, one.meter.needs_value)
            times[key].append((one.since_us, one.until_us))
    needed = [
        Needed(name, numeric, since_us, until_us)
        for (name, numeric), several in sorted(times.items())
        for since_us, until_us in _joined(several)
    ]
    always = [one for one in needed if one.since_us == 0 and one.until_us == ALWAYS_US]
    return Needs(
        numbers=tuple(one.name for one in always if one.numeric),
        texts=tuple(one.name for one in always if not one.numeric),
        at_times=tuple(one for one in needed if one not in always),
    )


def _joined(times: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same times, those that overlap or touch as one.

    >>> _joined([(5, 9), (0, 3), (3, 4), (8, 12)])
    [(0, 4), (5, 12)]
    """
    joined: list[tuple[int, int]] = []
    for since, until in sorted(times):
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((since, until))
    return joined

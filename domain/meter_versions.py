"""The definitions of a meter: what may be measured, and which of several is in force when.

A version is in force from its instant until that of the next one; of two that begin at the same
instant, the one recorded later. Source: RULES, "Meters".
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from domain.aggregation import Aggregation
from domain.decider import Code, Path, Rejected
from domain.periods import END_OF_TIME, EPOCH
from domain.text import VALUE_BYTES, check_text

DIMENSIONS_LIMIT = 20


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One definition of a meter, in force from an instant; the first one has always been."""

    number: int
    effective_at: datetime | None
    aggregation: Aggregation
    value_property: str
    dimensions: tuple[str, ...]
    carries_over: bool
    created_at: datetime

    @property
    def since(self) -> datetime:
        """The instant from which it is in force, until the next one."""
        return EPOCH if self.effective_at is None else self.effective_at


class InForce(msgspec.Struct, frozen=True):
    """A version, and the instant before which it is in force."""

    version: Version
    until: datetime


def timeline(versions: Iterable[Version]) -> tuple[InForce, ...]:
    """The versions that are in force at some time, in the order of time; given as recorded."""
    by_start = {version.since: version for version in versions}
    starts = sorted(by_start)
    ends = (*starts[1:], END_OF_TIME)
    return tuple(InForce(by_start[since], until) for since, until in zip(starts, ends, strict=True))


def check_carrying(aggregation: Aggregation, *, carries_over: bool) -> bool:
    """Only a level can be carried over into the next period."""
    if carries_over and aggregation is not Aggregation.WEIGHTED_SUM:
        message = f"only WEIGHTED_SUM has a level to carry over; {aggregation} has none"
        raise Rejected(Code.INVALID_VALUE, ("input", "carriesOver"), message)
    return carries_over


def check_dimensions(dimensions: tuple[str, ...], value_property: str) -> tuple[str, ...]:
    """Declared once each, at most twenty, and never the property that is measured."""
    path: Path = ("input", "dimensions")
    if len(dimensions) > DIMENSIONS_LIMIT:
        message = f"a meter has at most {DIMENSIONS_LIMIT} dimensions"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    for index, name in enumerate(dimensions):
        here = (*path, str(index))
        check_text(name, here, VALUE_BYTES)
        if name in dimensions[:index]:
            raise Rejected(Code.INVALID_VALUE, here, f"dimension {name} is declared twice")
        if name == value_property:
            message = f"{name} is the value property; it cannot be a dimension too"
            raise Rejected(Code.INVALID_VALUE, here, message)
    return dimensions


def widened(version: Version, dimensions: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions as they stood, then those that are new: prices may filter by any."""
    for name in version.dimensions:
        if name not in dimensions:
            message = f"dimension {name} cannot be dropped: prices may filter by it"
            raise Rejected(Code.INVALID_VALUE, ("input", "dimensions"), message)
    return tuple(dict.fromkeys((*version.dimensions, *dimensions)))

"""What a part of a period costs: the share of a licence that is due for less than a whole period.

Usage, allowances, tier bounds and flat amounts of metered items are never prorated. Source: RULES,
"Subscriptions".
"""

from enum import StrEnum
from fractions import Fraction

import msgspec

from domain.periods import Period, local_date

_SECOND_US = 1_000_000


class ProrationGranularity(StrEnum):
    """Whether time is shared out to the second or by whole days."""

    SECOND = "SECOND"
    DAY = "DAY"


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a whole period a part of it is, and whether seconds or days say so."""

    part: Period
    whole: Period
    elapsed: Fraction
    total: Fraction
    granularity: ProrationGranularity

    @property
    def fraction(self) -> Fraction:
        """The share of a whole period's amount that the part costs."""
        return self.elapsed / self.total


def share(part: Period, whole: Period, granularity: ProrationGranularity, zone: str) -> Share:
    """The seconds of a part of a whole period, or its local days.

    A whole period in which no local day begins is shared out to the second all the same. ValueError
    when the part lies outside.
    """
    if part.start < whole.start or part.end > whole.end or not whole.microseconds:
        raise ValueError("the part must lie within the whole period")
    days = _days(whole, zone) if granularity is ProrationGranularity.DAY else 0
    if days:
        elapsed, total = Fraction(_days(part, zone)), Fraction(days)
    else:
        granularity = ProrationGranularity.SECOND
        elapsed = Fraction(part.microseconds, _SECOND_US)
        total = Fraction(whole.microseconds, _SECOND_US)
    return Share(part=part, whole=whole, elapsed=elapsed, total=total, granularity=granularity)


def proration(
    part: Period, whole: Period, granularity: ProrationGranularity, zone: str
) -> Fraction:
    """The share of a whole period's amount that a part of it costs.

    By whole days, a part has the local days from the one on which it begins to the one before it
    ends: parts that tile a period always add up to it. To the second is exact to the microsecond:
    for instants on whole seconds that is the proration to the second of RULES, "Subscriptions", and
    finer instants only make it finer. A licence of 31.00 for May costs from noon
    of the 22nd on:

    >>> from domain.periods import parse_instant
    >>> may = Period(*(parse_instant(f"2026-{day}T00:00:00Z", ()) for day in ("05-01", "06-01")))
    >>> rest = Period(parse_instant("2026-05-22T12:00:00Z", ()), may.end)
    >>> 31 * proration(rest, may, ProrationGranularity.SECOND, "UTC")
    Fraction(19, 2)
    >>> 31 * proration(rest, may, ProrationGranularity.DAY, "UTC")
    Fraction(10, 1)
    """
    return share(part, whole, granularity, zone).fraction


def _days(period: Period, zone: str) -> int:
    return (local_date(period.end, zone) - local_date(period.start, zone)).days

"""When something is billed: instants, half-open periods, billing anchors and summary windows.

Every instant is a UTC `datetime` with microseconds; a period `[start, end)` holds its start and
not its end, so that neighbours share no record and miss none. Billing periods are counted from the
anchor in the customer's time zone, never from the previous period: 31 Jan, 28 Feb, 31 Mar. Source:
RULES, "Time".
"""

import calendar
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from domain.decider import Code, Path, Rejected

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(3000, 1, 1, tzinfo=UTC)
"""The first instant that is refused: far from the year 9999, so that no period can overflow."""

_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)

_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def parse_instant(text: str, path: Path) -> datetime:
    """Read the instant at which something happened: RFC 3339 with an offset, kept in UTC.

    From 1970-01-01 to 2999-12-31, at most six fractional digits. A time without an offset, a date
    alone, a leap second and `24:00` are refused. Raises `Rejected` INVALID_VALUE.

    >>> parse_instant("2026-01-31T12:00:00.5+05:30", ("input", "timestamp")).isoformat()
    '2026-01-31T06:30:00.500000+00:00'
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        message = "An instant is a date, a time and an offset, such as 2026-01-31T12:00:00Z."
        raise Rejected(Code.INVALID_VALUE, path, message)
    year, month, day, hour, minute, second = (int(field) for field in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    if len(fraction or "") > 6:
        raise Rejected(Code.INVALID_VALUE, path, "At most six fractional digits of a second.")
    if second == 60:
        raise Rejected(Code.INVALID_VALUE, path, "The leap second 60 is refused; use second 59.")
    if int(offset_hours or 0) > 23 or int(offset_minutes or 0) > 59:
        raise Rejected(Code.INVALID_VALUE, path, "The offset must lie within 23:59.")
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    micros = int((fraction or "").ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, micros, UTC)
        instant = local + offset if sign == "-" else local - offset
    except OverflowError:
        instant = END_OF_TIME
    except ValueError:
        message = "There is no such date or time of day."
        raise Rejected(Code.INVALID_VALUE, path, message) from None
    if not EPOCH <= instant < END_OF_TIME:
        message = "An instant must lie from 1970-01-01 to 2999-12-31 in UTC."
        raise Rejected(Code.INVALID_VALUE, path, message)
    return instant


def parse_usual_instants(texts: Sequence[str]) -> list[int] | None:
    """Microseconds of many instants at once, None when any of them needs `parse_instant`."""
    joined = "".join(texts)
    # What msgspec reads beyond these are other offsets, and more digits than are kept.
    if " " in joined or joined.count("Z") != len(texts) or max(map(len, texts), default=0) > 27:
        return None
    try:
        instants = msgspec.convert(texts, list[datetime])
    except msgspec.ValidationError:
        return None
    fits = not instants or (min(instants) >= EPOCH and max(instants) < END_OF_TIME)
    return [(instant - EPOCH) // _MICROSECOND for instant in instants] if fits else None


def format_instant(instant: datetime) -> str:
    """Print an instant in UTC with `Z`, microseconds only where there are any.

    >>> format_instant(from_us(1_500_000))
    '1970-01-01T00:00:01.500000Z'
    """
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def to_us(instant: datetime) -> int:
    """The instant as whole microseconds since 1970, as it is stored; TypeError without a zone."""
    return (instant - EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The instant that lies so many microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


class Period(msgspec.Struct, frozen=True):
    """A stretch of time `[start, end)`: a record exactly at the end belongs to the next period."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError("a period cannot end before it starts")

    def contains(self, instant: datetime) -> bool:
        """Whether a record at this instant belongs to the period."""
        return self.start <= instant < self.end

    @property
    def microseconds(self) -> int:
        """The length in real time: a day on which clocks change has 23 or 25 hours."""
        return (self.end - self.start) // _MICROSECOND


def check_period(start: datetime, end: datetime, path: Path) -> Period:
    """Accept a period that ends after it starts. Raises `Rejected` INVALID_VALUE, path at `end`."""
    if end <= start:
        message = "The end of the period must lie after its start."
        raise Rejected(Code.INVALID_VALUE, (*path, "end"), message)
    return Period(start, end)


class IntervalUnit(StrEnum):
    """What a billing interval is counted in."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


class Interval(msgspec.Struct, frozen=True):
    """How often a price is billed, for example every 3 months."""

    unit: IntervalUnit
    count: int = 1


MAX_INTERVAL = {
    IntervalUnit.DAY: 3 * 365,
    IntervalUnit.WEEK: 3 * 52,
    IntervalUnit.MONTH: 3 * 12,
    IntervalUnit.YEAR: 3,
}
"""The longest interval of each unit: three years."""


def check_interval(interval: Interval, path: Path) -> Interval:
    """Accept an interval of up to three years. Raises `Rejected` INVALID_VALUE, path at `count`."""
    longest = MAX_INTERVAL[interval.unit]
    if not 1 <= interval.count <= longest:
        message = f"An interval in {interval.unit} must count from 1 to {longest}."
        raise Rejected(Code.INVALID_VALUE, (*path, "count"), message)
    return interval


@cache
def _zone_names() -> frozenset[str]:
    # Reading the time zone files is the one look outside that domain/ allows itself: the rules of a
    # zone are part of what a billing day means. These two names are not places: one is whatever
    # this machine is set to, the other a placeholder.
    return frozenset(available_timezones() - {"localtime", "Factory"})


@cache  # ZoneInfo keeps only eight; there are some six hundred names.
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def check_zone(name: str, path: Path) -> str:
    """Accept an IANA time zone such as `Europe/Paris`. Raises `Rejected` INVALID_VALUE otherwise.

    The name is only ever compared with the known ones, so that `../x` or a NUL reaches no file.
    """
    if name not in _zone_names():
        message = "The time zone must be an IANA name, such as Europe/Paris or UTC."
        raise Rejected(Code.INVALID_VALUE, path, message)
    return name


def _at_wall(wall: datetime, zone: str) -> datetime:
    """The instant at which a clock in the zone shows `wall` (naive, fold 0).

    A time that the clocks skip moves forward by the gap; of a time that they show twice, the first
    counts. Both are what Python does with fold 0 (PEP 495).
    """
    return wall.replace(tzinfo=_zone(zone)).astimezone(UTC)


def _wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


def local_date(instant: datetime, zone: str) -> date:
    """The day on which an instant falls on the local calendar."""
    return _wall(instant, zone).date()


def _plus_months(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return wall.replace(year=year, month=month + 1, day=min(wall.day, last_day))


def _months(interval: Interval) -> int | None:
    """How many months an interval has, or None when it is counted in days."""
    if interval.unit is IntervalUnit.MONTH:
        return interval.count
    return 12 * interval.count if interval.unit is IntervalUnit.YEAR else None


def _days(interval: Interval) -> int:
    return 7 * interval.count if interval.unit is IntervalUnit.WEEK else interval.count


def boundary(anchor: datetime, interval: Interval, zone: str, n: int) -> datetime:
    """When the n-th billing period after the anchor starts; n may be negative.

    Counted from the anchor: its day of the month returns after a shorter month, its local time of
    day stays across DST. Boundary 0 is the anchor itself.

    >>> monthly = Interval(IntervalUnit.MONTH)
    >>> anchor = parse_instant("2026-01-31T00:00:00Z", ())
    >>> [format_instant(boundary(anchor, monthly, "UTC", n))[:10] for n in range(4)]
    ['2026-01-31', '2026-02-28', '2026-03-31', '2026-04-30']
    """
    if n == 0:
        return anchor  # even when clocks show its local time twice and it is the second one
    wall = _wall(anchor, zone)
    months = _months(interval)
    if months is None:
        return _at_wall(wall + n * _days(interval) * _DAY, zone)
    return _at_wall(_plus_months(wall, n * months), zone)


def _index_at(anchor: datetime, interval: Interval, zone: str, instant: datetime) -> int:
    """The largest n whose boundary is not after the instant.

    Estimated from the calendar, then corrected by a step or two for the time of day and DST, so
    that a subscription of twenty years costs no more than one of a month.
    """
    start, wall = _wall(anchor, zone), _wall(instant, zone)
    months = _months(interval)
    if months is None:
        n = (wall.date() - start.date()).days // _days(interval)
    else:
        n = ((wall.year - start.year) * 12 + wall.month - start.month) // months
    while boundary(anchor, interval, zone, n) > instant:
        n -= 1
    while boundary(anchor, interval, zone, n + 1) <= instant:
        n += 1
    return n


@lru_cache(maxsize=4096)  # the items of a subscription mostly share their periods
def period_at(anchor: datetime, interval: Interval, zone: str, instant: datetime) -> Period:
    """The whole billing period, counted from the anchor, in which the instant lies."""
    n = _index_at(anchor, interval, zone, instant)
    return Period(boundary(anchor, interval, zone, n), boundary(anchor, interval, zone, n + 1))


class BillingPeriod(msgspec.Struct, frozen=True):
    """What a subscription is billed for at once: its period, and the whole one it is a part of."""

    period: Period
    whole: Period


def billing_period_at(
    start: datetime, anchor: datetime, interval: Interval, zone: str, instant: datetime
) -> BillingPeriod:
    """The billing period of a subscription in which an instant lies.

    A subscription that does not start on a boundary has a stub first: from its start to the next
    boundary, whether its anchor lies before or after. ValueError when the instant precedes the
    start. Source: RULES, "Time".
    """
    if instant < start:
        raise ValueError("the subscription has not started at this instant")
    whole = period_at(anchor, interval, zone, instant)
    return BillingPeriod(Period(max(start, whole.start), whole.end), whole)


class UsageWindow(StrEnum):
    """The grain of a usage summary."""

    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


_NOMINAL = {
    UsageWindow.MINUTE: timedelta(minutes=1),
    UsageWindow.HOUR: timedelta(hours=1),
    UsageWindow.DAY: timedelta(days=1),
    UsageWindow.WEEK: timedelta(days=7),
    UsageWindow.MONTH: timedelta(days=31),
}


def windows(
    period: Period, unit: UsageWindow, zone: str, *, limit: int, path: Path = ("window",)
) -> list[datetime]:
    """The boundaries of a summary's windows: the period's start, each local boundary, its end.

    Neighbours are one window each, the first and last cut to the period. Days, weeks (from Monday)
    and months start at local midnight; hours and minutes are real ones on the local clock, so an
    hour that the clock shows twice is two windows. Raises `Rejected` LIMIT_EXCEEDED for more than
    `limit` windows.
    """
    refusal = Rejected(Code.LIMIT_EXCEEDED, path, f"More than {limit} windows: shorten the period.")
    # A window is never twice as long as its unit, so this many are certain without listing them.
    if (period.end - period.start) // (2 * _NOMINAL[unit]) > limit:
        raise refusal
    boundaries = [period.start]
    while boundaries[-1] < period.end:
        if len(boundaries) > limit:
            raise refusal
        boundaries.append(min(_next_window(boundaries[-1], unit, zone), period.end))
    return boundaries


def _next_window(instant: datetime, unit: UsageWindow, zone: str) -> datetime:
    """The first window boundary after an instant, whatever period it is asked for."""
    if unit in (UsageWindow.MINUTE, UsageWindow.HOUR):
        return _next_on_the_clock(instant, _NOMINAL[unit], zone)
    midnight = _wall(instant, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        if unit is UsageWindow.MONTH:
            midnight = _plus_months(midnight.replace(day=1), 1)
        else:
            midnight += (7 - midnight.weekday() if unit is UsageWindow.WEEK else 1) * _DAY
        following = _at_wall(midnight, zone)
        if following > instant:  # not so on the day before one that the zone skipped
            return following


def _next_on_the_clock(instant: datetime, size: timedelta, zone: str) -> datetime:
    """The next full hour or minute on the local clock, or the change of its offset before that."""

    def offset(at: datetime) -> timedelta:
        return at.astimezone(_zone(zone)).utcoffset() or timedelta()

    here = offset(instant)
    low, high = instant, instant + size - (instant + here - EPOCH) % size
    if offset(high) == here:
        return high
    # The offset changes on the way, mostly at `high` itself (Lord Howe moves by half an hour).
    while high - low > _MICROSECOND:
        middle = low + (high - low) // 2
        low, high = (middle, high) if offset(middle) == here else (low, middle)
    return high

"""Time: instants, billing periods counted from an anchor, and the windows of summaries."""

import calendar
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.periods import (
    Interval,
    IntervalUnit,
    Period,
    UsageWindow,
    billing_period_at,
    boundary,
    check_interval,
    check_period,
    check_zone,
    format_instant,
    from_us,
    parse_instant,
    period_at,
    to_us,
    windows,
)
from domain.proration import ProrationGranularity, proration

PATH = ("input", "timestamp")
MONTHLY = Interval(IntervalUnit.MONTH)
DAILY = Interval(IntervalUnit.DAY)
MICROSECOND = timedelta(microseconds=1)

# Half an hour of DST, a skipped day (30 Dec 2011), clocks that change at midnight, odd offsets.
ODD_ZONES = (
    "UTC America/New_York Europe/Paris Australia/Lord_Howe Pacific/Apia America/Havana"
    " America/Sao_Paulo Asia/Kolkata Asia/Kathmandu Africa/Monrovia Antarctica/Troll"
).split()
ZONES = st.sampled_from(ODD_ZONES)
INSTANTS = st.integers(0, 70 * 366 * 86_400 * 10**6).map(from_us)
INTERVALS = st.builds(Interval, st.sampled_from(IntervalUnit), st.integers(1, 3))


def at(text: str) -> datetime:
    """An instant as a client writes it; a date alone is its midnight in UTC."""
    return parse_instant(text if "T" in text else f"{text}T00:00:00Z", PATH)


def local(instant: datetime, zone: str) -> str:
    """What a clock in the zone shows at an instant."""
    return instant.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


# ------------------------------------------------------------------------------------- instants


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z"),
        ("2026-01-31t00:00:00z", "2026-01-31T00:00:00Z"),
        ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T23:30:00-01:00", "2026-02-01T00:30:00Z"),
        ("2026-01-31T00:00:00.5Z", "2026-01-31T00:00:00.500000Z"),
        ("2026-01-31T00:00:00.000001Z", "2026-01-31T00:00:00.000001Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2999-12-31T23:59:59.999999Z", "2999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_instant_is_kept_in_utc(text: str, printed: str) -> None:
    assert format_instant(parse_instant(text, PATH)) == printed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-01-31T00:00:00", "offset"),
        ("2026-01-31", "offset"),
        ("2026-01-31 00:00:00Z", "offset"),
        ("2026-01-31T00:00Z", "offset"),
        ("2026-01-31T00:00:00Z\n", "offset"),
        ("2026-01-31T00:00:00+0100", "offset"),
        ("\u0662026-01-31T00:00:00Z", "offset"),
        ("", "offset"),
        ("2026-01-31T00:00:00.0000001Z", "six fractional digits"),
        ("2026-01-31T23:59:60Z", "leap second"),
        ("2026-01-31T00:00:00+24:00", "23:59"),
        ("2026-01-31T00:00:00+01:60", "23:59"),
        ("2026-02-29T00:00:00Z", "no such date"),
        ("2026-01-31T24:00:00Z", "no such date"),
        ("0000-01-01T00:00:00Z", "no such date"),
        ("0001-01-01T00:00:00+23:59", "1970-01-01 to 2999-12-31"),
        ("9999-12-31T23:59:59-23:59", "1970-01-01 to 2999-12-31"),
        ("1970-01-01T00:00:00+00:01", "1970-01-01 to 2999-12-31"),
        ("2999-12-31T23:59:59-00:01", "1970-01-01 to 2999-12-31"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_instant(text, PATH)
    assert (refusal.value.code, refusal.value.path) == (Code.INVALID_VALUE, PATH)
    assert why in refusal.value.message


@given(INSTANTS)
def test_what_is_printed_or_stored_reads_back_the_same(instant: datetime) -> None:
    assert parse_instant(format_instant(instant), PATH) == instant
    assert from_us(to_us(instant)) == instant


def test_microseconds_since_1970_are_exact() -> None:
    assert to_us(at("2999-12-31T23:59:59.999999Z")) == 32503679999999999
    assert from_us(32503679999999999) == at("2999-12-31T23:59:59.999999Z")
    assert to_us(datetime(2026, 1, 1, 1, tzinfo=ZoneInfo("Europe/Paris"))) == to_us(
        at("2026-01-01")
    )


def test_a_record_exactly_at_the_end_belongs_to_the_next_period() -> None:
    january = Period(at("2026-01-01"), at("2026-02-01"))
    assert january.contains(january.start)
    assert january.contains(january.end - MICROSECOND)
    assert not january.contains(january.end)
    assert january.microseconds == 31 * 86_400 * 10**6


def test_a_period_ends_after_it_starts() -> None:
    start = at("2026-01-01")
    assert check_period(start, start + MICROSECOND, ("period",)).microseconds == 1
    with pytest.raises(Rejected) as refusal:
        check_period(start, start, ("period",))
    assert refusal.value.path == ("period", "end")
    with pytest.raises(ValueError, match="before it starts"):
        Period(start, start - MICROSECOND)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe",
        "europe/paris",
        "Europe/Paris\x00",
        "localtime",
        "posixrules",
        "right/UTC",
        "Factory",
        "\ud800",
        "A" * 10_000,
    ],
)
def test_only_known_time_zones_are_accepted(name: str) -> None:
    assert check_zone("Europe/Paris", ("timeZone",)) == "Europe/Paris"
    with pytest.raises(Rejected) as refusal:
        check_zone(name, ("timeZone",))
    assert refusal.value.code is Code.INVALID_VALUE


@pytest.mark.parametrize(
    ("unit", "longest"), [("DAY", 1095), ("WEEK", 156), ("MONTH", 36), ("YEAR", 3)]
)
def test_an_interval_lasts_up_to_three_years(unit: str, longest: int) -> None:
    check_interval(Interval(IntervalUnit(unit), longest), ("interval",))
    for count in (-1, 0, longest + 1, 10**30):
        with pytest.raises(Rejected) as refusal:
            check_interval(Interval(IntervalUnit(unit), count), ("interval",))
        assert refusal.value.path == ("interval", "count")


# ------------------------------------------------------------------------------ billing periods


def test_the_last_of_the_month_returns_after_a_shorter_month() -> None:
    starts = [boundary(at("2026-01-31"), MONTHLY, "UTC", n) for n in range(-2, 4)]
    assert [format_instant(start)[:10] for start in starts] == [
        "2025-11-30",
        "2025-12-31",
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
    ]


def test_the_29th_of_february_returns_in_leap_years() -> None:
    yearly = Interval(IntervalUnit.YEAR)
    starts = [boundary(at("2024-02-29"), yearly, "UTC", n) for n in (1, 4, -4)]
    printed = [format_instant(start)[:10] for start in starts]
    assert printed == ["2025-02-28", "2028-02-29", "2020-02-29"]


def test_periods_follow_local_midnight_across_dst() -> None:
    anchor = at("2026-03-01T05:00:00Z")
    starts = [boundary(anchor, MONTHLY, "America/New_York", n) for n in range(2)]
    assert [local(start, "America/New_York") for start in starts] == [
        "2026-03-01T00:00-05:00",
        "2026-04-01T00:00-04:00",
    ]


def test_a_time_that_clocks_skip_moves_forward_by_the_gap() -> None:
    start = boundary(at("2026-03-28T01:30:00Z"), DAILY, "Europe/Paris", 1)
    assert local(start, "Europe/Paris") == "2026-03-29T03:30+02:00"
    next_day = boundary(at("2026-03-28T01:30:00Z"), DAILY, "Europe/Paris", 2)
    assert local(next_day, "Europe/Paris") == "2026-03-30T02:30+02:00"


def test_of_a_time_that_clocks_show_twice_the_first_counts() -> None:
    start = boundary(at("2026-10-24T00:30:00Z"), DAILY, "Europe/Paris", 1)
    assert local(start, "Europe/Paris") == "2026-10-25T02:30+02:00"
    second = at("2026-10-25T01:30:00Z")
    assert boundary(second, DAILY, "Europe/Paris", 0) == second


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("day", range(1, 32))
def test_ten_years_of_months_tile_without_gap_or_overlap(zone: str, day: int) -> None:
    anchor = datetime(2020, 1, day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    instant = anchor
    for n in range(120):
        period = period_at(anchor, MONTHLY, zone, instant)
        assert period == period_at(anchor, MONTHLY, zone, period.end - MICROSECOND)
        assert period.start == instant
        year, month = 2020 + n // 12, n % 12 + 1
        expected = min(day, calendar.monthrange(year, month)[1])
        assert local(period.start, zone)[:16] == f"{year}-{month:02}-{expected:02}T00:00"
        instant = period.end


@given(INSTANTS, INTERVALS, ZONES, INSTANTS)
def test_every_instant_lies_in_the_one_period_next_to_its_neighbours(
    anchor: datetime, interval: Interval, zone: str, instant: datetime
) -> None:
    period = period_at(anchor, interval, zone, instant)
    assert period.contains(instant)
    assert period_at(anchor, interval, zone, period.start) == period
    assert period_at(anchor, interval, zone, period.start - MICROSECOND).end == period.start
    assert period_at(anchor, interval, zone, period.end).start == period.end


def test_a_start_before_the_anchor_opens_with_a_stub() -> None:
    start, anchor = at("2026-01-11"), at("2026-02-01")
    first = billing_period_at(start, anchor, MONTHLY, "UTC", start)
    assert first.period == Period(start, anchor)
    assert first.whole == Period(at("2026-01-01"), anchor)
    assert first.period != first.whole
    assert proration(first.period, first.whole, ProrationGranularity.SECOND, "UTC") == Fraction(
        21, 31
    )
    second = billing_period_at(start, anchor, MONTHLY, "UTC", anchor)
    assert second.period == second.whole == Period(anchor, at("2026-03-01"))
    assert proration(second.period, second.whole, ProrationGranularity.SECOND, "UTC") == 1


def test_an_anchor_far_ahead_makes_whole_periods_before_it() -> None:
    start, anchor = at("2026-01-11"), at("2026-04-01")
    second = billing_period_at(start, anchor, MONTHLY, "UTC", at("2026-02-15"))
    assert second.period == second.whole == Period(at("2026-02-01"), at("2026-03-01"))


def test_an_anchor_before_the_start_follows_the_same_rule() -> None:
    start, anchor = at("2026-03-15"), at("2025-12-31")
    first = billing_period_at(start, anchor, MONTHLY, "UTC", at("2026-03-20"))
    assert first.period == Period(start, at("2026-03-31"))
    assert first.whole == Period(at("2026-02-28"), at("2026-03-31"))
    with pytest.raises(ValueError, match="not started"):
        billing_period_at(start, anchor, MONTHLY, "UTC", start - MICROSECOND)


def ends_between(
    anchor: datetime, interval: Interval, zone: str, after: datetime, until: datetime
) -> list[datetime]:
    """The period ends in `(after, until]`, one after the other, as billing walks through them."""
    ends: list[datetime] = []
    while (end := period_at(anchor, interval, zone, ends[-1] if ends else after).end) <= until:
        assert end > after, "a period ends after every instant in it"
        ends.append(end)
    return ends


def test_period_ends_that_fell_due() -> None:
    anchor = at("2026-01-31")
    ends = ends_between(anchor, MONTHLY, "UTC", anchor, at("2026-04-30"))
    assert [format_instant(end)[:10] for end in ends] == ["2026-02-28", "2026-03-31", "2026-04-30"]
    assert ends_between(anchor, MONTHLY, "UTC", anchor, at("2026-02-27")) == []


def test_a_day_that_a_zone_skipped_ends_no_period() -> None:
    anchor = at("2011-12-28T10:00:00Z")
    ends = ends_between(anchor, DAILY, "Pacific/Apia", anchor, at("2012-01-01T00:00:00Z"))
    shown = [local(end, "Pacific/Apia")[:10] for end in ends]
    assert shown == ["2011-12-29", "2011-12-31", "2012-01-01"]


@given(INSTANTS, ZONES, INSTANTS, st.integers(0, 400), st.integers(0, 400))
def test_chained_ranges_give_each_period_end_once(
    anchor: datetime, zone: str, start: datetime, first: int, second: int
) -> None:
    middle = start + timedelta(days=first, microseconds=first)
    end = middle + timedelta(days=second)
    chained = [
        *ends_between(anchor, MONTHLY, zone, start, middle),
        *ends_between(anchor, MONTHLY, zone, middle, end),
    ]
    assert chained == ends_between(anchor, MONTHLY, zone, start, end)
    assert chained == sorted(set(chained))
    for begun, due in pairwise(chained):
        assert period_at(anchor, MONTHLY, zone, due - MICROSECOND) == Period(begun, due)


# --------------------------------------------------------------------------------------- windows


def hours(start: datetime, end: datetime, zone: str) -> list[str]:
    """The hour windows of a period, each as the clock shows its start."""
    found = windows(Period(start, end), UsageWindow.HOUR, zone, limit=100)
    return [local(window, zone)[11:] for window in found[:-1]]


def test_days_of_23_and_25_hours() -> None:
    for first, last, length in (("03-08", "03-09", 23), ("11-01", "11-02", 25)):
        zone = ZoneInfo("America/New_York")
        start = datetime.fromisoformat(f"2026-{first}").replace(tzinfo=zone).astimezone(UTC)
        end = datetime.fromisoformat(f"2026-{last}").replace(tzinfo=zone).astimezone(UTC)
        day = Period(start, end)
        assert windows(day, UsageWindow.DAY, "America/New_York", limit=1) == [start, end]
        of_the_day = windows(day, UsageWindow.HOUR, "America/New_York", limit=25)
        assert len(of_the_day) - 1 == length


def test_an_hour_that_the_clock_shows_twice_is_two_windows() -> None:
    shown = hours(at("2026-11-01T04:00:00Z"), at("2026-11-01T08:00:00Z"), "America/New_York")
    assert shown == ["00:00-04:00", "01:00-04:00", "01:00-05:00", "02:00-05:00"]


def test_an_hour_ends_where_a_zone_moves_by_half_an_hour() -> None:
    shown = hours(at("2026-04-04T13:00:00Z"), at("2026-04-04T16:30:00Z"), "Australia/Lord_Howe")
    assert shown == ["00:00+11:00", "01:00+11:00", "01:30+10:30", "02:00+10:30"]


def test_hours_are_cut_to_the_period_and_aligned_to_the_local_clock() -> None:
    shown = hours(at("2026-01-01T00:00:00Z"), at("2026-01-01T02:00:00Z"), "Asia/Kolkata")
    assert shown == ["05:30+05:30", "06:00+05:30", "07:00+05:30"]


def test_weeks_start_on_monday_and_months_on_the_first() -> None:
    period = Period(at("2026-01-15"), at("2026-02-04"))
    weeks = windows(period, UsageWindow.WEEK, "UTC", limit=10)
    printed = [format_instant(week)[5:10] for week in weeks]
    assert printed == ["01-15", "01-19", "01-26", "02-02", "02-04"]
    months = windows(period, UsageWindow.MONTH, "UTC", limit=2)
    assert [format_instant(month)[5:10] for month in months] == ["01-15", "02-01", "02-04"]


def test_too_many_windows_are_refused_without_listing_them() -> None:
    two_hours = Period(at("2026-01-01"), at("2026-01-01T02:00:00Z"))
    assert len(windows(two_hours, UsageWindow.MINUTE, "UTC", limit=120)) == 121
    ages = Period(at("1970-01-01"), at("2999-12-31"))
    for period, limit in ((two_hours, 119), (two_hours, 1), (ages, 1000)):
        with pytest.raises(Rejected) as refusal:
            windows(period, UsageWindow.MINUTE, "UTC", limit=limit)
        assert refusal.value.code is Code.LIMIT_EXCEEDED
        assert refusal.value.path == ("window",)


@given(
    INSTANTS,
    st.integers(1, 100_000),
    st.integers(0, 100),
    st.sampled_from(UsageWindow),
    ZONES,
    st.data(),
)
def test_windows_tile_the_period_and_do_not_depend_on_it(
    start: datetime, seconds: int, units: int, unit: UsageWindow, zone: str, data: st.DataObject
) -> None:
    size = {"MINUTE": 60, "HOUR": 3600}.get(unit, 86_400)
    end = start + timedelta(seconds=seconds % (size * 3) + units * size)
    found = windows(Period(start, end), unit, zone, limit=10_000) if end > start else [start]
    assert (found[0], found[-1]) == (start, end)
    assert all(a < b for a, b in pairwise(found))
    later = start + (end - start) * data.draw(st.integers(0, 7)) // 8
    if later < end:
        inner = [window for window in found if window > later]
        assert windows(Period(later, end), unit, zone, limit=10_000) == [later, *inner]

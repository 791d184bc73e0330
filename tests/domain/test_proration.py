"""Proration: the parts of a period cost what the whole does, to the second or by whole days."""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import allocate
from domain.periods import Interval, IntervalUnit, Period, period_at
from domain.proration import ProrationGranularity, proration, share
from tests.domain.billing import LICENCE, Book, amounts, day

ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")
UNITS = st.sampled_from(list(IntervalUnit))
INSTANTS = st.integers(0, 10**15).map(
    lambda micros: day("2010-01-01") + timedelta(microseconds=micros)
)


def test_a_proration_is_exact_and_lies_within_the_whole() -> None:
    whole = Period(day("2026-04-01"), day("2026-05-01"))
    half = Period(day("2026-04-16"), day("2026-05-01"))
    assert proration(half, whole, ProrationGranularity.SECOND, "UTC") == Fraction(1, 2)
    a_second = Period(day("2026-04-30T23:59:59"), day("2026-05-01"))
    assert proration(a_second, whole, ProrationGranularity.SECOND, "UTC") == Fraction(
        1, 30 * 86_400
    )
    with pytest.raises(ValueError, match="within the whole"):
        proration(whole, half, ProrationGranularity.SECOND, "UTC")


def test_a_share_says_what_it_is_measured_in() -> None:
    may = Period(day("2026-05-01"), day("2026-06-01"))
    rest = Period(day("2026-05-22T12:00:00"), may.end)
    seconds = share(rest, may, ProrationGranularity.SECOND, "UTC")
    assert (str(seconds.elapsed), str(seconds.total)) == ("820800", "2678400")
    days = share(rest, may, ProrationGranularity.DAY, "UTC")
    assert (str(days.elapsed), str(days.total)) == ("10", "31")
    assert days.granularity is ProrationGranularity.DAY
    hour = Period(day("2026-05-22T12:00:00"), day("2026-05-22T13:00:00"))
    within = share(hour, hour, ProrationGranularity.DAY, "UTC")
    assert (str(within.elapsed), within.granularity) == ("3600", ProrationGranularity.SECOND)


@given(
    INSTANTS,
    UNITS,
    st.sampled_from(ZONES),
    st.lists(st.integers(1, 999), max_size=5),
    st.sampled_from(list(ProrationGranularity)),
)
def test_the_parts_of_a_period_add_up_to_the_whole(
    anchor: datetime,
    unit: IntervalUnit,
    zone: str,
    cuts: list[int],
    granularity: ProrationGranularity,
) -> None:
    whole = period_at(anchor, Interval(unit), zone, anchor)
    length = whole.end - whole.start
    edges = [whole.start, *sorted({whole.start + length * cut / 1000 for cut in cuts}), whole.end]
    parts = [
        proration(Period(start, end), whole, granularity, zone) for start, end in pairwise(edges)
    ]
    assert sum(parts) == 1
    assert min(parts) >= 0


@given(st.integers(-(10**6), 10**6), st.lists(st.integers(0, 10**6), min_size=1).filter(any))
def test_an_amount_shared_out_by_time_loses_nothing(cents: int, weights: list[int]) -> None:
    amount = Decimal(cents).scaleb(-2)
    assert sum(allocate(amount, weights, "USD")) == amount


def test_a_stub_by_whole_days_counts_the_day_it_begins_on() -> None:
    """From noon of the 17th to the end of January are 15 days of 31, and 14.5 exactly."""
    start, anchor = "2026-01-17T12:00", "2026-02-01"
    exact = Book(LICENCE, start=start, anchor=anchor)
    by_day = Book(LICENCE, start=start, anchor=anchor, granularity=ProrationGranularity.DAY)
    assert amounts(exact.bill(start)) == ["46.77"]
    assert amounts(by_day.bill(start)) == ["48.39"]


def test_days_are_those_of_the_local_calendar() -> None:
    """23:00 in New York is the next day in UTC."""
    whole = Period(day("2026-05-01T04:00"), day("2026-06-01T04:00"))
    part = Period(day("2026-05-11T03:00"), whole.end)
    by_day = ProrationGranularity.DAY
    assert proration(part, whole, by_day, "America/New_York") == Fraction(22, 31)
    assert proration(part, whole, by_day, "UTC") == Fraction(21, 31)


def test_a_day_on_which_clocks_change_is_a_day() -> None:
    whole = Period(day("2026-03-01T05:00"), day("2026-04-01T04:00"))
    part = Period(day("2026-03-08T05:00"), day("2026-03-09T04:00"))
    assert (part.end - part.start) == timedelta(hours=23)
    assert proration(part, whole, ProrationGranularity.DAY, "America/New_York") == Fraction(1, 31)

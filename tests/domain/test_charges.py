"""Charges: what is due when."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import billing_calendar, charges
from domain.decider import Rejected
from domain.periods import Interval, IntervalUnit, Period
from tests.domain.billing import (
    ARREARS,
    LICENCE,
    MICROSECOND,
    MONTH,
    USAGE,
    WEEK,
    YEAR,
    Book,
    amounts,
    day,
    days,
    each,
    price,
)

# ------------------------------------------------------------------------------ what is due when


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2025-12-31", []),
        ("2026-01-01", ["licence 01-01..02-01"]),
        ("2026-01-15", ["usage 01-01..01-15"]),
        (
            "2026-02-01",
            ["usage 01-01..02-01", "support 01-01..02-01", "licence 02-01..03-01"],
        ),
        ("2026-02-01T12:00", ["usage 02-01..02-01T12:00"]),
        (
            "2026-03-01",
            ["usage 02-01..03-01", "support 02-01..03-01", "licence 03-01..04-01"],
        ),
    ],
)
def test_what_is_due(at: str, due: list[str]) -> None:
    assert Book(LICENCE, USAGE, ARREARS).due(at) == due


def test_usage_stands_before_licences_whatever_the_order_of_the_items() -> None:
    book = Book(LICENCE, USAGE, price("calls", each("1"), metered=True))
    assert [line.split()[0] for line in book.due("2026-02-01")] == ["usage", "calls", "licence"]


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2026-01-01", ["yearly 01-01..01-01"]),
        ("2026-01-08", ["weekly 01-01..01-08"]),
        ("2026-02-01", ["usage 01-01..02-01"]),
        ("2027-01-01", ["usage 12-01..01-01", "yearly 01-01..01-01"]),
    ],
)
def test_items_of_other_intervals_come_due_by_themselves(at: str, due: list[str]) -> None:
    weekly = price("weekly", each("0.01"), WEEK, metered=True)
    book = Book(price("yearly", each("900"), YEAR), USAGE, weekly)
    assert book.due(at) == due


def test_between_periods_the_usage_so_far_is_shown_and_no_licence() -> None:
    bill = Book(LICENCE, USAGE).bill("2026-01-15", Decimal(1500))
    assert amounts(bill) == ["20.00"]
    assert days(bill.period) == "01-01..01-15"


def test_nothing_is_due_before_the_start_or_without_metered_items() -> None:
    assert Book(LICENCE).due("2025-12-31T23:59") == []
    empty = Book(LICENCE).bill("2026-01-15")
    assert not empty.lines
    assert (str(empty.total), days(empty.period)) == ("0", "01-15..01-15")


def test_the_next_invoice_is_at_the_start_then_at_each_end() -> None:
    book = Book(LICENCE, price("weekly", each("1"), WEEK, metered=True))
    dates, now = [], day("2025-12-01")
    for _ in range(7):
        now = book.next(now)
        dates.append(f"{now:%m-%d}")
    assert dates == ["01-01", "01-08", "01-15", "01-22", "01-29", "02-01", "02-05"]


def test_the_current_period_before_the_start_is_the_first_one() -> None:
    book = Book(LICENCE, start="2026-01-20", anchor="2026-02-01")
    current = billing_calendar.current_period(book.subscription, LICENCE, day("2025-06-01"))
    assert days(current) == "01-20..02-01"


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.sampled_from([MONTH, WEEK, YEAR, Interval(IntervalUnit.DAY, 10)]),
    st.integers(0, 40),
)
def test_every_moment_of_usage_is_billed_once(
    gaps: Sequence[int], interval: Interval, anchor_days: int
) -> None:
    anchor = day("2026-01-01") + timedelta(days=anchor_days)
    metered = price("usage", each("1"), interval, metered=True)
    book = Book(metered, start="2026-01-01", anchor=anchor.isoformat()[:10])
    billed, now = day("2026-01-01"), day("2026-01-01")
    for _ in gaps:
        now = book.next(now)
        [charge] = charges.charges(book.subscription, book.prices, now)
        assert charge.period == Period(billed, now)
        assert charges.charges(book.subscription, book.prices, now - MICROSECOND)[0].period == (
            Period(billed, now - MICROSECOND)
        )
        billed = now


# --------------------------------------------------------------------------------------- trials


def free(book: Book, at: str) -> list[str]:
    """What is due, with a word on what is free."""
    found = charges.charges(book.subscription, book.prices, day(at))
    return [f"{one.price.id} {days(one.period)}" + (" free" if one.waived else "") for one in found]


def test_a_trial_is_a_free_period_of_its_own_from_whose_end_on_periods_are_counted() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", trial_end="2026-01-15")
    assert free(book, "2026-01-01") == ["licence 01-01..01-15 free"]
    assert free(book, "2026-01-08") == ["usage 01-01..01-08 free"]
    assert free(book, "2026-01-15") == ["usage 01-01..01-15 free", "licence 01-15..02-15"]
    assert free(book, "2026-02-15") == ["usage 01-15..02-15", "licence 02-15..03-15"]
    now = day("2026-01-01")
    assert [f"{(now := book.next(now)):%m-%d}" for _ in range(2)] == ["01-15", "02-15"]


def test_usage_in_a_trial_is_billed_when_asked() -> None:
    book = Book(
        LICENCE, USAGE, start="2026-01-01", trial_end="2026-01-15", bills_usage_in_trial=True
    )
    assert free(book, "2026-01-15") == ["usage 01-01..01-15", "licence 01-15..02-15"]


def test_a_trial_that_ends_within_a_period_leaves_a_stub() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", trial_end="2026-01-17", anchor="2026-02-01")
    assert free(book, "2026-01-17") == ["usage 01-01..01-17 free", "licence 01-17..02-01"]
    assert amounts(book.bill("2026-01-17", Decimal(3000))) == ["0.00", "48.39"]


def test_the_lines_of_a_trial_say_what_they_would_have_cost() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", trial_end="2026-01-15")
    [usage, _] = book.bill("2026-01-15", Decimal(3000)).lines
    assert [(step.description, str(step.amount)) for step in usage.steps[-2:]] == [
        ("2000 units above 1000 at 0.04 each", "80"),
        ("free in the trial", "-80"),
    ]


# ------------------------------------------------------------------------------ backdated starts


def test_a_backdated_subscription_is_first_billed_all_that_has_elapsed() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", created="2026-03-10")
    assert f"{billing_calendar.opening(book.subscription):%m-%d}" == "03-10"
    assert book.due("2026-03-10") == [
        "usage 01-01..02-01",
        "usage 02-01..03-01",
        "licence 01-01..02-01",
        "licence 02-01..03-01",
        "licence 03-01..04-01",
    ]
    assert book.due("2026-04-01") == ["usage 03-01..04-01", "licence 04-01..05-01"]


def test_each_elapsed_invoice_can_still_be_looked_at_by_itself() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", created="2026-03-10")
    assert book.due("2026-02-01") == ["usage 01-01..02-01", "licence 02-01..03-01"]


def test_a_start_within_the_running_period_has_a_first_invoice_like_any_other() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-01", created="2026-01-10")
    assert book.due("2026-01-10") == ["licence 01-01..02-01"]


def test_more_elapsed_periods_than_an_invoice_holds_are_refused() -> None:
    daily = price("daily", each("1"), Interval(IntervalUnit.DAY))
    long = Book(daily, start="2020-01-01", created="2026-01-01")
    with pytest.raises(Rejected, match="at most 1000 lines"):
        long.due("2026-01-01")
    assert long.due("2025-12-31") == ["daily 12-31..01-01"]

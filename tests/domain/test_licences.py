"""Licences that change: every moment is paid for once, at the terms in force."""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import billing_calendar, charges, rating
from domain.money import format_decimal
from domain.periods import Interval, IntervalUnit, Period
from domain.proration import ProrationGranularity, proration
from domain.subscription_changes import CancelForm, ItemChange, ProrationBehavior
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
    each,
    price,
)

SEATS = price("seats", each("31"))
DEARER = price("dearer", each("62"))
YEARLY = price("yearly", each("365"), YEAR)
NONE = ProrationBehavior.NONE
NOW = ProrationBehavior.INVOICE_NOW


def seats(quantity: str) -> ItemChange:
    """So many seats instead."""
    return ItemChange(item_id="item_seats", quantity=Decimal(quantity))


def lines(book: Book, at: str) -> list[str]:
    """The lines of a bill: kind, quantity, amount."""
    bill = book.bill(at)
    return [f"{line.kind} {format_decimal(line.quantity)} {line.amount}" for line in bill.lines]


# ------------------------------------------------------------------------------------- quantities


def test_a_change_credits_what_is_left_and_charges_it_anew() -> None:
    """16 of 31 days are left when two seats become five."""
    book = Book(SEATS, quantity="2")
    book.change("2026-01-16", seats("5"))
    assert book.due("2026-02-01") == [
        "-seats 01-16..02-01",
        "seats 01-16..02-01",
        "seats 02-01..03-01",
    ]
    assert lines(book, "2026-02-01") == [
        "PRORATION 2 -32.00",
        "PRORATION 5 80.00",
        "RECURRING 5 155.00",
    ]
    assert amounts(book.bill("2026-01-01")) == ["62.00"]
    assert amounts(book.bill("2026-03-01")) == ["155.00"]


def test_the_steps_say_what_is_credited_and_what_is_charged() -> None:
    book = Book(SEATS, quantity="2")
    book.change("2026-01-16", seats("5"))
    credit, charge, _ = book.bill("2026-02-01").lines
    assert [(one.description, str(one.amount)) for one in credit.steps] == [
        (
            "credit of what was billed for 2026-01-01T00:00:00Z to 2026-02-01T00:00:00Z",
            "-62",
        ),
        ("less the 15/31 that is used", "30"),
    ]
    assert [(one.description, str(one.amount)) for one in charge.steps] == [
        ("5 units at 31 each", "155"),
        ("prorated to 16/31 of a whole period", "-75"),
    ]


def test_several_changes_credit_what_the_last_one_charged() -> None:
    """One seat, from the 11th three, from the 21st two: 10 x 1 + 10 x 3 + 11 x 2 days."""
    book = Book(SEATS)
    book.change("2026-01-11", seats("3"))
    book.change("2026-01-21", seats("2"))
    assert lines(book, "2026-02-01") == [
        "PRORATION 1 -21.00",
        "PRORATION 3 63.00",
        "PRORATION 3 -33.00",
        "PRORATION 2 22.00",
        "RECURRING 2 62.00",
    ]


def test_a_change_and_back_comes_to_nothing() -> None:
    book = Book(SEATS)
    book.change("2026-01-11", seats("3"))
    book.change("2026-01-11", seats("1"))
    assert amounts(book.bill("2026-02-01")) == ["-21.00", "63.00", "-63.00", "21.00", "31.00"]


def test_what_comes_at_a_boundary_of_its_own_is_charged_for_the_whole_period() -> None:
    """Months begin on the 1st. Weeks do not, so that the 1st of February has no invoice."""
    book = Book(price("weekly", each("7"), WEEK), offered=[SEATS])
    book.change("2026-02-01", ItemChange(price_id="seats", quantity=Decimal(1)))
    assert f"{book.next(day('2026-02-01')):%m-%d}" == "02-05"
    assert book.due("2026-02-05") == ["seats 02-01..03-01", "weekly 02-05..02-12"]
    assert amounts(book.bill("2026-02-05")) == ["31.00", "7.00"]
    assert book.due("2026-03-01") == ["seats 03-01..04-01"]
    book.change(
        "2026-02-01", ItemChange(item_id=book.subscription.items[1].id, quantity=Decimal(3))
    )
    assert amounts(book.bill("2026-02-05")) == ["93.00", "7.00"]


def test_without_prorations_a_period_that_begins_just_then_is_charged() -> None:
    for instant, due in (("2026-02-01", ["seats 02-01..03-01"]), ("2026-02-02", [])):
        book = Book(price("weekly", each("7"), WEEK), offered=[SEATS])
        book.change(instant, ItemChange(price_id="seats"), behavior=NONE)
        assert book.due("2026-02-05") == [*due, "weekly 02-05..02-12"]
        assert book.due("2026-03-01") == ["seats 03-01..04-01"]


def test_what_comes_at_a_boundary_that_is_billed_is_on_that_invoice() -> None:
    book = Book(LICENCE, offered=[SEATS])
    book.change("2026-02-01", ItemChange(price_id="seats"))
    assert book.due("2026-02-01") == ["licence 02-01..03-01", "seats 02-01..03-01"]
    assert book.due("2026-03-01") == ["licence 03-01..04-01", "seats 03-01..04-01"]


def test_an_invoice_at_once_has_the_prorations_and_nothing_else() -> None:
    book = Book(SEATS, USAGE)
    book.change("2026-01-16", seats("2"), behavior=NOW)
    assert f"{book.next(day('2026-01-01')):%m-%d}" == "01-16"
    assert lines(book, "2026-01-16") == ["PRORATION 1 -16.00", "PRORATION 2 32.00"]
    assert book.due("2026-02-01") == ["usage 01-01..02-01", "seats 02-01..03-01"]


def test_without_prorations_the_running_period_stays_as_it_began() -> None:
    book = Book(SEATS, quantity="5")
    book.change("2026-01-11", seats("1"), behavior=NONE)
    assert lines(book, "2026-02-01") == ["RECURRING 1 31.00"]


def test_a_credit_is_of_what_was_billed_not_of_what_nobody_paid() -> None:
    """From one seat to five without prorations, then to three with: one seat is credited."""
    book = Book(SEATS)
    book.change("2026-01-11", seats("5"), behavior=NONE)
    book.change("2026-01-16", seats("3"))
    assert lines(book, "2026-02-01")[:2] == ["PRORATION 1 -16.00", "PRORATION 3 48.00"]


def test_by_whole_days_the_day_of_the_change_is_charged_anew() -> None:
    by_day = Book(SEATS, granularity=ProrationGranularity.DAY)
    by_day.change("2026-01-16T18:00", seats("2"))
    assert lines(by_day, "2026-02-01")[:2] == ["PRORATION 1 -16.00", "PRORATION 2 32.00"]


def test_a_change_is_billed_once_with_the_next_invoice() -> None:
    book = Book(SEATS, price("weekly", each("1"), WEEK, metered=True))
    book.change("2026-01-16", seats("2"))
    assert f"{book.next(day('2026-01-16')):%m-%d}" == "01-22"
    assert "seats 01-16..02-01" in book.due("2026-01-22")
    assert book.due("2026-01-29") == ["weekly 01-22..01-29"]
    assert "seats 01-16..02-01" in book.due("2026-01-20")
    assert "seats 01-16..02-01" not in book.due("2026-01-23")


# ------------------------------------------------------------------------------- at a boundary


def test_a_change_before_the_invoice_of_its_instant_is_no_proration() -> None:
    book = Book(SEATS)
    book.change("2026-01-11", seats("2"), effective_at="2026-02-01")
    assert lines(book, "2026-02-01") == ["RECURRING 2 62.00"]


def test_a_change_at_an_instant_that_is_invoiced_already_is_a_proration_of_it() -> None:
    book = Book(SEATS)
    book.change("2026-02-01", seats("2"), invoiced="2026-02-01")
    assert lines(book, "2026-02-01") == ["RECURRING 1 31.00"]
    assert lines(book, "2026-03-01") == [
        "PRORATION 1 -31.00",
        "PRORATION 2 62.00",
        "RECURRING 2 62.00",
    ]


def test_a_change_when_it_has_just_been_created_is_a_proration_too() -> None:
    book = Book(SEATS)
    book.change("2026-01-01", seats("3"), invoiced="2026-01-01", behavior=NOW)
    at = day("2026-01-01") + MICROSECOND
    assert book.next(day("2026-01-01")) == at
    due = charges.charges(book.subscription, book.prices, at)
    assert [str(rating.rate(one).amount) for one in due] == ["-31.00", "93.00"]


# -------------------------------------------------------------------------------- items, prices


def test_a_price_swap_credits_the_old_price_and_charges_the_new_one() -> None:
    book = Book(SEATS, offered=[DEARER], quantity="2")
    book.change("2026-01-16", ItemChange(item_id="item_seats", price_id="dearer"))
    assert book.due("2026-02-01") == [
        "-seats 01-16..02-01",
        "dearer 01-16..02-01",
        "dearer 02-01..03-01",
    ]
    assert lines(book, "2026-02-01") == [
        "PRORATION 2 -32.00",
        "PRORATION 2 64.00",
        "RECURRING 2 124.00",
    ]


def test_a_swap_to_a_yearly_price_runs_to_the_end_of_its_own_period() -> None:
    book = Book(SEATS, offered=[YEARLY])
    book.change("2026-01-16", ItemChange(item_id="item_seats", price_id="yearly"), behavior=NOW)
    assert book.due("2026-01-16") == ["-seats 01-16..02-01", "yearly 01-16..01-01"]
    assert amounts(book.bill("2026-01-16")) == ["-16.00", "350.00"]
    assert book.due("2026-02-01") == []
    book.change("2026-01-21", ItemChange(item_id="item_seats", price_id="seats"), behavior=NOW)
    assert amounts(book.bill("2026-01-21")) == ["-345.00", "11.00"]
    assert book.due("2026-02-01") == ["seats 02-01..03-01"]


def test_items_are_added_and_removed() -> None:
    book = Book(LICENCE, SEATS, offered=[DEARER])
    book.change(
        "2026-01-16",
        ItemChange(price_id="dearer", quantity=Decimal(3)),
        ItemChange(item_id="item_seats", remove=True),
    )
    assert book.due("2026-02-01") == [
        "-seats 01-16..02-01",
        "dearer 01-16..02-01",
        "licence 02-01..03-01",
        "dearer 02-01..03-01",
    ]
    assert amounts(book.bill("2026-02-01"))[:2] == ["-16.00", "96.00"]


def test_an_item_added_without_prorations_is_paid_from_its_next_period_on() -> None:
    book = Book(LICENCE, offered=[SEATS])
    book.change("2026-01-16", ItemChange(price_id="seats"), behavior=NONE)
    assert book.due("2026-02-01") == ["licence 02-01..03-01", "seats 02-01..03-01"]


def test_licences_in_arrears_are_paid_by_the_parts_of_their_period() -> None:
    book = Book(ARREARS)
    book.change("2026-01-11", ItemChange(item_id="item_support", quantity=Decimal(2)))
    assert book.due("2026-02-01") == ["support 01-01..01-11", "support 01-11..02-01"]
    assert amounts(book.bill("2026-02-01")) == ["9.68", "40.65"]
    whole = Book(ARREARS)
    whole.change(
        "2026-01-11", ItemChange(item_id="item_support", quantity=Decimal(2)), behavior=NONE
    )
    assert amounts(whole.bill("2026-02-01")) == ["30.00"]


def test_a_licence_in_arrears_that_goes_at_once_without_prorations_owes_its_period() -> None:
    """Although nothing else ends when its period does."""
    book = Book(LICENCE, price("weekly", each("7"), WEEK, arrears=True))
    gone = ItemChange(item_id="item_weekly", remove=True)
    book.change("2026-01-01", gone, invoiced="2026-01-01", behavior=NONE)
    assert f"{book.next(day('2026-01-02')):%m-%d}" == "01-08"
    assert book.due("2026-01-08") == ["weekly 01-01..01-08"]
    assert book.due("2026-01-15") == []


def test_usage_across_a_price_swap_is_split_at_the_instant() -> None:
    dearer = price("calls", each("2"), metered=True)
    book = Book(price("usage", each("1"), metered=True), offered=[dearer])
    book.change("2026-01-11", ItemChange(item_id="item_usage", price_id="calls"))
    assert book.due("2026-02-01") == ["usage 01-01..01-11", "calls 01-11..02-01"]
    assert book.due("2026-01-11") == ["usage 01-01..01-11"]
    assert book.due("2026-01-16") == ["usage 01-01..01-11", "calls 01-11..01-16"]
    assert book.due("2026-03-01") == ["calls 02-01..03-01"]


def test_changes_in_a_trial_are_not_prorated() -> None:
    book = Book(SEATS, start="2026-01-01", trial_end="2026-01-15")
    book.change("2026-01-08", seats("4"))
    assert lines(book, "2026-01-15") == ["RECURRING 4 124.00"]


# ---------------------------------------------------------------------------------- the property

DAY_STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.booleans()), max_size=8)


@settings(max_examples=150)
@given(
    DAY_STEPS,
    st.sampled_from([MONTH, WEEK, Interval(IntervalUnit.DAY, 10)]),
    st.booleans(),
    st.sampled_from(list(ProrationGranularity)),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_every_moment_is_paid_once_at_its_terms(
    steps: list[tuple[int, int, bool]],
    interval: Interval,
    arrears: bool,
    granularity: ProrationGranularity,
    ends_after: int | None,
) -> None:
    """Whatever changes when, and however it is invoiced: the days times the seats on them."""
    licence = price("seats", each("1"), interval, arrears=arrears)
    book = Book(licence, granularity=granularity)
    now, billed_until = day("2026-01-01"), day("2026-01-01")
    exact = _billed(book, billed_until)
    quantity, expected = 1, Fraction(0)
    for gap, wanted, at_once in steps:
        until = now + timedelta(days=gap)
        while (at := book.next(billed_until)) <= until:
            exact += _billed(book, at)
            billed_until = at
        expected += quantity * _periods(book, now, until)
        now, quantity = until, wanted
        behavior = NOW if at_once else ProrationBehavior.CREATE_PRORATIONS
        invoiced = billed_until.isoformat()[:26]
        book.change(now.isoformat()[:26], seats(str(wanted)), behavior=behavior, invoiced=invoiced)
    if ends_after is not None:
        until = now + timedelta(days=ends_after)
        book.cancel(
            now.isoformat()[:26],
            form=CancelForm.AT,
            at=until.isoformat()[:26],
            invoiced=billed_until.isoformat()[:26],
        )
    else:
        until = book.next(now + timedelta(days=40))
    while (end := _next(book, billed_until)) is not None and end <= until + MICROSECOND * 10:
        exact += _billed(book, end)
        billed_until = end
    expected += quantity * _periods(book, now, until)
    if ends_after is None and not arrears:  # the last boundary charged the period to come
        expected += quantity * _periods(book, until, book.next(until))
    assert exact == expected


def _billed(book: Book, at: datetime) -> Fraction:
    """What the invoice at an instant charges, exactly."""
    due = charges.charges(book.subscription, book.prices, at)
    return sum((rating.rate(one).exact for one in due), Fraction(0))


def _next(book: Book, after: datetime) -> datetime | None:
    return billing_calendar.next_billing(book.subscription, book.prices, after)


def _periods(book: Book, start: datetime, end: datetime) -> Fraction:
    """How many billing periods lie between two instants, whole ones and parts of them."""
    total, (only,) = Fraction(0), book.prices.values()
    while start < end:
        period = billing_calendar.current_period(book.subscription, only, start)
        part = Period(start, min(end, period.end))
        total += proration(part, period, ProrationGranularity.SECOND, "UTC")
        start = part.end
    return total

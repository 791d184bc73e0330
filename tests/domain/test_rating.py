"""Rating: what each line of an invoice costs, and how it says why."""

from decimal import Decimal
from fractions import Fraction

import pytest

from domain import charges, rating
from domain.money import format_decimal
from domain.periods import Period
from domain.pricing import Graduated, Modifiers, Percentage, Tier
from domain.rating import Bill, LineKind, Reading
from tests.domain.billing import (
    ARREARS,
    LICENCE,
    OVERAGES,
    USAGE,
    Book,
    amounts,
    day,
    days,
    each,
    price,
)

# ------------------------------------------------------------------------------------ the story


def test_the_reference_story() -> None:
    bill = Book(LICENCE, USAGE).bill("2026-02-01", Decimal(3000))
    assert [(line.kind, days(line.period), str(line.amount)) for line in bill.lines] == [
        (LineKind.USAGE, "01-01..02-01", "80.00"),
        (LineKind.RECURRING, "02-01..03-01", "100.00"),
    ]
    assert str(bill.total) == "180.00"
    assert days(bill.period) == "01-01..02-01"


def test_the_first_invoice_has_the_licence_only() -> None:
    bill = Book(LICENCE, USAGE).bill("2026-01-01", Decimal(3000))
    assert [days(line.period) for line in bill.lines] == ["01-01..02-01"]
    assert str(bill.total) == "100.00"
    assert days(bill.period) == "01-01..02-01"


# --------------------------------------------------------------------------- stubs and proration


def test_a_licence_for_a_stub_costs_its_part() -> None:
    book = Book(LICENCE, USAGE, start="2026-01-17", anchor="2026-02-01", quantity="2")
    bill = book.bill("2026-01-17")
    [line] = bill.lines
    assert days(line.period) == "01-17..02-01"
    assert [(step.description, format_decimal(step.amount)) for step in line.steps] == [
        ("2 units at 100 each", "200"),
        ("prorated to 15/31 of a whole period", format_decimal(Fraction(-200 * 16, 31))),
    ]
    assert line.exact == Fraction(200 * 15, 31)
    assert str(line.amount) == "96.77"


def test_a_stub_is_prorated_in_arrears_too() -> None:
    book = Book(ARREARS, start="2026-01-17", anchor="2026-02-01")
    assert book.due("2026-01-17") == []
    assert amounts(book.bill("2026-02-01")) == ["14.52"]


@pytest.mark.parametrize("at", ["2026-01-20", "2026-02-01"])
def test_a_part_of_a_period_knows_the_whole_of_which_it_is_a_part(at: str) -> None:
    """A weighted sum is shares of it, so that a stub at a level of 10 does not cost a month."""
    book = Book(USAGE, start="2026-01-16", anchor="2026-02-01")
    [charge] = charges.charges(book.subscription, book.prices, day(at))
    assert charge.period == Period(day("2026-01-16"), day(at))
    assert charge.whole == Period(day("2026-01-01"), day("2026-02-01"))


def test_usage_of_a_stub_is_never_prorated() -> None:
    book = Book(USAGE, start="2026-01-17", anchor="2026-02-01")
    assert amounts(book.bill("2026-02-01", Decimal(3000))) == ["80.00"]


def test_a_start_after_its_anchor_waits_for_the_anchors_next_day() -> None:
    book = Book(LICENCE, start="2026-02-15", anchor="2026-01-01")
    assert book.due("2026-02-15") == ["licence 02-15..03-01"]
    assert amounts(book.bill("2026-02-15")) == ["50.00"]
    assert amounts(book.bill("2026-03-01")) == ["100.00"]


def test_anchors_of_the_31st_come_back_to_it() -> None:
    book = Book(LICENCE, start="2026-01-31")
    assert book.due("2026-02-28") == ["licence 02-28..03-31"]
    assert book.due("2026-03-31") == ["licence 03-31..04-30"]
    assert book.due("2026-03-28") == []


# -------------------------------------------------------------------------- quantities, rounding


def test_each_line_is_rounded_once_and_the_total_is_their_sum() -> None:
    book = Book(*(price(name, each("0.005"), metered=True) for name in "abc"))
    bill = book.bill("2026-02-01", Decimal(1))
    assert amounts(bill) == ["0.01", "0.01", "0.01"]
    assert [line.exact for line in bill.lines] == [Fraction(5, 1000)] * 3
    assert str(bill.total) == "0.03"


def test_steps_are_not_rounded() -> None:
    small = Decimal("0.004")
    tiers = (Tier(up_to=Decimal(1), unit_amount=small), Tier(unit_amount=small))
    bill = Book(price("usage", Graduated(tiers=tiers), metered=True)).bill("2026-02-01", Decimal(2))
    assert [str(step.amount) for step in bill.lines[0].steps] == ["1/250", "1/250"]
    assert bill.lines[0].exact == Fraction(8, 1000)
    assert amounts(bill) == ["0.01"]


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "3"), ("USD", "2.50"), ("KWD", "2.500")])
def test_a_currency_has_its_own_minor_unit(currency: str, amount: str) -> None:
    book = Book(price("usage", each("2.5"), metered=True, currency=currency))
    assert amounts(book.bill("2026-02-01", Decimal(1))) == [amount]


def test_an_average_is_billed_exactly() -> None:
    book = Book(price("usage", each("3"), metered=True))
    bill = book.bill("2026-02-01", Fraction(2, 3))
    assert bill.lines[0].quantity == Fraction(2, 3)
    assert amounts(bill) == ["2.00"]


def test_no_seats_cost_nothing_but_a_line() -> None:
    assert amounts(Book(LICENCE, quantity="0").bill("2026-01-01")) == ["0.00"]


# ------------------------------------------------------------------------ modifiers and records


def test_a_part_of_a_licence_costs_that_part_of_the_modified_amount() -> None:
    ten_off = Modifiers(
        included_units=Decimal(1), percentage_discount=Decimal(10), minimum_amount=Decimal(310)
    )
    seats = price("seats", each("100"), modifiers=ten_off)
    book = Book(seats, start="2026-01-17", anchor="2026-02-01", quantity="4")
    [line] = book.bill("2026-01-17").lines
    assert [(step.description, format_decimal(step.amount)) for step in line.steps] == [
        ("4 less 1 included: 3", "0"),
        ("3 units at 100 each", "300"),
        ("10% discount on 300", "-30"),
        ("raised from 270 to the minimum of 310", "40"),
        ("prorated to 15/31 of a whole period", "-160"),
    ]
    assert (line.quantity, str(line.amount)) == (Decimal(4), "150.00")


def test_usage_is_rated_by_its_records_where_the_pricing_needs_them() -> None:
    payments = Percentage(rate=Decimal(1), fixed_amount=Decimal(5), free_records=1)
    book = Book(price("payments", payments, metered=True))
    [charge] = charges.charges(book.subscription, book.prices, day("2026-02-01"))
    records = [Decimal(10), Decimal(20), Decimal(30)]
    line = rating.rate(charge, Reading(Decimal(60), tuple(records)))
    assert [step.description for step in line.steps] == [
        "1% of 50 (60 after 10 free)",
        "2 records at 5 each (3 after 1 free)",
    ]
    assert (line.quantity, str(line.amount)) == (Decimal(60), "10.50")


# ---------------------------------------------------------------------------------- fingerprint


def test_equal_bills_have_equal_fingerprints() -> None:
    one, other = (Book(LICENCE, USAGE).bill("2026-02-01", Decimal(3000)) for _ in range(2))
    assert rating.content_hash(one) == rating.content_hash(other)
    assert len(rating.content_hash(one)) == 64


@pytest.mark.parametrize(
    "other",
    [
        Book(LICENCE, USAGE).bill("2026-02-01", Decimal("3000.000000000001")),
        Book(LICENCE, USAGE).bill("2026-02-01", Fraction(3000) + Fraction(1, 10**30)),
        Book(LICENCE, USAGE).bill("2026-03-01", Decimal(3000)),
        Book(LICENCE, USAGE, quantity="2").bill("2026-02-01", Decimal(3000)),
        Book(USAGE).bill("2026-02-01", Decimal(3000)),
        Book(price("licence", each("100.01")), USAGE).bill("2026-02-01", Decimal(3000)),
        Book(LICENCE, price("dearer", OVERAGES, metered=True)).bill("2026-02-01", Decimal(3000)),
        Book(price("licence", each("100"), currency="EUR"), USAGE).bill(
            "2026-02-01", Decimal(3000)
        ),
    ],
    ids="usage, tinily, instant, seats, items, rate, price, currency".split(", "),
)
def test_whatever_differs_shows_in_the_fingerprint(other: Bill) -> None:
    story = Book(LICENCE, USAGE).bill("2026-02-01", Decimal(3000))
    assert rating.content_hash(other) != rating.content_hash(story)

"""Rating: which lines an invoice at an instant has, and what each of them costs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import rating
from domain.money import Number, format_decimal
from domain.periods import Interval, IntervalUnit, Period
from domain.prices import Price, Timing
from domain.pricing import Graduated, Modifiers, Percentage, PerUnit, Pricing, Tier
from domain.rating import Bill, LineKind
from domain.subscriptions import CollectionMethod, Item, Subscription

MONTH = Interval(IntervalUnit.MONTH)
WEEK = Interval(IntervalUnit.WEEK)
YEAR = Interval(IntervalUnit.YEAR)
OVERAGES = Graduated(
    tiers=(Tier(up_to=Decimal(1000), unit_amount=Decimal(0)), Tier(unit_amount=Decimal("0.04")))
)
MICROSECOND = timedelta(microseconds=1)


def day(text: str) -> datetime:
    """Midnight UTC of a date, or an instant with its time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(
    name: str,
    pricing: Pricing,
    interval: Interval = MONTH,
    *,
    metered: bool = False,
    arrears: bool = False,
    currency: str = "USD",
    modifiers: Modifiers | None = None,
) -> Price:
    """A price, by default licensed and in advance."""
    return Price(
        id=name,
        product_id="prod_1",
        currency=currency,
        interval=interval,
        meter_id="met_1" if metered else None,
        meter_filter=(),
        timing=Timing.IN_ARREARS if metered or arrears else Timing.IN_ADVANCE,
        pricing=pricing,
        modifiers=modifiers,
        nickname=None,
        lookup_key=None,
        active=True,
        created_at=day("2025-12-01"),
    )


def each(amount: str) -> PerUnit:
    """So much for each unit."""
    return PerUnit(unit_amount=Decimal(amount))


LICENCE = price("licence", each("100"))
USAGE = price("usage", OVERAGES, metered=True)
ARREARS = price("support", each("30"), arrears=True)


class Book:
    """One subscription and its prices, billed at an instant."""

    def __init__(
        self,
        *prices: Price,
        start: str = "2026-01-01",
        anchor: str | None = None,
        quantity: str = "1",
        zone: str = "UTC",
    ) -> None:
        self.prices = {one.id: one for one in prices}
        self.subscription = Subscription(
            id="sub_1",
            customer_id="cus_1",
            currency=prices[0].currency,
            items=tuple(
                Item(
                    id=f"item_{one.id}",
                    price_id=one.id,
                    quantity=None if one.metered else Decimal(quantity),
                )
                for one in prices
            ),
            start_at=day(start),
            billing_anchor=day(anchor or start),
            time_zone=zone,
            collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
            days_until_due=None,
            created_at=day(start),
        )

    def due(self, at: str) -> list[str]:
        """What is due, as `price first-day..end-day`."""
        due = rating.charges(self.subscription, self.prices, day(at))
        return [f"{one.price.id} {days(one.period)}" for one in due]

    def bill(self, at: str, usage: Number = Decimal(0)) -> Bill:
        """The bill at an instant, every meter reading the same."""
        due = rating.charges(self.subscription, self.prices, day(at))
        lines = [rating.rate(one, usage) for one in due]
        return rating.bill(self.subscription, day(at), lines)

    def next(self, now: datetime) -> datetime:
        """The instant of the next invoice."""
        return rating.next_billing(self.subscription, self.prices, now)


def days(period: Period) -> str:
    """A period as its month and day, the time of day where there is one."""

    def short(instant: datetime) -> str:
        return f"{instant:%m-%d}" + (f"T{instant:%H:%M}" if instant.hour else "")

    return f"{short(period.start)}..{short(period.end)}"


def amounts(bill: Bill) -> list[str]:
    """The rounded amounts of the lines."""
    return [str(line.amount) for line in bill.lines]


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


# ------------------------------------------------------------------------------ what is due when


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2025-12-31", []),
        ("2026-01-01", ["licence 01-01..02-01"]),
        ("2026-01-15", ["usage 01-01..01-15"]),
        (
            "2026-02-01",
            ["usage 01-01..02-01", "licence 02-01..03-01", "support 01-01..02-01"],
        ),
        ("2026-02-01T12:00", ["usage 02-01..02-01T12:00"]),
        (
            "2026-03-01",
            ["usage 02-01..03-01", "licence 03-01..04-01", "support 02-01..03-01"],
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
    current = rating.current_period(book.subscription, LICENCE, day("2025-06-01"))
    assert days(current) == "01-20..02-01"


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
    [charge] = rating.charges(book.subscription, book.prices, day(at))
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
        [charge] = rating.charges(book.subscription, book.prices, now)
        assert charge.period == Period(billed, now)
        assert rating.charges(book.subscription, book.prices, now - MICROSECOND)[0].period == (
            Period(billed, now - MICROSECOND)
        )
        billed = now


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
    [charge] = rating.charges(book.subscription, book.prices, day("2026-02-01"))
    records = [Decimal(10), Decimal(20), Decimal(30)]
    line = rating.rate(charge, Decimal(60), records)
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

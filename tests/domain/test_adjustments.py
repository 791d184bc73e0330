"""Adjustments: a billed period rated again, less what was billed for it."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import charges, rating
from domain.adjustments import Charged, adjustment
from domain.periods import Period
from domain.prices import PriceVersion
from domain.pricing import PerUnit
from domain.rating import Line, LineKind, Reading
from domain.statements import IssuedLine
from domain.subscriptions import Subscription
from tests.domain.billing import USAGE, Book, day, each, price

JANUARY = Period(day("2026-01-01"), day("2026-02-01"))
THIRDS = price("thirds", PerUnit(unit_amount=Decimal("0.003")), metered=True)


def rated(quantity: str) -> list[Line]:
    """January's usage as its only charge has it."""
    subscription = Book(THIRDS).subscription
    [charge] = charges.usage_of(subscription, THIRDS, "item_thirds", JANUARY)
    return [rating.rate(charge, Reading(Decimal(quantity)))]


def issued(line: Line, number: str) -> Charged:
    """A line as an invoice of this number has it."""
    return Charged(
        number,
        IssuedLine(
            id=f"{number}_1",
            kind=line.kind,
            description="",
            item_id=line.item_id,
            price_id=line.price_id,
            price_version=line.price_version,
            period=line.period,
            since=line.since,
            quantity=Fraction(line.quantity),
            exact=line.exact,
            amount=line.amount,
            steps=(),
        ),
    )


def test_the_difference_is_billed_and_says_what_it_is_made_of() -> None:
    first = issued(rated("1000")[0], "000001")
    second = issued(adjustment("inv_1", rated("2000"), [first]), "000002")
    line = adjustment("inv_1", rated("1500"), [first, second])
    assert (line.kind, line.adjusts, line.period) == (LineKind.ADJUSTMENT, "inv_1", JANUARY)
    assert Fraction(line.quantity) == -500
    assert (line.exact, line.amount) == (Fraction("-1.5"), Decimal("-1.50"))
    assert [(step.description, step.amount) for step in line.steps] == [
        ("1500 units at 0.003 each", Fraction("4.5")),
        ("less 1000 billed on invoice 000001", -3),
        ("less 1000 billed on invoice 000002", -3),
    ]


def test_what_was_rounded_on_either_side_is_compared() -> None:
    first = issued(rated("1")[0], "000001")
    assert (first.line.exact, first.line.amount) == (Fraction("0.003"), Decimal("0.00"))
    line = adjustment("inv_1", rated("2"), [first])
    assert (line.exact, line.amount) == (Fraction("0.003"), Decimal("0.01"))


@given(quantities=st.lists(st.integers(0, 10_000).map(str), min_size=1, max_size=6))
def test_all_lines_together_are_the_last_one_alone(quantities: Sequence[str]) -> None:
    charged = [issued(rated(quantities[0])[0], "000001")]
    for number, quantity in enumerate(quantities[1:], start=2):
        charged.append(issued(adjustment("inv_1", rated(quantity), charged), f"{number:06}"))
    [alone] = rated(quantities[-1])
    assert sum(one.line.amount for one in charged) == alone.amount
    assert sum(one.line.exact for one in charged) == alone.exact
    assert sum(one.line.quantity for one in charged) == alone.quantity


def test_several_versions_of_a_price_are_one_adjustment() -> None:
    later = PriceVersion(
        number=2,
        effective_at=day("2026-01-11"),
        pricing=each("1"),
        modifiers=None,
        created_at=day("2026-01-01"),
    )
    both = replace(THIRDS, versions=(*THIRDS.versions, later))
    subscription: Subscription = Book(both).subscription
    parts = list(charges.usage_of(subscription, both, "item_thirds", JANUARY))
    whole, before = Reading(Decimal(30)), Reading(Decimal(10))
    again = [rating.rate(parts[0], before), rating.rate(parts[1], whole, before)]
    line = adjustment("inv_1", again, [issued(rated("30")[0], "000001")])
    assert (line.period, line.price_version) == (JANUARY, None)
    assert not line.quantity
    assert line.amount == Decimal("0.03") + Decimal(20) - Decimal("0.09")


def test_an_adjustment_is_not_what_an_invoice_is_about() -> None:
    book = Book(USAGE)
    adjusted = adjustment("inv_1", rated("5"), [issued(rated("1")[0], "000001")])
    due = charges.charges(book.subscription, book.prices, day("2026-03-01"))
    lines = [rating.rate(charge, Reading(Decimal(7))) for charge in due]
    bill = rating.bill(book.subscription, day("2026-03-01"), [*lines, adjusted])
    assert bill.period == Period(day("2026-02-01"), day("2026-03-01"))
    assert bill.total == adjusted.amount
    alone = rating.bill(book.subscription, day("2026-03-01"), [adjusted])
    assert alone.period == JANUARY

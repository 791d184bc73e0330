"""Subscriptions that end: what is settled, what is credited, what is discarded."""

from decimal import Decimal

import pytest

from domain import charges, rating
from domain.rating import LineKind
from domain.subscription_changes import CancelForm, ItemChange
from tests.domain.billing import (
    ARREARS,
    MICROSECOND,
    USAGE,
    YEAR,
    Book,
    amounts,
    day,
    each,
    price,
)

SEATS = price("seats", each("31"))
YEARLY = price("yearly", each("365"), YEAR)


def test_an_end_at_once_settles_usage_and_credits_the_licence() -> None:
    book = Book(SEATS, USAGE)
    book.cancel("2026-01-16")
    assert book.due("2026-01-16") == ["usage 01-01..01-16", "-seats 01-16..02-01"]
    assert amounts(book.bill("2026-01-16", Decimal(1500))) == ["20.00", "-16.00"]
    assert book.due("2026-02-01") == []
    with pytest.raises(AssertionError, match="no next invoice"):
        book.next(day("2026-01-16"))


def test_an_end_at_the_periods_end_credits_nothing() -> None:
    book = Book(SEATS, USAGE)
    book.cancel("2026-01-16", form=CancelForm.AT_PERIOD_END)
    assert book.due("2026-02-01") == ["usage 01-01..02-01"]
    assert book.due("2026-03-01") == []


def test_with_yearly_items_the_periods_end_is_that_of_the_last() -> None:
    book = Book(YEARLY, USAGE)
    book.cancel("2026-01-16", form=CancelForm.AT_PERIOD_END)
    assert book.due("2026-02-01") == ["usage 01-01..02-01"]
    assert book.due("2027-01-01") == ["usage 12-01..01-01"]


def test_an_end_may_discard_usage_and_keep_the_licence() -> None:
    book = Book(SEATS, USAGE)
    book.cancel("2026-01-16", discard_usage=True, prorate=False)
    [line] = book.bill("2026-01-16", Decimal(1500)).lines
    assert (line.kind, str(line.amount)) == (LineKind.USAGE, "0.00")
    assert line.steps[-1].description == "discarded when the subscription was canceled"


def test_an_end_at_an_instant_is_billed_then() -> None:
    book = Book(SEATS, ARREARS, USAGE)
    book.cancel("2026-01-10", form=CancelForm.AT, at="2026-01-16")
    assert book.due("2026-01-16") == [
        "usage 01-01..01-16",
        "-seats 01-16..02-01",
        "support 01-01..01-16",
    ]


def test_an_end_when_the_boundary_is_invoiced_already_credits_the_period_that_began() -> None:
    book = Book(SEATS, USAGE)
    book.cancel("2026-02-01", invoiced="2026-02-01")
    assert book.due("2026-02-01") == ["usage 01-01..02-01", "seats 02-01..03-01"]
    after = day("2026-02-01") + MICROSECOND
    due = charges.charges(book.subscription, book.prices, after)
    assert [(one.price.id, one.credit is not None) for one in due] == [("seats", True)]
    assert str(rating.rate(due[0]).amount) == "-31.00"


def test_items_that_went_before_the_end_are_settled_with_it() -> None:
    book = Book(SEATS, USAGE)
    book.change("2026-01-10", ItemChange(item_id="item_usage", remove=True))
    book.cancel("2026-01-16")
    assert book.due("2026-01-16") == ["usage 01-01..01-10", "-seats 01-16..02-01"]


def test_a_subscription_that_was_to_end_goes_on() -> None:
    book = Book(SEATS)
    book.cancel("2026-01-16", form=CancelForm.AT_PERIOD_END)
    book.reactivate("2026-01-20")
    assert book.due("2026-02-01") == ["seats 02-01..03-01"]


def test_a_subscription_that_never_started_owes_nothing() -> None:
    book = Book(SEATS, USAGE, start="2026-02-01", created="2026-01-01")
    book.cancel("2026-01-16")
    assert book.due("2026-01-16") == book.due("2026-02-01") == book.due("2026-03-01") == []

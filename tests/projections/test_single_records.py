"""Single records: those that a meter counts in a period, one by one as a price looks at them."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.money import format_decimal
from domain.periods import Period
from projections import meter_summaries
from projections.tables import Views
from tests.projections.book import START, Book, question, used

HOUR = timedelta(hours=1)
WEEK = Period(START + HOUR / 2, START + timedelta(days=7))


def counted(views: Views, *only: str) -> list[str]:
    """The values of the records in the period, in the order in which they are priced."""
    asked = question(views, "met_1", only={"model": only} if only else None)
    samples = meter_summaries.samples(views, asked, WEEK)
    return [format_decimal(sample.value or Decimal(0)) for sample in samples]


@pytest.fixture
def filled(book: Book) -> Book:
    """A week of usage that did not arrive in order."""
    book.meter(by=["model"])
    book.meter("met_2", over="calls")
    book.customer()
    book.customer("cus_2", "bo")
    large, small = {"model": "large"}, {"model": "small"}
    book.usage(used("5", 50 * HOUR, large), used("1", HOUR, large), used("2", HOUR, small))
    book.usage(used("7", 51 * HOUR, large, by="bo"), used(None, HOUR, large), used("3", HOUR))
    book.usage(used("0.5", HOUR / 2, large), used("8", HOUR / 2 - timedelta(microseconds=1)))
    book.usage(used("9", timedelta(days=7)), used("-4", 50 * HOUR, small))
    return book


def test_they_come_in_time_order_and_those_of_an_instant_as_they_were_recorded(
    filled: Book,
) -> None:
    for views in filled.everywhere():
        assert counted(views) == ["0.5", "1", "2", "3", "5", "-4"]


def test_a_filter_lets_only_its_own_through(filled: Book) -> None:
    for views in filled.everywhere():
        assert counted(views, "large") == ["0.5", "1", "5"]
        assert counted(views, "small", "tiny") == ["2", "-4"]
        assert counted(views, "tiny") == []


def test_they_add_up_to_the_quantity(filled: Book) -> None:
    for views in filled.everywhere():
        asked = question(views, "met_1")
        state = meter_summaries.quantity(views, asked, WEEK)
        samples = list(meter_summaries.samples(views, asked, WEEK))
        assert state.count == len(samples)
        assert state.value(WEEK) == sum(one.value or 0 for one in samples)

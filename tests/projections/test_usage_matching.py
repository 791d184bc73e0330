"""Usage finds its meters and its customer, whichever of them comes last; until then it waits."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from domain.aggregation import Aggregation, Value
from domain.customers import CustomerUpdated
from domain.periods import Period
from projections import meter_summaries
from projections.tables import Views
from tests.projections.book import START, Book, question, unmatched, used

HOUR = timedelta(hours=1)
MONTH = Period(START, START + timedelta(days=31))


def total(views: Views, meter_id: str = "met_1", customer: str = "al") -> Value:
    """What a customer used in January."""
    return meter_summaries.quantity(views, question(views, meter_id, customer), MONTH).value(MONTH)


@pytest.mark.parametrize("order", [*permutations(["meter", "customer", "usage"])], ids="-".join)
def test_whatever_comes_last(book: Book, order: tuple[str, ...]) -> None:
    steps: dict[str, Callable[[], object]] = {
        "meter": book.meter,
        "customer": book.customer,
        "usage": lambda: book.usage(used("1000"), used("2000", HOUR)),
    }
    for step in order:
        steps[step]()
    for views in book.everywhere():
        assert total(views) == 3000
        assert unmatched(views) == []


def test_what_nobody_asks_for_is_kept(book: Book) -> None:
    book.usage(used("1"), used("2", by="stranger"))
    book.meter()
    book.customer()
    book.usage(used("4", by="stranger"))
    for views in book.everywhere():
        assert total(views) == 1
        assert unmatched(views) == [("tokens", "stranger", "2"), ("tokens", "stranger", "4")]
    book.customer("cus_2", "stranger")
    for views in book.everywhere():
        assert [total(views), total(views, customer="stranger")] == [1, 6]
        assert unmatched(views) == []


def test_a_customer_is_known_by_either_id(book: Book) -> None:
    book.meter()
    book.usage(used("1", by="al"), used("2", by="cus_1"))
    book.customer("cus_1", "al")
    book.usage(used("4", by="al"), used("8", by="cus_1"))
    for views in book.everywhere():
        assert total(views) == total(views, customer="cus_1") == 15


def test_another_id_of_theirs_takes_what_waits_for_it_and_leaves_the_former_one(
    book: Book,
) -> None:
    book.meter()
    book.customer("cus_1", "al")
    book.usage(used("1", by="al"), used("2", by="albert"))
    book.happened("cus_1", CustomerUpdated(id="cus_1", external_id="albert"))
    book.usage(used("4", by="al"), used("8", by="albert"))
    for views in book.everywhere():
        assert total(views, customer="cus_1") == 11
        assert unmatched(views) == [("tokens", "al", "4")]
    book.happened("cus_1", CustomerUpdated(id="cus_1", name="Al & Co."))
    book.happened("cus_1", CustomerUpdated(id="cus_1", external_id=None))
    book.usage(used("16", by="albert"), used("32", by="cus_1"))
    for views in book.everywhere():
        assert total(views, customer="cus_1") == 43


def test_a_customer_without_an_id_of_theirs_takes_nobody_elses_usage(book: Book) -> None:
    book.meter()
    book.usage(used("1", by="al"), used("2", by="cus_1"))
    book.customer("cus_1", None)
    for views in book.everywhere():
        assert total(views, customer="cus_1") == 2
        assert unmatched(views) == [("tokens", "al", "1")]


def test_a_second_meter_sees_what_the_first_one_has(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.SUM)
    book.usage(used("1000"), used("2000", HOUR), used("5", by="stranger"))
    book.meter("met_2", Aggregation.MAX)
    book.meter("met_3", Aggregation.COUNT)
    book.usage(used("500", 2 * HOUR))
    for views in book.everywhere():
        assert [total(views, id) for id in ("met_1", "met_2", "met_3")] == [3500, 2000, 3]
        assert unmatched(views) == [("tokens", "stranger", "5")]
    book.customer("cus_2", "stranger")
    for views in book.everywhere():
        assert [total(views, id, "stranger") for id in ("met_1", "met_2", "met_3")] == [5, 5, 1]


def test_a_meter_reads_only_its_own_records(book: Book) -> None:
    book.customer()
    book.customer("cus_2", "bo")
    book.meter("met_1", over="tokens")
    book.meter("met_2", over="calls")
    book.usage(used("1"), used("2", by="bo"))
    for views in book.everywhere():
        found = [total(views), total(views, customer="bo"), total(views, "met_2")]
        assert found == [1, 2, 0]


def test_records_without_the_number_that_a_later_meter_needs(book: Book) -> None:
    book.customer()
    book.meter("met_1", Aggregation.COUNT)
    wordy, timed = {"value": "many"}, {"seconds": "1.5"}
    book.usage(used(None), used(None, START, wordy), used("7", START, timed), used("1"))
    book.meter("met_2", Aggregation.SUM)
    book.meter("met_3", Aggregation.SUM, value="seconds")
    book.meter("met_4", Aggregation.MIN, value="seconds")
    for views in book.everywhere():
        ids = ("met_1", "met_2", "met_3", "met_4")
        assert [total(views, id) for id in ids] == [4, 8, Decimal("1.5"), Decimal("1.5")]


def test_records_of_one_batch_go_their_own_ways(book: Book) -> None:
    book.customer()
    book.meter()
    records = [used("1"), used("2", by="stranger"), used("4"), used("8", by="stranger")]
    position = book.usage(*records)
    for views in book.everywhere():
        assert total(views) == 5
        waiting = views.rows("SELECT position, row FROM usage_unmatched ORDER BY row")
        assert waiting == [(position, 1), (position, 3)]

"""History: where in the ledger the facts about an object stand."""

from decimal import Decimal

from domain.periods import Interval, IntervalUnit
from domain.prices import PriceArchived, PriceCreated, Timing
from domain.pricing import PerUnit
from projections import history
from tests.projections.book import START, Book, used


def told(book: Book) -> None:
    """A meter, a customer, a metered price, and some usage."""
    book.meter()
    book.customer()
    price = PriceCreated(
        id="price_1",
        product_id="prod_1",
        currency="USD",
        interval=Interval(IntervalUnit.MONTH),
        meter_id="met_1",
        meter_filter=(),
        timing=Timing.IN_ARREARS,
        pricing=PerUnit(unit_amount=Decimal(1)),
        nickname=None,
        lookup_key=None,
        created_at=START,
    )
    book.happened("price_1", price)
    book.usage(used("1"))
    book.usage(used("2"))


def test_a_fact_is_part_of_the_history_of_everything_it_is_about(book: Book) -> None:
    told(book)
    for views in book.everywhere():
        assert history.positions(views, "met_1", None, limit=9) == [1, 3]
        assert history.positions(views, "prod_1", None, limit=9) == [3]
        assert history.positions(views, "cus_1", None, limit=9) == [2]
        assert history.positions(views, "nothing", None, limit=9) == []


def test_what_happens_to_an_object_happens_to_its_owners(book: Book) -> None:
    """Without that the fact says so: a price that is archived is its product's history too."""
    told(book)
    book.happened("price_1", PriceArchived(id="price_1", archived_at=START))
    for views in book.everywhere():
        assert history.positions(views, "prod_1", None, limit=9) == [3, 6]
        assert history.positions(views, "met_1", ["price.archived"], limit=9) == [6]
        assert history.positions(views, "cus_1", None, limit=9) == [2]


def test_what_is_about_two_objects(book: Book) -> None:
    told(book)
    for views in book.everywhere():
        assert history.positions(views, "met_1", None, also="prod_1", limit=9) == [3]
        assert history.positions(views, "met_1", None, also="cus_1", limit=9) == []
        assert history.count(views, "met_1", None, also="prod_1") == 1


def test_counting_between_two_positions(book: Book) -> None:
    told(book)
    for views in book.everywhere():
        assert history.count(views, None, None) == 5
        assert history.count(views, None, None, after=1, before=5) == 3
        assert history.count(views, None, ["usage.recorded", "usage.recorded"]) == 2


def test_the_whole_ledger_by_type_and_by_page(book: Book) -> None:
    told(book)
    for views in book.everywhere():
        assert history.positions(views, None, None, limit=9) == [1, 2, 3, 4, 5]
        assert history.positions(views, None, ["usage.recorded"], limit=9) == [4, 5]
        assert history.positions(views, None, [], limit=9) == []
        assert history.positions(views, None, None, after=1, before=5, limit=2) == [2, 3]
        assert history.positions(views, None, None, limit=2, backwards=True) == [5, 4]
        types = ["meter.created", "customer.created"]
        assert history.positions(views, None, types, backwards=True, limit=9) == [2, 1]

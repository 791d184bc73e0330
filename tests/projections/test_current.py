"""What things are now: the latest state of each, found by id, by key, or a page at a time."""

import pytest

from domain.customers import Customer, CustomerUpdated
from domain.meters import Meter
from domain.products import Product, ProductCreated
from projections import current
from projections.usage_records import customer_ref, customer_refs
from tests.projections.book import START, Book


def product(id: str, name: str) -> ProductCreated:
    """A product."""
    return ProductCreated(id=id, name=name, description=None, unit_label=None, created_at=START)


@pytest.fixture
def catalogue(book: Book) -> Book:
    """Products a to e at positions 1 to 6, a customer between them; b and d share a name."""
    for name, title in (("a", "A"), ("b", "twice"), ("c", "C"), ("d", "twice"), ("e", "E")):
        book.happened(f"prod_{name}", product(f"prod_{name}", title))
        if name == "b":
            book.customer()
    return book


def test_an_object_is_found_by_its_id_and_its_type(catalogue: Book) -> None:
    for views in catalogue.everywhere():
        found = current.find(views, Product, "prod_c")
        assert found is not None
        assert (found.position, found.version, found.state.name) == (4, 1, "C")
        assert current.get(views, Product, "prod_c") == found.state
        assert current.at(views, Product, 4) == found.state
        assert current.find(views, Customer, "prod_c") is None
        assert current.get(views, Product, "prod_z") is None
        assert current.at(views, Product, 3) is None


def test_an_object_is_found_by_its_keys(catalogue: Book) -> None:
    for views in catalogue.everywhere():
        assert current.owner(views, Product, "name", "twice") == "prod_b"
        assert current.owner(views, Customer, "externalId", "al") == "cus_1"
        assert current.owner(views, Customer, "email", "al") is None
        assert current.owner(views, Product, "name", "al") is None
        assert current.owner(views, Product, "name", None) is None


def test_what_cannot_be_stored_is_not_found(catalogue: Book) -> None:
    for views in catalogue.everywhere():
        for text in ("\ud800", "a\x00"):
            assert current.get(views, Product, text) is None
            assert current.owner(views, Product, "name", text) is None
            assert current.select(views, Product, {"name": text}, limit=9) == []
            assert current.count(views, Product, {"name": text}) == 0


PAGES: list[tuple[dict[str, int], str]] = [
    ({}, "abcde"),
    ({"limit": 2}, "ab"),
    ({"after": 2, "limit": 2}, "cd"),
    ({"after": 6}, ""),
    ({"before": 4}, "ab"),
    ({"after": 1, "before": 6}, "bcd"),
    ({"limit": 2, "backwards": True}, "ed"),
    ({"limit": 2, "backwards": True, "before": 5}, "cb"),
    ({"after": 3, "backwards": True}, "edc"),
]


@pytest.mark.parametrize(("page", "names"), PAGES)
def test_a_page(catalogue: Book, page: dict[str, int], names: str) -> None:
    wanted = {"after": None, "before": None, "limit": 9, "backwards": False, **page}
    for views in catalogue.everywhere():
        found = current.select(
            views,
            Product,
            {},
            after=wanted["after"],
            before=wanted["before"],
            limit=wanted["limit"] or 0,
            backwards=bool(wanted["backwards"]),
        )
        assert [one.state.id for one in found] == [f"prod_{name}" for name in names]


def test_pages_of_what_has_a_key(catalogue: Book) -> None:
    for views in catalogue.everywhere():
        both = current.select(views, Product, {"name": "twice"}, limit=9)
        assert [one.state.id for one in both] == ["prod_b", "prod_d"]
        rest = current.select(views, Product, {"name": "twice"}, after=2, limit=9)
        assert [one.state.id for one in rest] == ["prod_d"]
        assert current.count(views, Product, {}) == 5
        assert current.count(views, Product, {"name": "twice"}) == 2
        assert current.count(views, Meter, {}) == 0


def test_all_keys_must_be_those_of_one_object(book: Book) -> None:
    book.meter("met_1", over="tokens")
    book.meter("met_2", over="tokens")
    book.meter("met_3", over="calls")
    for views in book.everywhere():
        keys = {"eventName": "tokens", "name": "met_2"}
        assert [one.state.id for one in current.select(views, Meter, keys, limit=9)] == ["met_2"]
        assert current.count(views, Meter, {"eventName": "calls", "name": "met_2"}) == 0


def test_many_keys_mean_what_each_of_them_means(book: Book) -> None:
    book.customer("cus_1", "al")
    book.customer("cus_2", None)
    book.customer("cus_3", "cus_2")  # an id of ours says more than what somebody calls theirs
    book.happened("cus_1", CustomerUpdated(id="cus_1", external_id="bo"))
    keys = ["cus_1", "cus_2", "cus_3", "al", "bo", "nobody", "a\0b", "\ud800"]
    keys += [f"other-{number}" for number in range(600)]
    for views in book.everywhere():
        found = customer_refs(views, keys)
        assert found == {key: customer_ref(views, key) for key in keys}
        assert [found[key] for key in keys[:6]] == [1, 2, 3, None, 1, None]


def renamed_and_failed(book: Book) -> None:
    """A customer is renamed and found so, then something goes wrong."""
    book.happened("cus_1", CustomerUpdated(id="cus_1", external_id="bo"))
    changed = current.find(book.live.database.writing, Customer, "cus_1")
    assert changed is not None
    assert (changed.version, changed.state.external_id) == (2, "bo")
    raise KeyError


def test_what_was_looked_up_is_what_it_is_after_it_changed(book: Book) -> None:
    """A transaction remembers what it looked up, until it changes or a part of it is undone."""
    database = book.live.database
    with database.snapshot() as before, book.together():
        views = database.writing
        assert current.get(views, Customer, "cus_1") is None
        book.customer()
        first = current.find(views, Customer, "cus_1")
        assert first is not None
        assert current.find(views, Customer, "cus_1") is first
        with pytest.raises(KeyError), database.savepoint():
            renamed_and_failed(book)
        assert current.find(views, Customer, "cus_1") == first
        assert current.get(before, Customer, "cus_1") is None
    assert views.known is None  # between transactions others may write
    with database.snapshot() as after:
        assert current.find(after, Customer, "cus_1") == first
        assert current.find(before, Customer, "cus_1") is None

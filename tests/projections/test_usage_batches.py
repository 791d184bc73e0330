"""Batches of usage: which of them hold records of a customer."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.customers import Customer
from projections import current, usage_batches
from projections.tables import Views
from tests.projections.book import Book, used

KEYS = ("al", "cus_1", "bo", "cus_2", "nobody")
BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 5)), min_size=1, max_size=4),
    max_size=6,
)


def holding(views: Views, id: str) -> list[int]:
    """The batches that hold records of a customer, from wherever they are looked for."""
    found = current.find(views, Customer, id)
    assert found is not None
    every = usage_batches.holding(views, found, limit=-1)
    for place in (0, *every):
        after = [at for at in every if at > place]
        assert usage_batches.holding(views, found, after=place, limit=2) == after[:2]
        before = [at for at in reversed(every) if at < place]
        back = usage_batches.holding(views, found, before=place, limit=2, backwards=True)
        assert back == before[:2]
    return every


def test_a_customer_that_used_nothing(book: Book) -> None:
    book.meter()
    book.customer()
    for views in book.everywhere():
        assert holding(views, "cus_1") == []


def test_voided_records_were_its_own_all_the_same(book: Book) -> None:
    """Also one that was voided while it waited for a meter."""
    book.customer()
    waiting = book.usage(used("1"))
    book.void(waiting)
    book.meter()
    counted = book.usage(used("2"))
    book.void(counted)
    book.usage(used("3", by="bo"))
    for views in book.everywhere():
        assert holding(views, "cus_1") == [waiting, counted]


@settings(max_examples=40)
@given(before=BATCHES, after=BATCHES)
def test_whoever_is_named_by_a_record(
    before: list[list[tuple[str, int]]], after: list[list[tuple[str, int]]]
) -> None:
    """By either key, whatever the hour, before the customer was there and after."""
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.meter()
        told = []
        for batches in (before, after):
            for batch in batches:
                records = [used("1", timedelta(hours=hour), by=key) for key, hour in batch]
                told.append((book.usage(*records), {key for key, _ in batch}))
            if batches is before:
                book.customer("cus_1", "al")
                book.customer("cus_2", "bo")
        for views in book.everywhere():
            for id, key in (("cus_1", "al"), ("cus_2", "bo")):
                expected = [position for position, keys in told if keys & {id, key}]
                assert holding(views, id) == expected

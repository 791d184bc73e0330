"""What a usage record must have: always, or only in the time of one version of a meter."""

from datetime import timedelta

from domain.aggregation import Aggregation
from domain.periods import to_us
from domain.usage import Needed
from projections.needed_properties import Needs, needs
from projections.usage_records import ALWAYS_US, meters_over
from tests.projections.book import START, Book

DAY = timedelta(days=1)
DAY_US = to_us(START + DAY)


def needed(book: Book) -> Needs:
    """What the meters over tokens need."""
    (found,) = {needs(meters_over(views, "tokens")) for views in book.everywhere()}
    return found


def test_what_every_version_needs_is_needed_always(book: Book) -> None:
    book.meter()
    book.revise(DAY, Aggregation.MAX)
    assert needed(book) == Needs(("value",), (), ())


def test_another_property_is_needed_from_an_instant(book: Book) -> None:
    book.meter("met_1", value="size")
    book.revise(DAY, Aggregation.UNIQUE_COUNT, value="user")
    assert needed(book) == Needs(
        (),
        (),
        (
            Needed("size", numeric=True, since_us=0, until_us=DAY_US),
            Needed("user", numeric=False, since_us=DAY_US, until_us=ALWAYS_US),
        ),
    )
    book.meter("met_2", value="size")
    assert needed(book).numbers == ("size",)


def test_what_counts_needs_nothing(book: Book) -> None:
    book.meter()
    book.revise(DAY, Aggregation.COUNT)
    book.revise(2 * DAY)
    assert [(one.since_us, one.until_us) for one in needed(book).at_times] == [
        (0, DAY_US),
        (to_us(START + 2 * DAY), ALWAYS_US),
    ]

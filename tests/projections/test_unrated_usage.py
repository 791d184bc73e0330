"""Unrated usage: what is left when everything that a subscription bills is taken away."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregation import Aggregation
from domain.collection import CollectionMethod
from domain.customers import Customer
from domain.meter_filters import DimensionFilter
from domain.periods import Interval, IntervalUnit, Period, to_us
from domain.prices import PriceCreated, Timing
from domain.pricing import PerUnit
from domain.subscription_items import Item
from domain.subscriptions import SubscriptionCreated
from domain.usage import UsageRecord
from projections import current
from projections.tables import Views
from projections.unrated_usage import Search
from tests.projections.book import START, Book
from tests.projections.test_meter_summaries import DIMENSIONS, MOMENTS, RECORDS

Filter = Mapping[str, Sequence[str]]
Cover = tuple[datetime, Filter]
"""When a subscription starts, and what its price is for."""

COVERS = st.lists(
    st.tuples(
        MOMENTS,
        st.sampled_from(
            [{}, {"model": ("small",)}, {"model": ("small", "large")}, {"region": ("eu",)}]
        ),
    ),
    max_size=3,
)
BOUNDS = st.tuples(MOMENTS, MOMENTS).filter(lambda bounds: bounds[0] != bounds[1]).map(sorted)
TRIED = (Aggregation.SUM, Aggregation.COUNT, Aggregation.MAX, Aggregation.UNIQUE_COUNT)


def subscribe(book: Book, number: int, meter_id: str, cover: Cover) -> None:
    """A subscription of the book's customer to a price over a meter."""
    start, filter = cover
    price_id = f"price_{meter_id}_{number}"
    price = PriceCreated(
        id=price_id,
        product_id="prod_1",
        currency="USD",
        interval=Interval(IntervalUnit.MONTH),
        meter_id=meter_id,
        meter_filter=tuple(
            DimensionFilter(name=name, values=tuple(values)) for name, values in filter.items()
        ),
        timing=Timing.IN_ARREARS,
        pricing=PerUnit(unit_amount=Decimal(1)),
        nickname=None,
        lookup_key=None,
        created_at=START,
    )
    book.happened(price_id, price)
    subscription = SubscriptionCreated(
        id=f"sub_{meter_id}_{number}",
        customer_id="cus_1",
        currency="USD",
        items=(Item(id=f"item_{meter_id}_{number}", price_id=price_id, quantity=None),),
        start_at=start,
        billing_anchor=start,
        time_zone="UTC",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        created_at=START,
    )
    book.happened(subscription.id, subscription)


def unrated(views: Views, period: Period) -> dict[str, tuple[Fraction | None, int]]:
    """The quantity and the number of records of each meter that has unrated usage."""
    customer = current.find(views, Customer, "cus_1")
    assert customer is not None
    return {
        one.meter.meter.id: (None if one.value is None else Fraction(one.value), one.count)
        for one in Search(views, period).of(customer)
    }


def covered(record: UsageRecord, covers: Sequence[Cover], at_us: int) -> bool:
    """Whether a subscription bills what the record is about, at an instant."""
    return any(
        to_us(start) <= at_us and all(record.property(n) in v for n, v in filter.items())
        for start, filter in covers
    )


@settings(max_examples=20, deadline=None)
@given(records=RECORDS, covers=COVERS, bounds=BOUNDS)
def test_what_is_left_is_what_nobody_bills(
    records: list[UsageRecord], covers: list[Cover], bounds: list[datetime]
) -> None:
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        for aggregation in TRIED:
            meter = book.meter(f"met_{aggregation}", aggregation, by=DIMENSIONS)
            for number, cover in enumerate(covers):
                subscribe(book, number, meter, cover)
        book.usage(*records)
        period = Period(*bounds)
        left = [
            record
            for record in records
            if to_us(period.start) <= record.timestamp_us < to_us(period.end)
            and not covered(record, covers, record.timestamp_us)
        ]
        values = [Fraction(one.value) for one in left if one.value is not None]
        expected: dict[str, tuple[Fraction | None, int]] = {}
        if left:
            expected["met_COUNT"] = (Fraction(len(left)), len(left))
        if values:
            expected["met_SUM"] = (sum(values, Fraction(0)), len(values))
            expected["met_MAX"] = (max(values), len(values))
            expected["met_UNIQUE_COUNT"] = (Fraction(len(set(values))), len(values))
        for views in book.everywhere():
            assert unrated(views, period) == expected


@settings(max_examples=20, deadline=None)
@given(records=RECORDS, covers=COVERS, bounds=BOUNDS, since=MOMENTS)
def test_each_version_of_a_meter_tells_what_is_left_of_its_time(
    records: list[UsageRecord], covers: list[Cover], bounds: list[datetime], since: datetime
) -> None:
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter("met_1", Aggregation.SUM, by=DIMENSIONS)
        for number, cover in enumerate(covers):
            subscribe(book, number, "met_1", cover)
        book.usage(*records)
        book.revise(since, Aggregation.COUNT, by=DIMENSIONS)
        start, change, end = map(to_us, (bounds[0], since, bounds[1]))
        left = [
            record
            for record in records
            if start <= record.timestamp_us < end
            and not covered(record, covers, record.timestamp_us)
        ]
        summed = [
            Fraction(one.value)
            for one in left
            if one.timestamp_us < change and one.value is not None
        ]
        counted = sum(one.timestamp_us >= change for one in left)
        quantity, count = sum(summed, Fraction(counted)), len(summed) + counted
        for views in book.everywhere():
            assert unrated(views, Period(*bounds)) == (
                {"met_1": (quantity, count)} if count else {}
            )


@settings(max_examples=20, deadline=None)
@given(records=RECORDS, covers=COVERS, bounds=BOUNDS, since=st.none() | MOMENTS)
def test_a_level_is_unrated_for_as_long_as_nobody_bills_it(
    records: list[UsageRecord],
    covers: list[Cover],
    bounds: list[datetime],
    since: datetime | None,
) -> None:
    with TemporaryDirectory() as folder, closing(Book(Path(folder))) as book:
        book.customer()
        book.meter("met_1", Aggregation.WEIGHTED_SUM, by=DIMENSIONS, carries_over=True)
        if since is not None:  # the level runs on, whatever else is declared from then on
            wider = (*DIMENSIONS, "zone")
            book.revise(since, Aggregation.WEIGHTED_SUM, by=wider, carries_over=True)
        for number, cover in enumerate(covers):
            subscribe(book, number, "met_1", cover)
        book.usage(*records)
        start, end = map(to_us, bounds)
        starts = [to_us(start) for start, _ in covers]
        edges = sorted({start, end, *(one for one in starts if start < one < end)})
        area = Fraction(0)
        count = 0
        for record in records:
            at_us = record.timestamp_us
            if record.value is None:
                continue
            for begins, ends in pairwise(edges):
                if at_us < ends and not covered(record, covers, begins):
                    area += Fraction(record.value) * (ends - max(at_us, begins))
                    count += begins <= at_us
        for views in book.everywhere():
            found = unrated(views, Period(*bounds)).get("met_1", (Fraction(0), 0))
            assert found == (area / (end - start), count)


def test_coverage_may_change_within_an_hour(book: Book) -> None:
    book.customer()
    book.meter("met_1", by=["model"])
    half_past = START + timedelta(minutes=30)
    subscribe(book, 1, "met_1", (half_past, {"model": ("small",)}))
    for minute in (0, 29, 30, 59):
        at = START + timedelta(minutes=minute)
        book.usage(
            UsageRecord("", "default", "tokens", "al", to_us(at), "1", {"model": "small"}),
            UsageRecord("", "default", "tokens", "al", to_us(at), "10", {"model": "large"}),
        )
    hour = Period(START, START + timedelta(hours=1))
    for views in book.everywhere():
        assert unrated(views, hour) == {"met_1": (Fraction(42), 6)}

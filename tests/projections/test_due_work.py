"""What falls due when: the next invoice of each subscription, and the issue of each draft."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from domain.collection import CollectionMethod
from domain.invoices import InvoiceDrafted, Reason
from domain.periods import Interval, IntervalUnit, format_instant, to_us
from domain.prices import PriceCreated, Timing
from domain.pricing import PerUnit
from domain.settlements import InvoiceOverdue, PaymentRecorded
from domain.subscription_items import Item
from domain.subscriptions import SubscriptionCreated
from projections import due_work
from projections.due_work import Due, Kind
from projections.tables import Views
from tests.invoice_samples import ISSUED
from tests.projections.book import START, Book

JANUARY_15 = datetime(2026, 1, 15, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FOR_EVER = 2**62


def price(book: Book, id: str, timing: Timing, unit: IntervalUnit = IntervalUnit.MONTH) -> None:
    """A licence."""
    created = PriceCreated(
        id=id,
        product_id="prod_1",
        currency="USD",
        interval=Interval(unit),
        meter_id=None,
        meter_filter=(),
        timing=timing,
        pricing=PerUnit(unit_amount=Decimal(1)),
        nickname=None,
        lookup_key=None,
        created_at=START,
    )
    book.happened(id, created)


def subscribe(
    book: Book,
    *prices: str,
    id: str = "sub_1",
    start: datetime = START,
    created: datetime = START,
    recorded_at: datetime = START,
) -> None:
    """A subscription of the book's customer, or what it becomes."""
    event = SubscriptionCreated(
        id=id,
        customer_id="cus_1",
        currency="USD",
        items=tuple(Item(id=f"item_{one}", price_id=one, quantity=Decimal(1)) for one in prices),
        start_at=start,
        billing_anchor=start,
        time_zone="UTC",
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        created_at=created,
    )
    book.happened(id, event, recorded_at)


def draft(book: Book, at: datetime, reason: Reason = Reason.RENEWAL, wait: timedelta = HOUR) -> str:
    """A draft of the subscription at an instant; return its id."""
    id = f"inv_{len(book.log)}"
    drafted = InvoiceDrafted(
        id=id,
        subscription_id="sub_1",
        customer_id="cus_1",
        currency="USD",
        at=at,
        reason=reason,
        finalizes_at=at + wait,
        drafted_at=at,
    )
    book.happened(id, drafted)
    return id


def issue(book: Book, id: str, due_at: datetime | None = None) -> None:
    """A draft is finalized, with nothing on it that names other things."""
    book.happened(id, replace(ISSUED, id=id, number=len(book.log), due_at=due_at, lines=()))


def pay(book: Book, id: str, amount: str) -> None:
    """Something is paid of an invoice, of which 0.03 was due."""
    paid = PaymentRecorded(
        id=id,
        customer_id="cus_1",
        currency="USD",
        payment_id=f"pay_{len(book.log)}",
        amount=Decimal(amount),
        to_balance=Decimal(0),
        reference=None,
        paid_at=START,
        recorded_at=START,
    )
    book.happened(id, paid)


def all_due(views: Views) -> Iterator[Due]:
    """Everything that is due at some time, in the order in which it is done."""
    seen: set[Due] = set()
    while due := due_work.first(views, FOR_EVER, without=seen):
        yield due
        seen.add(due)


def due(book: Book) -> list[str]:
    """The same as texts, live and rebuilt."""
    live, rebuilt = (
        [f"{format_instant(one.at)} {one.kind} {one.subject}" for one in all_due(views)]
        for views in book.everywhere()
    )
    assert live == rebuilt
    return live


def test_a_licence_in_advance_is_due_from_the_start(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1", start=JANUARY_15)
    assert due(book) == ["2026-01-15T00:00:00Z draft sub_1"]


def test_a_start_in_the_past_is_due_at_once(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1", created=JANUARY_15)
    assert due(book) == ["2026-01-15T00:00:00Z draft sub_1"]


def test_a_start_at_which_nothing_is_due_is_passed_over(book: Book) -> None:
    price(book, "price_1", Timing.IN_ARREARS)
    subscribe(book, "price_1")
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]


def test_a_start_in_the_past_too_long_ago_for_one_invoice_is_due_all_the_same(book: Book) -> None:
    price(book, "price_1", Timing.IN_ARREARS, IntervalUnit.DAY)
    subscribe(book, "price_1", start=datetime(2000, 1, 1, tzinfo=UTC))
    assert due(book) == ["2026-01-01T00:00:00Z draft sub_1"]


def test_a_draft_is_issued_after_its_wait_and_the_next_one_follows(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    opening = draft(book, START, Reason.OPENING)
    assert due(book) == [
        f"2026-01-01T01:00:00Z finalize {opening}",
        "2026-02-01T00:00:00Z draft sub_1",
    ]
    issue(book, opening)
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]
    renewal = draft(book, FEBRUARY, wait=timedelta(days=40))
    assert due(book) == [
        "2026-03-01T00:00:00Z draft sub_1",
        f"2026-03-13T00:00:00Z finalize {renewal}",
    ]


def test_the_earliest_period_of_any_item_is_billed_next(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE, IntervalUnit.YEAR)
    price(book, "price_2", Timing.IN_ADVANCE, IntervalUnit.WEEK)
    subscribe(book, "price_1", "price_2")
    issue(book, draft(book, START, Reason.OPENING))
    assert due(book) == ["2026-01-08T00:00:00Z draft sub_1"]


def test_an_invoice_beside_the_periods_moves_none_of_them(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    issue(book, draft(book, START, Reason.OPENING))
    issue(book, draft(book, FEBRUARY + HOUR, Reason.ONE_OFF))
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]


def test_what_is_due_first_of_one_subscription_or_of_all(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1", id="sub_2", start=JANUARY_15)
    subscribe(book, "price_1", start=FEBRUARY)
    subscribe(book, "price_1", id="sub_3", start=JANUARY_15)
    first = Due(to_us(JANUARY_15), Kind.DRAFT, "sub_2", "sub_2")
    second = Due(to_us(JANUARY_15), Kind.DRAFT, "sub_3", "sub_3")
    for views in book.everywhere():
        assert due_work.first(views, to_us(JANUARY_15) - 1) is None
        assert due_work.first(views, to_us(JANUARY_15)) == first
        assert due_work.first(views, to_us(MARCH), without=[first]) == second
        assert due_work.first(views, to_us(JANUARY_15), without=[first, second]) is None
        mine = due_work.first(views, to_us(MARCH), subscription_id="sub_1")
        assert mine == Due(to_us(FEBRUARY), Kind.DRAFT, "sub_1", "sub_1")


def test_what_was_passed_over_stays_so_when_the_subscription_changes(book: Book) -> None:
    price(book, "price_1", Timing.IN_ARREARS)
    price(book, "price_2", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    subscribe(book, "price_1", "price_2", recorded_at=JANUARY_15)
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]


def test_what_is_due_already_stays_due_when_the_subscription_changes(book: Book) -> None:
    price(book, "price_1", Timing.IN_ARREARS)
    price(book, "price_2", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    subscribe(book, "price_1", "price_2", recorded_at=MARCH)
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]


def test_what_was_sent_is_overdue_unless_it_is_paid(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    sent = draft(book, START, Reason.OPENING)
    issue(book, sent, due_at=JANUARY_15)
    next_invoice = "2026-02-01T00:00:00Z draft sub_1"
    assert due(book) == [f"2026-01-15T00:00:00Z overdue {sent}", next_invoice]
    pay(book, sent, "0.01")
    assert due(book) == [f"2026-01-15T00:00:00Z overdue {sent}", next_invoice]
    pay(book, sent, "0.02")
    assert due(book) == [next_invoice]


def test_what_is_overdue_is_noted_once(book: Book) -> None:
    price(book, "price_1", Timing.IN_ADVANCE)
    subscribe(book, "price_1")
    sent = draft(book, START, Reason.OPENING)
    issue(book, sent, due_at=JANUARY_15)
    noted = InvoiceOverdue(id=sent, customer_id="cus_1", due_at=JANUARY_15, noted_at=MARCH)
    book.happened(sent, noted)
    assert due(book) == ["2026-02-01T00:00:00Z draft sub_1"]

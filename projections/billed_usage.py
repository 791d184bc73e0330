"""Which usage is billed, by which invoice; and which came late: recorded or corrected afterwards.

A billed period is what an issued invoice asks for the usage of one item at one price. What changes
its usage later makes it wait for an adjustment, on an invoice to come; the records that did so are
kept beside it for ever, with the invoice that has the adjustment.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from domain.decider import Recorded
from domain.invoices import Invoice, InvoiceFinalized
from domain.late_usage import LateUsage
from domain.meters import Meter, MeterRevised
from domain.periods import Period, from_us, to_us
from domain.prices import Price, PriceSuperseded
from domain.rating import LineKind
from domain.settlements import InvoiceVoided
from domain.statements import IssuedLine
from projections import current, usage_records
from projections.meter_summaries import Question
from projections.tables import Row, Table, Views
from projections.usage_blocks import ROWS_PER_EVENT, Matched
from projections.usage_records import ALWAYS_US, CUSTOMERS_REMEMBERED, MeterRef

BILLED = Table(
    "billed_usage",
    "ref INTEGER PRIMARY KEY, customer_ref INTEGER, event_ref INTEGER, since_us INTEGER, "
    "end_us INTEGER, subscription_id TEXT, item_id TEXT, price_id TEXT, invoice_id TEXT, "
    "invoiced_us INTEGER, closed TEXT, waits INTEGER",
    key="ref",
    indexes=[
        "customer_ref, end_us, since_us, event_ref",
        "subscription_id, waits",
        "price_id, end_us",
        "invoice_id",
    ],
)
LATE = Table(
    "late_usage",
    "billed_ref INTEGER, position INTEGER, place INTEGER, invoice_id TEXT",
    key="billed_ref, position, place",
    indexes=["place"],
)
TABLES = (BILLED, LATE)

_COLUMNS = (
    "ref, customer_ref, event_ref, since_us, end_us, subscription_id, item_id, price_id, "
    "invoice_id, invoiced_us, closed, waits"
)


class Closed(StrEnum):
    """Why usage of a billed period is written off; of a reported one, what comes late alone."""

    DISCARDED = "DISCARDED"
    VOIDED = "VOIDED"
    REPORTED = "REPORTED"


class BilledPeriod(msgspec.Struct, frozen=True):
    """What an invoice bills of one item's usage at one price; whether it waits for an adjustment.

    Its reference grows in the order in which invoices are issued.
    """

    ref: int
    customer_ref: int
    event_ref: int
    since_us: int
    end_us: int
    subscription_id: str
    item_id: str
    price_id: str
    invoice_id: str
    invoiced_us: int
    closed: Closed | None
    waits: bool

    @property
    def period(self) -> Period:
        """The time that it bills."""
        return Period(from_us(self.since_us), from_us(self.end_us))

    @property
    def position(self) -> int:
        """Where in the ledger its invoice was issued."""
        return self.ref // ROWS_PER_EVENT


class BilledUntil:
    """Up to when any usage of each customer is billed, remembered between batches."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def forget(self) -> None:
        """Trust nothing remembered: it may have been undone."""
        self._known.clear()

    def of(self, views: Views, customers: Iterable[int]) -> dict[int, int]:
        """For each of the customers the end of the last billed period; 0 without any."""
        known = self._known
        if len(known) > CUSTOMERS_REMEMBERED:
            known.clear()
        missing = [customer for customer in customers if customer not in known]
        if missing:
            known |= dict.fromkeys(missing, 0)
            sql = (
                "SELECT customer_ref, MAX(end_us) FROM billed_usage WHERE customer_ref IN :them"
                " GROUP BY customer_ref"
            )
            known |= dict(views.of_many(sql, missing))
        return known

    def reaches(self, customer: int, end_us: int) -> None:
        """A period of the customer is billed that ends then."""
        if customer in self._known:
            self._known[customer] = max(self._known[customer], end_us)


# ------------------------------------------------------------------------------------- writing


def apply(views: Views, recorded: Recorded, until: BilledUntil) -> set[str]:
    """Fold one fact about invoices, prices or meters.

    The answer is the subscriptions of which something waits otherwise than before.
    """
    match recorded.event:
        case InvoiceFinalized() as event:
            return _issued(views, recorded.position, event, until)
        case InvoiceVoided(id=id):
            return _voided(views, id)
        case PriceSuperseded(id=id, effective_at=at):
            return _changed(views, [id], to_us(at))
        case MeterRevised(id=id, effective_at=at):
            prices = current.select(views, Price, {"meterId": id}, limit=-1)
            return _changed(views, [one.state.id for one in prices], to_us(at))
        case _:
            return set()


def _issued(views: Views, position: int, event: InvoiceFinalized, until: BilledUntil) -> set[str]:
    """Its usage is billed by it, and what waited for its adjustments does so no longer."""
    periods: dict[tuple[str | None, ...], list[tuple[int, IssuedLine]]] = {}
    adjusted = False
    for index, line in enumerate(event.lines):
        if line.kind is LineKind.USAGE:
            key = (line.item_id, line.price_id, line.since.isoformat())
            periods.setdefault(key, []).append((index, line))
        elif line.kind is LineKind.ADJUSTMENT:
            adjusted = True
            _adjusted(views, event.id, line)
    if periods:
        invoice = current.get(views, Invoice, event.id)
        assert invoice is not None, f"{event.id} was issued but never drafted"
        customer = usage_records.customer_ref(views, event.customer_id)
        assert customer is not None, f"{event.id} is that of a customer that exists"
        rows = [_row(views, position, invoice, customer, lines) for lines in periods.values()]
        views.insert("billed_usage", rows)
        until.reaches(customer, max(row[4] for row in rows))
    waits = adjusted or bool(waiting(views, event.subscription_id))
    return {event.subscription_id} if waits else set()


def _row(
    views: Views,
    position: int,
    invoice: Invoice,
    customer: int,
    lines: Sequence[tuple[int, IssuedLine]],
) -> tuple[int, int, int, int, int, str, str | None, str | None, str, int, Closed | None, bool]:
    """A billed period: one line for each version of the price that was in force in it."""
    index, first = lines[0]
    price = current.get(views, Price, first.price_id or "")
    assert price is not None, f"{first.id} has a price"
    closed = Closed.REPORTED if price.late_usage is LateUsage.REPORT else None
    return (
        position * ROWS_PER_EVENT + index,
        customer,
        _event_ref(views, price),
        to_us(first.since),
        max(to_us(line.period.end) for _, line in lines),
        invoice.subscription_id,
        first.item_id,
        first.price_id,
        invoice.id,
        to_us(invoice.at),
        Closed.DISCARDED if first.discarded else closed,
        False,
    )


def _event_ref(views: Views, price: Price) -> int:
    """The event name whose records a price bills."""
    meter = current.get(views, Meter, price.meter_id or "")
    assert meter is not None, f"{price.id} bills usage"
    return usage_records.event_ref(usage_records.meters_over(views, meter.event_name))


def _adjusted(views: Views, invoice_id: str, line: IssuedLine) -> None:
    """What made a billed period wait is on an invoice."""
    found = adjusted_by(views, line)
    assert found is not None, f"{line.id} adjusts what was billed"
    views.execute("UPDATE billed_usage SET waits=0 WHERE ref=?", (found.ref,))
    views.execute(
        "UPDATE late_usage SET invoice_id=? WHERE billed_ref=? AND invoice_id IS NULL",
        (invoice_id, found.ref),
    )


def _voided(views: Views, invoice_id: str) -> set[str]:
    """What a void invoice billed is written off; what it adjusted waits for another one."""
    invoice = current.get(views, Invoice, invoice_id)
    assert invoice is not None
    assert invoice.statement is not None, "only what was issued is voided"
    views.execute(
        "UPDATE billed_usage SET closed=?, waits=0 WHERE invoice_id=? AND closed IS NOT ?",
        (Closed.VOIDED, invoice_id, Closed.DISCARDED),
    )
    for line in invoice.statement.lines:
        found = adjusted_by(views, line)
        if found is not None:
            views.execute(
                "UPDATE late_usage SET invoice_id=NULL WHERE billed_ref=? AND invoice_id=?",
                (found.ref, invoice_id),
            )
            _let_wait(views, [found])
    return {invoice.subscription_id}


def _changed(views: Views, price_ids: Iterable[str], from_us: int) -> set[str]:
    """Periods that are billed come to something else from an instant on, whatever was used."""
    found = [
        one
        for id in price_ids
        for one in select(views, "price_id=? AND end_us>? ORDER BY end_us, ref", (id, from_us))
    ]
    return _let_wait(views, found)


def _let_wait(views: Views, periods: Iterable[BilledPeriod]) -> set[str]:
    """Periods wait for an adjustment, but for those that get none; the answer is whose they are."""
    waits = [one for one in periods if one.closed is None]
    for one in waits:
        views.execute("UPDATE billed_usage SET waits=1 WHERE ref=?", (one.ref,))
    return {one.subscription_id for one in waits}


def come_late(
    views: Views,
    position: int | None,
    meters: Sequence[MeterRef],
    records: Sequence[tuple[Matched, ...]],
) -> set[str]:
    """Let what bills records of one event name already wait for an adjustment.

    Each record comes with all that it says, or said; `position` is that of the fact that changes
    what was billed, its own when there is none. The answer is the subscriptions of which something
    waits.
    """
    touched: set[str] = set()
    if not records:
        return touched
    search = _Search(views, meters)
    for contents in records:
        record = contents[0]
        place = record.position * ROWS_PER_EVENT + record.row
        found = search.billing(contents)
        rows = [(one.ref, position or record.position, place, None) for one in found]
        views.insert("late_usage", rows)
        touched |= _let_wait(views, found)
    return touched


class _Search:
    """Looks for the billed periods that records of one event name change."""

    def __init__(self, views: Views, meters: Sequence[MeterRef]) -> None:
        self._views = views
        self._meters = meters
        self._carries = any(one.meter.carries_over for one in meters)
        self._asked: dict[tuple[str, int], Question] = {}

    def billing(self, contents: tuple[Matched, ...]) -> list[BilledPeriod]:
        """Those of a record; of void invoices and discarded usage, none."""
        customer, at_us = contents[0].customer_ref, contents[0].timestamp_us
        found = select(
            self._views,
            "customer_ref=? AND end_us>? AND since_us<=? AND event_ref=? ORDER BY end_us, ref",
            (
                customer,
                at_us,
                ALWAYS_US if self._carries else at_us,
                usage_records.event_ref(self._meters),
            ),
        )
        return [
            one
            for one in found
            if one.closed in {None, Closed.REPORTED}
            and any(changes(self._question(one), one, content) for content in contents)
        ]

    def _question(self, billed: BilledPeriod) -> Question:
        key = (billed.price_id, billed.customer_ref)
        known = self._asked.get(key)
        if known is None:
            known = question(self._views, self._meters, billed.price_id, billed.customer_ref)
            self._asked[key] = known
        return known


def question(
    views: Views, meters: Sequence[MeterRef], price_id: str, customer_ref: int
) -> Question:
    """Which records of an event name a price bills for a customer."""
    price = current.get(views, Price, price_id)
    assert price is not None, f"there is a price {price_id}"
    return Question(
        meter=next(one for one in meters if one.meter.id == price.meter_id),
        meters=meters,
        customer_ref=customer_ref,
        filter={wanted.name: wanted.values for wanted in price.meter_filter},
    )


def changes(asked: Question, billed: BilledPeriod, record: Matched) -> bool:
    """Whether a record changes the usage of a billed period.

    It lies in it, or before it where its level is carried over.
    """
    at_us = record.timestamp_us
    if not asked.takes(record) or at_us >= billed.end_us:
        return False
    if at_us >= billed.since_us:
        return True
    return any(version.measures(at_us) for version in asked.carried_by(billed.since_us))


# ------------------------------------------------------------------------------------- reading


def waiting(views: Views, subscription_id: str) -> list[BilledPeriod]:
    """The billed periods of a subscription that wait for an adjustment, in order of issue."""
    return select(views, "subscription_id=? AND waits=1 ORDER BY ref", (subscription_id,))


def adjusted_by(views: Views, line: IssuedLine) -> BilledPeriod | None:
    """The billed period that a line adjusts; None for any other kind of line."""
    return None if line.adjusts is None else of_line(views, line.adjusts, line)


def of_line(views: Views, invoice_id: str, line: IssuedLine) -> BilledPeriod | None:
    """The billed period of an invoice that is of the item, price and time of a line."""
    found = select(
        views,
        "invoice_id=? AND item_id=? AND price_id=? AND since_us=? ORDER BY ref",
        (invoice_id, line.item_id, line.price_id, to_us(line.since)),
    )
    return found[0] if found else None


def is_touched(views: Views, billed: BilledPeriod) -> bool:
    """Whether any record came late for a billed period, or was corrected."""
    return (
        views.row("SELECT 1 FROM late_usage WHERE billed_ref=? LIMIT 1", (billed.ref,)) is not None
    )


def of_customer(views: Views, customer_ref: int, event_ref: int) -> list[BilledPeriod]:
    """What was ever billed of a customer's records of one event name."""
    where = "customer_ref=? AND event_ref=? ORDER BY end_us, ref"
    return select(views, where, (customer_ref, event_ref))


def select(views: Views, where: str, parameters: Sequence[object]) -> list[BilledPeriod]:
    """The billed periods that a condition finds."""
    rows = views.rows(f"SELECT {_COLUMNS} FROM billed_usage WHERE {where}", parameters)
    return [_billed(row) for row in rows]


def _billed(row: Row) -> BilledPeriod:
    values = dict(zip(BilledPeriod.__struct_fields__, row, strict=True))
    return msgspec.convert(values, BilledPeriod, strict=False)

"""What the bill will say: one subscription's inputs at an instant, gathered and rated.

There is no table here. A preview is the same function that a finalized invoice comes from, over the
ledger as it is now, so that it never lags and never differs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import msgspec

from domain import aggregation, billing_calendar, charges, rating
from domain.aggregation import Sample
from domain.customers import Customer
from domain.meters import Meter
from domain.periods import END_OF_TIME, Period, to_us
from domain.prices import Price
from domain.rating import Bill, Charge, Line, Reading
from domain.subscriptions import Subscription
from projections import adjustments, current, invoice_items, meter_summaries
from projections.billed_usage import BilledPeriod
from projections.meter_summaries import Question
from projections.supposed import NOTHING, Hypothetical, Supposed
from projections.tables import Views
from projections.usage_records import MeterRef, meters_over


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A bill that has not been issued, and the ledger position it was computed at.

    `supposed` is what it counts that is not so.
    """

    bill: Bill
    subscription: Subscription
    position: int
    supposed: Supposed = NOTHING

    @property
    def content_hash(self) -> str:
        """The fingerprint of the bill."""
        return rating.content_hash(self.bill)


def preview(
    views: Views,
    subscription: Subscription,
    *,
    now: datetime,
    at: datetime | None = None,
    supposed: Supposed = NOTHING,
    invoice_id: str | None = None,
) -> Preview | None:
    """The invoice that would be issued at an instant, by default the next one.

    With an invoice, the one-off items are those that it took when it was drafted, and it adjusts
    what no earlier draft does; without one, both are what no draft has. What is supposed counts
    as if it were so. None when the subscription has not started by then, or when there is no next
    one.
    """
    prices = supposed.prices(prices_of(views, subscription))
    instant = at or billing_calendar.next_billing(subscription, prices, now)
    if instant is None or instant < subscription.start_at:
        return None
    due = charges.charges(subscription, prices, instant)
    until = {charge.item_id: charge.period.end for charge in due}
    asking = Asking(views, subscription.customer_id)
    lines = [line_of(views, asking, one, supposed.usage, until[one.item_id]) for one in due]
    rate = partial(line_of, views, asking, extra=supposed.usage)
    late = adjustments.lines(views, subscription, instant, invoice_id, rate, supposed)
    lines += islice(late, charges.LINES_LIMIT - len(lines))
    lines += invoice_items.lines(views, subscription.id, instant, invoice_id)
    return Preview(
        bill=rating.bill(subscription, instant, lines),
        subscription=subscription,
        position=views.checkpoint(),
        supposed=supposed,
    )


def adjustment(views: Views, billed: BilledPeriod) -> tuple[Line, str]:
    """What a billed period that waits for its adjustment will get, and in which currency."""
    subscription = current.get(views, Subscription, billed.subscription_id)
    assert subscription is not None, f"{billed.subscription_id} was billed"
    asking = Asking(views, subscription.customer_id)
    rate = partial(line_of, views, asking)
    return adjustments.line(views, subscription, billed, rate), subscription.currency


def last_instant(
    views: Views, subscription: Subscription, *, now: datetime, at: datetime | None
) -> datetime:
    """The last instant of what is billed at an instant, by default with the next invoice."""
    prices = prices_of(views, subscription)
    end = at or billing_calendar.next_billing(subscription, prices, now) or now
    return end - timedelta(microseconds=1)


def prices_of(views: Views, subscription: Subscription) -> Mapping[str, Price]:
    """The prices that a subscription's items have or had, by their ids."""
    found: dict[str, Price] = {}
    for id in {stretch.item.price_id for stretch in subscription.stretches}:
        price = current.get(views, Price, id)
        assert price is not None, f"{subscription.id} names a price that was never created"
        found[id] = price
    return found


class Asking:
    """Which usage prices bill for one customer; meters are looked up once, however many prices."""

    def __init__(self, views: Views, customer_id: str) -> None:
        self._views = views
        self._customer_ref = customer_ref(views, customer_id)
        self._meters: dict[str, tuple[MeterRef, Sequence[MeterRef]]] = {}

    def question(self, price: Price) -> Question:
        """Which usage a metered price bills."""
        assert price.meter_id is not None
        found = self._meters.get(price.meter_id)
        if found is None:
            meter = meter_ref(self._views, price.meter_id)
            found = (meter, meters_over(self._views, meter.meter.event_name))
            self._meters[price.meter_id] = found
        return Question(
            meter=found[0],
            meters=found[1],
            customer_ref=self._customer_ref,
            filter={wanted.name: wanted.values for wanted in price.meter_filter},
        )


def question(views: Views, price: Price, customer_id: str) -> Question:
    """Which usage a metered price bills for a customer."""
    return Asking(views, customer_id).question(price)


def meter_ref(views: Views, meter_id: str) -> MeterRef:
    """The meter with its reference."""
    found = current.find(views, Meter, meter_id)
    assert found is not None, f"no meter {meter_id}"
    return MeterRef(found.position, found.state)


def customer_ref(views: Views, customer_id: str) -> int:
    """The reference of a customer that exists."""
    found = current.find(views, Customer, customer_id)
    assert found is not None, f"no customer {customer_id}"
    return found.position


def line_of(
    views: Views,
    asking: Asking,
    charge: Charge,
    extra: Sequence[Hypothetical] = (),
    until: datetime = END_OF_TIME,
) -> Line:
    """Read the charge's meter, if it has one, and rate it.

    Hypothetical usage without a time lies just before `until`.
    """
    if charge.quantity is not None:
        return rating.rate(charge)
    asked = asking.question(charge.price)
    whole = Period(charge.since, charge.period.end)
    imagined = imagined_samples(extra, asked, whole, until)
    usage = _reading(views, asked, charge, whole, imagined)
    if charge.settled is None:
        return rating.rate(charge, usage)
    start_us = to_us(charge.period.start)
    before = [sample for sample in imagined if sample.timestamp_us < start_us]
    return rating.rate(charge, usage, _reading(views, asked, charge, charge.settled, before))


def _reading(
    views: Views, asked: Question, charge: Charge, period: Period, imagined: Sequence[Sample]
) -> Reading:
    """What the meter read in a period, and each record where the pricing looks at single ones."""
    if not charge.version.pricing.needs_records:
        state = meter_summaries.quantity(views, asked, period)
        for sample in imagined:
            state = state.add(sample)
        return Reading(aggregation.billable(state.value(period, charge.whole)))
    # The quantity is that of these records, so that the two agree.
    records = [*meter_summaries.samples(views, asked, period), *imagined]
    records.sort(key=lambda one: (one.timestamp_us, one.position, one.row))
    state = meter_summaries.nothing(asked, period)
    for one in records:
        state = state.add(one)
    values = tuple(one.value for one in records if one.value is not None)
    return Reading(aggregation.billable(state.value(period, charge.whole)), values)


def imagined_samples(
    extra: Sequence[Hypothetical], asked: Question, period: Period, until: datetime
) -> Sequence[Sample]:
    """The hypothetical records that a price would bill in a period, after all real ones.

    A level changed before the period is carried over into it: there from its start.
    """
    first, last = to_us(period.start), to_us(period.end) - 1
    carried = asked.carried_by(first)
    earliest = carried[-1].since_us if carried else first
    records = (
        one.matched(asked.customer_ref, row, one.timestamp or until - datetime.resolution)
        for row, one in enumerate(extra)
        if one.event_name == asked.meter.meter.event_name
    )
    return [
        msgspec.structs.replace(sample, timestamp_us=max(sample.timestamp_us, first))
        for record in records
        if earliest <= record.timestamp_us <= last
        for sample in (asked.counts(record),)
        if sample is not None
    ]

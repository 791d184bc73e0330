"""What the views say of usage at any step of a history, held to books that add it up one by one."""

from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction

from domain.customers import Customer
from domain.meters import Meter
from domain.periods import Period
from domain.subscriptions import Subscription
from projections import current, invoice_previews, meter_summaries, reconciliation
from projections.current import Found
from projections.meter_summaries import Question
from projections.tables import Views
from projections.usage_records import meters_over
from tests.histories.naive import Books
from tests.histories.sent import Broken
from tests.histories.steps import BEGIN

ALWAYS = Period(BEGIN - timedelta(days=400), BEGIN + timedelta(days=4_000))
"""A time in which everything happens."""


def check(views: Views, books: Books, now: datetime) -> Counter[str]:
    """Summaries, reconciliations and previews say what the records say; how many there were."""
    seen: Counter[str] = Counter()
    for meter in current.select(views, Meter, {}, limit=-1):
        for customer in current.select(views, Customer, {}, limit=-1):
            seen["summaries checked"] += _summaries(views, books, meter, customer)
            _reconciliation(views, books, meter, customer)
    for one in current.select(views, Subscription, {}, limit=-1):
        found = invoice_previews.preview(views, one.state, now=now)
        if found is not None:
            books.check_usage(one.state.id, found.bill.lines)
            seen["previews checked"] += 1
    return seen


def _summaries(views: Views, books: Books, meter: Found, customer: Found) -> int:
    """What a customer used in all, before the newest record, and from it on."""
    made, id = books.used.meters[meter.state.id], customer.state.id
    newest = books.used.newest(made, id)
    if newest is None:
        return 0
    meters = meters_over(views, made.event_name)
    asked = Question(meter=meters[0], meters=meters, customer_ref=customer.position)
    for period in (ALWAYS, Period(ALWAYS.start, newest), Period(newest, ALWAYS.end)):
        said = meter_summaries.quantity(views, asked, period).value(period)
        expected = books.used.reading(made, id, period, period)
        if Fraction(said or 0) != expected:
            raise Broken(
                f"{made.name} of {customer.state.name} in {period}: {said}, not {expected}"
            )
    return 1


def _reconciliation(views: Views, books: Books, meter: Found, customer: Found) -> None:
    """Nothing recorded disappears: accepted = billed + waiting + written off + voided."""
    made, id = books.used.meters[meter.state.id], customer.state.id
    found = reconciliation.reconcile(views, meter, customer)
    parts = (found.billed, found.waiting, found.written_off, found.voided)
    if sum(parts) != found.accepted or min(parts) < 0:
        raise Broken(f"{made.name} of {customer.state.name} does not add up: {found}")
    if (found.accepted, found.voided) != books.used.counts(made, id):
        raise Broken(
            f"{made.name} of {customer.state.name}: {found}, not {books.used.counts(made, id)}"
        )


def check_settled(views: Views, books: Books) -> Counter[str]:
    """When all has ended, each record is billed, written off, or of no subscription at all."""
    seen: Counter[str] = Counter()
    for meter in current.select(views, Meter, {}, limit=-1):
        for customer in current.select(views, Customer, {}, limit=-1):
            made, id = books.used.meters[meter.state.id], customer.state.id
            expected = books.standings(made, id)
            if expected is None:
                continue
            found = reconciliation.reconcile(views, meter, customer)
            said = {key: getattr(found, key) for key in expected}
            if said != expected:
                raise Broken(f"{made.name} of {customer.state.name} is {said}, not {expected}")
            seen.update({f"records {key}": count for key, count in expected.items()})
    return seen

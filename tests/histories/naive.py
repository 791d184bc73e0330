"""What items must have been billed in all, found piece by piece from the facts alone.

Nothing of `charges`, `licences` or `billing_calendar` is used here, and prices are asked of the
oracle: a licence costs, for each piece of a billing period in which its terms stay the same, that
piece's share of the period; usage of each piece is on one line. What a customer was charged in the
end, credits taken off, is the sum over the pieces.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from domain.aggregation import Aggregation
from domain.customers import CustomerCreated
from domain.decider import Recorded
from domain.invoices import InvoiceDrafted, InvoiceFinalized
from domain.meters import MeterCreated
from domain.money import format_decimal
from domain.periods import END_OF_TIME, EPOCH, BillingPeriod, Period, billing_period_at, from_us
from domain.prices import PriceCreated, PriceSuperseded, Timing
from domain.pricing import Graduated, Package, PerUnit, Pricing, Volume
from domain.proration import ProrationGranularity
from domain.rating import LineKind
from domain.statements import IssuedLine
from domain.subscription_items import Item
from domain.subscriptions import (
    End,
    SubscriptionCanceled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionReactivated,
)
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from tests.domain import oracle


class Misbilled(Exception):
    """An item was billed more or less than it should have been; the message says which."""


@dataclass(frozen=True)
class Version:
    """What a price asks from when on, and when that was said; the first one holds always."""

    since: datetime
    said: datetime
    pricing: Pricing


@dataclass
class Asked:
    """A price, and what it asks from when on."""

    created: PriceCreated
    versions: list[Version]

    @property
    def in_advance(self) -> bool:
        """Whether periods are billed when they begin."""
        return self.created.timing is Timing.IN_ADVANCE

    def cost(self, quantity: Fraction, at: datetime, billed: datetime = END_OF_TIME) -> Fraction:
        """What a quantity costs by what is asked at an instant, as known when it was billed."""
        asked = [one.pricing for one in self.versions if one.since <= at and one.said <= billed]
        ((model, said),) = terms(asked[-1]).items()
        ratio = quantity.numerator, quantity.denominator
        return Fraction(*oracle.MODELS[model](said, ratio, []))


def terms(pricing: Pricing) -> dict[str, oracle.Case]:
    """Pricing as the oracle reads it."""
    match pricing:
        case PerUnit():
            return {"perUnit": {"unitAmount": format_decimal(pricing.unit_amount)}}
        case Package():
            said = {"size": pricing.size, "amount": pricing.amount, "freeUnits": pricing.free_units}
            return {"package": {name: format_decimal(one) for name, one in said.items()}}
        case Graduated() | Volume():
            name = "graduated" if isinstance(pricing, Graduated) else "volume"
            tiers = [
                {
                    name: format_decimal(one)
                    for name, one in (
                        ("upTo", tier.up_to),
                        ("unitAmount", tier.unit_amount),
                        ("flatAmount", tier.flat_amount),
                    )
                    if one is not None
                }
                for tier in pricing.tiers
            ]
            return {name: {"tiers": tiers}}
        case _:
            raise AssertionError(f"no history has {pricing}")


@dataclass(frozen=True)
class Terms:
    """An item at a price and in a quantity, from one instant to another."""

    item: Item
    since: datetime
    until: datetime
    billed_from: datetime | None
    ended_by_change: bool = False


@dataclass
class Subscribed:
    """A subscription as the facts have it, and what was issued for it."""

    created: SubscriptionCreated
    changed: list[SubscriptionChanged] = field(default_factory=list)
    end: End | None = None
    lines: list[IssuedLine] = field(default_factory=list)
    billed_until: datetime | None = None

    @property
    def known(self) -> list[SubscriptionChanged]:
        """The changes that the last invoice knows."""
        last = self.billed_until
        return [one for one in self.changed if last is not None and one.change.bill_at <= last]

    @property
    def ended(self) -> End | None:
        """The end, if the last invoice knows it."""
        last = self.billed_until
        return self.end if self.end and last and self.end.bill_at <= last else None

    def terms(self) -> Iterator[Terms]:
        """Each item at each of its terms."""
        start = self.created.start_at
        running: dict[str, tuple[Item, datetime, datetime | None]] = {
            item.id: (item, start, None) for item in self.created.items
        }
        until = self.ended.at if self.ended else END_OF_TIME
        for one in self.known:
            at = one.change.at
            for id in one.ended:
                item, since, billed_from = running.pop(id)
                yield Terms(item, since, min(at, until), billed_from, ended_by_change=True)
            running |= {item.id: (item, at, one.change.bill_at) for item in one.begun}
        for item, since, billed_from in running.values():
            yield Terms(item, since, until, billed_from)

    def prorates(self) -> bool:
        """Whether every change so far is billed by its share of time."""
        return all(one.change.prorates for one in self.known)

    def known_at(self, terms: Terms, at: datetime) -> datetime:
        """Up to when what was said of a price counts for a piece that begins at an instant.

        The invoice of a boundary is there as soon as it is reached.
        """
        if at == terms.since and terms.billed_from is not None:
            return terms.billed_from
        return max(at - timedelta(microseconds=1), self.created.created_at)

    def runs_until(self, price: Asked, terms: Terms) -> datetime:
        """When a licence ends that is not credited: with its running period."""
        end, until = self.ended, terms.until
        if end is None or end.prorates or terms.ended_by_change:
            return until
        period = self.period(price.created, max(end.at, self.created.start_at)).period
        began_before = period.start < end.at
        is_charged = price.in_advance and end.bill_at > end.at
        return period.end if began_before or is_charged else until

    @property
    def paid_from(self) -> datetime:
        """When the trial is over, or the start without one."""
        return self.created.trial_end or self.created.start_at

    def period(self, price: PriceCreated, at: datetime) -> BillingPeriod:
        """The billing period of a price at an instant; the trial is one by itself."""
        made = self.created
        if at < self.paid_from:
            trial = Period(made.start_at, self.paid_from)
            return BillingPeriod(trial, trial)
        return billing_period_at(
            self.paid_from, made.billing_anchor, price.interval, made.time_zone, at
        )

    def share(self, piece: Period, whole: Period) -> Fraction:
        """How much of a period a piece of it is."""
        zone = ZoneInfo(self.created.time_zone)
        if self.created.proration_granularity is ProrationGranularity.DAY:
            first, last, begin, end = (
                at.astimezone(zone).date()
                for at in (piece.start, piece.end, whole.start, whole.end)
            )
            if begin != end:
                return Fraction((last - first).days, (end - begin).days)
        return Fraction(piece.microseconds, whole.microseconds)


class Books:
    """Everything that the facts say about who was billed what, as far as they were read."""

    def __init__(self) -> None:
        self.prices: dict[str, Asked] = {}
        self.subscribed: dict[str, Subscribed] = {}
        self.used = Used()
        self._instants: dict[str, datetime] = {}

    def read(self, recorded: Recorded) -> None:
        """Take one more fact into account; what is issued is checked line by line."""
        self.used.read(recorded)
        match recorded.event:
            case PriceCreated() as event:
                self.prices[event.id] = Asked(event, [Version(EPOCH, EPOCH, event.pricing)])
            case PriceSuperseded() as event:
                versions = self.prices[event.id].versions
                said = recorded.envelope.recorded_at_us
                versions.append(Version(event.effective_at, from_us(said), event.pricing))
                versions.sort(key=lambda version: version.since)
            case SubscriptionCreated() as event:
                self.subscribed[event.id] = Subscribed(event)
            case SubscriptionChanged() as event:
                self.subscribed[event.id].changed.append(event)
            case SubscriptionCanceled() as event:
                self.subscribed[event.id].end = event.end
            case SubscriptionReactivated() as event:
                self.subscribed[event.id].end = None
            case InvoiceDrafted() as event:
                self._instants[event.id] = event.at
            case InvoiceFinalized() as event:
                self._issued(event)

    def _issued(self, event: InvoiceFinalized) -> None:
        known = self.subscribed[event.subscription_id]
        known.lines += event.lines
        at = self._instants[event.id]
        known.billed_until = max(at, known.billed_until or at)
        for line in event.lines:
            if line.kind is LineKind.USAGE:
                self._check_usage(known, line)

    def _check_usage(self, known: Subscribed, line: IssuedLine) -> None:
        """What was used is what the records say, and it costs what the oracle says."""
        price = self.prices[line.price_id or ""]
        until = self.used.quantity(known, price, Period(line.since, line.period.end))
        before = self.used.quantity(known, price, Period(line.since, line.period.start))
        if line.quantity != until - before:
            raise Misbilled(f"{line}: {until} - {before} was used")
        at = line.period.start
        cost = price.cost(until, at)
        if line.since < line.period.start:
            cost -= price.cost(before, at)
        if self._is_waived(known, line):
            cost = Fraction(0)
        if line.exact != cost:
            raise Misbilled(f"{line} should come to {cost}")

    def _is_waived(self, known: Subscribed, line: IssuedLine) -> bool:
        made, end = known.created, known.end
        if line.period.start < known.paid_from and not made.bills_usage_in_trial:
            return True
        discarded = any("discarded" in step.description for step in line.steps)
        return discarded and end is not None and not end.settles


class Used:
    """Usage records as they stand by now."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._meters: dict[str, MeterCreated] = {}
        self._records: dict[tuple[str, str], tuple[UsageRecord, Decimal | None]] = {}

    def read(self, recorded: Recorded) -> None:
        """Take one more fact into account."""
        match recorded.event:
            case CustomerCreated() as event:
                self._names[event.id] = event.external_id or event.id
            case MeterCreated() as event:
                self._meters[event.id] = event
            case UsageRecorded() as event:
                for one in event.records:
                    self._records[one.source, one.id] = (one, Decimal(one.value or 0))
            case UsageVoided() as event:
                record, _ = self._records[event.source, event.id]
                self._records[event.source, event.id] = (record, None)
            case UsageAmended() as event:
                record, _ = self._records[event.source, event.id]
                self._records[event.source, event.id] = (record, Decimal(event.value or 0))

    def quantity(self, known: Subscribed, price: Asked, period: Period) -> Fraction:
        """What a meter reads in a period: the sum, the largest, or the average over time."""
        meter = self._meters[price.created.meter_id or ""]
        name = self._names[known.created.customer_id]
        values = [
            (from_us(one.timestamp_us), Fraction(value))
            for one, value in self._records.values()
            if (one.event_name, one.customer) == (meter.event_name, name) and value is not None
        ]
        if meter.aggregation is Aggregation.WEIGHTED_SUM:
            whole = known.period(price.created, period.start).whole
            lasting = (
                value * Period(max(at, period.start), period.end).microseconds
                for at, value in values
                if at < period.end
            )
            return max(sum(lasting, Fraction(0)) / whole.microseconds, Fraction(0))
        within = [value for at, value in values if period.contains(at)]
        if meter.aggregation is Aggregation.MAX:
            return max([*within, Fraction(0)])
        return max(sum(within, Fraction(0)), Fraction(0))


def check(log: Sequence[Recorded]) -> Counter[str]:
    """Every item was billed for all of its time and for nothing else; how many there were."""
    books = Books()
    for recorded in log:
        books.read(recorded)
    seen: Counter[str] = Counter()
    for known in books.subscribed.values():
        if known.billed_until is not None:
            seen += _check_usage_times(books, known)
            if known.prorates():
                seen += _check_licences(books, known)
    return seen


def _check_licences(books: Books, known: Subscribed) -> Counter[str]:
    """Charges less credits of each item are what its pieces of time cost."""
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for terms in known.terms():
        price = books.prices[terms.item.price_id]
        if price.created.meter_id is None:
            expected[terms.item.id] += _licence(known, price, terms)
    billed: dict[str, Fraction] = defaultdict(Fraction)
    for line in known.lines:
        if line.kind in (LineKind.RECURRING, LineKind.PRORATION) and line.item_id:
            billed[line.item_id] += line.exact
    for id in {*expected, *billed}:
        if expected[id] != billed[id]:
            name = {price.created.id: price.created.nickname for price in books.prices.values()}
            of = {one.item.id: name[one.item.price_id] for one in known.terms()}
            raise Misbilled(f"{of.get(id)}: {billed[id]} was billed, {expected[id]} is due")
    return Counter({"licences checked": len(expected)})


def _licence(known: Subscribed, price: Asked, terms: Terms) -> Fraction:
    """What an item costs at one of its terms, as far as it is billed by the last invoice."""
    cost, at = Fraction(0), terms.since
    until = known.runs_until(price, terms)
    while at < until and (billed := _billed_period(known, price, at)):
        piece = Period(at, min(billed.period.end, until))
        if at >= known.paid_from:
            quantity = Fraction(terms.item.quantity or 0)
            known_at = known.known_at(terms, at) if price.in_advance else END_OF_TIME
            cost += price.cost(quantity, at, known_at) * known.share(piece, billed.whole)
        at = billed.period.end
    return cost


def _billed_period(known: Subscribed, price: Asked, at: datetime) -> BillingPeriod | None:
    """The billing period at an instant, if the last invoice bills it."""
    found = known.period(price.created, at)
    last = known.billed_until
    assert last is not None
    falls_due = found.period.start if price.in_advance else found.period.end
    return found if falls_due <= last or known.ended else None


def _check_usage_times(books: Books, known: Subscribed) -> Counter[str]:
    """Each moment of each metered item that is due stands on exactly one line."""
    expected: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for terms in known.terms():
        price = books.prices[terms.item.price_id]
        at = terms.since
        while price.created.meter_id and at < terms.until:
            billed = _billed_period(known, price, at)
            if billed is None:
                break
            expected[terms.item.id].append((at, min(billed.period.end, terms.until)))
            at = billed.period.end
    found: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for line in known.lines:
        if line.kind is LineKind.USAGE and line.item_id:
            found[line.item_id].append((line.period.start, line.period.end))
    for id in {*expected, *found}:
        if _joined(expected[id]) != _joined(found[id]):
            raise Misbilled(f"usage is billed for {found[id]}, should be for {expected[id]}")
    return Counter({"usage checked": len(expected)})


def _joined(pieces: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Neighbours as one; what is there twice stays twice."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(pieces):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined

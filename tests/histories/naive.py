"""What items must have been billed in all, found piece by piece from the facts alone.

Nothing of `charges`, `licences` or `billing_calendar` is used here, and prices are asked of the
oracle: a licence costs, for each piece of a billing period in which its terms stay the same, that
piece's share of the period; usage of each piece is on one line. What a customer was charged in the
end, credits taken off, is the sum over the pieces.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from domain.decider import Recorded
from domain.invoices import InvoiceDrafted, InvoiceFinalized
from domain.late_usage import LateUsage
from domain.meters import MeterCreated
from domain.periods import END_OF_TIME, EPOCH, BillingPeriod, Period, from_us
from domain.prices import PriceCreated, PriceSuperseded
from domain.rating import Line, LineKind
from domain.settlements import InvoiceVoided
from domain.statements import IssuedLine
from domain.subscriptions import (
    SubscriptionCanceled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionReactivated,
)
from tests.histories.subscribed import Asked, Subscribed, Terms, Version
from tests.histories.used import Used, passes


class Misbilled(Exception):
    """An item was billed more or less than it should have been; the message says which."""


class Books:
    """Everything that the facts say about who was billed what, as far as they were read."""

    def __init__(self) -> None:
        self.prices: dict[str, Asked] = {}
        self.subscribed: dict[str, Subscribed] = {}
        self.used = Used()
        self._instants: dict[str, datetime] = {}
        self._issued: dict[str, InvoiceFinalized] = {}
        self._void: set[str] = set()

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
                self._issued[event.id] = event
                self._issue(event)
            case InvoiceVoided() as event:
                self._void.add(event.id)

    def _issue(self, event: InvoiceFinalized) -> None:
        known = self.subscribed[event.subscription_id]
        known.lines += event.lines
        at = self._instants[event.id]
        known.billed_until = max(at, known.billed_until or at)
        self.check_usage(event.subscription_id, event.lines)
        for line in event.lines:
            rounded = _rounded(line.exact, event.currency)
            if line.kind is not LineKind.ADJUSTMENT and line.amount != rounded:
                raise Misbilled(f"{line} should be rounded to {rounded}")

    def check_usage(self, subscription_id: str, lines: Sequence[IssuedLine | Line]) -> None:
        """Usage that is billed, or would be, is what the records say, at what the oracle says."""
        for line in lines:
            if line.kind is LineKind.USAGE:
                self._check_usage(self.subscribed[subscription_id], line)

    def _check_usage(self, known: Subscribed, line: IssuedLine | Line) -> None:
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

    def _is_waived(self, known: Subscribed, line: IssuedLine | Line) -> bool:
        end = known.end
        if known.is_free(line.period.start):
            return True
        discarded = any("discarded" in step.description for step in line.steps)
        return discarded and end is not None and not end.settles

    def check_settled(self) -> Counter[str]:
        """All lines of a billed period together ask what one would have asked that knew all."""
        billed = self._billed()
        for (id, *_), lines in billed.items():
            if id not in self._void and not any(line.discarded for line in lines):
                self._check_settled(self._issued[id], lines)
        late = sum(line.kind is LineKind.ADJUSTMENT for lines in billed.values() for line in lines)
        return Counter({"usage settled": len(billed), "adjustments settled": late})

    def _billed(self) -> dict[tuple[str, ...], list[IssuedLine]]:
        """What is billed of each item's usage, by the invoice that did so first."""
        billed: dict[tuple[str, ...], list[IssuedLine]] = defaultdict(list)
        for event in self._issued.values():
            for line in event.lines:
                if line.kind in (LineKind.USAGE, LineKind.ADJUSTMENT):
                    first = line.adjusts or event.id
                    key = (first, line.item_id or "", line.price_id or "", line.since.isoformat())
                    if event.id not in self._void or line.kind is LineKind.USAGE:
                        billed[key].append(line)
        return billed

    def standings(self, meter: MeterCreated, customer_id: str) -> Counter[str] | None:
        """When nothing is left to adjust: how many records of a customer are billed, and not.

        None when that depends on when each of them came.
        """
        found: Counter[str] = Counter(billed=0, waiting=0, written_off=0)
        for record in self.used.counting(meter, customer_id):
            closed: list[bool] = []
            for (first, *_), lines in self._billed().items():
                known = self.subscribed[self._issued[first].subscription_id]
                price = self.prices[lines[0].price_id or ""].created
                period = Period(lines[0].since, max(line.period.end for line in lines))
                if (price.meter_id, known.created.customer_id) != (meter.id, customer_id):
                    continue
                if period.contains(from_us(record.timestamp_us)) and passes(record, price):
                    if first in self._void or price.late_usage is LateUsage.REPORT:
                        return None
                    closed.append(any(line.discarded for line in lines))
            is_billed = not all(closed)
            found["billed" if is_billed else "written_off" if closed else "waiting"] += 1
        return found

    def _check_settled(self, first: InvoiceFinalized, lines: Sequence[IssuedLine]) -> None:
        """What a period was billed in all, exactly and as rounded, is what it costs."""
        known, price = self.subscribed[first.subscription_id], self.prices[lines[0].price_id or ""]
        if price.created.late_usage is LateUsage.REPORT:
            if any(line.kind is LineKind.ADJUSTMENT for line in lines):
                raise Misbilled(f"{price.created.nickname} is adjusted: {lines}")
            return
        period = Period(lines[0].since, max(line.period.end for line in lines))
        parts = [] if known.is_free(period.start) else list(self._costs(known, price, period))
        rounded = sum((_rounded(part, first.currency) for part in parts), Decimal(0))
        found = sum(line.exact for line in lines), sum(line.amount for line in lines)
        if found != (sum(parts), rounded):
            raise Misbilled(f"{found} was billed in all, {sum(parts)} is due: {lines}")

    def _costs(self, known: Subscribed, price: Asked, period: Period) -> Iterator[Fraction]:
        """What a period costs by each version of its price."""
        within = [one.since for one in price.versions if period.contains(one.since)]
        edges = [period.start, *(at for at in within if at > period.start), period.end]
        used = [Fraction(0)]
        used += [self.used.quantity(known, price, Period(period.start, at)) for at in edges[1:]]
        for at, before, until in zip(edges, used, used[1:], strict=False):
            cost = price.cost(until, at)
            yield cost - price.cost(before, at) if at > period.start else cost


def _rounded(amount: Fraction, currency: str) -> Decimal:
    """To the minor unit, half away from zero."""
    units = 1 if currency == "JPY" else 100
    whole = int(abs(amount) * units + Fraction(1, 2))
    return Decimal(whole if amount >= 0 else -whole) / units


def check(log: Sequence[Recorded]) -> Counter[str]:
    """Every item was billed for all of its time and for nothing else; how many there were."""
    books = Books()
    for recorded in log:
        books.read(recorded)
    return check_times(books)


def check_times(books: Books) -> Counter[str]:
    """The same of books that were read."""
    seen: Counter[str] = Counter()
    for known in books.subscribed.values():
        if known.billed_until is not None:
            seen += _check_usage_times(books, known)
            seen += _check_licences(books, known)
    return seen


def _check_licences(books: Books, known: Subscribed) -> Counter[str]:
    """Charges less credits of each item are what its pieces of time cost."""
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for terms in known.licence_terms(books.prices):
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

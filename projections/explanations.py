"""Why a line says what it says: its parts, down to the usage records, and what they come to again.

An explanation is told as of the position that the invoice was computed at, be it issued, a draft or
a preview, so that an issued one is explained in the same way for ever. Parts are read at once; to
make a line again from its parts is as much work as there are records behind it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from fractions import Fraction
from functools import cached_property, partial

import msgspec

from domain import adjustments as adjusting
from domain import charges, rating
from domain.adjustments import Charged
from domain.customers import Customer
from domain.invoice_items import InvoiceItem
from domain.invoices import Invoice
from domain.meter_versions import Version
from domain.money import round_to_minor
from domain.periods import Period, from_us, to_us
from domain.prices import Price
from domain.proration import Share, share
from domain.rating import Charge, Line, LineKind
from domain.statements import IssuedLine, Statement
from domain.subscriptions import Subscription
from projections import (
    adjustments,
    billed_usage,
    counted_records,
    current,
    invoice_items,
    late_usage,
    meter_summaries,
    rated_again,
    usage_records,
)
from projections.as_of import EventAt
from projections.billed_usage import BilledPeriod, Closed
from projections.counted_records import Records
from projections.invoice_previews import Preview
from projections.meter_summaries import Question
from projections.past import Known
from projections.rated_again import Rated
from projections.supposed import NOTHING, Supposed
from projections.tables import Views
from projections.usage_records import BEGINNING, Listed, MeterRef, Place


class Invoiced(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice says, and what it was computed from.

    A preview has no id. Its subscription may be one that is not in the ledger like this, and some
    of its usage, or one of its prices, may only be supposed.
    """

    statement: Statement
    at: datetime
    id: str | None = None
    issued: bool = False
    subscription: Subscription | None = None
    supposed: Supposed = NOTHING

    @classmethod
    def of(cls, invoice: Invoice, says: Statement) -> "Invoiced":
        """An issued invoice or a draft, with what it says."""
        issued = invoice.statement is not None
        return cls(statement=says, at=invoice.at, id=invoice.id, issued=issued)

    @classmethod
    def previewed(cls, preview: Preview, says: Statement) -> "Invoiced":
        """A preview with what it says."""
        return cls(
            statement=says,
            at=preview.bill.at,
            subscription=preview.subscription,
            supposed=preview.supposed,
        )


class MeterInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a meter, the part of a line's time that it measures, and where it was made."""

    meter_id: str
    name: str
    version: Version
    period: Period
    position: int


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a line was made of, without reading a single usage record.

    `price_at` is where its version of the price was made, if it was. `made_at` is where the fact
    stands that the line is for: the change of the subscription that set the terms of a licence, or
    that ended those that a credit is for; the one-off item. `shares` are the parts of periods that
    a licence is for, and that a credit gives back, in this order. `charged` is what invoices had
    billed for the period that an adjustment rates again.
    """

    line: IssuedLine
    price: Price | None = None
    price_at: int | None = None
    meters: tuple[MeterInForce, ...] = ()
    shares: tuple[Share, ...] = ()
    is_credit: bool = False
    made_at: int | None = None
    charged: tuple[Charged, ...] = ()


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """A line made again from its parts: an adjustment rates each part of its period again.

    `line` is None when the parts do not even make such a line. `holds` says whether everything
    that the line says is what its parts come to.
    """

    line: Line | None
    rated: tuple[Rated, ...]
    holds: bool


class Explaining:
    """Explains the lines of one invoice as of its position."""

    def __init__(self, views: Views, event_at: EventAt, invoiced: Invoiced) -> None:
        self.statement = invoiced.statement
        self.known = Known(views, event_at, self.statement.position)
        self._invoiced = invoiced

    @cached_property
    def subscription(self) -> Subscription:
        """The subscription as it was known."""
        id = self.statement.subscription_id
        state = self._invoiced.subscription or self.known.get(Subscription, id)
        assert state is not None, f"{id} is invoiced"
        return state

    @cached_property
    def customer(self) -> current.Found:
        """The customer."""
        found = current.find(self.known.views, Customer, self.statement.customer_id)
        assert found is not None, f"{self.statement.customer_id} is invoiced"
        return found

    # ---------------------------------------------------------------------------------- the parts

    def parts(self, index: int) -> Parts:
        """What a line was made of."""
        line = self.statement.lines[index]
        if line.kind is LineKind.ONE_OFF:
            return Parts(line=line, made_at=self._item_at(index))
        price = self.price(line)
        parts = Parts(
            line=line,
            price=price,
            price_at=self._price_at(line),
            meters=tuple(self._meters(line, price)),
        )
        if line.kind is LineKind.ADJUSTMENT:
            return msgspec.structs.replace(parts, charged=tuple(self._charged(self.billed(line))))
        charge = self._charge(index)
        if charge is None:
            return parts
        return msgspec.structs.replace(
            parts,
            shares=tuple(self._shares(charge)),
            is_credit=charge.credit is not None,
            made_at=None if charge.change is None else self._changed_at(charge.change),
        )

    def price(self, line: IssuedLine) -> Price:
        """The price of a line that has one, as it was known."""
        supposed = self._invoiced.supposed.price
        if supposed is not None and supposed.id == line.price_id:
            return supposed
        price = self.known.get(Price, line.price_id or "")
        assert price is not None, f"{line.id} has a price"
        return price

    def billed(self, line: IssuedLine) -> BilledPeriod:
        """The billed period that a line adjusts."""
        billed = billed_usage.adjusted_by(self.known.views, line)
        assert billed is not None, f"{line.id} adjusts what was billed"
        return billed

    def question(self, price: Price) -> Question | None:
        """Which usage a price bills; None for a licence."""
        if not price.metered:
            return None
        return counted_records.question(self.known, price, self.customer.position)

    @cached_property
    def _charges(self) -> list[Charge]:
        """What was due, in the order of the lines, which begin with these."""
        ids = {stretch.item.price_id for stretch in self.subscription.stretches}
        known = {id: price for id in ids if (price := self.known.get(Price, id)) is not None}
        prices = self._invoiced.supposed.prices(known)
        return charges.charges(self.subscription, prices, self._invoiced.at)

    def _charge(self, index: int) -> Charge | None:
        """The charge that a line was rated from; None if the rules say so no more."""
        line = self.statement.lines[index]
        if index >= len(self._charges):
            return None
        found = self._charges[index]
        said = (line.item_id, line.price_id, line.price_version, line.kind, line.period)
        due = (found.item_id, found.price.id, found.version.number, found.kind, found.period)
        return found if said == due else None

    def _price_at(self, line: IssuedLine) -> int | None:
        """Where the version of the price was made; None if several were in force, or it is not."""
        if line.price_id is None or line.price_version is None:
            return None
        known = self.known.get(Price, line.price_id)
        if known is None or line.price_version not in {one.number for one in known.versions}:
            return None
        return self.known.version_at(Price, line.price_id, line.price_version)

    def _meters(self, line: IssuedLine, price: Price) -> Iterator[MeterInForce]:
        """The versions of the meter that measured any part of a line's time."""
        asked = self.question(price)
        for one in asked.versions if asked else ():
            part = _within(one, Period(line.since, line.period.end))
            if part is not None:
                version = one.meter.in_force(part.start)
                yield MeterInForce(
                    meter_id=one.meter.id,
                    name=one.meter.name,
                    version=version,
                    period=part,
                    position=self.known.version_at(type(one.meter), one.meter.id, version.number),
                )

    def _shares(self, charge: Charge) -> Iterator[Share]:
        """The parts of periods that a licence is for; of a credit, also the part given back."""
        state = self.subscription
        billed = charge.credit.billed if charge.credit else charge.period
        if charge.fraction != 1:
            yield share(billed, charge.whole, state.proration_granularity, state.time_zone)
        if charge.credit is not None:
            yield share(charge.period, billed, state.proration_granularity, state.time_zone)

    def _changed_at(self, number: int) -> int | None:
        """Where a change of the subscription was recorded; None for one that is only imagined."""
        id, state = self.subscription.id, self.subscription
        known = self.known.get(Subscription, id)
        if known is None:
            return None
        if not number:
            return self.known.last(id, ["subscription.created"])
        if number > len(state.changes):
            return (
                self.known.last(id, ["subscription.canceled"]) if known.end == state.end else None
            )
        if known.changes[:number] != state.changes[:number]:
            return None
        return self.known.nth(id, "subscription.changed", number)

    def _item_at(self, index: int) -> int:
        """Where the one-off item of a line was created."""
        lines = self.statement.lines[:index]
        before = sum(1 for line in lines if line.kind is LineKind.ONE_OFF)
        invoiced = self._invoiced
        found = invoice_items.of_invoice(
            self.known.views, self.subscription.id, invoiced.at, invoiced.id, self.known.position
        )
        return found[before]

    def _charged(self, billed: BilledPeriod) -> list[Charged]:
        """What had been billed for a period, by the invoices as they were."""
        return adjustments.charged(self.known.views, billed, partial(self.known.get, Invoice))

    # ------------------------------------------------------------------------------- the records

    @contextmanager
    def records(self) -> Iterator[Records]:
        """The customer's usage records as they were known."""
        with counted_records.counted(self.known, self.customer) as records:
            yield records

    def causes(self, index: int, after: Place = BEGINNING) -> Iterator[Listed]:
        """The records for which a line adjusts a billed period; none for any other line."""
        line = self.statement.lines[index]
        if line.adjusts is None:
            return iter(())
        taker = self._invoiced.id if self._invoiced.issued else None
        return late_usage.causes(self.known.views, self.billed(line), taker, after)

    def asked(self, index: int) -> Question | None:
        """Which usage a line is made of; None if it is not made of any."""
        line = self.statement.lines[index]
        return None if line.price_id is None else self.question(self.price(line))

    @contextmanager
    def counted(self, index: int) -> Iterator[Callable[[Place], Iterator[Listed]]]:
        """Reads the records that the meter of a line counted in its time, after a place."""
        line, asked = self.statement.lines[index], self.asked(index)
        if asked is None:
            yield lambda _: iter(())
            return
        with self.records() as records:
            yield partial(records.listed, asked, line.period)

    def count(self, index: int) -> int:
        """How many records these are: what buckets say, where nothing has changed since."""
        line, asked = self.statement.lines[index], self.asked(index)
        if asked is None:
            return 0
        if self._is_as_now(line, asked):
            return meter_summaries.quantity(self.known.views, asked, line.period).count
        with self.counted(index) as read:
            return sum(1 for _ in read(BEGINNING))

    def _is_as_now(self, line: IssuedLine, asked: Question) -> bool:
        """Whether what is in the buckets now is what was known: nothing came late since.

        What changes the usage of a billed period after its invoice is noted, unless the period is
        written off.
        """
        views, known = self.known.views, self.known
        if views.checkpoint() == known.position:
            return True
        if self._invoiced.id is None or line.kind is not LineKind.USAGE:
            return False
        billed = billed_usage.of_line(views, self._invoiced.id, line)
        return (
            billed is not None
            and billed.closed in {None, Closed.REPORTED}
            and billed.position == known.position + 1
            and not billed_usage.is_touched(views, billed)
            and asked.meters == usage_records.meters_over(views, asked.meter.meter.event_name)
        )

    # -------------------------------------------------------------------------------------- again

    def again(self, index: int) -> Again:
        """A line made again from its parts."""
        line = self.statement.lines[index]
        if line.kind is LineKind.ONE_OFF:
            item = current.at(self.known.views, InvoiceItem, self._item_at(index))
            assert item is not None, f"{line.id} is that of an item"
            made = rating.one_off(item.description, item.amount, item.period)
            return Again(line=made, rated=(), holds=_is_said(line, made))
        if line.kind is LineKind.ADJUSTMENT:
            return self._adjusted_again(line)
        charge = self._charge(index)
        if charge is None:
            return Again(line=None, rated=(), holds=False)
        (one,) = self._rated([charge])
        rounded = round_to_minor(line.exact, self.statement.currency) == line.amount
        return Again(line=one.line, rated=(one,), holds=rounded and _is_said(line, one.line))

    def _adjusted_again(self, line: IssuedLine) -> Again:
        billed = self.billed(line)
        price = self.price(line)
        due = charges.usage_of(self.subscription, price, billed.item_id, billed.period)
        rated = self._rated(list(due))
        lines = [one.line for one in rated]
        made = adjusting.adjustment(billed.invoice_id, lines, self._charged(billed))
        return Again(line=made, rated=tuple(rated), holds=_is_said(line, made))

    def _rated(self, due: Sequence[Charge]) -> list[Rated]:
        extra = self._invoiced.supposed.usage
        with ExitStack() as stack:
            metered = any(charge.price.metered for charge in due)
            records = stack.enter_context(self.records()) if metered else None
            return [
                rated_again.rated(charge, self.question(charge.price), records, extra)
                for charge in due
            ]


def _within(meter: MeterRef, period: Period) -> Period | None:
    """The part of a period that a version of a meter measures."""
    start = max(meter.since_us, to_us(period.start))
    end = min(meter.until_us, to_us(period.end))
    return Period(from_us(start), from_us(end)) if start < end else None


def _is_said(line: IssuedLine, made: Line) -> bool:
    """Whether a line says what it was made again as, and its steps add up to it."""
    if sum((step.amount for step in line.steps), Fraction(0)) != line.exact:
        return False
    said = [(step.description, step.amount) for step in line.steps]
    steps = [(step.description, step.amount) for step in made.steps]
    return (line.quantity, line.exact, line.amount, said) == (
        Fraction(made.quantity),
        made.exact,
        made.amount,
        steps,
    )

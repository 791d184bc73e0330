"""An explanation in words: what a bookkeeper would write beside the lines of an invoice.

Every sentence is about one part of a line, and names where in the ledger that part stands.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice

from app.local_time import local_text, period_text
from domain.adjustments import Charged
from domain.aggregation import Aggregation
from domain.money import format_decimal, format_money
from domain.periods import from_us
from domain.proration import ProrationGranularity, Share
from domain.rating import Line, LineKind
from projections.explanations import Again, MeterInForce, Parts
from projections.rated_again import Measured, Rated
from projections.usage_records import Listed

CAUSES_NAMED = 10

MEASURED = {
    Aggregation.SUM: "the sum of",
    Aggregation.COUNT: "the number of",
    Aggregation.LAST: "the last of",
    Aggregation.MAX: "the largest of",
    Aggregation.MIN: "the smallest of",
    Aggregation.AVERAGE: "the average of",
    Aggregation.UNIQUE_COUNT: "the different values in",
    Aggregation.WEIGHTED_SUM: "the level, over the time that it lasted, by",
}
"""How a quantity comes from its records."""


def of_parts(parts: Parts, currency: str, zone: str) -> Iterator[str]:
    """Where a line comes from, without looking at its usage records."""
    line = parts.line
    if parts.price is not None:
        yield _price(parts)
    for meter in parts.meters:
        yield _meter(meter, zone, several=len(parts.meters) > 1)
    for number, one in enumerate(parts.shares, start=1):
        yield _share(one, zone, gives_back=parts.is_credit and number == len(parts.shares))
    if parts.made_at is not None:
        yield f"{_MADE.get(line.kind, _TERMS)} at position {parts.made_at} of the ledger."
    if parts.is_credit:
        yield "It gives back what was billed ahead and is not used."
    for charged in parts.charged:
        yield _charged(charged, currency)


def of_again(again: Again, parts: Parts, currency: str, zone: str) -> Iterator[str]:
    """What a line is made of, record by record, and whether that comes to what it says."""
    adjusts = parts.line.kind is LineKind.ADJUSTMENT
    for one in again.rated:
        yield from _usage(one, parts.meters, zone)
        if adjusts:
            amount = format_money(one.line.amount, currency)
            period = period_text(one.line.period, zone)
            yield f"Rated again, {period} comes to {amount} {currency}."
    if adjusts:
        yield from _difference(again, parts, currency)
    yield _verdict(again.line, currency, holds=again.holds)


def of_causes(causes: Iterator[Listed], zone: str) -> Iterator[str]:
    """What made an adjustment necessary: the first of the records that did, if any record did."""
    stand = [_stand(record, zone) for record in islice(causes, CAUSES_NAMED + 1)]
    if stand:
        more = ", and more" if len(stand) > CAUSES_NAMED else ""
        named = ", ".join(stand[:CAUSES_NAMED])
        yield f"Because of what came late or was corrected: {named}{more}."


def place(record: Listed) -> str:
    """Where in the ledger a usage record stands."""
    return f"position {record.position}, row {record.row}"


def says(record: Listed) -> str:
    """What a usage record says: its value, and its other properties."""
    value = [] if record.value is None else [record.value]
    return " ".join(
        [*value, *(f"{name}={text}" for name, text in sorted(record.properties.items()))]
    )


_TERMS = "Its terms were set"
_MADE = {
    LineKind.PRORATION: "It is for the change of the subscription",
    LineKind.ONE_OFF: "It is for the one-off item",
}


def _price(parts: Parts) -> str:
    line = parts.line
    if parts.price_at is None:
        return f"Several versions of the price {line.price_id} were in force."
    return (
        f"It is priced by version {line.price_version} of {line.price_id}, "
        f"set at position {parts.price_at}."
    )


def _meter(meter: MeterInForce, zone: str, *, several: bool) -> str:
    version = meter.version
    read = "" if version.aggregation is Aggregation.COUNT else f" of {version.value_property!r}"
    when = f", for {period_text(meter.period, zone)}" if several else ""
    return (
        f"It is measured by version {version.number} of {meter.meter_id} ({meter.name}), "
        f"{version.aggregation}{read}, set at position {meter.position}{when}."
    )


def _share(share: Share, zone: str, *, gives_back: bool) -> str:
    """A proration with its fraction, such as 1425600 of 2678400 seconds."""
    unit = "days" if share.granularity is ProrationGranularity.DAY else "seconds"
    part = f"{format_decimal(share.elapsed)} of {format_decimal(share.total)} {unit}"
    times = f"{period_text(share.part, zone)}, of {period_text(share.whole, zone)}"
    return f"{'Given back' if gives_back else 'Charged'}: {part}, {times}."


def _charged(charged: Charged, currency: str) -> str:
    line = charged.line
    amount = format_money(line.amount, currency)
    return (
        f"Before: {format_decimal(line.quantity)} for {amount} {currency} "
        f"on invoice {charged.number}."
    )


def _usage(rated: Rated, meters: Iterable[MeterInForce], zone: str) -> Iterator[str]:
    """The quantity of a charge, from its records."""
    usage, settled = rated.usage, rated.settled
    if usage is None:
        return
    if settled is None:
        yield f"Quantity: {_measured(usage, meters, zone)}."
        return
    yield f"Since {local_text(usage.period.start, zone)}: {_measured(usage, meters, zone)}."
    until = local_text(settled.period.end, zone)
    yield f"Less, at an earlier version until {until}: {_measured(settled, meters, zone)}."
    yield f"Quantity: {format_decimal(rated.line.quantity)}, the difference."


def _measured(measured: Measured, meters: Iterable[MeterInForce], zone: str) -> str:
    """A quantity as so many records, from the first one to the last."""
    ways = {meter.version.aggregation for meter in meters}
    way = MEASURED[next(iter(ways))] if len(ways) == 1 else "measured from"
    records = f"{measured.count} record{'' if measured.count == 1 else 's'}"
    text = f"{format_decimal(measured.reading.quantity)}, {way} {records}"
    if measured.first is not None and measured.last is not None:
        text += f", {_stand(measured.first, zone)}"
        if measured.count > 1:
            text += f" to {_stand(measured.last, zone)}"
    if measured.carried:
        text += f"; it began at a level of {format_decimal(measured.carried)}"
    if measured.imagined:
        text += f"; with {measured.imagined} imagined"
    return text


def _stand(record: Listed, zone: str) -> str:
    return f"{local_text(from_us(record.timestamp_us), zone)} ({place(record)})"


def _difference(again: Again, parts: Parts, currency: str) -> Iterator[str]:
    """Before and after, and what lies between them."""
    before = sum((Fraction(one.line.amount) for one in parts.charged), Fraction(0))
    after = sum((Fraction(one.line.amount) for one in again.rated), Fraction(0))
    difference = format_decimal(after - before)
    yield (
        f"After {format_decimal(after)} less before {format_decimal(before)} "
        f"is {difference} {currency}."
    )


def _verdict(made: Line | None, currency: str, *, holds: bool) -> str:
    if made is None:
        return "NOT the same: its parts make no such line any more."
    rounding = f"{format_decimal(made.exact)}, rounded to {format_money(made.amount, currency)}"
    if holds:
        return f"Made again from its parts: {rounding} {currency}. It is the same."
    return f"NOT the same: made again from its parts, it comes to {rounding} {currency}."

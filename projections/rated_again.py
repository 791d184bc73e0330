"""What a charge comes to when every usage record behind it is read again, one by one.

Bills read buckets; this reads records, and nothing else. What both then go through is the same
rating, so that a line and what it is made of can be held against each other.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain

import msgspec

from domain import aggregation, rating
from domain.aggregation import Sample, State
from domain.money import EXACT, Number
from domain.periods import Period, to_us
from domain.rating import Charge, Line, Reading
from projections import meter_summaries
from projections.counted_records import Records
from projections.invoice_previews import imagined_samples
from projections.meter_summaries import Question
from projections.supposed import Hypothetical
from projections.usage_records import Listed


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter read in a period: how much, from how many records, and which one was the last.

    `carried` is the level with which the period began; `imagined` records were never sent, but are
    in the quantity of a preview that was asked for with them.
    """

    period: Period
    reading: Reading
    count: int
    first: Listed | None
    last: Listed | None
    carried: Decimal
    imagined: int


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """A charge rated again: what was used, and what of that an earlier price version settled."""

    line: Line
    usage: Measured | None = None
    settled: Measured | None = None


def rated(
    charge: Charge,
    asked: Question | None,
    records: Records | None,
    extra: Sequence[Hypothetical] = (),
) -> Rated:
    """The line of a charge, from its records if it has a meter; `asked` is what that counts."""
    if asked is None or records is None:
        return Rated(line=rating.rate(charge))
    whole = Period(charge.since, charge.period.end)
    imagined = imagined_samples(extra, asked, whole, charge.period.end)
    usage = _measured(records, asked, charge, whole, imagined)
    if charge.settled is None:
        return Rated(line=rating.rate(charge, usage.reading), usage=usage)
    start_us = to_us(charge.period.start)
    before = [sample for sample in imagined if sample.timestamp_us < start_us]
    settled = _measured(records, asked, charge, charge.settled, before)
    line = rating.rate(charge, usage.reading, settled.reading)
    return Rated(line=line, usage=usage, settled=settled)


class _Tally:
    """What was seen of the records on the way."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Listed | None = None
        self.last: Listed | None = None
        self.carried = Decimal(0)

    def saw(self, record: Listed) -> None:
        """One more record of the period itself."""
        self.count += 1
        self.first = self.first or record
        self.last = record


def _measured(
    records: Records, asked: Question, charge: Charge, period: Period, imagined: Sequence[Sample]
) -> Measured:
    """What the meter read in a period; a level carried into it is there from its start."""
    start_us, end_us = to_us(period.start), to_us(period.end)
    carried = asked.carried_by(start_us)
    earliest_us = carried[-1].since_us if carried else start_us
    keeps = charge.version.pricing.needs_records
    tally, values = _Tally(), list[Number]()
    nothing = meter_summaries.nothing(asked, period)

    def states() -> list[State] | chain[State]:
        found = records.sampled(asked, earliest_us, end_us)
        return chain((nothing,), map(state, found), map(nothing.add, imagined))

    def state(found: tuple[Listed, Sample]) -> State:
        record, sample = found
        if record.timestamp_us >= start_us:
            tally.saw(record)
            if keeps and sample.value is not None:
                values.append(sample.value)
            return nothing.add(sample)
        tally.carried = EXACT.add(tally.carried, sample.value or Decimal(0))
        return nothing.add(msgspec.structs.replace(sample, timestamp_us=start_us))

    whole = nothing.merged(states()).value(period, charge.whole)
    return Measured(
        period=period,
        reading=Reading(aggregation.billable(whole), tuple(values) if keeps else None),
        count=tally.count,
        first=tally.first,
        last=tally.last,
        carried=tally.carried,
        imagined=len(imagined),
    )

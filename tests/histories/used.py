"""Usage as the facts have it: records with their corrections, and what a meter reads of them."""

from decimal import Decimal
from fractions import Fraction

from domain.aggregation import Aggregation
from domain.customers import CustomerCreated
from domain.decider import Recorded
from domain.meters import MeterCreated
from domain.periods import Period, from_us
from domain.usage import UsageRecord, UsageRecorded
from domain.usage_corrections import UsageAmended, UsageVoided
from tests.histories.subscribed import Asked, Subscribed


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

"""How much was used: summaries of any window, and a trial of an aggregation before it is chosen."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated

import strawberry

from app.schema.as_of import AsOf, read_then
from app.schema.context import Info, existing
from app.schema.fields import resolver
from app.schema.prices import DimensionFilter
from app.schema.scalars import (
    BigIntText,
    DecimalText,
    InstantText,
    Period,
    PeriodInput,
    big_int,
    described,
    optional_decimal,
)
from domain import customers, meters, periods
from domain.aggregation import Aggregation, Sample, aggregate_over
from domain.decider import Code, Path, Rejected
from domain.money import format_decimal, parse_decimal
from domain.periods import UsageWindow, check_zone, parse_instant, to_us, windows
from domain.usage import check_property
from projections import meter_summaries
from projections.meter_summaries import Question, Summary
from projections.tables import Views
from projections.usage_records import MeterRef, meters_over

WINDOWS_LIMIT = 10_000
SAMPLES_LIMIT = 1_000

_EVER = periods.Period(periods.EPOCH, periods.END_OF_TIME)

described(
    UsageWindow,
    "The grain of a usage summary, on the local clock.",
    MINUTE="Full minutes.",
    HOUR="Full hours.",
    DAY="Days from local midnight.",
    WEEK="Weeks from Monday, local midnight.",
    MONTH="Calendar months from local midnight.",
)


@strawberry.type(description="The value of one dimension.")
class DimensionValue:
    """The value of one dimension."""

    name: str = strawberry.field(description="The dimension.")
    value: str | None = strawberry.field(description="Its value; null for records without one.")


@strawberry.type(description="How much a customer used in one window.")
class UsageSummary:
    """How much a customer used in one window."""

    period: Period = strawberry.field(description="The window.")
    value: DecimalText | None = strawberry.field(
        description="The quantity; null where a minimum, maximum or average has no records."
    )
    record_count: BigIntText = strawberry.field(description="How many records it is made of.")
    group: list[DimensionValue] = strawberry.field(
        description="The dimension values it is for; empty when it is for all."
    )

    @classmethod
    def of(cls, summary: Summary, group_by: Sequence[str]) -> "UsageSummary":
        """The summary as it is shown."""
        return cls(
            period=Period.of(summary.period),
            value=optional_decimal(summary.value),
            record_count=big_int(summary.state.count),
            group=[
                DimensionValue(name=name, value=value)
                for name, value in zip(group_by, summary.group, strict=True)
            ],
        )


@strawberry.input(description="A usage record made up to try an aggregation.")
class SampleRecordInput:
    """A usage record made up to try an aggregation."""

    timestamp: InstantText = strawberry.field(description="When it would have happened.")
    value: DecimalText | None = strawberry.field(
        default=None, description="Its value; any text where different ones are counted."
    )


@strawberry.type(description="What made-up usage records add up to.")
class AggregationPreview:
    """What made-up usage records add up to."""

    value: DecimalText | None = strawberry.field(
        description="The quantity; null where a minimum, maximum or average has no records."
    )
    record_count: int = strawberry.field(description="How many of the records it is made of.")


@strawberry.type
class SummaryQueries:
    """Asking how much was used."""

    @resolver(
        description=(
            "How much a customer used on a meter: one summary of the whole period, or one for each"
            " window and group that has records or a level carried over into it."
        )
    )
    async def usage_summary(
        self,
        info: Info,
        meter_id: Annotated[strawberry.ID, strawberry.argument(description="The meter.")],
        customer_id: Annotated[strawberry.ID, strawberry.argument(description="The customer.")],
        period: Annotated[
            PeriodInput, strawberry.argument(description="The time asked for; any bounds.")
        ],
        window: Annotated[
            UsageWindow | None,
            strawberry.argument(description="The grain; left out, the period is one window."),
        ] = None,
        time_zone: Annotated[
            str | None, strawberry.argument(description="Whose clock the windows follow.")
        ] = "UTC",
        group_by: Annotated[
            list[str] | None, strawberry.argument(description="Dimensions to tell apart.")
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
        filter: Annotated[
            list[DimensionFilter] | None,
            strawberry.argument(description="Only usage with these dimension values."),
        ] = [],  # noqa: B006  # the schema prints it, nobody changes it
        as_of: Annotated[
            AsOf | None,
            strawberry.argument(description="What was known then; left out, what is known now."),
        ] = None,
        include_empty: Annotated[
            bool | None,
            strawberry.argument(
                description="Answer windows without records too; not together with groupBy."
            ),
        ] = False,
    ) -> list[UsageSummary]:
        asked = period.read(("period",))
        groups = tuple(group_by or ())
        if include_empty and groups:
            message = "includeEmpty cannot go with groupBy: an empty window has no groups"
            raise Rejected(Code.INVALID_VALUE, ("includeEmpty",), message)
        zone = check_zone("UTC" if time_zone is None else time_zone, ("timeZone",))
        boundaries = _boundaries(asked, window, zone)
        fill = include_empty or (window is None and not groups)

        ledger = info.context.ledger
        moment = await asyncio.to_thread(as_of.moment, ledger) if as_of else None

        def known(views: Views) -> list[Summary]:
            question = _question(views, meter_id, customer_id, filter or [], groups)
            found = meter_summaries.summaries(views, question, boundaries)
            return _filled(found, question, boundaries) if fill else found

        def look_up(views: Views) -> list[Summary]:
            since_us = periods.to_us(asked.start)
            return read_then(
                ledger, views, customer_id, moment, known, meters=[meter_id], since_us=since_us
            )

        return [UsageSummary.of(one, groups) for one in await info.context.read(look_up)]

    @resolver(description="What an aggregation makes of some records, before a meter has it.")
    def aggregation_preview(
        self,
        aggregation: Annotated[Aggregation, strawberry.argument(description="What to try.")],
        records: Annotated[
            list[SampleRecordInput],
            strawberry.argument(description="Up to 1,000 records, in the order recorded."),
        ],
        period: Annotated[
            PeriodInput | None,
            strawberry.argument(
                description="Only records of this period; a weighted sum needs to know it."
            ),
        ] = None,
        carries_over: Annotated[
            bool | None,
            strawberry.argument(
                description="Whether records before the period make the level that it opens with."
            ),
        ] = False,
    ) -> AggregationPreview:
        if len(records) > SAMPLES_LIMIT:
            message = f"at most {SAMPLES_LIMIT} records"
            raise Rejected(Code.LIMIT_EXCEEDED, ("records",), message)
        weighted = aggregation is Aggregation.WEIGHTED_SUM
        if weighted and period is None:
            raise Rejected(Code.REQUIRED, ("period",), "a weighted sum is one of a period")
        if carries_over and not weighted:
            message = "only WEIGHTED_SUM has a level to carry over"
            raise Rejected(Code.INVALID_VALUE, ("carriesOver",), message)
        asked = _EVER if period is None else period.read(("period",))
        samples = [_sample(aggregation, record, index) for index, record in enumerate(records)]
        state = aggregate_over(aggregation, samples, asked, carries_over=bool(carries_over))
        return AggregationPreview(
            value=optional_decimal(state.value(asked)), record_count=state.count
        )


def summary_of(
    views: Views, meter_id: str, customer_id: str, period: periods.Period
) -> UsageSummary:
    """How much a customer used on a meter in a period. Raises `Rejected` naming the argument."""
    question = _question(views, meter_id, customer_id, [], ())
    boundaries = [period.start, period.end]
    found = meter_summaries.summaries(views, question, boundaries)
    [summary] = _filled(found, question, boundaries)
    return UsageSummary.of(summary, ())


def _boundaries(period: periods.Period, window: UsageWindow | None, zone: str) -> list[datetime]:
    """Where the windows begin and end. Raises `Rejected` LIMIT_EXCEEDED."""
    if window is None:
        return [period.start, period.end]
    return windows(period, window, zone, limit=WINDOWS_LIMIT)


def _question(
    views: Views,
    meter_id: str,
    customer_id: str,
    filter: Sequence[DimensionFilter],
    group_by: Sequence[str],
) -> Question:
    """Which usage is meant. Raises `Rejected` naming the argument that is wrong."""
    found = existing(views, meters.Meter, meter_id, "meterId")
    meter = MeterRef(found.position, found.state)
    for index, name in enumerate(group_by):
        _check_dimension(meter.meter, name, ("groupBy", str(index)))
    wanted: dict[str, Sequence[str]] = {}
    for index, one in enumerate(filter):
        path = ("filter", str(index))
        _check_dimension(meter.meter, one.name, (*path, "name"))
        if not one.values:
            raise Rejected(Code.REQUIRED, (*path, "values"), "name at least one value")
        if one.name in wanted:
            message = f"dimension {one.name} is filtered twice; list its values together"
            raise Rejected(Code.INVALID_VALUE, (*path, "name"), message)
        wanted[one.name] = one.values
    return Question(
        meter=meter,
        meters=meters_over(views, meter.meter.event_name),
        customer_ref=existing(views, customers.Customer, customer_id, "customerId").position,
        filter=wanted,
        group_by=group_by,
    )


def _check_dimension(meter: meters.Meter, name: str, path: Path) -> None:
    if name not in meter.all_dimensions:
        message = f"the meter declares no dimension {name}"
        raise Rejected(Code.INVALID_VALUE, path, message)


def _filled(
    found: Sequence[Summary], question: Question, boundaries: Sequence[datetime]
) -> list[Summary]:
    """One summary for every window, empty ones too."""
    by_start: Mapping[datetime, Summary] = {one.period.start: one for one in found}
    asked = (periods.Period(start, end) for start, end in pairwise(boundaries))
    return [
        by_start.get(period.start) or Summary(period, (), meter_summaries.nothing(question, period))
        for period in asked
    ]


def _sample(aggregation: Aggregation, record: SampleRecordInput, index: int) -> Sample:
    """A made-up record as a meter of this aggregation would read it. Raises `Rejected`."""
    path = ("records", str(index))
    at_us = to_us(parse_instant(record.timestamp, (*path, "timestamp")))
    if record.value is None:
        return Sample(at_us, 0, index, None)
    text = record.value
    try:
        value = parse_decimal(text, (*path, "value"))
    except Rejected:
        if aggregation is not Aggregation.UNIQUE_COUNT:
            raise
        return Sample(at_us, 0, index, None, check_property("value", text)[1])
    return Sample(at_us, 0, index, value, format_decimal(value))

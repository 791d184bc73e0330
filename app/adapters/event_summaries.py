"""What was used as Stripe's event summaries tell it, read from the same buckets as every bill."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from app.adapters.unix_times import parse_unix
from domain.customers import Customer
from domain.decider import Code, Rejected
from domain.meters import Meter
from domain.money import format_decimal
from domain.periods import Period, UsageWindow, to_us, windows
from projections import current, meter_summaries
from projections.meter_summaries import Question, Summary
from projections.tables import Views
from projections.usage_records import MeterRef, meters_over

PAGE_DEFAULT, PAGE_LIMIT = 10, 100
WINDOWS_LIMIT = 10_000

_DIGITS = re.compile(r"[0-9]{1,3}")
_GRAINS = {
    None: (None, timedelta(minutes=1)),
    "hour": (UsageWindow.HOUR, timedelta(hours=1)),
    "day": (UsageWindow.DAY, timedelta(days=1)),
}
"""The windows that may be asked for, and on which boundaries the period must begin and end."""


class Asked(msgspec.Struct, frozen=True):
    """Which summaries are asked for, and which page of them."""

    meter_id: str
    customer: str
    period: Period
    window: UsageWindow | None
    limit: int
    starting_after: str | None
    ending_before: str | None

    @classmethod
    def of(cls, meter_id: str, parameters: Mapping[str, str]) -> "Asked":
        """What the parameters ask for. Raises `Rejected` naming the one that is wrong."""
        grain = parameters.get("value_grouping_window")
        if grain not in _GRAINS:
            path = ("value_grouping_window",)
            raise Rejected(Code.INVALID_VALUE, path, "value_grouping_window must be hour or day")
        window, step = _GRAINS[grain]
        start, end = (_instant(parameters, name, step) for name in ("start_time", "end_time"))
        if end <= start:
            raise Rejected(Code.INVALID_VALUE, ("end_time",), "end_time must be after start_time")
        limit = parameters.get("limit", str(PAGE_DEFAULT))
        if not (_DIGITS.fullmatch(limit) and 1 <= int(limit) <= PAGE_LIMIT):
            message = f"limit must be a number from 1 to {PAGE_LIMIT}"
            raise Rejected(Code.INVALID_VALUE, ("limit",), message)
        return cls(
            meter_id,
            _given(parameters, "customer"),
            Period(start, end),
            window,
            int(limit),
            parameters.get("starting_after"),
            parameters.get("ending_before"),
        )


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one window adds up to, as Stripe shows it."""

    id: str
    object: str = "billing.meter_event_summary"
    aggregated_value: msgspec.Raw
    start_time: int
    end_time: int
    livemode: bool
    meter: str


def read(views: Views, asked: Asked, *, livemode: bool) -> tuple[list[EventSummary], bool]:
    """One page of summaries, the newest first, and whether there are more. Raises `Rejected`."""
    question = _question(views, asked)
    boundaries = [asked.period.start, asked.period.end]
    if asked.window is not None:
        path = ("value_grouping_window",)
        boundaries = windows(asked.period, asked.window, "UTC", limit=WINDOWS_LIMIT, path=path)
    found = meter_summaries.summaries(views, question, boundaries)
    if asked.window is None and not found:
        found = [Summary(asked.period, (), meter_summaries.nothing(question, asked.period))]
    shown = [_shown(one, asked, livemode) for one in reversed(found) if one.value is not None]
    return _page(shown, asked)


def _page(found: list[EventSummary], asked: Asked) -> tuple[list[EventSummary], bool]:
    """The summaries after or before the one that a cursor names."""
    places = {summary.id: place for place, summary in enumerate(found)}
    start, end = 0, len(found)
    for name in ("starting_after", "ending_before"):
        cursor = getattr(asked, name)
        if cursor is None:
            continue
        if cursor not in places:
            message = f"No such billing meter event summary: '{cursor}'"
            raise Rejected(Code.NOT_FOUND, (name,), message)
        start, end = (
            (places[cursor] + 1, end) if name == "starting_after" else (start, places[cursor])
        )
    wanted = found[start:end]
    more = len(wanted) > asked.limit
    page = wanted[-asked.limit :] if asked.ending_before is not None else wanted[: asked.limit]
    return page, more


def _question(views: Views, asked: Asked) -> Question:
    """Which usage is meant. Raises `Rejected` NOT_FOUND."""
    meter = current.find(views, Meter, asked.meter_id)
    if meter is None:
        message = f"No such billing meter: '{asked.meter_id}'"
        raise Rejected(Code.NOT_FOUND, ("id",), message)
    by_key = current.owner(views, Customer, "externalId", asked.customer)
    customer = current.find(views, Customer, by_key or asked.customer)
    if customer is None:
        message = f"No such customer: '{asked.customer}'"
        raise Rejected(Code.NOT_FOUND, ("customer",), message)
    return Question(
        meter=MeterRef(meter.position, meter.state),
        meters=meters_over(views, meter.state.event_name),
        customer_ref=customer.position,
    )


def _shown(summary: Summary, asked: Asked, livemode: bool) -> EventSummary:
    """A summary as Stripe shows it; its id is made of what it is about."""
    assert summary.value is not None, "only what has a value is shown"
    start, end = (to_us(at) // 1_000_000 for at in (summary.period.start, summary.period.end))
    return EventSummary(
        id=f"mtrusg_{start}_{end}",
        aggregated_value=msgspec.Raw(format_decimal(summary.value).encode()),
        start_time=start,
        end_time=end,
        livemode=livemode,
        meter=asked.meter_id,
    )


def _given(parameters: Mapping[str, str], name: str) -> str:
    """A parameter that must be there. Raises `Rejected` REQUIRED."""
    if not parameters.get(name):
        raise Rejected(Code.REQUIRED, (name,), f"Missing required param: {name}.")
    return parameters[name]


def _instant(parameters: Mapping[str, str], name: str, step: timedelta) -> datetime:
    """Whole seconds since 1970 on a boundary of the windows. Raises `Rejected`."""
    text = _given(parameters, name)
    at = parse_unix(text, name)
    if to_us(at) % (step // timedelta(microseconds=1)):
        message = f"{name} must lie on a boundary of {step // timedelta(minutes=1)} minutes"
        raise Rejected(Code.INVALID_VALUE, (name,), message)
    return at

"""What it costs: a price asks an amount for a product, per licensed unit or over a meter.

Life cycle: created (active) -> superseded, any number of times -> archived. What a version of a
price asks never changes: from an instant on, another version is in force.
"""

from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from domain import pricing
from domain.aggregation import Aggregation
from domain.decider import Code, Event, Path, Rejected, existing, registered, upcasts
from domain.late_usage import LateUsage
from domain.money import check_currency
from domain.periods import END_OF_TIME, Interval, Period, check_interval
from domain.pricing import Modifiers, Pricing
from domain.text import VALUE_BYTES, check_optional, check_text

FILTER_VALUES_LIMIT = 100
VERSIONS_LIMIT = 100


class Timing(StrEnum):
    """Whether a period is billed when it begins or when it has ended."""

    IN_ADVANCE = "IN_ADVANCE"
    IN_ARREARS = "IN_ARREARS"


class DimensionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Only usage whose dimension `name` has one of `values`."""

    name: str
    values: tuple[str, ...]


# -------------------------------------------------------------------------------------- events


@registered
class PriceCreated(Event, frozen=True, kw_only=True):
    """A price was set for a product."""

    topic: ClassVar[str] = "price.created/2"
    id: str
    product_id: str
    currency: str
    interval: Interval
    meter_id: str | None
    meter_filter: tuple[DimensionFilter, ...]
    timing: Timing
    pricing: Pricing
    modifiers: Modifiers | None = None
    nickname: str | None
    lookup_key: str | None
    late_usage: LateUsage | UnsetType = UNSET
    created_at: datetime


@upcasts("price.created/1")
def _without_modifiers(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The first version knew no modifiers; a new one, so that no reader passes over a discount."""
    return "price.created/2", {**data, "modifiers": None}


@registered
class PriceSuperseded(Event, frozen=True, kw_only=True):
    """From an instant on, a price asks something else."""

    topic: ClassVar[str] = "price.superseded/1"
    id: str
    number: int
    effective_at: datetime
    pricing: Pricing
    modifiers: Modifiers | None
    superseded_at: datetime


@registered
class PriceArchived(Event, frozen=True, kw_only=True):
    """A price takes no new subscriptions; those that have it go on at it."""

    topic: ClassVar[str] = "price.archived/1"
    id: str
    archived_at: datetime


# --------------------------------------------------------------------------------------- state


class PriceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a price asks from an instant on; the first version holds from the beginning of time."""

    number: int
    effective_at: datetime | None
    pricing: Pricing
    modifiers: Modifiers | None
    created_at: datetime


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A price as it stands; with a meter it is metered, without one it is licensed.

    Its versions stand in the order in which they take effect.
    """

    id: str
    product_id: str
    currency: str
    interval: Interval
    meter_id: str | None
    meter_filter: tuple[DimensionFilter, ...]
    timing: Timing
    versions: tuple[PriceVersion, ...]
    nickname: str | None
    lookup_key: str | None
    active: bool
    created_at: datetime
    late_usage: LateUsage = LateUsage.ADJUST

    @property
    def metered(self) -> bool:
        """Whether the quantity comes from a meter rather than from the subscription."""
        return self.meter_id is not None

    def version(self, number: int) -> PriceVersion:
        """The version of this number."""
        return next(version for version in self.versions if version.number == number)

    def version_at(self, instant: datetime, known_at: datetime = END_OF_TIME) -> PriceVersion:
        """The version in force at an instant: what happens then costs what it says.

        Of two that take effect at the same instant, the one that was set later. What was set after
        `known_at` does not count: it cannot change what was billed by then.
        """
        return next(
            v
            for v in reversed(self.versions)
            if v.effective_at is None or (v.effective_at <= instant and v.created_at <= known_at)
        )

    def parts(self, period: Period) -> list[tuple[Period, PriceVersion]]:
        """A period in the parts in which one version is in force (RULES, Prices)."""
        changes = {
            version.effective_at
            for version in self.versions
            if version.effective_at is not None and period.start < version.effective_at < period.end
        }
        edges = [period.start, *sorted(changes), period.end]
        return [(Period(start, end), self.version_at(start)) for start, end in pairwise(edges)]


def evolve(state: Price | None, event: Event) -> Price | None:
    """The price after one more fact."""
    match event:
        case PriceCreated():
            return Price(
                id=event.id,
                product_id=event.product_id,
                currency=event.currency,
                interval=event.interval,
                meter_id=event.meter_id,
                meter_filter=event.meter_filter,
                timing=event.timing,
                versions=(
                    PriceVersion(
                        number=1,
                        effective_at=None,
                        pricing=event.pricing,
                        modifiers=event.modifiers,
                        created_at=event.created_at,
                    ),
                ),
                nickname=event.nickname,
                lookup_key=event.lookup_key,
                active=True,
                created_at=event.created_at,
                late_usage=event.late_usage or LateUsage.ADJUST,
            )
        case PriceSuperseded() if state is not None:
            return replace(state, versions=_with_version(state.versions, event))
        case PriceArchived() if state is not None:
            return replace(state, active=False)
        case _:
            return state


def _with_version(
    versions: tuple[PriceVersion, ...], event: PriceSuperseded
) -> tuple[PriceVersion, ...]:
    """The versions with one more, behind all that take effect no later."""
    later = PriceVersion(
        number=event.number,
        effective_at=event.effective_at,
        pricing=event.pricing,
        modifiers=event.modifiers,
        created_at=event.superseded_at,
    )
    before = [v for v in versions if v.effective_at is None or v.effective_at <= event.effective_at]
    return (*before, later, *versions[len(before) :])


# ------------------------------------------------------------------------------------ commands


class CreatePrice(msgspec.Struct, frozen=True, kw_only=True):
    """Set a price for a product; naming a meter makes it metered."""

    product_id: str
    currency: str
    interval: Interval
    pricing: Pricing
    modifiers: Modifiers | None = None
    meter_id: str | None = None
    meter_filter: tuple[DimensionFilter, ...] = ()
    timing: Timing | None = None
    late_usage: LateUsage = LateUsage.ADJUST
    nickname: str | None = None
    lookup_key: str | None = None


class SupersedePrice(msgspec.Struct, frozen=True, kw_only=True):
    """Let a price ask something else from an instant on, now when none is given.

    What is left out stays as it is in force at that instant; modifiers None are none.
    """

    price_id: str
    effective_at: datetime | None = None
    pricing: Pricing | None = None
    modifiers: Modifiers | UnsetType | None = UNSET


class ArchivePrice(msgspec.Struct, frozen=True, kw_only=True):
    """Take no new subscriptions to a price."""

    price_id: str


Command = CreatePrice | SupersedePrice | ArchivePrice


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside; what is said of the meter is None when there is none.

    Of a meter with several versions, `meter_dimensions` are those of all of them together, and
    `meter_aggregation` is the one that is in force at all times, None if there is no such one.
    """

    id: str
    at: datetime
    product_exists: bool
    product_archived: bool = False
    meter_archived: bool = False
    meter_dimensions: tuple[str, ...] | None
    meter_aggregation: Aggregation | None = None
    lookup_key_owner: str | None


def decide(state: Price | None, command: Command, facts: Facts) -> list[Event]:
    """Set, supersede or archive a price, or say what could not be billed (RULES, Prices)."""
    match command:
        case CreatePrice():
            return [] if state is not None else [_created(command, facts)]
        case SupersedePrice():
            return _superseded(existing(state, "price", command.price_id), command, facts)
        case ArchivePrice():
            price = existing(state, "price", command.price_id)
            return [PriceArchived(id=price.id, archived_at=facts.at)] if price.active else []


def _created(command: CreatePrice, facts: Facts) -> PriceCreated:
    if not facts.product_exists:
        message = f"there is no product {command.product_id}"
        raise Rejected(Code.NOT_FOUND, ("input", "productId"), message)
    if facts.product_archived:
        message = f"product {command.product_id} is archived"
        raise Rejected(Code.WRONG_STATE, ("input", "productId"), message)
    _check_meter(command, facts)
    check_currency(command.currency, ("input", "currency"))
    check_interval(command.interval, ("input", "interval"))
    pricing.check(command.pricing, ("input", "pricing"))
    _check_records(command.pricing, facts)
    if command.modifiers is not None:
        command.modifiers.check(("input", "modifiers"))
    return PriceCreated(
        id=facts.id,
        product_id=command.product_id,
        currency=command.currency,
        interval=command.interval,
        meter_id=command.meter_id,
        meter_filter=command.meter_filter,
        timing=_timing(command),
        pricing=command.pricing,
        modifiers=command.modifiers,
        nickname=check_optional(command.nickname, ("input", "nickname")),
        lookup_key=_check_lookup_key(command.lookup_key, facts),
        late_usage=UNSET if command.late_usage is LateUsage.ADJUST else command.late_usage,
        created_at=facts.at,
    )


def _superseded(price: Price, command: SupersedePrice, facts: Facts) -> list[Event]:
    """One more version; none when the price asks just that at that instant already."""
    if command.pricing is None and command.modifiers is UNSET:
        message = "say what the price asks from then on: pricing, modifiers or both"
        raise Rejected(Code.REQUIRED, ("input", "pricing"), message)
    effective_at = command.effective_at or facts.at
    known = price.version_at(effective_at)
    asked = command.pricing or known.pricing
    modifiers = known.modifiers if command.modifiers is UNSET else command.modifiers
    pricing.check(asked, ("input", "pricing"))
    _check_records(asked, facts)
    if modifiers is not None:
        modifiers.check(("input", "modifiers"))
    if (asked, modifiers) == (known.pricing, known.modifiers):
        return []
    if len(price.versions) >= VERSIONS_LIMIT:
        message = f"a price has at most {VERSIONS_LIMIT} versions; create another price"
        raise Rejected(Code.LIMIT_EXCEEDED, ("input", "priceId"), message)
    return [
        PriceSuperseded(
            id=price.id,
            number=len(price.versions) + 1,
            effective_at=effective_at,
            pricing=asked,
            modifiers=modifiers,
            superseded_at=facts.at,
        )
    ]


def _timing(command: CreatePrice) -> Timing:
    """Usage is known only afterwards; a licence is billed in advance unless asked otherwise."""
    if command.meter_id is None:
        return command.timing or Timing.IN_ADVANCE
    if command.timing is Timing.IN_ADVANCE:
        message = "a metered price is billed in arrears: its usage is known only afterwards"
        raise Rejected(Code.INVALID_VALUE, ("input", "timing"), message)
    return Timing.IN_ARREARS


def _check_meter(command: CreatePrice, facts: Facts) -> None:
    """A metered price needs its meter, and filters only by what that meter declares."""
    if command.meter_id is not None and facts.meter_dimensions is None:
        message = f"there is no meter {command.meter_id}"
        raise Rejected(Code.NOT_FOUND, ("input", "meterId"), message)
    if facts.meter_archived:
        message = f"meter {command.meter_id} is archived"
        raise Rejected(Code.WRONG_STATE, ("input", "meterId"), message)
    path: Path = ("input", "meterFilter")
    if command.meter_filter and command.meter_id is None:
        raise Rejected(Code.INVALID_VALUE, path, "meterFilter needs a meterId")
    if command.late_usage is not LateUsage.ADJUST and command.meter_id is None:
        raise Rejected(Code.INVALID_VALUE, ("input", "lateUsage"), "lateUsage needs a meterId")
    seen: set[str] = set()
    for index, wanted in enumerate(command.meter_filter):
        here = (*path, str(index))
        if wanted.name not in (facts.meter_dimensions or ()):
            message = f"the meter declares no dimension {wanted.name}"
            raise Rejected(Code.INVALID_VALUE, (*here, "name"), message)
        if wanted.name in seen:
            message = f"dimension {wanted.name} is filtered twice; list its values together"
            raise Rejected(Code.INVALID_VALUE, (*here, "name"), message)
        seen.add(wanted.name)
        _check_values(wanted, (*here, "values"))


def _check_records(asked: Pricing, facts: Facts) -> None:
    """Pricing by single records needs a meter whose quantity is always the sum of its records."""
    if asked.needs_records and facts.meter_aggregation is not Aggregation.SUM:
        message = "pricing that looks at single records needs a meter that sums them up"
        raise Rejected(Code.INVALID_VALUE, ("input", "pricing"), message)


def _check_values(wanted: DimensionFilter, path: Path) -> None:
    """A filter that names no value would never bill anything."""
    if not wanted.values:
        raise Rejected(Code.REQUIRED, path, "name at least one value")
    if len(wanted.values) > FILTER_VALUES_LIMIT:
        message = f"a filter lists at most {FILTER_VALUES_LIMIT} values"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    for index, value in enumerate(wanted.values):
        check_text(value, (*path, str(index)), VALUE_BYTES)


def _check_lookup_key(lookup_key: str | None, facts: Facts) -> str | None:
    """A lookup key finds one price."""
    path = ("input", "lookupKey")
    kept = check_optional(lookup_key, path)
    if kept is not None and facts.lookup_key_owner is not None:
        message = f"lookupKey is already that of {facts.lookup_key_owner}"
        raise Rejected(Code.ALREADY_EXISTS, path, message)
    return kept

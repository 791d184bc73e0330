"""Prices and subscriptions as the facts have them: terms, periods and shares of time, plainly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from domain.money import format_decimal
from domain.periods import END_OF_TIME, BillingPeriod, Period, billing_period_at
from domain.prices import PriceCreated, Timing
from domain.pricing import Graduated, Package, PerUnit, Pricing, Volume
from domain.proration import ProrationGranularity
from domain.statements import IssuedLine
from domain.subscription_items import Item
from domain.subscriptions import (
    Change,
    End,
    SubscriptionChanged,
    SubscriptionCreated,
)
from tests.domain import oracle


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


Turn = tuple[datetime, Item | None, datetime | None]
"""From when on an item is there so, or not at all, and from when on that is billed."""


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

    def licence_terms(self, prices: Mapping[str, Asked]) -> Iterator[Terms]:
        """Each item at each of its terms as licences are billed.

        A change without prorations counts from the next period on, unless there is one with
        prorations before that.
        """
        turns: dict[str, list[Turn]] = {
            item.id: [(self.created.start_at, item, None)] for item in self.created.items
        }
        for one in self.known:
            begun = {item.id: item for item in one.begun}
            for id in {*one.ended, *begun}:
                mine = turns.setdefault(id, [])
                item = begun.get(id)
                counted = item or next(before for _, before, _ in reversed(mine) if before)
                at = self._counts_from(prices[counted.price_id], one.change)
                while mine and mine[-1][0] > at:
                    mine.pop()
                mine.append((at, item, one.change.bill_at if one.change.prorates else None))
        for mine in turns.values():
            ends = self.ended.at if self.ended else END_OF_TIME
            for index, (since, item, billed_from) in enumerate(mine):
                until, after, credited = (*mine[index + 1 :], (END_OF_TIME, item, since))[0]
                if after is None and credited is None:  # gone, and paid for all the same
                    ends = END_OF_TIME
                if item is not None:
                    yield Terms(item, since, min(until, ends), billed_from, until <= ends)

    def _counts_from(self, price: Asked, change: Change) -> datetime:
        """From when on licences are billed at the terms of a change."""
        if change.prorates:
            return change.at
        running = self.period(price.created, change.at).period
        is_known = running.start == change.at and change.bill_at <= change.at
        return change.at if is_known else running.end

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

    def is_free(self, at: datetime) -> bool:
        """Whether what is used at an instant is not billed, because it is in a trial."""
        return at < self.paid_from and not self.created.bills_usage_in_trial

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

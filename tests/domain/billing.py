"""A subscription and its prices as tests of billing write them down."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain import billing_calendar, charges, rating, subscription_changes
from domain.collection import CollectionMethod
from domain.money import Number
from domain.periods import Interval, IntervalUnit, Period
from domain.prices import Price, PriceVersion, Timing
from domain.pricing import Graduated, Modifiers, PerUnit, Pricing, Tier
from domain.proration import ProrationGranularity
from domain.rating import Bill, Reading
from domain.subscription_changes import (
    CancelSubscription,
    ChangeSubscription,
    Command,
    Facts,
    ItemChange,
    ProrationBehavior,
    ReactivateSubscription,
)
from domain.subscription_items import Item, PriceTerms
from domain.subscriptions import Stretch, Subscription

MONTH = Interval(IntervalUnit.MONTH)
WEEK = Interval(IntervalUnit.WEEK)
YEAR = Interval(IntervalUnit.YEAR)
OVERAGES = Graduated(
    tiers=(Tier(up_to=Decimal(1000), unit_amount=Decimal(0)), Tier(unit_amount=Decimal("0.04")))
)
MICROSECOND = timedelta(microseconds=1)


def day(text: str) -> datetime:
    """Midnight UTC of a date, or an instant with its time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(
    name: str,
    pricing: Pricing,
    interval: Interval = MONTH,
    *,
    metered: bool = False,
    arrears: bool = False,
    currency: str = "USD",
    modifiers: Modifiers | None = None,
) -> Price:
    """A price, by default licensed and in advance."""
    return Price(
        id=name,
        product_id="prod_1",
        currency=currency,
        interval=interval,
        meter_id="met_1" if metered else None,
        meter_filter=(),
        timing=Timing.IN_ARREARS if metered or arrears else Timing.IN_ADVANCE,
        versions=(
            PriceVersion(
                number=1,
                effective_at=None,
                pricing=pricing,
                modifiers=modifiers,
                created_at=day("2025-12-01"),
            ),
        ),
        nickname=None,
        lookup_key=None,
        active=True,
        created_at=day("2025-12-01"),
    )


def each(amount: str) -> PerUnit:
    """So much for each unit."""
    return PerUnit(unit_amount=Decimal(amount))


LICENCE = price("licence", each("100"))
USAGE = price("usage", OVERAGES, metered=True)
ARREARS = price("support", each("30"), arrears=True)


def item_of(price: Price, quantity: str) -> Item:
    """An item at a price; a metered one has no quantity."""
    return Item(
        id=f"item_{price.id}",
        price_id=price.id,
        quantity=None if price.metered else Decimal(quantity),
    )


class Book:
    """One subscription and its prices, billed at an instant."""

    def __init__(
        self,
        *prices: Price,
        offered: Sequence[Price] = (),
        start: str = "2026-01-01",
        anchor: str | None = None,
        quantity: str = "1",
        zone: str = "UTC",
        created: str | None = None,
        trial_end: str | None = None,
        bills_usage_in_trial: bool = False,
        granularity: ProrationGranularity = ProrationGranularity.SECOND,
    ) -> None:
        self.prices = {one.id: one for one in (*prices, *offered)}
        self.subscription = Subscription(
            id="sub_1",
            customer_id="cus_1",
            currency=prices[0].currency,
            stretches=tuple(
                Stretch(item=item_of(one, quantity), begun_by=0, ended_by=None) for one in prices
            ),
            start_at=day(start),
            billing_anchor=day(anchor or trial_end or start),
            time_zone=zone,
            collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
            days_until_due=None,
            created_at=day(created or start),
            trial_end=day(trial_end) if trial_end else None,
            bills_usage_in_trial=bills_usage_in_trial,
            proration_granularity=granularity,
        )

    def change(
        self,
        now: str,
        *asked: ItemChange,
        behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS,
        effective_at: str | None = None,
        invoiced: str | None = None,
    ) -> None:
        """Change the items as the command would; `invoiced` is the instant of the last invoice."""
        command = ChangeSubscription(
            subscription_id="sub_1",
            items=asked,
            behavior=behavior,
            effective_at=day(effective_at) if effective_at else None,
        )
        self._decide(command, now, invoiced, len(asked))

    def cancel(self, now: str, *, invoiced: str | None = None, **said: Any) -> None:
        """Cancel the subscription as the command would."""
        at = said.pop("at", None)
        command = CancelSubscription(subscription_id="sub_1", at=day(at) if at else None, **said)
        self._decide(command, now, invoiced, 0)

    def reactivate(self, now: str) -> None:
        """Let the subscription go on as the command would."""
        self._decide(ReactivateSubscription(subscription_id="sub_1"), now, None, 0)

    def _decide(self, command: Command, now: str, invoiced: str | None, items: int) -> None:
        periods = {
            item.id: billing_calendar.current_period(
                self.subscription, self.prices[item.price_id], day(now)
            )
            for item in self.subscription.items
        }
        facts = Facts(
            at=day(now),
            item_ids=tuple(
                f"item_new_{len(self.subscription.stretches)}_{n}" for n in range(items)
            ),
            prices={
                one.id: PriceTerms(
                    currency=one.currency,
                    metered=one.metered,
                    interval=one.interval,
                    in_advance=one.timing is Timing.IN_ADVANCE,
                )
                for one in self.prices.values()
            },
            invoiced_until=day(invoiced) if invoiced else None,
            periods_start={id: period.start for id, period in periods.items()},
            periods_end=max(period.end for period in periods.values()),
        )
        for event in subscription_changes.decide(self.subscription, command, facts):
            changed = subscription_changes.evolve(self.subscription, event)
            assert changed is not None
            self.subscription = changed

    def due(self, at: str) -> list[str]:
        """What is due, as `price first-day..end-day`, credits after a minus."""
        due = charges.charges(self.subscription, self.prices, day(at))
        return [f"{'-' if one.credit else ''}{one.price.id} {days(one.period)}" for one in due]

    def bill(self, at: str, usage: Number = Decimal(0)) -> Bill:
        """The bill at an instant, every meter reading the same."""
        due = charges.charges(self.subscription, self.prices, day(at))
        lines = [rating.rate(one, Reading(usage)) for one in due]
        return rating.bill(self.subscription, day(at), lines)

    def next(self, now: datetime) -> datetime:
        """The instant of the next invoice."""
        found = billing_calendar.next_billing(self.subscription, self.prices, now)
        assert found is not None, "there is no next invoice"
        return found


def days(period: Period) -> str:
    """A period as its month and day, the time of day where there is one."""

    def short(instant: datetime) -> str:
        return f"{instant:%m-%d}" + (f"T{instant:%H:%M}" if instant.hour else "")

    return f"{short(period.start)}..{short(period.end)}"


def amounts(bill: Bill) -> list[str]:
    """The rounded amounts of the lines."""
    return [str(line.amount) for line in bill.lines]

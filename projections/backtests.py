"""What another pricing would have come to: a price's real history, rated again as if.

Everything that the price charged in a period is rated twice, as it was and by the candidate, by the
same function that rates invoices. Nothing is written.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from domain import charges
from domain.billing_calendar import next_billing
from domain.decider import Code, Rejected
from domain.money import EXACT
from domain.periods import Period
from domain.prices import Price, PriceVersion
from domain.pricing import Modifiers, Pricing
from domain.rating import Charge, LineKind
from domain.subscriptions import Subscription
from projections import current
from projections.invoice_previews import Asking, line_of, prices_of
from projections.tables import Views

CHARGES_LIMIT = 20_000
"""The most charges that are rated again for one answer."""


class Outcome(msgspec.Struct, frozen=True):
    """What one customer was charged, and would have been."""

    customer_id: str
    baseline: Decimal
    candidate: Decimal

    @property
    def difference(self) -> Decimal:
        """How much more the candidate comes to."""
        return EXACT.subtract(self.candidate, self.baseline)


def backtest(
    views: Views, price: Price, pricing: Pricing, modifiers: Modifiers | None, period: Period
) -> list[Outcome]:
    """What each customer of a price was and would have been charged, the largest difference first.

    Of a period are the usage and the licences in arrears whose billing periods end in it, up to its
    end, and the licences in advance and prorations that fall due in it. Raises `Rejected`
    LIMIT_EXCEEDED when that is too much for one answer.
    """
    candidate = PriceVersion(
        number=0,
        effective_at=None,
        pricing=pricing,
        modifiers=modifiers,
        created_at=price.created_at,
    )
    rated = 0
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    for found in current.select(views, Subscription, {"priceId": price.id}, limit=-1):
        subscription: Subscription = found.state
        asking = Asking(views, subscription.customer_id)
        for charge in _charged(views, subscription, price, period):
            rated += 1
            if rated > CHARGES_LIMIT:
                message = f"more than {CHARGES_LIMIT} charges: shorten the period"
                raise Rejected(Code.LIMIT_EXCEEDED, ("period",), message)
            was = line_of(views, asking, charge).amount
            would = line_of(views, asking, replace(charge, version=candidate)).amount
            known = totals.get(subscription.customer_id, (Decimal(0), Decimal(0)))
            totals[subscription.customer_id] = (
                EXACT.add(known[0], was),
                EXACT.add(known[1], would),
            )
    outcomes = [Outcome(id, *both) for id, both in totals.items()]
    return sorted(outcomes, key=lambda one: (-abs(one.difference), one.customer_id))


def _charged(
    views: Views, subscription: Subscription, price: Price, period: Period
) -> Iterator[Charge]:
    """What a price charged a subscription in a period."""
    prices = prices_of(views, subscription)
    instant: datetime | None = subscription.start_at
    if instant is not None and instant < period.start:
        instant = next_billing(subscription, prices, period.start - datetime.resolution)
    while instant is not None and instant <= period.end:
        for charge in charges.due_at(subscription, prices, instant):
            if charge.price.id == price.id and _falls_in(charge, instant, period):
                yield charge
        instant = next_billing(subscription, prices, instant)


def _falls_in(charge: Charge, instant: datetime, period: Period) -> bool:
    """What is to come counts from its beginning, what is past up to its end."""
    if charge.kind is LineKind.RECURRING and charge.period.start == instant:
        return period.start <= instant < period.end
    return period.start < instant <= period.end

"""What is only supposed: usage that was never sent, a price that asks something else.

A preview takes it in, and nothing is written. What it would change of periods that are billed
already comes as adjustments, as it would if it were real.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from domain.periods import to_us
from domain.prices import Price
from projections import billed_usage, current, late_usage
from projections.billed_usage import BilledPeriod
from projections.meter_summaries import Question
from projections.tables import Views
from projections.usage_blocks import Matched

_NEVER_RECORDED = 2**62
"""A position behind all others."""


class Hypothetical(msgspec.Struct, frozen=True, kw_only=True):
    """A usage record that was never sent, to see what it would cost.

    Without a timestamp it lies at the end of whatever is billed.
    """

    event_name: str
    timestamp: datetime | None
    value: str | None
    properties: dict[str, str]

    def matched(self, customer_ref: int, row: int, at: datetime) -> Matched:
        """The record as if it had been sent after all others, and had happened at an instant."""
        known = (self.value, self.properties)
        return Matched(customer_ref, to_us(at), _NEVER_RECORDED, row, *known)


class Supposed(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of whoever is billed, and a price that asks something else from `since` on."""

    usage: Sequence[Hypothetical] = ()
    price: Price | None = None
    since: datetime | None = None

    def prices(self, known: Mapping[str, Price]) -> Mapping[str, Price]:
        """The prices as they would be."""
        changed = self.price
        return {**known, changed.id: changed} if changed and changed.id in known else known

    def price_of(self, views: Views, id: str) -> Price:
        """A price as it would be."""
        if self.price is not None and self.price.id == id:
            return self.price
        price = current.get(views, Price, id)
        assert price is not None, f"there is a price {id}"
        return price


NOTHING = Supposed()
"""Nothing but what is so."""


def waiting(views: Views, subscription_id: str, supposed: Supposed) -> list[BilledPeriod]:
    """The billed periods that would wait for an adjustment or do so, in the order of issue.

    Those that are closed get none.
    """
    if supposed is NOTHING:
        return billed_usage.waiting(views, subscription_id)
    changes = _Changes(views, supposed)
    where = "subscription_id=? AND closed IS NULL ORDER BY ref"
    found = billed_usage.select(views, where, (subscription_id,))
    return [one for one in found if one.waits or changes.touch(one)]


class _Changes:
    """Which billed periods of a subscription what is supposed changes."""

    def __init__(self, views: Views, supposed: Supposed) -> None:
        self._views = views
        self._supposed = supposed
        self._asked: dict[str, Question] = {}

    def touch(self, billed: BilledPeriod) -> bool:
        """Whether a billed period would come to something else, or might."""
        price, since = self._supposed.price, self._supposed.since
        own = price is not None and price.id == billed.price_id
        if own and since is not None and billed.end_us > to_us(since):
            return True
        return self._has_usage(billed)

    def _has_usage(self, billed: BilledPeriod) -> bool:
        asked = self._question(billed) if self._supposed.usage else None
        return asked is not None and any(
            billed_usage.changes(
                asked, billed, one.matched(billed.customer_ref, row, one.timestamp)
            )
            for row, one in enumerate(self._supposed.usage)
            if one.timestamp is not None and one.event_name == asked.meter.meter.event_name
        )

    def _question(self, billed: BilledPeriod) -> Question:
        if billed.price_id not in self._asked:
            self._asked[billed.price_id] = late_usage.question(self._views, billed)
        return self._asked[billed.price_id]

"""What superseding a price would come to: the next invoices of its subscriptions, before and after.

Both are previews, rated by the same function; for the one after, the price is only supposed to ask
something else. Nothing is written.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import EXACT
from domain.prices import Price
from domain.subscriptions import Subscription
from projections import current, due_work, invoice_previews
from projections.invoice_previews import Preview
from projections.supposed import NOTHING, Supposed
from projections.tables import Views

SUBSCRIPTIONS_LIMIT = 5_000
"""The most subscriptions that are previewed for one answer."""

_PATH: Path = ("input", "priceId")


class Effect(msgspec.Struct, frozen=True):
    """A subscription's next invoice as it will be, and as it would be; None for none to come."""

    subscription_id: str
    before: Preview | None
    after: Preview | None

    @property
    def difference(self) -> Decimal:
        """How much more is owed after than before."""
        return EXACT.subtract(total(self.after), total(self.before))


def total(preview: Preview | None) -> Decimal:
    """What an invoice comes to; one that does not come is nothing."""
    return preview.bill.total if preview else Decimal(0)


def effects(
    views: Views,
    price: Price,
    supposed: Supposed,
    *,
    now: datetime,
    at: datetime | None = None,
    subscription: Subscription | None = None,
) -> list[Effect]:
    """What each subscription that has or had a price is to pay, the largest difference first.

    Or only one of them. Raises `Rejected` LIMIT_EXCEEDED when they are too many for one answer.
    """
    if subscription is not None:
        asked = [subscription]
    else:
        keys = {"priceId": price.id}
        found = current.select(views, Subscription, keys, limit=SUBSCRIPTIONS_LIMIT + 1)
        asked = [one.state for one in found]
    if len(asked) > SUBSCRIPTIONS_LIMIT:
        message = f"more than {SUBSCRIPTIONS_LIMIT} subscriptions: ask about single ones"
        raise Rejected(Code.LIMIT_EXCEEDED, _PATH, message)
    both = [_effect(views, one, supposed, now, at) for one in asked]
    shown = [one for one in both if one.before or one.after]
    return sorted(shown, key=lambda one: (-abs(one.difference), one.subscription_id))


def _effect(
    views: Views, subscription: Subscription, supposed: Supposed, now: datetime, at: datetime | None
) -> Effect:
    before, after = (
        invoice_previews.preview(
            views,
            subscription,
            now=now,
            at=at or due_work.next_invoice(views, subscription, now, one),
            supposed=one,
        )
        for one in (NOTHING, supposed)
    )
    return Effect(subscription.id, before, after)

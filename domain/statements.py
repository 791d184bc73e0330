"""What an invoice says: who owes what, line by line, in the shape in which it is written down.

The shape is stored for ever, so it does not follow the rating's own (`rating.Line`).
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import msgspec

from domain.collection import CollectionMethod
from domain.periods import Period
from domain.rating import LineKind


class IssuedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the breakdown of a line; the amounts of all rows add up to its exact amount."""

    description: str
    quantity: Fraction | None = None
    unit_amount: Fraction | None = None
    flat_amount: Fraction | None = None
    from_quantity: Fraction | None = None
    up_to: Fraction | None = None
    amount: Fraction


class IssuedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line as it is written down; what is not about a price has no item and no version."""

    id: str
    kind: LineKind
    description: str
    item_id: str | None = None
    price_id: str | None = None
    price_version: int | None = None
    period: Period
    since: datetime
    quantity: Fraction
    exact: Fraction
    amount: Decimal
    steps: tuple[IssuedStep, ...]
    adjusts: str | None = None
    """The invoice whose billed period an adjustment rates again."""
    discarded: bool = False
    """Whether the usage was given up when the subscription ended."""


class BilledTo(msgspec.Struct, frozen=True, kw_only=True):
    """Who owes an invoice, as known when it was issued."""

    name: str
    email: str | None
    description: str | None
    external_id: str | None
    time_zone: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice says is owed: as it stands in the ledger now, or as it was issued.

    `position` is the ledger position up to which everything is in it.
    """

    customer_id: str
    subscription_id: str
    currency: str
    collection_method: CollectionMethod
    days_until_due: int | None
    period: Period
    lines: tuple[IssuedLine, ...]
    subtotal: Decimal
    total: Decimal
    content_hash: str
    position: int
    billed_to: BilledTo

    @property
    def has_usage(self) -> bool:
        """Whether records that come late could change it."""
        return any(line.kind is LineKind.USAGE for line in self.lines)

"""What comes late: a billed period is rated again as a whole, and the difference is billed.

Source: RULES, "Invoices".
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from domain.money import exact, format_decimal
from domain.periods import Period
from domain.pricing import Step
from domain.rating import Line, LineKind
from domain.statements import IssuedLine


class Charged(msgspec.Struct, frozen=True):
    """A line that was issued for a billed period, and the number of its invoice."""

    number: str
    line: IssuedLine


@exact
def adjustment(invoice_id: str, again: Sequence[Line], charged: Sequence[Charged]) -> Line:
    """The line that brings a billed period of an invoice up to date.

    `again` is what the period comes to now, `charged` what was billed for it so far; its amount is
    the difference of what was rounded on either side, so that all lines together are the sum that
    would have been billed had everything been known.
    """
    first, last = again[0], again[-1]
    versions = {line.price_version for line in again}
    steps = [step for line in again for step in line.steps]
    steps += [_less(one) for one in charged]
    return Line(
        item_id=first.item_id,
        price_id=first.price_id,
        price_version=first.price_version if len(versions) == 1 else None,
        kind=LineKind.ADJUSTMENT,
        period=Period(first.period.start, last.period.end),
        since=first.since,
        quantity=sum((Fraction(line.quantity) for line in again), Fraction(0))
        - sum((one.line.quantity for one in charged), Fraction(0)),
        exact=sum((line.exact for line in again), Fraction(0))
        - sum((one.line.exact for one in charged), Fraction(0)),
        amount=sum((line.amount for line in again), Decimal(0))
        - sum((one.line.amount for one in charged), Decimal(0)),
        steps=tuple(steps),
        adjusts=invoice_id,
    )


def _less(charged: Charged) -> Step:
    """What an invoice asked for the period already."""
    quantity = format_decimal(charged.line.quantity)
    return Step(
        description=f"less {quantity} billed on invoice {charged.number}",
        amount=-charged.line.exact,
    )

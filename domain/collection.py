"""How an invoice is paid, and by when: charged by itself, or sent with a due date."""

from datetime import datetime, timedelta
from enum import StrEnum


class CollectionMethod(StrEnum):
    """Whether an invoice is charged by itself or sent with a due date."""

    CHARGE_AUTOMATICALLY = "CHARGE_AUTOMATICALLY"
    SEND_INVOICE = "SEND_INVOICE"


def due_at(issued_at: datetime, days_until_due: int | None) -> datetime | None:
    """When a sent invoice is to be paid; None for one that is charged.

    >>> from domain.periods import EPOCH
    >>> due_at(EPOCH, 30).isoformat()
    '1970-01-31T00:00:00+00:00'
    """
    return None if days_until_due is None else issued_at + timedelta(days=days_until_due)

"""Which one-off items wait for an invoice, and which invoice each of the others is on."""

from collections.abc import Sequence
from datetime import datetime

from domain import rating
from domain.decider import Recorded
from domain.invoice_items import InvoiceItem, InvoiceItemCreated
from domain.invoices import Invoice, InvoiceDrafted
from domain.periods import from_us, to_us
from domain.rating import Line
from projections import current
from projections.tables import Table, Views

ITEMS = Table(
    "invoice_items",
    "subscription_id TEXT, position INTEGER, item_id TEXT, created_us INTEGER, invoice_id TEXT",
    key="subscription_id, position",
    indexes=["item_id", "subscription_id, invoice_id"],
)
TABLES = (ITEMS,)


def apply(views: Views, recorded: Recorded) -> None:
    """Let an item wait; a draft takes what was waiting at its instant."""
    match recorded.event:
        case InvoiceItemCreated() as event:
            created_us = to_us(event.created_at)
            row = (event.subscription_id, recorded.position, event.id, created_us, None)
            views.insert("invoice_items", [row])
        case InvoiceDrafted() as event:
            views.execute(
                "UPDATE invoice_items SET invoice_id=? WHERE subscription_id=?"
                " AND invoice_id IS NULL AND created_us<=?",
                (event.id, event.subscription_id, to_us(event.at)),
            )


def lines(
    views: Views, subscription_id: str, at: datetime, invoice_id: str | None
) -> Sequence[Line]:
    """The lines of the items on an invoice; without one, of those that wait at an instant."""
    rows = views.rows(
        "SELECT item_id FROM invoice_items WHERE subscription_id=? AND invoice_id IS ?"
        " AND created_us<=? ORDER BY position",
        (subscription_id, invoice_id, to_us(at)),
    )
    return [_line(views, id) for (id,) in rows]


def of_invoice(
    views: Views, subscription_id: str, at: datetime, invoice_id: str | None, position: int
) -> list[int]:
    """Where the items of the lines on an invoice were created, in their order, as known then.

    Without an invoice, those of the items that waited at an instant.
    """
    rows = views.rows(
        "SELECT position, invoice_id FROM invoice_items WHERE subscription_id=?"
        " AND created_us<=? AND position<=? ORDER BY position",
        (subscription_id, to_us(at), position),
    )
    return [place for place, taker in rows if _taken_by(views, taker, position) == invoice_id]


def _taken_by(views: Views, invoice_id: str | None, position: int) -> str | None:
    """The invoice that an item is on now, if it had been drafted by then."""
    draft = current.find(views, Invoice, invoice_id) if invoice_id else None
    return invoice_id if draft is not None and draft.position <= position else None


def waiting_since(views: Views, subscription_id: str) -> datetime | None:
    """Since when any item waits for the next invoice of a subscription; None when none does."""
    row = views.row(
        "SELECT MIN(created_us) FROM invoice_items WHERE subscription_id=? AND invoice_id IS NULL",
        (subscription_id,),
    )
    return None if row is None or row[0] is None else from_us(row[0])


def count_waiting(views: Views, subscription_id: str) -> int:
    """How many items wait for the next invoice of a subscription."""
    row = views.row(
        "SELECT COUNT(*) FROM invoice_items WHERE subscription_id=? AND invoice_id IS NULL",
        (subscription_id,),
    )
    return int(row[0]) if row else 0


def invoice_of(views: Views, item_id: str) -> str | None:
    """The invoice that an item is on; None while it waits."""
    row = views.row("SELECT invoice_id FROM invoice_items WHERE item_id=?", (item_id,))
    return row[0] if row else None


def _line(views: Views, id: str) -> Line:
    item = current.get(views, InvoiceItem, id)
    assert item is not None, f"{id} waits but was never created"
    return rating.one_off(item.description, item.amount, item.period)

"""What deciding about invoices needs to know: what is owed, the next number, the balance."""

from datetime import datetime

from domain import invoices
from domain.invoices import DraftInvoice, Invoice
from projections import current, statements
from projections import invoices as invoiced
from projections.tables import Views


def invoice(views: Views, command: invoices.Command, id: str, at: datetime) -> invoices.Facts:
    """The facts for drafting an invoice, or for finalizing one."""
    if isinstance(command, DraftInvoice):
        already = invoiced.invoiced(views, command.subscription_id, command.at, command.reason)
        return invoices.Facts(
            id=id,
            at=at,
            statement=statements.due(views, command.subscription_id, command.at, id, at),
            drafted=already is not None,
        )
    known = current.get(views, Invoice, id)
    if known is None or known.statement is not None:
        return invoices.Facts(id=id, at=at, statement=None)
    return invoices.Facts(
        id=id,
        at=at,
        statement=statements.of_invoice(views, known, at),
        number=invoiced.next_number(views),
        balance=invoiced.balance(views, known.customer_id, known.currency),
    )

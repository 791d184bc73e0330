"""What deciding about invoices needs to know: what is owed, the next number, the balance."""

from datetime import datetime

from app.clock import new_id
from domain import billing_calendar, invoice_items, invoices, settlements
from domain.invoices import DraftInvoice, Invoice
from domain.subscriptions import Subscription
from projections import current, statements
from projections import invoice_items as waiting_items
from projections import invoices as invoiced
from projections.invoice_previews import prices_of
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


def settlement(
    views: Views, command: settlements.Command, id: str, at: datetime
) -> settlements.Facts:
    """The facts for what happens to an issued invoice; the id is that of what is added to it."""
    if isinstance(command, settlements.CreateCreditNote):
        number = invoiced.next_credit_note_number(views)
        return settlements.Facts(id=new_id("cn"), at=at, number=number)
    return settlements.Facts(id=new_id("pay"), at=at)


def invoice_item(
    views: Views, command: invoice_items.CreateInvoiceItem, id: str, at: datetime
) -> invoice_items.Facts:
    """The facts for a one-off item: whose the subscription is, its currency, its next invoice."""
    subscription = current.get(views, Subscription, command.subscription_id)
    if subscription is None:
        return invoice_items.Facts(id=id, at=at, owner=None, currency="", next_invoice_at=None)
    prices = prices_of(views, subscription)
    return invoice_items.Facts(
        id=id,
        at=at,
        owner=subscription.customer_id,
        currency=subscription.currency,
        next_invoice_at=billing_calendar.next_billing(subscription, prices, at),
        waiting=waiting_items.count_waiting(views, subscription.id),
    )

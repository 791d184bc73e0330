"""What an invoice says: a preview put into words and frozen, or what was issued.

Previews, drafts and finalized invoices are all shown from a statement, so that an invoice that is
issued says what its preview said.
"""

from datetime import datetime
from fractions import Fraction

from domain.customers import Customer
from domain.invoices import BilledTo, Invoice, IssuedLine, IssuedStep, Statement
from domain.pricing import Step
from domain.products import Product
from domain.rating import Line
from domain.subscriptions import Subscription
from projections import current, invoice_previews
from projections.invoice_previews import Preview
from projections.tables import Views


def statement(views: Views, preview: Preview, id: str) -> Statement:
    """What a preview says; `id` is the invoice whose lines they would be."""
    bill, subscription = preview.bill, preview.subscription
    customer = current.get(views, Customer, subscription.customer_id)
    assert customer is not None, f"{subscription.id} is that of a customer that exists"
    names = {
        price_id: _name(views, price.product_id, price.nickname)
        for price_id, price in invoice_previews.prices_of(views, subscription).items()
    }
    return Statement(
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        currency=bill.currency,
        collection_method=subscription.collection_method,
        days_until_due=subscription.days_until_due,
        period=bill.period,
        lines=tuple(
            _line(line, f"{id}_{number}", names[line.price_id])
            for number, line in enumerate(bill.lines, start=1)
        ),
        total=bill.total,
        content_hash=preview.content_hash,
        position=preview.position,
        billed_to=_billed_to(customer),
    )


def of_invoice(views: Views, invoice: Invoice, now: datetime) -> Statement:
    """What was issued; of a draft, what it would say if it were issued now."""
    if invoice.statement is not None:
        return invoice.statement
    found = due(views, invoice.subscription_id, invoice.at, invoice.id, now)
    assert found is not None, f"{invoice.id} was drafted for a subscription that has started"
    return found


def due(
    views: Views, subscription_id: str, at: datetime, invoice_id: str, now: datetime
) -> Statement | None:
    """What a subscription owes at an instant; None when it does not exist or has not started."""
    subscription = current.get(views, Subscription, subscription_id)
    if subscription is None:
        return None
    preview = invoice_previews.preview(views, subscription, now=now, at=at)
    return None if preview is None else statement(views, preview, invoice_id)


def _name(views: Views, product_id: str, nickname: str | None) -> str:
    """What a line is called: the product, and which of its prices."""
    product = current.get(views, Product, product_id)
    assert product is not None, f"{product_id} has a price but was never created"
    return f"{product.name} ({nickname})" if nickname else product.name


def _line(line: Line, id: str, description: str) -> IssuedLine:
    return IssuedLine(
        id=id,
        kind=line.kind,
        description=description,
        item_id=line.item_id,
        price_id=line.price_id,
        price_version=line.price_version,
        period=line.period,
        since=line.since,
        quantity=Fraction(line.quantity),
        exact=line.exact,
        amount=line.amount,
        steps=tuple(map(_step, line.steps)),
    )


def _step(step: Step) -> IssuedStep:
    return IssuedStep(
        description=step.description,
        quantity=step.quantity,
        unit_amount=step.unit_amount,
        flat_amount=step.flat_amount,
        from_quantity=step.from_quantity,
        up_to=step.up_to,
        amount=step.amount,
    )


def _billed_to(customer: Customer) -> BilledTo:
    return BilledTo(
        name=customer.name,
        email=customer.email,
        description=customer.description,
        external_id=customer.external_id,
        time_zone=customer.time_zone,
    )

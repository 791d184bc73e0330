"""What an invoice says: a preview put into words and frozen, or what was issued.

Previews, drafts and finalized invoices are all shown from a statement, so that an invoice that is
issued says what its preview said.
"""

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction

from domain.customers import Customer
from domain.invoices import Invoice
from domain.prices import Price
from domain.pricing import Step
from domain.products import Product
from domain.rating import Line
from domain.statements import BilledTo, IssuedLine, IssuedStep, Statement
from domain.subscriptions import Subscription
from projections import current, invoice_previews
from projections.invoice_previews import Preview
from projections.tables import Views


def statement(views: Views, preview: Preview, id: str) -> Statement:
    """What a preview says; `id` is the invoice whose lines they would be."""
    bill, subscription = preview.bill, preview.subscription
    customer = current.get(views, Customer, subscription.customer_id)
    assert customer is not None, f"{subscription.id} is that of a customer that exists"
    names = _names(views, {line.price_id for line in bill.lines})
    return Statement(
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        currency=bill.currency,
        collection_method=subscription.collection_method,
        days_until_due=subscription.days_until_due,
        period=bill.period,
        lines=tuple(
            _line(line, f"{id}_{number}", line.description or names[line.price_id])
            for number, line in enumerate(bill.lines, start=1)
        ),
        subtotal=bill.total,
        total=bill.total,
        content_hash=preview.content_hash,
        position=preview.position,
        billed_to=_billed_to(customer),
    )


def of_invoice(views: Views, invoice: Invoice, now: datetime) -> Statement:
    """What was issued; of a draft, what it would say if it were issued now."""
    if invoice.statement is not None:
        return invoice.statement
    subscription = current.get(views, Subscription, invoice.subscription_id)
    assert subscription is not None, f"{invoice.id} was drafted for a subscription"
    preview = invoice_previews.preview(
        views, subscription, now=now, at=invoice.at, invoice_id=invoice.id
    )
    assert preview is not None, f"{subscription.id} had started when {invoice.id} was drafted"
    return statement(views, preview, invoice.id)


def due(
    views: Views, subscription_id: str, at: datetime, invoice_id: str, now: datetime
) -> Statement | None:
    """What a draft for an instant would say; None without a subscription that has started."""
    subscription = current.get(views, Subscription, subscription_id)
    if subscription is None:
        return None
    preview = invoice_previews.preview(views, subscription, now=now, at=at)
    return None if preview is None else statement(views, preview, invoice_id)


def _names(views: Views, price_ids: Iterable[str | None]) -> dict[str | None, str]:
    """What the lines of prices are called: the product, and which of its prices."""
    names: dict[str | None, str] = {}
    for price_id in price_ids:
        price = current.get(views, Price, price_id) if price_id else None
        product = current.get(views, Product, price.product_id) if price else None
        if price is not None and product is not None:
            nickname = f" ({price.nickname})" if price.nickname else ""
            names[price_id] = f"{product.name}{nickname}"
    return names


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
        adjusts=line.adjusts,
        discarded=line.discarded,
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

"""A sample of every event about invoices, as it was stored once (see `test_golden_events.py`)."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from msgspec.structs import replace

from domain.collection import CollectionMethod
from domain.decider import Event
from domain.invoice_items import InvoiceItemCreated
from domain.invoices import CreditedLine, InvoiceDrafted, InvoiceFinalized, Reason
from domain.periods import Period
from domain.rating import LineKind
from domain.settlements import (
    CreditNoteCreated,
    InvoiceMarkedUncollectible,
    InvoiceOverdue,
    InvoiceVoided,
    PaymentRecorded,
)
from domain.statements import BilledTo, IssuedLine, IssuedStep

AT = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)

ISSUED = InvoiceFinalized(
    id="inv_1",
    number=42,
    subscription_id="sub_1",
    customer_id="cus_1",
    currency="USD",
    position=41,
    content_hash="0f" * 32,
    collection_method=CollectionMethod.SEND_INVOICE,
    days_until_due=30,
    due_at=AT,
    period=Period(AT, AT),
    lines=(
        IssuedLine(
            id="inv_1_1",
            kind=LineKind.USAGE,
            description="Alpaca.ai usage (Standard)",
            item_id="item_1",
            price_id="price_1",
            price_version=2,
            period=Period(AT, AT),
            since=AT,
            quantity=Fraction(2, 3),
            exact=Fraction(1, 3),
            amount=Decimal("0.33"),
            steps=(
                IssuedStep(
                    description="2/3 units",
                    quantity=Fraction(2, 3),
                    unit_amount=Fraction(1, 2),
                    flat_amount=Fraction(0),
                    from_quantity=Fraction(0),
                    up_to=Fraction("1000.000000000001"),
                    amount=Fraction(1, 3),
                ),
                IssuedStep(description="nothing more", amount=Fraction(0)),
            ),
        ),
    ),
    subtotal=Decimal("0.33"),
    total=Decimal("0.33"),
    balance_applied=Decimal("0.30"),
    to_balance=Decimal(0),
    amount_due=Decimal("0.03"),
    billed_to=BilledTo(
        name="Alpaca Lover",
        email="lover@example.com",
        description=None,
        external_id="alpaca-lover",
        time_zone="Europe/Berlin",
    ),
    finalized_at=AT,
)

SAMPLES: dict[str, Event] = {
    "invoice.payment_recorded/1": PaymentRecorded(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        payment_id="pay_1",
        amount=Decimal("0.05"),
        to_balance=Decimal("0.02"),
        reference="wire 17",
        paid_at=AT,
        recorded_at=AT,
    ),
    "invoice.credited/1": CreditNoteCreated(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        credit_note_id="cn_1",
        number=3,
        lines=(CreditedLine(line_id="inv_1_1", amount=Decimal("0.33")),),
        total=Decimal("0.33"),
        to_balance=Decimal("0.30"),
        reason="an outage",
        created_at=AT,
    ),
    "invoice.voided/1": InvoiceVoided(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        to_balance=Decimal("0.30"),
        reason=None,
        voided_at=AT,
    ),
    "invoice.uncollectible_marked/1": InvoiceMarkedUncollectible(
        id="inv_1",
        customer_id="cus_1",
        currency="USD",
        amount=Decimal("0.03"),
        marked_at=AT,
    ),
    "invoice.overdue_noted/1": InvoiceOverdue(
        id="inv_1", customer_id="cus_1", due_at=AT, noted_at=AT
    ),
    "invoice_item.created/1": InvoiceItemCreated(
        id="ii_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        description="Set-up",
        amount=Decimal("-50.5"),
        currency="USD",
        period=Period(AT, AT),
        created_at=AT,
    ),
    "invoice.drafted/1": InvoiceDrafted(
        id="inv_1",
        subscription_id="sub_1",
        customer_id="cus_1",
        currency="USD",
        at=AT,
        reason=Reason.RENEWAL,
        finalizes_at=AT,
        drafted_at=AT,
    ),
    "invoice.finalized/1": ISSUED,
    "invoice.finalized/1 late usage": replace(
        ISSUED,
        lines=(
            replace(ISSUED.lines[0], kind=LineKind.ADJUSTMENT, price_version=None, adjusts="inv_0"),
            replace(ISSUED.lines[0], discarded=True),
        ),
    ),
}

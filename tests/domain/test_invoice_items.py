"""One-off items: what may wait for the next invoice of a subscription."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from domain.invoice_items import WAITING_LIMIT, CreateInvoiceItem, Facts, InvoiceItemCreated
from domain.periods import Period
from tests.spec import given

AT = datetime(2026, 1, 15, tzinfo=UTC)
MONTH = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
MOMENT = Period(AT, AT)
FACTS = Facts(id="ii_1", at=AT, owner="cus_1", currency="USD", next_invoice_at=MONTH.end)


def item(amount: str = "50", **more: Any) -> CreateInvoiceItem:
    """A set-up fee."""
    given = {"customer_id": "cus_1", "description": "Set-up", **more}
    return CreateInvoiceItem(subscription_id="sub_1", amount=Decimal(amount), **given)


def created(amount: str = "50", period: Period = MOMENT) -> InvoiceItemCreated:
    """The fee as it waits."""
    return InvoiceItemCreated(
        id="ii_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        description="Set-up",
        amount=Decimal(amount),
        currency="USD",
        period=period,
        created_at=AT,
    )


def test_an_item_waits_for_the_next_invoice() -> None:
    given().when(item(), FACTS).then(created())
    given().when(item(currency="USD", period=MONTH), FACTS).then(created(period=MONTH))
    given().when(item("-12.34"), FACTS).then(created("-12.34"))


@pytest.mark.parametrize(
    ("command", "code", "path"),
    [
        (item(customer_id="cus_2"), "INVALID_VALUE", "input.customerId"),
        (item(currency="EUR"), "WRONG_CURRENCY", "input.currency"),
        (item(currency="XXX"), "INVALID_VALUE", "input.currency"),
        (item("0.001"), "INVALID_VALUE", "input.amount"),
        (item("-1000000000000000000"), "INVALID_VALUE", "input.amount"),
        (item(description=""), "REQUIRED", "input.description"),
    ],
)
def test_what_cannot_be_billed(command: CreateInvoiceItem, code: str, path: str) -> None:
    given().when(command, FACTS).then_rejected(code, path)


def test_an_item_needs_a_subscription() -> None:
    nobody = replace(FACTS, owner=None)
    given().when(item(), nobody).then_rejected("NOT_FOUND", "input.subscriptionId")


def test_an_item_needs_an_invoice_to_come() -> None:
    over = replace(FACTS, next_invoice_at=None)
    given().when(item(), over).then_rejected("WRONG_STATE", "input.subscriptionId")


def test_so_many_items_wait_and_no_more() -> None:
    given().when(item(), replace(FACTS, waiting=WAITING_LIMIT - 1)).then(created())
    full = replace(FACTS, waiting=WAITING_LIMIT)
    given().when(item(), full).then_rejected("LIMIT_EXCEEDED", "input.subscriptionId")

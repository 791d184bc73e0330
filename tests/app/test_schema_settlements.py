"""Payments, credit notes, void and written-off invoices through the schema."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, tokens
from tests.app.test_schema_invoices import ISSUED, advance, client, shown, story

__all__ = ["client", "story"]

WANTED = """invoice { status amountDue { amount } amountPaid { amount } amountCredited { amount }
    payments { id amount { amount } toBalance { amount } reference paidAt } }"""


@pytest.fixture
def invoice(client: Asking, story: Story) -> str:
    """An open invoice of 180.00: 80.00 of usage and 100.00 for the licence."""
    client.record(tokens(1))
    (id,) = advance(client, ISSUED)
    return id


def pay(client: Asking, id: str, amount: str, **more: Any) -> Any:
    """Record a payment."""
    input = {"invoiceId": id, "amount": amount, **more}
    return client.mutate("recordPayment", "RecordPaymentInput", input, WANTED)


def credit(client: Asking, id: str, *lines: tuple[str, str], **more: Any) -> Any:
    """Create a credit note."""
    named = [{"lineId": line, "amount": amount} for line, amount in lines]
    wanted = """creditNote { number total { amount } toBalance { amount } reason
        lines { lineId amount { amount } } }"""
    return client.mutate(
        "createCreditNote",
        "CreateCreditNoteInput",
        {"invoiceId": id, "lines": named, **more},
        f"{wanted} {WANTED}",
    )


def void(client: Asking, id: str) -> Any:
    """Void an invoice."""
    input = {"invoiceId": id, "reason": "entered twice"}
    return client.mutate("voidInvoice", "VoidInvoiceInput", input, WANTED)


def write_off(client: Asking, id: str) -> Any:
    """Mark an invoice uncollectible."""
    name = "markInvoiceUncollectible"
    return client.mutate(name, "MarkInvoiceUncollectibleInput", {"invoiceId": id}, WANTED)


def balances(client: Asking, story: Story) -> list[str]:
    """What we owe the customer."""
    query = "query($id: ID!) { customer(id: $id) { balances { amount currency } } }"
    held = client.field(query, id=story.customer)["balances"]
    return [f"{one['amount']} {one['currency']}" for one in held]


def standing(payload: Any) -> tuple[str, str, str]:
    """Status, what is due and what was paid."""
    assert payload["userErrors"] == []
    invoice = payload["invoice"]
    return invoice["status"], invoice["amountDue"]["amount"], invoice["amountPaid"]["amount"]


def refusal(payload: Any) -> tuple[str, str]:
    """Why a payment was refused."""
    assert payload["invoice"] is None
    (error,) = payload["userErrors"]
    return error["code"], ".".join(error["path"])


def test_an_invoice_is_paid_in_parts_and_then_some(
    client: Asking, story: Story, invoice: str
) -> None:
    paid_at = "2026-01-14T00:00:00Z"
    first = pay(client, invoice, "100", reference="wire 17", paidAt=paid_at)
    assert standing(first) == ("OPEN", "80.00", "100.00")
    assert standing(pay(client, invoice, "90")) == ("PAID", "0.00", "180.00")
    one, two = pay(client, invoice, "0.50")["invoice"]["payments"][:2]
    assert one["id"].startswith("pay_")
    assert (one["amount"]["amount"], one["reference"], one["paidAt"]) == (
        "100.00",
        "wire 17",
        paid_at,
    )
    assert two["toBalance"]["amount"] == "10.00"
    assert balances(client, story) == ["10.50 USD"]


def test_the_balance_pays_the_next_invoice_first(
    client: Asking, story: Story, invoice: str
) -> None:
    pay(client, invoice, "210")
    query = """query($id: ID!) { invoicePreview(subscriptionId: $id) {
        total { amount } balanceApplied { amount } amountDue { amount } } }"""
    amounts = {"balanceApplied": {"amount": "30.00"}, "total": {"amount": "100.00"}}
    preview = client.field(query, id=story.subscription)
    assert preview == {**amounts, "amountDue": {"amount": "70.00"}}
    (id,) = advance(client, "2026-03-01T01:00:00Z")
    after = shown(client, id)
    assert after["balanceApplied"] == amounts["balanceApplied"]
    assert after["amountDue"]["amount"] == "70.00"
    assert balances(client, story) == ["0.00 USD"]


def test_a_payment_is_recorded_once_for_its_key(client: Asking, invoice: str) -> None:
    first = pay(client, invoice, "100", idempotencyKey="once")
    assert pay(client, invoice, "100", idempotencyKey="once") == first
    assert refusal(pay(client, invoice, "90", idempotencyKey="once")) == (
        "IDEMPOTENCY_KEY_REUSED",
        "input.idempotencyKey",
    )


@pytest.mark.parametrize(
    ("input", "code", "path"),
    [
        ({"amount": "0"}, "INVALID_VALUE", "input.amount"),
        ({"amount": "-5"}, "INVALID_VALUE", "input.amount"),
        ({"amount": "1.005"}, "INVALID_VALUE", "input.amount"),
        ({"amount": "NaN"}, "INVALID_VALUE", "input.amount"),
        ({"amount": "1", "paidAt": "2026-02-16T00:00:00Z"}, "INVALID_VALUE", "input.paidAt"),
        ({"amount": "1", "paidAt": "yesterday"}, "INVALID_VALUE", "input.paidAt"),
    ],
)
def test_a_payment_that_cannot_be(
    client: Asking, invoice: str, input: dict[str, str], code: str, path: str
) -> None:
    assert refusal(pay(client, invoice, **input)) == (code, path)


def test_there_is_no_payment_for_nothing(client: Asking) -> None:
    assert refusal(pay(client, "inv_none", "1")) == ("NOT_FOUND", "input.invoiceId")


def test_a_credit_note_names_lines_and_is_numbered(
    client: Asking, story: Story, invoice: str
) -> None:
    pay(client, invoice, "150")
    note = credit(client, invoice, (f"{invoice}_1", "50"), reason="an outage")
    assert standing(note) == ("PAID", "0.00", "150.00")
    assert note["creditNote"] == {
        "number": "CN-000001",
        "total": {"amount": "50.00"},
        "toBalance": {"amount": "20.00"},
        "reason": "an outage",
        "lines": [{"lineId": f"{invoice}_1", "amount": {"amount": "50.00"}}],
    }
    assert balances(client, story) == ["20.00 USD"]
    too_much = credit(client, invoice, (f"{invoice}_1", "30.01"))
    assert refusal(too_much) == ("LIMIT_EXCEEDED", "input.lines.0.amount")
    assert too_much["creditNote"] is None
    second = credit(client, invoice, (f"{invoice}_1", "30"), idempotencyKey="once")
    assert second["creditNote"]["number"] == "CN-000002"
    third = credit(client, invoice, (f"{invoice}_2", "1"))
    assert third["creditNote"]["number"] == "CN-000003"
    again = credit(client, invoice, (f"{invoice}_1", "30"), idempotencyKey="once")
    assert again["creditNote"] == second["creditNote"]


def test_a_void_invoice_gives_back_what_was_paid(
    client: Asking, story: Story, invoice: str
) -> None:
    pay(client, invoice, "100")
    assert standing(void(client, invoice)) == ("VOID", "0.00", "0.00")
    assert balances(client, story) == ["100.00 USD"]
    assert standing(void(client, invoice)) == ("VOID", "0.00", "0.00")
    for refused in (pay(client, invoice, "1"), write_off(client, invoice)):
        assert refusal(refused) == ("WRONG_STATE", "input.invoiceId")


def test_what_was_written_off_is_still_due(client: Asking, invoice: str) -> None:
    pay(client, invoice, "100")
    assert standing(write_off(client, invoice)) == ("UNCOLLECTIBLE", "80.00", "100.00")
    assert standing(pay(client, invoice, "80")) == ("PAID", "0.00", "180.00")
    assert refusal(void(client, invoice)) == ("WRONG_STATE", "input.invoiceId")


def test_what_happened_to_an_invoice_is_in_its_history_and_its_customers(
    client: Asking, story: Story, invoice: str
) -> None:
    pay(client, invoice, "200")
    credit(client, invoice, (f"{invoice}_2", "1"))
    query = "query($id: ID!) { ledgerEvents(subjectId: $id) { nodes { type } } }"
    expected = ["drafted", "finalized", "payment_recorded", "credited"]
    for subject in (invoice, story.customer):
        types = [node["type"] for node in client.field(query, id=subject)["nodes"]]
        assert types[-4:] == [f"invoice.{verb}" for verb in expected]

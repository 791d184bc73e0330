"""The guide's story through the schema, and the objects and lists that it leaves behind."""

from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from tests.app.asking import NOW, Asking, Story, client, story, tokens

__all__ = ["client", "story"]

PREVIEW = """query($id: ID!, $at: DateTime, $extra: [HypotheticalUsageInput!]) {
  invoicePreview(subscriptionId: $id, at: $at, extraUsage: $extra) {
    id number status currency collectionMethod issuedAt dueAt position contentHash
    customer { name } subscription { id } period { start end }
    lines {
      id kind description quantity subscriptionItemId exactAmount
      price { id product { name } } period { start end } amount { amount currency }
      steps { description quantity unitAmount flatAmount from upTo amount }
      usage { totalCount nodes { id value } }
    }
    subtotal { amount } total { amount } amountDue { amount } amountPaid { amount }
  }
}"""


def preview(client: Asking, story: Story, **variables: Any) -> Any:
    """The next invoice of the story."""
    return client.field(PREVIEW, id=story.subscription, **variables)


def test_the_preview_reads_180_directly_after_the_usage(client: Asking, story: Story) -> None:
    assert preview(client, story)["total"]["amount"] == "100.00"
    payload = client.record(tokens(1))
    invoice = preview(client, story)
    assert invoice["position"] == payload["position"]
    assert [line["amount"] for line in invoice["lines"]] == [
        {"amount": "80.00", "currency": "USD"},
        {"amount": "100.00", "currency": "USD"},
    ]
    for field in ("subtotal", "total", "amountDue"):
        assert invoice[field]["amount"] == "180.00"
    assert invoice["amountPaid"]["amount"] == "0.00"


def test_a_preview_says_what_it_is(client: Asking, story: Story) -> None:
    invoice = preview(client, story)
    assert invoice["id"] == f"preview_{story.subscription}_2026-02-01T00:00:00Z"
    assert (invoice["number"], invoice["status"], invoice["issuedAt"]) == (None, "PREVIEW", None)
    assert invoice["dueAt"] is None
    assert invoice["customer"]["name"] == "Llama Ltd"
    assert invoice["subscription"]["id"] == story.subscription
    assert invoice["period"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    assert len(invoice["contentHash"]) == 64


def test_a_usage_line_shows_its_steps_and_its_records(client: Asking, story: Story) -> None:
    client.record(*(tokens(number, "30") for number in range(100)))
    usage, licence = preview(client, story)["lines"]
    assert (usage["kind"], usage["description"]) == ("USAGE", "Alpaca.ai usage (Tokens)")
    assert (usage["price"]["id"], usage["quantity"]) == (story.usage, "3000")
    assert usage["steps"][1] == {
        "description": "2000 units above 1000 at 0.04 each",
        "quantity": "2000",
        "unitAmount": "0.04",
        "flatAmount": None,
        "from": "1000",
        "upTo": None,
        "amount": "80",
    }
    assert usage["usage"]["totalCount"] == 100
    assert [node["id"] for node in usage["usage"]["nodes"]] == [f"r{n}" for n in range(20)]
    assert (licence["kind"], licence["quantity"]) == ("RECURRING", "1")
    assert licence["usage"] == {"totalCount": 0, "nodes": []}
    assert usage["id"] != licence["id"]


def test_usage_that_was_never_sent_can_be_tried(client: Asking, story: Story) -> None:
    position = client.position
    extra = [{"eventName": "tokens", "value": "3000"}, {"eventName": "other", "value": "7"}]
    assert preview(client, story, extra=extra)["total"]["amount"] == "180.00"
    assert preview(client, story)["total"]["amount"] == "100.00"
    assert client.position == position


def test_a_preview_before_the_start_is_null(client: Asking, story: Story) -> None:
    assert preview(client, story, at="2025-12-31T23:59:59Z") is None


def test_a_price_bills_only_the_usage_it_lets_through(client: Asking, story: Story) -> None:
    some = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        meterFilter=[{"name": "model", "values": ["large"]}],
        currency="USD",
        interval={"unit": "MONTH"},
        pricing={"perUnit": {"unitAmount": "0.5"}},
    )
    id = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": some}],
        collectionMethod="SEND_INVOICE",
        daysUntilDue=10,
        startAt="2026-01-01T00:00:00Z",
    )
    client.record(
        tokens(1, "10", properties={"model": "large"}),
        tokens(2, "20", properties={"model": "small"}),
        tokens(3, "40"),
    )
    invoice = client.field(PREVIEW, id=id)
    (line,) = invoice["lines"]
    assert line["amount"]["amount"] == "5.00"
    assert line["usage"] == {"totalCount": 1, "nodes": [{"id": "r1", "value": "10"}]}
    assert invoice["dueAt"] == "2026-02-11T00:00:00Z"


def test_the_first_invoice_is_the_preview_at_the_start(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    payload = client.mutate(
        "createSubscription",
        "CreateSubscriptionInput",
        {
            "customerId": story.customer,
            "items": [{"priceId": story.usage}, {"priceId": story.licence, "quantity": "3"}],
            "startAt": "2026-03-01T00:00:00Z",
        },
        """subscription { status currency startAt billingAnchor currentPeriod { start }
             items { quantity price { timing meter { name } } currentPeriod { start end } } }
           firstInvoice { status total { amount } lines { kind } }""",
    )
    assert payload["firstInvoice"] == {
        "status": "PREVIEW",
        "total": {"amount": "300.00"},
        "lines": [{"kind": "RECURRING"}],
    }
    subscription = payload["subscription"]
    assert (subscription["status"], subscription["currentPeriod"]) == ("SCHEDULED", None)
    assert subscription["billingAnchor"] == subscription["startAt"] == "2026-03-01T00:00:00Z"
    assert subscription["items"] == [
        {
            "quantity": quantity,
            "price": {"timing": timing, "meter": meter},
            "currentPeriod": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
        }
        for quantity, timing, meter in (
            (None, "IN_ARREARS", {"name": "Alpaca.ai tokens"}),
            ("3", "IN_ADVANCE", None),
        )
    ]


def test_a_price_shows_its_pricing_in_the_words_of_its_input(client: Asking, story: Story) -> None:
    query = "query($id: ID!) { price(id: $id) { pricing interval { unit count } lookupKey } }"
    assert client.field(query, id=story.usage)["pricing"] == {
        "model": "graduated",
        "tiers": [
            {"upTo": "1000", "unitAmount": "0", "flatAmount": None},
            {"upTo": None, "unitAmount": "0.04", "flatAmount": None},
        ],
    }
    assert client.field(query, id=story.licence) == {
        "pricing": {"model": "perUnit", "unitAmount": "100"},
        "interval": {"unit": "MONTH", "count": 1},
        "lookupKey": "licence",
    }


@pytest.mark.parametrize(
    ("pricing", "quantity", "amount", "exact"),
    [
        ({"package": {"size": "100", "amount": "0.04"}}, "2001", "0.84", "0.84"),
        ({"package": {"size": "100", "amount": "1", "rounding": "DOWN"}}, "199", "1.00", "1"),
        ({"package": {"size": "10", "amount": "1", "freeUnits": "5"}}, "15", "1.00", "1"),
        ({"volume": {"tiers": [{"unitAmount": "0.001"}]}}, "5", "0.01", "0.005"),
        ({"graduated": {"tiers": [{"flatAmount": "7"}]}}, "0", "7.00", "7"),
    ],
)
def test_a_quote_needs_no_price(
    client: Asking, pricing: object, quantity: str, amount: str, exact: str
) -> None:
    query = """query($pricing: PricingInput!, $quantity: Decimal!) {
        priceQuote(pricing: $pricing, currency: "USD", quantity: $quantity) {
          amount { amount } exactAmount } }"""
    quote = client.field(query, pricing=pricing, quantity=quantity)
    assert quote == {"amount": {"amount": amount}, "exactAmount": exact}


def test_the_same_key_makes_one_object(client: Asking) -> None:
    first = client.create("customer", name="Llama", idempotencyKey="once")
    assert client.create("customer", name="Llama", idempotencyKey="once") == first
    payload = client.mutate(
        "createCustomer", "CreateCustomerInput", {"name": "Alpaca", "idempotencyKey": "once"}
    )
    (error,) = payload["userErrors"]
    assert error["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert error["path"] == ["input", "idempotencyKey"]


def test_any_object_is_found_by_its_id(client: Asking, story: Story) -> None:
    query = "query($id: ID!) { node(id: $id) { __typename id } }"
    ids = {
        "Meter": story.meter,
        "Product": story.usage_product,
        "Price": story.usage,
        "Customer": story.customer,
        "Subscription": story.subscription,
        "Ledger": client.ledger.state.id,
    }
    for kind, id in ids.items():
        assert client.field(query, id=id) == {"__typename": kind, "id": id}
    for id in (
        "",
        "_",
        "cus",
        "cus_",
        "cus_\ud800",
        "met_1",
        "ub_1",
        story.customer[4:],
        "x" * 999,
    ):
        assert client.field(query, id=id) is None
    # The prefix alone makes no customer of a meter.
    assert client.field("query($id: ID!) { customer(id: $id) { id } }", id=story.meter) is None


def test_the_ledger_says_where_it_stands(client: Asking, story: Story) -> None:
    ledger = client.field("{ ledger { id name position headHash clock { now isTest } } }")
    assert ledger == {
        "id": client.ledger.state.id,
        "name": "main",
        "position": str(client.position),
        "headHash": client.ledger.store.head()[1].hex(),
        "clock": {"now": "2026-01-15T12:00:00Z", "isTest": True},
    }


def test_a_customer_is_billed_by_midnight_of_its_own_zone(client: Asking, story: Story) -> None:
    id = client.create("customer", name="Kiwi", timeZone="Pacific/Auckland")
    subscription = client.create(
        "subscription",
        customerId=id,
        items=[{"priceId": story.licence}],
        startAt="2026-01-01T11:00:00Z",
    )
    query = """query($id: ID!) { subscription(id: $id) {
        timeZone currentPeriod { end } customer { id } daysUntilDue collectionMethod } }"""
    assert client.field(query, id=subscription) == {
        "timeZone": "Pacific/Auckland",
        "currentPeriod": {"end": "2026-02-01T11:00:00Z"},
        "customer": {"id": id},
        "daysUntilDue": None,
        "collectionMethod": "CHARGE_AUTOMATICALLY",
    }


def test_what_is_shown_survives_a_restart(tmp_path: Path) -> None:
    with Ledger(tmp_path, test_clock_at=NOW) as ledger:
        client = Asking(ledger)
        story = Story(client)
        client.record(tokens(1))
        before = preview(client, story)
    with Ledger(tmp_path) as ledger:
        assert preview(Asking(ledger), story) == before

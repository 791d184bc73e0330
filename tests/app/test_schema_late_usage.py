"""Usage that comes late, through GraphQL: what waits, what is written off, and that it adds up."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

LINE = """id kind period { start end } quantity adjustsInvoiceId amount { amount }
    steps { description amount } usage { totalCount nodes { id } }"""
INVOICE = f"id number status reason at issuedAt total {{ amount }} lines {{ {LINE} }}"
WAITING = """query($first: Int, $after: String, $customerId: ID, $subscriptionId: ID) {
  waitingAdjustments(first: $first, after: $after, customerId: $customerId,
    subscriptionId: $subscriptionId) {
      totalCount pageInfo { hasNextPage endCursor }
      nodes { period { start end } quantity amount { amount currency } subscriptionItemId
        steps { description amount } subscription { id } price { id lateUsage }
        invoice { number } usage { totalCount nodes { id state } } } } }"""
WRITTEN_OFF = """{ writtenOffUsage { totalCount nodes {
  reason period { start } invoice { status } usage { totalCount nodes { id } } } } }"""
COUNTS = """query($meter: ID!, $customer: ID!, $period: PeriodInput) {
  usageReconciliation(meterId: $meter, customerId: $customer, period: $period) {
    accepted billed waiting writtenOff voided } }"""


def move(client: Asking, to: str) -> list[Any]:
    """Move the clock; the invoices on the way."""
    wanted = f"invoices {{ {INVOICE} }}"
    payload = client.mutate("advanceClock", "AdvanceClockInput", {"to": to}, wanted)
    assert payload["userErrors"] == []
    invoices: list[Any] = payload["invoices"]
    return invoices


def waiting(client: Asking, **asked: Any) -> Any:
    """The adjustments that wait."""
    return client.field(WAITING, **asked)


def written_off(client: Asking) -> list[tuple[str, str, list[str]]]:
    """What is written off: why, on what kind of invoice, and the records."""
    found = client.field(WRITTEN_OFF)
    assert found["totalCount"] == len(found["nodes"])
    return [
        (
            one["reason"],
            one["invoice"]["status"],
            [record["id"] for record in one["usage"]["nodes"]],
        )
        for one in found["nodes"]
    ]


def counts(client: Asking, story: Story, **more: Any) -> str:
    """What became of the records, in the order of the equation that they fulfil."""
    found = client.field(COUNTS, meter=story.meter, customer=story.customer, **more)
    accepted, *parts = (int(number) for number in found.values())
    assert accepted == sum(parts)
    return f"{accepted} = " + " + ".join(map(str, parts))


def cancel(client: Asking, story: Story, **more: Any) -> None:
    """End the story's subscription at once."""
    input = {"now": {"subscriptionId": story.subscription, **more}}
    client.mutate("cancelSubscription", "CancelSubscriptionInput", input)


def adjustments(invoice: Any) -> list[Any]:
    """The lines of an invoice that adjust others."""
    return [line for line in invoice["lines"] if line["kind"] == "ADJUSTMENT"]


def test_a_record_that_comes_late_waits_for_the_next_invoice(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    assert counts(client, story) == "1 = 0 + 1 + 0 + 0"
    [january] = [one for one in move(client, "2026-02-02T00:00:00Z") if one["number"] == "000002"]
    assert counts(client, story) == "1 = 1 + 0 + 0 + 0"
    client.record(tokens(2, "500"), tokens(3, "7", timestamp="2026-02-01T12:00:00Z"))
    assert counts(client, story) == "3 = 1 + 2 + 0 + 0"

    [one] = waiting(client)["nodes"]
    assert one == {
        "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "quantity": "500",
        "amount": {"amount": "20.00", "currency": "USD"},
        "subscriptionItemId": one["subscriptionItemId"],
        "steps": [
            {"description": "1000 units up to 1000 at 0 each", "amount": "0"},
            {"description": "2500 units above 1000 at 0.04 each", "amount": "100"},
            {"description": "less 3000 billed on invoice 000002", "amount": "-80"},
        ],
        "subscription": {"id": story.subscription},
        "price": {"id": story.usage, "lateUsage": "ADJUST"},
        "invoice": {"number": "000002"},
        "usage": {"totalCount": 1, "nodes": [{"id": "r2", "state": "COUNTED"}]},
    }
    preview = client.field(
        f"query($id: ID!) {{ invoicePreview(subscriptionId: $id) {{ {INVOICE} }} }}",
        id=story.subscription,
    )
    [line] = adjustments(preview)
    assert line["usage"] == {"totalCount": 1, "nodes": [{"id": "r2"}]}
    assert line["adjustsInvoiceId"] == january["id"]

    invoices = move(client, "2026-03-02T00:00:00Z")
    [issued] = adjustments(invoices[-1])
    assert issued == {**line, "id": issued["id"]}
    assert invoices[-1]["total"] == {"amount": "120.00"}
    assert waiting(client)["totalCount"] == 0
    assert counts(client, story) == "3 = 3 + 0 + 0 + 0"
    march = {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
    assert counts(client, story, period=march) == "1 = 1 + 0 + 0 + 0"


def test_what_changes_nothing_is_still_adjusted(client: Asking, story: Story) -> None:
    move(client, "2026-02-02T00:00:00Z")
    client.record(tokens(1, "10"))
    assert counts(client, story) == "1 = 0 + 1 + 0 + 0"
    [line] = adjustments(move(client, "2026-03-02T00:00:00Z")[-1])
    assert (line["quantity"], line["amount"]["amount"]) == ("10", "0.00")
    assert counts(client, story) == "1 = 1 + 0 + 0 + 0"


def test_a_preview_of_a_billed_instant_adjusts_nothing(client: Asking, story: Story) -> None:
    move(client, "2026-02-02T00:00:00Z")
    client.record(tokens(1))
    for at, kinds in (
        ("2026-01-20T00:00:00Z", 0),
        ("2026-02-01T00:00:00Z", 0),
        ("2026-02-01T00:00:00.000001Z", 1),
    ):
        preview = client.field(
            f"""query($id: ID!, $at: DateTime!) {{
              invoicePreview(subscriptionId: $id, at: $at) {{ {INVOICE} }} }}""",
            id=story.subscription,
            at=at,
        )
        assert len(adjustments(preview)) == kinds


def test_what_comes_after_the_end_has_an_invoice_of_its_own(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    cancel(client, story)
    move(client, "2026-01-20T00:00:00Z")
    client.record(tokens(2, "100"))
    draft = move(client, "2026-01-20T00:30:00Z")
    assert [(one["status"], one["reason"]) for one in draft] == [("DRAFT", "ADJUSTMENT")]
    client.record(tokens(3, "1"))
    [issued] = move(client, "2026-01-20T01:00:00Z")
    assert issued["id"] == draft[0]["id"]
    assert issued["issuedAt"] == "2026-01-20T01:00:00Z"
    [line] = issued["lines"]
    assert (line["kind"], line["quantity"], line["amount"]["amount"]) == (
        "ADJUSTMENT",
        "101",
        "4.04",
    )
    assert counts(client, story) == "3 = 3 + 0 + 0 + 0"
    void = {"id": "r2", "reason": "A test"}
    client.mutate("voidUsage", "VoidUsageInput", void)
    [credit] = move(client, "2026-01-22T00:00:00Z")
    assert (credit["status"], credit["reason"], credit["total"]["amount"]) == (
        "PAID",
        "ADJUSTMENT",
        "-4.00",
    )
    balance = client.field(
        "query($id: ID!) { customer(id: $id) { balances { amount } } }", id=story.customer
    )
    assert "4.00" in [one["amount"] for one in balance["balances"]]
    assert move(client, "2026-06-01T00:00:00Z") == []
    assert counts(client, story) == "3 = 2 + 0 + 0 + 1"


def test_a_price_may_report_what_comes_late(client: Asking, story: Story) -> None:
    price = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        pricing={"perUnit": {"unitAmount": "1"}},
        lateUsage="REPORT",
        currency="USD",
        interval={"unit": "MONTH"},
    )
    assert client.field("query($id: ID!) { price(id: $id) { lateUsage } }", id=price) == {
        "lateUsage": "REPORT"
    }
    other = client.create("customer", name="Other", externalId="other")
    client.create("subscription", customerId=other, items=[{"priceId": price}])
    client.record(tokens(1, customer="other", timestamp="2026-01-20T00:00:00Z"))
    move(client, "2026-02-20T00:00:00Z")
    client.record(tokens(2, customer="other", timestamp="2026-01-20T00:00:00Z"))
    assert waiting(client, customerId=other)["totalCount"] == 0
    assert written_off(client) == [("REPORTED", "OPEN", ["r2"])]
    story.customer = other
    assert counts(client, story) == "2 = 1 + 0 + 1 + 0"
    assert [adjustments(one) for one in move(client, "2026-03-20T00:00:00Z")] == [[], []]


def test_discarded_usage_is_written_off(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    cancel(client, story, discardUsage=True)
    move(client, "2026-01-20T00:00:00Z")
    client.record(tokens(2))
    assert written_off(client) == [("DISCARDED", "PAID", ["r1", "r2"])]
    assert waiting(client)["totalCount"] == 0
    assert counts(client, story) == "2 = 0 + 0 + 2 + 0"


def void(client: Asking, invoice: Any) -> None:
    """An invoice is voided."""
    input = {"invoiceId": invoice["id"]}
    payload = client.mutate("voidInvoice", "VoidInvoiceInput", input)
    assert payload["userErrors"] == []


def test_what_a_void_invoice_billed_is_written_off(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    january = move(client, "2026-02-02T00:00:00Z")[-1]
    client.record(tokens(2))
    assert waiting(client)["totalCount"] == 1
    void(client, january)
    assert waiting(client)["totalCount"] == 0
    client.record(tokens(3))
    assert written_off(client) == [("VOIDED", "VOID", ["r1", "r2", "r3"])]
    assert counts(client, story) == "3 = 0 + 0 + 3 + 0"
    assert adjustments(move(client, "2026-03-02T00:00:00Z")[-1]) == []


def test_an_adjustment_on_a_void_invoice_waits_again(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    move(client, "2026-02-02T00:00:00Z")
    client.record(tokens(2, "500"))
    february = move(client, "2026-03-02T00:00:00Z")[-1]
    assert adjustments(february) != []
    void(client, february)
    [again] = waiting(client)["nodes"]
    assert again["amount"]["amount"] == "20.00"
    assert counts(client, story) == "2 = 1 + 1 + 0 + 0"
    [line] = adjustments(move(client, "2026-04-02T00:00:00Z")[-1])
    assert line["amount"]["amount"] == "20.00"
    assert line["usage"]["nodes"] == [{"id": "r2"}]
    assert counts(client, story) == "2 = 2 + 0 + 0 + 0"


def test_a_price_that_changes_the_past_is_adjusted_too(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    move(client, "2026-02-02T00:00:00Z")
    input = {
        "priceId": story.usage,
        "effectiveAt": "2026-01-05T00:00:00Z",
        "pricing": {"perUnit": {"unitAmount": "0.05"}},
    }
    client.mutate("supersedePrice", "SupersedePriceInput", input)
    [one] = waiting(client)["nodes"]
    assert (one["amount"]["amount"], one["usage"]["totalCount"]) == ("70.00", 0)
    [line] = adjustments(move(client, "2026-03-02T00:00:00Z")[-1])
    assert (line["amount"]["amount"], line["quantity"]) == ("70.00", "0")
    assert waiting(client)["totalCount"] == 0


def test_a_meter_that_measured_otherwise_is_adjusted_too(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    move(client, "2026-02-02T00:00:00Z")
    for effective_at, waits in (("2026-02-01T00:00:00Z", 0), ("2026-01-31T00:00:00Z", 1)):
        input = {"meterId": story.meter, "effectiveAt": effective_at, "aggregation": "COUNT"}
        client.mutate("reviseMeter", "ReviseMeterInput", input)
        assert waiting(client)["totalCount"] == waits
    input = {"meterId": story.meter, "effectiveAt": "2026-01-05T00:00:00Z", "aggregation": "COUNT"}
    client.mutate("reviseMeter", "ReviseMeterInput", input)
    [line] = adjustments(move(client, "2026-03-02T00:00:00Z")[-1])
    assert (line["amount"]["amount"], line["quantity"]) == ("-80.00", "-2999")


def test_adjustments_are_listed_page_by_page(client: Asking, story: Story) -> None:
    move(client, "2026-03-02T00:00:00Z")
    client.record(tokens(1), tokens(2, timestamp="2026-02-10T00:00:00Z"))
    page = waiting(client, first=1, subscriptionId=story.subscription)
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (2, True)
    rest = waiting(client, first=1, after=page["pageInfo"]["endCursor"], customerId=story.customer)
    months = [one["period"]["start"] for one in (*page["nodes"], *rest["nodes"])]
    assert months == ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]
    lines = adjustments(move(client, "2026-04-02T00:00:00Z")[-1])
    assert [line["period"]["start"] for line in lines] == months


@pytest.mark.parametrize("argument", ["customerId", "subscriptionId"])
def test_who_is_asked_for_must_exist(client: Asking, argument: str) -> None:
    [error] = client.ask(WAITING, **{argument: "nobody"})["errors"]
    assert error["message"].startswith("there is no ")
    assert error["extensions"]["code"] == "BAD_USER_INPUT"

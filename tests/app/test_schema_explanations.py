"""Why a line says what it says, through the schema."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, tokens
from tests.app.test_schema_invoices import DRAFTED, FEBRUARY, ISSUED, advance, client, story

__all__ = ["client", "story"]

EVENT = "{ position type subjectId hash }"
EXPLANATION = f"""
  explanation {{
    sentences priceEvent {EVENT} event {EVENT}
    meters {{ meterId version {{ number aggregation }} period {{ start end }} event {EVENT} }}
    shares {{ part {{ start end }} whole {{ start end }} granularity elapsed total }}
    charged {{ lineId invoiceNumber quantity exactAmount amount {{ amount }} }}
    records {{ totalCount nodes {{ value text record {{ id position row hash state }} }} }}
    check {{
      holds quantity exactAmount amount {{ amount }} sentences
      parts {{
        period {{ start end }} quantity exactAmount amount {{ amount }} steps {{ amount }}
        usage {{ quantity recordCount carriedOver imaginedCount period {{ start end }} }}
        settled {{ quantity recordCount }}
      }}
    }}
  }}
"""
LINES = f"""lines {{ id kind quantity exactAmount amount {{ amount }} period {{ start end }}
  usage {{ totalCount nodes {{ id state }} }} {EXPLANATION} }}"""


def lines(client: Asking, id: str, **more: Any) -> list[Any]:
    """The lines of an invoice with their explanations."""
    query = f"query($id: ID!, $asOf: AsOf) {{ invoice(id: $id, asOf: $asOf) {{ {LINES} }} }}"
    found: list[Any] = client.field(query, id=id, **more)["lines"]
    return found


def previewed(client: Asking, story: Story, **more: Any) -> list[Any]:
    """The lines of the next invoice with their explanations."""
    query = f"""query($id: ID!, $asOf: AsOf, $extra: [HypotheticalUsageInput!]) {{
        invoicePreview(subscriptionId: $id, asOf: $asOf, extraUsage: $extra) {{ {LINES} }} }}"""
    found: list[Any] = client.field(query, id=story.subscription, **more)["lines"]
    return found


def ids(line: Any) -> list[str]:
    """The ids of the records that a line counts."""
    return [node["record"]["id"] for node in line["explanation"]["records"]["nodes"]]


def event(client: Asking, position: str) -> Any:
    """A fact as the ledger shows it."""
    page = client.field(
        f"query($after: String) {{ ledgerEvents(first: 1, after: $after) {{ nodes {EVENT} }} }}",
        after=f"p{int(position) - 1}",
    )
    return page["nodes"][0]


@pytest.fixture
def invoice(client: Asking, story: Story) -> str:
    """An issued invoice of 180.00, made of two records."""
    client.record(tokens(1, "2000"), tokens(2, "1000"))
    (id,) = advance(client, ISSUED)
    return id


def test_an_issued_line_goes_down_to_its_records(
    client: Asking, story: Story, invoice: str
) -> None:
    usage, licence = lines(client, invoice)
    told = usage["explanation"]
    assert (told["priceEvent"]["type"], told["priceEvent"]["subjectId"]) == (
        "price.created",
        story.usage,
    )
    [meter] = told["meters"]
    assert (meter["meterId"], meter["version"]) == (
        story.meter,
        {"number": 1, "aggregation": "SUM"},
    )
    assert meter["period"] == usage["period"]
    assert meter["event"]["subjectId"] == story.meter
    assert told["records"]["totalCount"] == 2
    assert [node["value"] for node in told["records"]["nodes"]] == ["2000", "1000"]
    for row, node in enumerate(told["records"]["nodes"]):
        record = node["record"]
        assert (record["id"], record["row"]) == (f"r{row + 1}", row)
        fact = event(client, record["position"])
        assert (fact["type"], fact["hash"]) == ("usage.recorded", record["hash"])
    assert told["event"] is None
    check = told["check"]
    assert (check["holds"], check["quantity"], check["exactAmount"]) == (True, "3000", "80")
    assert check["parts"][0]["usage"] == {
        "quantity": "3000",
        "recordCount": "2",
        "carriedOver": "0",
        "imaginedCount": 0,
        "period": usage["period"],
    }
    created = licence["explanation"]["event"]
    assert (created["type"], created["subjectId"]) == ("subscription.created", story.subscription)
    assert licence["explanation"]["records"] == {"totalCount": 0, "nodes": []}
    assert licence["explanation"]["check"]["holds"]


def test_what_comes_later_is_no_part_of_it(client: Asking, story: Story, invoice: str) -> None:
    before = lines(client, invoice)
    client.record(tokens(3, "5", timestamp="2026-01-20T00:00:00Z"))
    amend = {"id": "r1", "value": "7"}
    client.mutate("amendUsage", "AmendUsageInput", amend)
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r2"})
    supersede = {
        "priceId": story.usage,
        "effectiveAt": "2026-01-01T00:00:00Z",
        "pricing": {"perUnit": {"unitAmount": "9"}},
    }
    client.mutate("supersedePrice", "SupersedePriceInput", supersede)
    revise = {"meterId": story.meter, "aggregation": "COUNT", "effectiveAt": FEBRUARY}
    client.mutate("reviseMeter", "ReviseMeterInput", revise)
    after = lines(client, invoice)
    states = [node["record"].pop("state") for node in after[0]["explanation"]["records"]["nodes"]]
    assert states == ["AMENDED", "VOIDED"]
    for node in before[0]["explanation"]["records"]["nodes"]:
        assert node["record"].pop("state") == "COUNTED"
    assert [line["explanation"] for line in after] == [line["explanation"] for line in before]
    assert after[0]["usage"] == {
        "totalCount": 2,
        "nodes": [{"id": "r1", "state": "AMENDED"}, {"id": "r2", "state": "VOIDED"}],
    }


def test_a_key_that_means_somebody_else_later_changes_nothing(
    client: Asking, story: Story, invoice: str
) -> None:
    before = lines(client, invoice)
    advance(client, "2026-02-10T00:00:00Z")
    rename = {"customerId": story.customer, "externalId": "alpaca"}
    assert client.mutate("updateCustomer", "UpdateCustomerInput", rename)["userErrors"] == []
    client.record(tokens(9, "1", customer="llama"))  # waits: nobody is called llama now
    rename["externalId"] = "llama"
    client.mutate("updateCustomer", "UpdateCustomerInput", rename)
    after = lines(client, invoice)
    assert ids(after[0]) == ["r1", "r2"]
    assert after == before


def test_a_draft_and_its_preview_are_explained_alike(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    [usage, _] = previewed(client, story)
    assert (ids(usage), usage["explanation"]["check"]["holds"]) == (["r1"], True)
    (draft,) = advance(client, DRAFTED)
    client.record(tokens(2, "5"))
    [drafted, _] = lines(client, draft)
    assert ids(drafted) == ["r1", "r2"]
    assert drafted["explanation"]["check"]["quantity"] == "3005"
    assert drafted["explanation"]["check"]["holds"]


def test_a_preview_as_of_then_is_explained_by_what_was_known(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    then = client.position
    client.record(tokens(2, "5"))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    [usage, _] = previewed(client, story, asOf={"position": str(then)})
    assert (ids(usage), usage["explanation"]["check"]["quantity"]) == (["r1"], "3000")
    assert usage["explanation"]["check"]["holds"]
    assert usage["explanation"]["records"]["totalCount"] == 1


def test_an_invoice_as_of_then_is_explained_as_it_was_then(
    client: Asking, story: Story, invoice: str
) -> None:
    """At each position since it was issued, whatever came later; so is what adjusts it."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("amendUsage", {"id": "r1", "value": "7"}),
        ("updateCustomer", {"customerId": story.customer, "externalId": "alpaca"}),
        ("voidUsage", {"id": "r2"}),
        (
            "supersedePrice",
            {
                "priceId": story.usage,
                "effectiveAt": "2026-01-01T00:00:00Z",
                "pricing": {"perUnit": {"unitAmount": "9"}},
            },
        ),
        ("updateCustomer", {"customerId": story.customer, "externalId": "llama"}),
        (
            "reviseMeter",
            {"meterId": story.meter, "aggregation": "COUNT", "effectiveAt": FEBRUARY},
        ),
    ]
    said = [(invoice, client.position, lines(client, invoice))]
    for name, input in steps:
        payload = client.mutate(name, f"{name[0].upper()}{name[1:]}Input", input)
        assert payload["userErrors"] == []
        said.append((invoice, client.position, lines(client, invoice)))
    client.record(tokens(3, "500", timestamp="2026-01-31T00:00:00Z"))
    for moment in ("2026-03-01T00:30:00Z", "2026-03-01T01:00:00Z"):
        (second,) = advance(client, moment)
        said.append((second, client.position, lines(client, second)))
        said.append((invoice, client.position, lines(client, invoice)))
    assert "ADJUSTMENT" in {line["kind"] for line in said[-2][2]}
    assert len({str(told) for id, _, told in said if id == invoice}) > 2
    for id, position, told in said:
        assert all(line["explanation"]["check"]["holds"] for line in told)
        assert lines(client, id, asOf={"position": str(position)}) == told


def test_usage_that_was_never_sent_is_told_apart(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    extra = [{"eventName": "tokens", "value": "500"}]
    [usage, _] = previewed(client, story, extra=extra)
    check = usage["explanation"]["check"]
    assert (usage["quantity"], check["quantity"], check["holds"]) == ("3500", "3500", True)
    assert ids(usage) == ["r1"]
    [part] = check["parts"]
    assert (part["usage"]["recordCount"], part["usage"]["imaginedCount"]) == ("1", 1)
    assert any("with 1 imagined" in sentence for sentence in check["sentences"])


def test_a_change_that_is_only_imagined_has_no_fact(client: Asking, story: Story) -> None:
    advance(client, "2026-01-16T00:00:00Z")
    query = f"""query($input: ChangeSubscriptionInput!) {{
        subscriptionChangePreview(input: $input) {{ {LINES} }} }}"""
    subscription = client.field(
        "query($id: ID!) { subscription(id: $id) { items { id price { id } } } }",
        id=story.subscription,
    )
    [item] = [one["id"] for one in subscription["items"] if one["price"]["id"] == story.licence]
    input = {
        "subscriptionId": story.subscription,
        "items": [{"itemId": item, "quantity": "3"}],
        "prorationBehavior": "INVOICE_NOW",
    }
    found = client.field(query, input=input)["lines"]
    assert {line["kind"] for line in found} == {"PRORATION"}
    for line in found:
        assert line["explanation"]["event"] is None
        assert line["explanation"]["check"]["holds"]
        [share] = line["explanation"]["shares"]
        assert (share["elapsed"], share["total"]) == ("1382400", "2678400")
        assert share["granularity"] == "SECOND"
    payload = client.mutate("changeSubscription", "ChangeSubscriptionInput", input)
    assert payload["userErrors"] == []
    page = client.field("{ invoices(last: 1) { nodes { id } } }")
    for line in lines(client, page["nodes"][0]["id"]):
        assert line["explanation"]["event"]["type"] == "subscription.changed"
        assert line["explanation"]["check"]["holds"]


def test_a_subscription_that_is_only_imagined_is_explained(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    query = f"""query($input: PreviewSubscriptionInput!) {{
        subscriptionPreview(input: $input, at: "{FEBRUARY}") {{ {LINES} }} }}"""
    input = {
        "customerId": story.customer,
        "items": [{"priceId": story.usage}, {"priceId": story.licence, "quantity": "2"}],
        "startAt": "2026-01-01T00:00:00Z",
    }
    usage, *licences = client.field(query, input=input)["lines"]
    assert (ids(usage), usage["explanation"]["check"]["holds"]) == (["r1"], True)
    for line in licences:
        assert line["explanation"]["event"] is None
        assert line["explanation"]["check"]["holds"]


def test_an_adjustment_says_what_was_before_and_after(
    client: Asking, story: Story, invoice: str
) -> None:
    client.record(tokens(3, "500", timestamp="2026-01-31T00:00:00Z"))
    (second,) = advance(client, "2026-03-01T01:00:00Z")
    [adjusted] = [line for line in lines(client, second) if line["kind"] == "ADJUSTMENT"]
    told = adjusted["explanation"]
    [before] = told["charged"]
    assert before == {
        "lineId": f"{invoice}_1",
        "invoiceNumber": "000002",
        "quantity": "3000",
        "exactAmount": "80",
        "amount": {"amount": "80.00"},
    }
    [after] = told["check"]["parts"]
    assert (after["quantity"], after["amount"]) == ("3500", {"amount": "100.00"})
    assert (told["check"]["amount"], told["check"]["holds"]) == ({"amount": "20.00"}, True)
    assert adjusted["usage"]["nodes"] == [{"id": "r3", "state": "COUNTED"}]
    assert ids(adjusted) == ["r1", "r2", "r3"]
    assert "After 100 less before 80 is 20 USD." in told["check"]["sentences"]


def test_a_one_off_line_is_for_its_own_item(client: Asking, story: Story) -> None:
    for amount in ("1", "2", "3"):
        item = {
            "customerId": story.customer,
            "subscriptionId": story.subscription,
            "description": f"{amount} of something",
            "amount": amount,
        }
        client.mutate("createInvoiceItem", "CreateInvoiceItemInput", item)
    waiting = [line for line in previewed(client, story) if line["kind"] == "ONE_OFF"]
    (id,) = advance(client, ISSUED)
    billed = [line for line in lines(client, id) if line["kind"] == "ONE_OFF"]
    for found in (waiting, billed):
        positions = [int(line["explanation"]["event"]["position"]) for line in found]
        assert positions == sorted({*positions})
        assert [line["explanation"]["check"]["quantity"] for line in found] == ["1"] * 3
        assert [line["amount"]["amount"] for line in found] == ["1.00", "2.00", "3.00"]
        for line in found:
            assert line["explanation"]["event"]["type"] == "invoice_item.created"
            assert line["explanation"]["check"]["holds"]


def test_records_come_in_pages(client: Asking, story: Story, invoice: str) -> None:
    query = """query($id: ID!, $after: String) { invoice(id: $id) { lines { explanation {
        records(first: 1, after: $after) { nodes { record { id } }
            pageInfo { endCursor hasNextPage hasPreviousPage } } } } } }"""
    page = client.field(query, id=invoice)["lines"][0]["explanation"]["records"]
    assert page["nodes"] == [{"record": {"id": "r1"}}]
    info = page["pageInfo"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    after = client.field(query, id=invoice, after=info["endCursor"])["lines"][0]["explanation"]
    assert after["records"]["nodes"] == [{"record": {"id": "r2"}}]
    assert after["records"]["pageInfo"]["hasPreviousPage"]
    refused = client.ask(query, id=invoice, after="nonsense")
    assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"

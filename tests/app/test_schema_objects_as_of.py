"""Any object as it was known then, through GraphQL, and everything beneath it."""

from pathlib import Path
from typing import Any

import pytest

from domain.periods import parse_instant
from projections.engine import Engine
from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.everything import EVERYTHING

__all__ = ["client", "story"]

RECORD = """query($id: String!, $asOf: AsOf) { usageRecord(id: $id, asOf: $asOf) {
  state value corrections { kind } history { nodes { type } }
  customer { name subscriptions { totalCount } } } }"""
INVOICE = """query($id: ID!, $asOf: AsOf) { invoice(id: $id, asOf: $asOf) {
  status number contentHash total { amount } amountPaid { amount } amountDue { amount }
  payments { reference } creditNotes { total { amount } }
  lines { id amount { amount } } history { nodes { type } } } }"""
KINDS = ["meter", "product", "price", "customer", "subscription", "invoice"]


def then(client: Asking) -> dict[str, str]:
    """The present moment, to be asked about later."""
    return {"position": str(client.position)}


def change(client: Asking, mutation: str, **input: Any) -> None:
    """A change that is not refused."""
    answer = client.mutate(mutation, f"{mutation[0].upper()}{mutation[1:]}Input", input)
    assert answer["userErrors"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_before_it_was_there_it_is_null(client: Asking, story: Story, kind: str) -> None:
    ids = {"price": story.usage, "product": story.usage_product}
    ids["invoice"] = client.field("{ invoices { nodes { id } } }")["nodes"][0]["id"]
    id = ids.get(kind) or getattr(story, kind)
    query = f"query($id: ID!, $asOf: AsOf) {{ {kind}(id: $id, asOf: $asOf) {{ id }} }}"
    assert client.field(query, id=id, asOf={"position": "1"}) is None
    assert client.field(EVERYTHING, id=id, asOf={"position": "1"}) is None
    assert client.field(query, id=id, asOf=then(client)) == {"id": id}


def test_what_it_was_called_then(client: Asking, story: Story) -> None:
    """An object, and what it leads to, are both of the same moment."""
    before = then(client)
    change(client, "updateProduct", productId=story.licence_product, name="Alpaca.ai seats")
    change(client, "updateMeter", meterId=story.meter, name="Tokens")
    change(client, "updateCustomer", customerId=story.customer, name="Llama AG")
    query = """query($price: ID!, $usage: ID!, $subscription: ID!, $asOf: AsOf) {
      price(id: $price, asOf: $asOf) { product { name } }
      usage: price(id: $usage, asOf: $asOf) { meter { name } }
      subscription(id: $subscription, asOf: $asOf) {
        customer { name } items { price { product { name } } } } }"""
    ids = {"price": story.licence, "usage": story.usage, "subscription": story.subscription}
    was, now = client.data(query, **ids, asOf=before), client.data(query, **ids)
    assert was["price"]["product"]["name"] == "Alpaca.ai licence"
    assert was["usage"]["meter"]["name"] == "Alpaca.ai tokens"
    assert was["subscription"]["customer"]["name"] == "Llama Ltd"
    assert was["subscription"]["items"][1]["price"]["product"]["name"] == "Alpaca.ai licence"
    assert now["subscription"]["customer"]["name"] == "Llama AG"
    assert now["subscription"]["items"][1]["price"]["product"]["name"] == "Alpaca.ai seats"


def test_two_moments_in_one_query(client: Asking, story: Story) -> None:
    """Each field of the query is of its own moment, and what is beneath it, too."""
    first = then(client)
    change(client, "updateCustomer", customerId=story.customer, name="Llama AG")
    second = then(client)
    change(client, "updateCustomer", customerId=story.customer, name="Llama SE")
    query = """query($id: ID!, $first: AsOf, $second: AsOf) {
      now: subscription(id: $id) { customer { name } }
      first: subscription(id: $id, asOf: $first) { customer { name } }
      second: subscription(id: $id, asOf: $second) { customer { name } } }"""
    found = client.data(query, id=story.subscription, first=first, second=second)
    names = {moment: one["customer"]["name"] for moment, one in found.items()}
    assert names == {"now": "Llama SE", "first": "Llama Ltd", "second": "Llama AG"}


def test_an_invoice_as_it_stood(client: Asking, story: Story) -> None:
    """What it says never changes; what was paid and credited does."""
    id = client.field("{ invoices { nodes { id } } }")["nodes"][0]["id"]
    said = [(then(client), client.field(INVOICE, id=id))]
    line = said[0][1]["lines"][0]["id"]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("recordPayment", {"amount": "30", "reference": "first"}),
        ("createCreditNote", {"lines": [{"lineId": line, "amount": "20"}]}),
        ("recordPayment", {"amount": "50", "reference": "second"}),
    ]
    for name, input in steps:
        change(client, name, invoiceId=id, **input)
        said.append((then(client), client.field(INVOICE, id=id)))
    assert [one["status"] for _, one in said] == ["OPEN", "OPEN", "OPEN", "PAID"]
    assert len({one["contentHash"] for _, one in said}) == 1
    for moment, answer in said:
        assert client.field(INVOICE, id=id, asOf=moment) == answer


def test_a_draft_as_of_then_has_the_usage_of_then(client: Asking, story: Story) -> None:
    client.record(tokens(1, "2000"))
    client.ledger.advance_now(parse_instant("2026-02-01T00:00:00Z", ()))
    [draft] = client.field("{ invoices(status: DRAFT) { nodes { id } } }")["nodes"]
    before, was = then(client), client.field(EVERYTHING, id=draft["id"])
    client.record(tokens(2, "500"))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    client.ledger.advance_now(parse_instant("2026-03-01T00:00:00Z", ()))
    assert was["status"] == "DRAFT"
    assert client.field(EVERYTHING, id=draft["id"], asOf=before) == was


def test_the_time_goes_with_the_moment(client: Asking, story: Story) -> None:
    """At a time between two facts, it is that time, and not that of the fact before it."""
    trial = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": story.licence}],
        trialEnd="2026-01-20T00:00:00Z",
    )
    client.ledger.advance_now(parse_instant("2026-03-01T00:00:00Z", ()))
    query = "query($id: ID!, $asOf: AsOf) { subscription(id: $id, asOf: $asOf) { status } }"
    status = [
        client.field(query, id=trial, asOf={"time": time})["status"]
        for time in ("2026-01-16T00:00:00Z", "2026-01-25T00:00:00Z", "2030-01-01T00:00:00Z")
    ]
    assert status == ["TRIALING", "ACTIVE", "ACTIVE"]


def test_a_usage_record_as_it_was_known(client: Asking) -> None:
    """It waits until its meter and customer are there, counts, is amended and voided."""
    client.record(tokens(1, "2000"))
    said = [(then(client), client.field(RECORD, id="r1"))]
    Story(client)
    for name, input in (
        ("amendUsage", {"value": "7"}),
        ("amendUsage", {"value": "8"}),
        ("voidUsage", {}),
    ):
        said.append((then(client), client.field(RECORD, id="r1")))
        change(client, name, id="r1", **input)
    said.append((then(client), client.field(RECORD, id="r1")))
    states = [one["state"] for _, one in said]
    assert states == ["UNMATCHED", "COUNTED", "AMENDED", "AMENDED", "VOIDED"]
    for moment, answer in said:
        assert client.field(RECORD, id="r1", asOf=moment) == answer
    assert client.field(RECORD, id="r1", asOf={"position": "1"}) is None
    assert client.field(RECORD, id="nothing", asOf={"position": "1"}) is None


def test_a_record_whose_customer_has_another_key_since(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    moments = [(then(client), client.field(RECORD, id="r1"))]
    change(client, "updateCustomer", customerId=story.customer, externalId="alpaca")
    moments.append((then(client), client.field(RECORD, id="r1")))
    client.create("customer", name="Another", externalId="llama")
    moments.append((then(client), client.field(RECORD, id="r1")))
    another = client.field('{ customers(externalId: "llama") { nodes { id } } }')["nodes"][0]["id"]
    change(client, "updateCustomer", customerId=another, externalId=None)
    moments.append((then(client), client.field(RECORD, id="r1")))
    names = [one["customer"] and one["customer"]["name"] for _, one in moments]
    assert names == ["Llama Ltd", None, "Another", None]
    for moment, answer in moments:
        assert client.field(RECORD, id="r1", asOf=moment) == answer


def test_the_history_of_then_and_the_batches_in_it(client: Asking, story: Story) -> None:
    query = """query($asOf: AsOf) { usageRecord(id: "r1", asOf: $asOf) { history { nodes { type
      records { nodes { record { id state value } } } } } } }"""
    client.record(tokens(1), tokens(2))
    before, was = then(client), client.field(query)
    change(client, "amendUsage", id="r2", value="7")
    change(client, "voidUsage", id="r1")
    assert client.field(query, asOf=before) == was
    assert client.field(query) != was


def test_a_checkpoint_is_of_now(client: Asking, story: Story) -> None:
    """What is signed says where the ledger stands, not where it once stood."""
    id = client.field("{ ledger { id } }")["id"]
    query = """query($id: ID!, $asOf: AsOf) { node(id: $id, asOf: $asOf) {
      ... on Ledger { position headHash checkpoint { position } } } }"""
    assert client.ask(query, id=id)["errors"] == []
    [error] = client.ask(query, id=id, asOf={"position": "3"})["errors"]
    assert (error["extensions"]["code"], error["extensions"]["path"]) == (
        "BAD_USER_INPUT",
        ["asOf"],
    )


def test_nothing_stays_open(client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small views of a moment are gone when the query is answered."""
    opened = []

    def noted(path: Path) -> Engine:
        opened.append(Engine(path))
        return opened[-1]

    monkeypatch.setattr("projections.as_of.Engine", noted)
    client.field(EVERYTHING, id=story.customer, asOf=then(client))
    assert opened
    for engine in opened:
        with pytest.raises(Exception, match="closed database"):
            engine.database.writing.row("SELECT 1")

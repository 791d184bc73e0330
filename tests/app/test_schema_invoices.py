"""Invoices through the schema: drafts, what was issued, one-off items, and lists of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from domain.periods import parse_instant
from tests.app.asking import Asking, Story, tokens
from tests.conftest import CLOCK

AT = "2026-01-02T00:00:00Z"
FEBRUARY = "2026-02-01T00:00:00Z"
DRAFTED = "2026-02-01T00:30:00Z"
"""The period has ended, and usage that comes late is waited for."""
ISSUED = "2026-02-01T01:00:00Z"

INVOICE = """
  id number status reason currency collectionMethod at finalizesAt issuedAt dueAt overdue
  period { start end } customer { id } subscription { id } billedTo { name externalId }
  lines {
    id kind description quantity exactAmount amount { amount } subscriptionItemId
    price { id } priceVersion { number } period { start end }
    steps { description amount } usage { totalCount nodes { id } }
  }
  subtotal { amount } total { amount } balanceApplied { amount } amountCredited { amount }
  amountPaid { amount } amountDue { amount } position contentHash
  payments { amount { amount } } creditNotes { number }
"""
ASKED = f"query($id: ID!) {{ invoice(id: $id) {{ {INVOICE} }} }}"
PREVIEW = f"""query($id: ID!, $at: DateTime) {{
    invoicePreview(subscriptionId: $id, at: $at) {{ {INVOICE} }} }}"""
OF_AN_INVOICE = "id number status reason finalizesAt issuedAt".split()
"""What an issued invoice has that its preview has not."""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Asking]:
    """A client of a new ledger whose clock stands at the beginning of 2026."""
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        yield Asking(ledger)


@pytest.fixture
def story(client: Asking) -> Story:
    """The reference story up to its subscription, whose opening invoice is number 1."""
    return Story(client)


def advance(client: Asking, to: str) -> list[str]:
    """Move the clock to an instant; answer the invoices that were drafted or issued on the way."""
    payload = client.mutate("advanceClock", "AdvanceClockInput", {"to": to}, "invoices { id }")
    assert payload["userErrors"] == []
    return [invoice["id"] for invoice in payload["invoices"]]


def shown(client: Asking, id: str) -> Any:
    """The invoice as it is shown."""
    return client.field(ASKED, id=id)


def comparable(invoice: dict[str, Any]) -> dict[str, Any]:
    """What an invoice and its preview have in common: all that is owed, and why."""
    said = {name: value for name, value in invoice.items() if name not in OF_AN_INVOICE}
    said["lines"] = [
        {name: value for name, value in line.items() if name != "id"} for line in invoice["lines"]
    ]
    return said


def test_an_issued_invoice_is_its_preview(client: Asking, story: Story) -> None:
    client.record(tokens(1), tokens(2, "500.5"))
    (id,) = advance(client, DRAFTED)
    preview = client.field(PREVIEW, id=story.subscription, at=FEBRUARY)
    advance(client, ISSUED)
    issued = shown(client, id)
    # Moving the clock is a fact too, which no bill depends on.
    assert int(issued.pop("position")) > int(preview.pop("position"))
    assert comparable(issued) == comparable(preview)
    assert [line["id"] for line in issued["lines"]] == [f"{id}_1", f"{id}_2"]
    assert {name: issued[name] for name in OF_AN_INVOICE} == {
        "id": id,
        "number": "000002",
        "status": "OPEN",
        "reason": "RENEWAL",
        "finalizesAt": None,
        "issuedAt": ISSUED,
    }
    assert issued["total"]["amount"] == "200.02"
    assert issued["billedTo"] == {"name": "Llama Ltd", "externalId": "llama"}


def test_a_draft_says_what_is_owed_so_far(client: Asking, story: Story) -> None:
    (id,) = advance(client, DRAFTED)
    assert shown(client, id)["total"]["amount"] == "100.00"
    position = client.record(tokens(1))["position"]
    waiting = shown(client, id)
    assert waiting["position"] == position
    assert (waiting["status"], waiting["number"], waiting["issuedAt"]) == ("DRAFT", None, None)
    assert waiting["finalizesAt"] == ISSUED
    assert waiting["amountDue"]["amount"] == "180.00"


def test_what_comes_after_the_issue_changes_nothing(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    (id,) = advance(client, ISSUED)
    before = shown(client, id)
    client.record(tokens(2))
    renamed = {"customerId": story.customer, "name": "Renamed Ltd"}
    client.mutate("updateCustomer", "UpdateCustomerInput", renamed)
    assert shown(client, id) == before
    usage = before["lines"][0]["usage"]
    assert usage == {"totalCount": 1, "nodes": [{"id": "r1"}]}


def test_an_invoice_that_is_sent_has_a_due_date(client: Asking, story: Story) -> None:
    sent = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": story.usage}],
        collectionMethod="SEND_INVOICE",
        daysUntilDue=14,
    )
    client.record(tokens(1))
    preview = client.field(PREVIEW, id=sent, at=FEBRUARY)
    assert preview["dueAt"] == "2026-02-15T00:00:00Z"
    advance(client, ISSUED)
    (id,) = ids(client.field(LIST, subscriptionId=sent))
    invoice = shown(client, id)
    assert (invoice["dueAt"], invoice["overdue"]) == ("2026-02-15T01:00:00Z", False)
    advance(client, invoice["dueAt"])
    assert shown(client, id)["overdue"] is True


def test_an_invoice_is_found_by_its_id_and_nothing_else_is(client: Asking, story: Story) -> None:
    (id,) = advance(client, ISSUED)
    query = "query($id: ID!) { node(id: $id) { __typename ... on Invoice { number } } }"
    assert client.field(query, id=id) == {"__typename": "Invoice", "number": "000002"}
    for other in ("inv_none", story.subscription, "", "\ud800"):
        assert client.field(ASKED, id=other) is None


LIST = """query($first: Int, $after: String, $customerId: ID, $subscriptionId: ID,
    $status: InvoiceStatus, $number: String) {
  invoices(first: $first, after: $after, customerId: $customerId, status: $status,
    subscriptionId: $subscriptionId, number: $number) {
    totalCount nodes { id } pageInfo { hasNextPage endCursor } } }"""


def ids(page: dict[str, Any]) -> list[str]:
    """The ids on a page."""
    return [node["id"] for node in page["nodes"]]


def test_invoices_are_listed_by_whose_they_are_and_where_they_stand(
    client: Asking, story: Story
) -> None:
    licence = [{"priceId": story.licence}]
    name = client.create("customer", name="Other")
    other = client.create("subscription", customerId=name, items=licence)
    first, second = ids(client.field(LIST))
    third, fourth = sorted(advance(client, DRAFTED))
    assert ids(client.field(LIST)) == [first, second, third, fourth]
    assert ids(client.field(LIST, subscriptionId=other)) in ([second, third], [second, fourth])
    (waiting,) = ids(client.field(LIST, status="DRAFT"))
    assert ids(client.field(LIST, customerId=story.customer)) == [first, waiting]
    assert ids(client.field(LIST, status="OPEN", customerId=story.customer)) == [first]
    assert ids(client.field(LIST, number="000002")) == [second]
    assert ids(client.field(LIST, status="PREVIEW")) == []
    page = client.field(LIST, first=2)
    assert (ids(page), page["totalCount"]) == ([first, second], 4)
    rest = client.field(LIST, first=2, after=page["pageInfo"]["endCursor"])
    assert ids(rest) == [third, fourth]
    query = """query($id: ID!) { customer(id: $id) {
        invoices(last: 1) { totalCount nodes { id customer { id } } }
        subscriptions { nodes { id invoices(first: 1) { totalCount nodes { id } } } } } }"""
    invoices = {"totalCount": 2, "nodes": [{"id": first}]}
    assert client.field(query, id=story.customer) == {
        "invoices": {
            "totalCount": 2,
            "nodes": [{"id": waiting, "customer": {"id": story.customer}}],
        },
        "subscriptions": {"nodes": [{"id": story.subscription, "invoices": invoices}]},
    }


# ------------------------------------------------------------------------------- one-off items


def item(client: Asking, story: Story, amount: str, **more: Any) -> Any:
    """A one-off item for the story's subscription."""
    input = {
        "customerId": story.customer,
        "subscriptionId": story.subscription,
        "description": "Set-up",
        "amount": amount,
        **more,
    }
    wanted = "invoiceItem { id amount { amount currency } period { start } invoice { id } }"
    return client.mutate("createInvoiceItem", "CreateInvoiceItemInput", input, wanted)


def test_an_item_goes_on_the_next_invoice_and_on_no_other(client: Asking, story: Story) -> None:
    made = item(client, story, "50")["invoiceItem"]
    assert made["amount"] == {"amount": "50.00", "currency": "USD"}
    assert made["invoice"] is None
    preview = client.field(PREVIEW, id=story.subscription)
    assert preview["total"]["amount"] == "150.00"
    assert preview["period"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    line = preview["lines"][-1]
    assert (line["kind"], line["description"], line["price"]) == ("ONE_OFF", "Set-up", None)
    assert line["usage"] == {"totalCount": 0, "nodes": []}
    (first,) = advance(client, DRAFTED)
    later = item(client, story, "-20")["invoiceItem"]
    assert shown(client, first)["total"]["amount"] == "150.00"
    first_again, second = advance(client, "2026-03-01T01:00:00Z")
    assert first_again == first
    invoice = shown(client, second)
    assert [line["amount"]["amount"] for line in invoice["lines"]] == ["0.00", "100.00", "-20.00"]
    query = """query($id: ID!) { node(id: $id) { ... on InvoiceItem {
        description invoice { id } subscription { id } createdAt } } }"""
    assert client.field(query, id=made["id"]) == {
        "description": "Set-up",
        "invoice": {"id": first},
        "subscription": {"id": story.subscription},
        "createdAt": "2026-01-01T00:00:00Z",
    }
    assert client.field(query, id=later["id"])["invoice"] == {"id": invoice["id"]}


@pytest.mark.parametrize(
    ("input", "code", "path"),
    [
        ({"amount": "1e3"}, "INVALID_VALUE", ["input", "amount"]),
        ({"amount": "1", "currency": "EUR"}, "WRONG_CURRENCY", ["input", "currency"]),
        ({"amount": "1", "subscriptionId": "sub_x"}, "NOT_FOUND", ["input", "subscriptionId"]),
        (
            {
                "amount": "1",
                "period": {"start": AT, "end": AT},
            },
            "INVALID_VALUE",
            ["input", "period", "end"],
        ),
    ],
)
def test_an_item_that_cannot_be_billed(
    client: Asking, story: Story, input: dict[str, Any], code: str, path: list[str]
) -> None:
    payload = item(client, story, **input)
    (error,) = payload["userErrors"]
    assert (payload["invoiceItem"], error["code"], error["path"]) == (None, code, path)


def test_an_item_is_made_once_for_its_key(client: Asking, story: Story) -> None:
    first = item(client, story, "50", idempotencyKey="once")
    assert item(client, story, "50", idempotencyKey="once") == first
    assert client.field(PREVIEW, id=story.subscription)["total"]["amount"] == "150.00"


def test_an_item_is_billed_even_when_nothing_else_is(client: Asking, story: Story) -> None:
    end = {"at": {"subscriptionId": story.subscription, "at": FEBRUARY}}
    client.mutate("cancelSubscription", "CancelSubscriptionInput", end)
    item(client, story, "50")
    *_, final = advance(client, "2026-03-01T00:00:00Z")
    invoice = shown(client, final)
    assert [line["kind"] for line in invoice["lines"]] == ["USAGE", "ONE_OFF"]
    refused = item(client, story, "50")
    assert refused["userErrors"][0]["code"] == "WRONG_STATE"


def test_an_item_alone_makes_an_invoice(client: Asking, story: Story) -> None:
    other = client.create(
        "subscription", customerId=story.customer, items=[{"priceId": story.licence}]
    )
    end = {"at": {"subscriptionId": other, "at": FEBRUARY}}
    client.mutate("cancelSubscription", "CancelSubscriptionInput", end)
    item(client, story, "50", subscriptionId=other)
    advance(client, FEBRUARY)
    *_, final = client.field(LIST, subscriptionId=other)["nodes"]
    assert [line["kind"] for line in shown(client, final["id"])["lines"]] == ["ONE_OFF"]


def test_invoices_are_found_by_the_time_that_they_are_for(client: Asking, story: Story) -> None:
    client.ledger.advance_now(parse_instant("2026-03-10T00:00:00Z", ()))
    query = """query($period: PeriodInput, $status: InvoiceStatus) {
      invoices(period: $period, status: $status) { totalCount nodes { at } } }"""

    def found(start: str, end: str, status: str | None = None) -> list[str]:
        period = {"start": start, "end": end}
        page = client.field(query, period=period, status=status)
        assert page["totalCount"] == len(page["nodes"])
        return [one["at"][:10] for one in page["nodes"]]

    february, march = "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
    assert found("2026-01-01T00:00:00Z", march) == ["2026-01-01", "2026-02-01"]
    assert found(february, march) == ["2026-02-01"]
    assert found(february, "2026-03-01T00:00:00.000001Z") == ["2026-02-01", "2026-03-01"]
    assert found(february, march, "DRAFT") == []
    wrong = {"start": march, "end": february}
    [error] = client.ask(query, period=wrong)["errors"]
    assert error["extensions"]["path"] == ["period", "end"]

"""Time through GraphQL: the test clock is moved, and invoices issue themselves on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from app.schema import clocks
from tests.app.asking import Asking, Story, tokens
from tests.conftest import CLOCK

INVOICE = """id number status reason issuedAt finalizesAt contentHash position
  total { amount } lines { kind amount { amount } period { start end } }"""
ADVANCED = f"clock {{ now isTest }} invoices {{ {INVOICE} }}"
CREATED = f"subscription {{ id }} firstInvoice {{ {INVOICE} }}"
HEAD = "{ ledger { position headHash clock { now isTest } } }"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Asking]:
    """A client of a new ledger whose clock stands at the beginning of 2026."""
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        yield Asking(ledger)


@pytest.fixture
def story(client: Asking) -> Story:
    """The reference story up to its subscription."""
    return Story(client)


def advance(client: Asking, to: str) -> Any:
    """The payload of moving the clock."""
    return client.mutate("advanceClock", "AdvanceClockInput", {"to": to}, ADVANCED)


def moved(client: Asking, to: str) -> list[Any]:
    """The invoices on the way to an instant at which the clock then stands."""
    payload = advance(client, to)
    assert payload["userErrors"] == []
    assert payload["clock"] == {"now": to, "isTest": True}
    assert payload["position"] == str(client.position)
    invoices: list[Any] = payload["invoices"]
    return invoices


def preview(client: Asking, story: Story, at: str) -> Any:
    """The preview of an instant."""
    query = f"""query($id: ID!, $at: DateTime!) {{
      invoicePreview(subscriptionId: $id, at: $at) {{ {INVOICE} }} }}"""
    return client.field(query, id=story.subscription, at=at)


def subscribe(client: Asking, story: Story, **more: Any) -> Any:
    """The payload of subscribing the story's customer once more, to both prices."""
    items = [{"priceId": story.usage}, {"priceId": story.licence}]
    input = {"customerId": story.customer, "items": items, **more}
    return client.mutate("createSubscription", "CreateSubscriptionInput", input, CREATED)


def test_the_renewal_is_drafted_at_the_boundary_and_issued_an_hour_later(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1))
    boundary = "2026-02-01T00:00:00Z"
    previewed = preview(client, story, boundary)
    [draft] = moved(client, boundary)
    assert (draft["status"], draft["number"], draft["reason"]) == ("DRAFT", None, "RENEWAL")
    assert draft["finalizesAt"] == "2026-02-01T01:00:00Z"
    assert draft["total"] == {"amount": "180.00"}
    assert draft["contentHash"] == previewed["contentHash"]
    assert draft["lines"] == previewed["lines"]
    [issued] = moved(client, "2026-02-01T02:00:00Z")
    assert issued["id"] == draft["id"]
    assert (issued["status"], issued["number"]) == ("OPEN", "000002")
    assert issued["issuedAt"] == "2026-02-01T01:00:00Z"
    assert issued["contentHash"] == previewed["contentHash"]
    assert issued["lines"] == previewed["lines"]
    assert moved(client, "2026-02-01T02:00:00Z") == []


def test_a_late_record_is_on_the_invoice_until_it_is_issued(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    moved(client, "2026-02-01T00:59:59.999999Z")
    client.record(tokens(2, "100"))
    [issued] = moved(client, "2026-02-01T01:00:00Z")
    assert (issued["status"], issued["total"]["amount"]) == ("OPEN", "184.00")
    client.record(tokens(3, "1000"))
    query = f"query($id: ID!) {{ invoice(id: $id) {{ {INVOICE} }} }}"
    assert client.field(query, id=issued["id"]) == issued


def test_several_months_at_once(client: Asking, story: Story) -> None:
    client.record(tokens(1), tokens(2, timestamp="2026-02-10T00:00:00Z", value="1500"))
    invoices = moved(client, "2026-04-01T00:00:00Z")
    assert [(one["number"], one["status"], one["total"]["amount"]) for one in invoices] == [
        ("000002", "OPEN", "180.00"),
        ("000003", "OPEN", "120.00"),
        (None, "DRAFT", "100.00"),
    ]
    events = client.field(
        '{ ledgerEvents(last: 100, types: ["invoice.finalized"]) { nodes { recordedAt actor } } }'
    )["nodes"]
    assert [event["recordedAt"] for event in events] == [
        "2026-01-01T00:00:00Z",
        "2026-02-01T01:00:00Z",
        "2026-03-01T01:00:00Z",
    ]
    assert {event["actor"] for event in events} == {"tester"}


def test_an_answer_shows_only_so_many_invoices(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "INVOICES_LIMIT", 2)
    assert [one["number"] for one in moved(client, "2026-05-01T00:00:00Z")] == ["000002", "000003"]
    count = client.field("{ invoices { totalCount } }")
    assert count == {"totalCount": 5}


def test_the_clock_never_goes_back(client: Asking) -> None:
    head = client.field(HEAD)
    payload = advance(client, "2025-12-31T23:59:59.999999Z")
    [error] = payload["userErrors"]
    assert (error["code"], error["path"]) == ("INVALID_VALUE", ["input", "to"])
    assert (payload["clock"], payload["invoices"]) == (None, [])
    assert client.field(HEAD) == head
    assert moved(client, "2026-01-01T00:00:00Z") == []
    assert client.field(HEAD) == head


@pytest.mark.parametrize(
    ("to", "code"),
    [("2036-01-03T00:00:00Z", "LIMIT_EXCEEDED"), ("tomorrow", "INVALID_VALUE")],
)
def test_an_instant_that_the_clock_cannot_reach_is_refused(
    client: Asking, to: str, code: str
) -> None:
    [error] = advance(client, to)["userErrors"]
    assert (error["code"], error["path"]) == (code, ["input", "to"])


def test_the_systems_clock_is_not_moved(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        payload = advance(Asking(ledger), "2999-01-01T00:00:00Z")
    [error] = payload["userErrors"]
    assert (error["code"], error["path"]) == ("FORBIDDEN", ["input"])
    assert payload["clock"] is None


def test_the_first_invoice_is_issued_with_the_subscription(client: Asking, story: Story) -> None:
    payload = subscribe(client, story, idempotencyKey="once")
    first = payload["firstInvoice"]
    assert (first["status"], first["number"], first["reason"]) == ("OPEN", "000002", "OPENING")
    assert first["total"] == {"amount": "100.00"}
    assert payload["position"] == str(client.position)
    again = subscribe(client, story, idempotencyKey="once")
    assert again == payload


def test_the_first_invoice_of_a_start_to_come_is_a_preview(client: Asking, story: Story) -> None:
    start = "2026-01-05T00:00:00Z"
    payload = subscribe(client, story, startAt=start)
    assert payload["firstInvoice"]["status"] == "PREVIEW"
    [first] = moved(client, start)
    assert (first["status"], first["number"]) == ("OPEN", "000002")
    assert first["contentHash"] == payload["firstInvoice"]["contentHash"]


def test_the_first_invoice_of_a_start_in_the_past_waits_for_late_usage(
    client: Asking, story: Story
) -> None:
    moved(client, "2026-03-10T00:00:00Z")
    first = subscribe(client, story, startAt="2026-01-01T00:00:00Z")["firstInvoice"]
    assert (first["status"], first["total"]["amount"]) == ("DRAFT", "300.00")
    [issued] = moved(client, "2026-03-10T01:00:00Z")
    assert (issued["id"], issued["status"]) == (first["id"], "OPEN")


def sent(client: Asking, story: Story) -> Any:
    """An invoice that is sent and has to be paid within ten days."""
    more = {"collectionMethod": "SEND_INVOICE", "daysUntilDue": 10}
    return subscribe(client, story, **more)["firstInvoice"]


def noted(client: Asking) -> list[Any]:
    """When which invoices were noted to be overdue."""
    query = '{ ledgerEvents(first: 100, types: ["invoice.overdue_noted"]) { nodes {'
    events = client.field(f"{query} recordedAt subjectId }} }} }}")["nodes"]
    return [(event["recordedAt"], event["subjectId"]) for event in events]


def test_an_invoice_that_is_not_paid_in_time_is_overdue(client: Asking, story: Story) -> None:
    invoice = sent(client, story)
    moved(client, "2026-01-10T23:59:59Z")
    assert noted(client) == []
    [overdue] = moved(client, "2026-01-20T00:00:00Z")
    assert (overdue["id"], overdue["status"]) == (invoice["id"], "OPEN")
    assert noted(client) == [("2026-01-11T00:00:00Z", invoice["id"])]


def test_an_invoice_that_is_paid_in_time_is_not_overdue(client: Asking, story: Story) -> None:
    invoice = sent(client, story)
    paid = {"invoiceId": invoice["id"], "amount": "100.00"}
    assert not client.mutate("recordPayment", "RecordPaymentInput", paid)["userErrors"]
    assert moved(client, "2026-01-20T00:00:00Z") == []
    assert noted(client) == []

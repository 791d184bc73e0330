"""An invoice as a page to print, and its lines for a program or a spreadsheet."""

import csv
import io
from html.parser import HTMLParser
from typing import Any

import pytest

from app import invoice_details, invoice_page
from tests.app.asking import Asking, Story, tokens
from tests.app.http import Talking
from tests.app.test_schema_invoices import DRAFTED, ISSUED, advance, client, shown, story
from tests.app.test_schema_settlements import credit, pay, void

__all__ = ["client", "story"]

NASTY = "<script>alert(1)</script> & \"quotes\" 'n' more"


class Reader(HTMLParser):
    """Reads a page: its tags, and the texts of its cells and terms."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


@pytest.fixture
def invoice(client: Asking, story: Story) -> str:
    """An issued invoice of 180.00."""
    client.record(tokens(1))
    (id,) = advance(client, ISSUED)
    return id


def page(client: Asking, name: str) -> Reader:
    """A page that is there."""
    answer = Talking(client.ledger).request("GET", f"/invoices/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Reader(answer.text)


def after(reader: Reader, name: str) -> str:
    """What stands directly after a text."""
    return reader.texts[reader.texts.index(name) + 1]


def test_a_page_says_what_the_invoice_says(client: Asking, invoice: str) -> None:
    pay(client, invoice, "50", reference="wire 17")
    credit(client, invoice, (f"{invoice}_1", "30"), reason="an outage")
    read = page(client, invoice)
    assert "Invoice 000002" in read.texts
    assert "OPEN" in read.texts
    assert after(read, "Billed to") == "Llama Ltd"
    assert after(read, "Period") == "2026-01-01 to 2026-02-01"
    assert after(read, "Issued") == "2026-02-01 01:00:00"
    for name, amount in {
        "Total": "180.00",
        "Credited": "-30.00",
        "Paid": "-50.00",
        "Still to be paid": "100.00",
        "wire 17": "50.00",
        "an outage": "30.00",
    }.items():
        assert after(read, name) == amount
    said = shown(client, invoice)
    for line in said["lines"]:
        place = read.texts.index(line["description"])
        assert line["amount"]["amount"] in read.texts[place : place + 4]
        for step in line["steps"]:
            assert after(read, step["description"]) == step["amount"]
    assert f"Ledger position {said['position']}. Content {said['contentHash']}." in read.texts


def test_a_draft_and_a_void_invoice_say_so(client: Asking, story: Story) -> None:
    (id,) = advance(client, DRAFTED)
    read = page(client, id)
    assert {"Draft of an invoice", "DRAFT"} <= set(read.texts)
    assert "Issued" not in read.texts
    assert after(read, "Still to be paid") == "100.00"
    advance(client, ISSUED)
    void(client, id)
    read = page(client, id)
    assert "VOID" in read.texts
    assert after(read, "Because") == "entered twice"
    assert (after(read, "Total"), after(read, "Void")) == ("100.00", "-100.00")
    assert after(read, "Still to be paid") == "0.00"


def test_what_is_the_customers_is_told_apart(client: Asking, story: Story, invoice: str) -> None:
    pay(client, invoice, "180")
    credit(client, invoice, (f"{invoice}_1", "30"))
    item = {"customerId": story.customer, "subscriptionId": story.subscription}
    back = {**item, "description": "Goodwill", "amount": "-130"}
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", back)
    read = page(client, invoice)
    assert "Credited" not in read.texts
    assert (after(read, "CN-000001"), after(read, "Paid")) == ("2026-02-01 01:00:00", "-180.00")
    *_, below_zero = advance(client, "2026-03-01T01:00:00Z")
    read = page(client, below_zero)
    assert after(read, "Total") == "-30.00"
    assert after(read, "To the balance") == "30.00"
    (third,) = advance(client, "2026-04-01T01:00:00Z")
    assert after(page(client, third), "From the balance") == "-60.00"


def test_nothing_that_somebody_wrote_becomes_markup(client: Asking) -> None:
    story = Story(client)
    input = {
        "customerId": client.create("customer", name=NASTY, externalId=NASTY),
        "items": [{"priceId": story.licence}],
    }
    client.create("subscription", **input)
    subscription = client.field("{ subscriptions(last: 1) { nodes { id } } }")["nodes"][0]["id"]
    item = {"customerId": input["customerId"], "subscriptionId": subscription, "amount": "1"}
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", {**item, "description": NASTY})
    *_, id = advance(client, ISSUED)
    pay(client, id, "1", reference=NASTY)
    credit(client, id, (f"{id}_1", "1"), reason=NASTY)
    read = page(client, id)
    assert read.texts.count(NASTY) == 6  # name, external id, line, its step, reference, reason
    assert not {"script", "img", "a", "link", "iframe", "form"} & set(read.tags)
    assert not {name for name in read.attributes if name.startswith("on") or name == "style"}


def test_the_policy_allows_the_style_sheet_and_nothing_else(client: Asking, invoice: str) -> None:
    answer = Talking(client.ledger).request("GET", f"/invoices/{invoice}")
    policy = answer.headers["content-security-policy"]
    assert policy == invoice_page.CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert f"<style>{invoice_page.STYLE}</style>" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_its_lines_as_rows(client: Asking, story: Story, invoice: str) -> None:
    item = {"customerId": story.customer, "subscriptionId": story.subscription, "amount": "-12.5"}
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", {**item, "description": "=1+1"})
    (second,) = advance(client, "2026-03-01T01:00:00Z")
    answer = Talking(client.ledger).request("GET", f"/invoices/{second}.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    usage, licence, other = csv.DictReader(io.StringIO(answer.text))
    assert [row["kind"] for row in (usage, licence, other)] == ["USAGE", "RECURRING", "ONE_OFF"]
    assert (other["description"], other["amount"]) == ("'=1+1", "-12.50")
    assert licence == {
        "invoice": second,
        "number": "000003",
        "line": "2",
        "kind": "RECURRING",
        "description": "Alpaca.ai licence",
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "quantity": "1",
        "amount": "100.00",
        "exact_amount": "100",
        "currency": "USD",
    }


def test_its_data(client: Asking, invoice: str) -> None:
    pay(client, invoice, "50")
    answer = Talking(client.ledger).request("GET", f"/invoices/{invoice}.json")
    assert answer.headers["content-type"] == "application/json"
    data: dict[str, Any] = answer.json()
    said = shown(client, invoice)
    assert data["number"] == said["number"]
    assert (data["status"], data["amountDue"], data["amountPaid"]) == ("OPEN", "130", "50")
    assert [line["id"] for line in data["statement"]["lines"]] == [
        line["id"] for line in said["lines"]
    ]
    assert data["statement"]["contentHash"] == said["contentHash"]


@pytest.mark.parametrize(
    "name", ["inv_none", "inv_none.json", "x", "inv_%ed%a0%80", "a%2fb", "%00"]
)
def test_what_is_no_invoice_is_not_found(client: Asking, name: str) -> None:
    answer = Talking(client.ledger).request("GET", f"/invoices/{name}")
    assert answer.status_code == 404


def test_no_other_form_of_an_invoice_is_found(client: Asking, invoice: str) -> None:
    talking = Talking(client.ledger)
    for name in (f"{invoice}.pdf", f"{invoice}.json.csv", f"{invoice}/lines", f"preview_{invoice}"):
        assert talking.request("GET", f"/invoices/{name}").status_code == 404


def test_a_line_unfolds_to_why_and_its_first_records(client: Asking, story: Story) -> None:
    many = [tokens(n, "1", timestamp=f"2026-01-{n:02}T00:00:00Z") for n in range(1, 13)]
    nasty = tokens(0, "5", id=NASTY, timestamp="2026-01-01T00:00:00Z", properties={"a": NASTY})
    client.record(nasty, *many)
    (id,) = advance(client, ISSUED)
    read = page(client, id)
    assert read.tags.count("details") == read.tags.count("summary") == 2
    assert any(
        text.startswith(f"It is priced by version 1 of {story.usage}") for text in read.texts
    )
    assert after(read, NASTY) == f"5 a={NASTY}"
    assert "r9" in read.texts
    assert "r10" not in read.texts
    assert "The first 10 usage records" in read.texts
    assert not {"script", "a"} & set(read.tags)
    [hash] = {text.rpartition(" ")[2] for text in read.texts if text.startswith("position ")}
    assert client.ledger.store.hash_at(int(position_of(read))) == bytes.fromhex(hash)


def position_of(reader: Reader) -> str:
    """The position that the first record on a page names."""
    found = next(text for text in reader.texts if text.startswith("position "))
    return found.removeprefix("position ").partition(",")[0]


def test_a_few_records_are_all_there(client: Asking, invoice: str) -> None:
    read = page(client, invoice)
    assert "Its usage records" in read.texts
    assert after(read, "r1") == "3000"


def test_lines_beyond_a_hundred_are_not_unfolded(
    client: Asking, invoice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoice_details, "LINES_UNFOLDED", 1)
    assert page(client, invoice).tags.count("details") == 1

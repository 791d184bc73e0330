"""A subscription that does not exist yet is previewed by the rules that would bill it."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

PREVIEW = """
query($input: PreviewSubscriptionInput!, $at: DateTime, $extra: [HypotheticalUsageInput!]) {
  subscriptionPreview(input: $input, at: $at, extraUsage: $extra) {
    id status subscription { id } customer { id } total { amount currency } period { start end }
    lines { description kind quantity amount { amount } exactAmount period { start end } }
  }
}"""
REAL = """query($id: ID!, $at: DateTime) { invoicePreview(subscriptionId: $id, at: $at) {
    total { amount currency } period { start end }
    lines { description kind quantity amount { amount } exactAmount period { start end } }
} }"""


def wish(story: Story, **more: Any) -> dict[str, Any]:
    """Both prices of the story, for its customer."""
    items = [{"priceId": story.usage}, {"priceId": story.licence, "quantity": "2"}]
    return {"customerId": story.customer, "items": items, **more}


def test_the_first_invoice_is_the_licence_and_nothing_is_written(
    client: Asking, story: Story
) -> None:
    before = client.position
    start = "2026-02-01T00:00:00Z"
    invoice = client.field(PREVIEW, input=wish(story, startAt=start))
    assert invoice["id"] == f"preview_new_{start}"
    assert (invoice["status"], invoice["subscription"]) == ("PREVIEW", None)
    assert invoice["customer"] == {"id": story.customer}
    assert [line["amount"]["amount"] for line in invoice["lines"]] == ["200.00"]
    assert client.position == before


def test_usage_that_may_come_is_in_it(client: Asking, story: Story) -> None:
    extra = [{"eventName": "tokens", "value": "3000"}]
    invoice = client.field(PREVIEW, input=wish(story), extra=extra)
    assert [line["amount"]["amount"] for line in invoice["lines"]] == ["80.00", "200.00"]
    assert invoice["total"] == {"amount": "280.00", "currency": "USD"}


@pytest.mark.parametrize(
    "at", ["2026-01-05T00:00:00Z", "2026-01-10T12:00:00Z", "2026-02-05T00:00:00Z", None]
)
def test_made_real_it_is_billed_as_it_was_previewed(
    client: Asking, story: Story, at: str | None
) -> None:
    client.record(tokens(1, "2500", timestamp="2026-01-07T00:00:00Z"))
    new = wish(story, startAt="2026-01-05T00:00:00Z")
    imagined = client.field(PREVIEW, input=new, at=at)
    real = client.field(REAL, id=client.create("subscription", **new), at=at)
    assert {name: imagined[name] for name in real} == real


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"customerId": "cus_none"}, ["input", "customerId"]),
        ({"items": []}, ["input", "items"]),
        ({"items": [{"priceId": "price_none"}]}, ["input", "items", "0", "priceId"]),
        ({"startAt": "2026-02-01"}, ["input", "startAt"]),
        ({"timeZone": "Mars/Base"}, ["input", "timeZone"]),
    ],
)
def test_what_could_not_be_created_cannot_be_previewed(
    client: Asking, story: Story, change: dict[str, Any], path: list[str]
) -> None:
    (error,) = client.ask(PREVIEW, input={**wish(story), **change})["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["path"] == path


def test_before_its_start_there_is_no_invoice(client: Asking, story: Story) -> None:
    new = wish(story, startAt="2026-02-01T00:00:00Z")
    assert client.field(PREVIEW, input=new, at="2026-01-20T00:00:00Z") is None

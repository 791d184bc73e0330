"""Trials and proration by day, through GraphQL."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

SUBSCRIPTION = """subscription { id status billingAnchor trialEnd billUsageInTrial
  prorationGranularity currentPeriod { start end } }
  firstInvoice { at total { amount } lines { kind amount { amount } period { start end } } }"""
AMOUNTS = """query($id: ID!, $at: DateTime) {
  invoicePreview(subscriptionId: $id, at: $at) { lines { amount { amount } } } }"""


def subscribe(client: Asking, story: Story, **more: Any) -> Any:
    """The payload of subscribing the story's customer to both prices."""
    items = [{"priceId": story.usage}, {"priceId": story.licence}]
    input = {"customerId": story.customer, "items": items, **more}
    return client.mutate("createSubscription", "CreateSubscriptionInput", input, SUBSCRIPTION)


def amounts(client: Asking, id: str, at: str | None = None) -> list[str]:
    """The amounts of a preview."""
    found = client.field(AMOUNTS, id=id, at=at)
    return [line["amount"]["amount"] for line in found["lines"]]


@pytest.mark.parametrize(("billed", "usage"), [(False, "0.00"), (True, "80.00")])
def test_a_trial_is_free_and_the_next_invoice_is_at_its_end(
    client: Asking, story: Story, billed: bool, usage: str
) -> None:
    end = "2026-01-20T00:00:00Z"
    done = subscribe(
        client,
        story,
        startAt="2026-01-06T00:00:00Z",
        trialEnd=end,
        billUsageInTrial=billed,
    )
    assert done["userErrors"] == []
    made = done["subscription"]
    assert (made["status"], made["trialEnd"], made["billingAnchor"]) == ("TRIALING", end, end)
    assert made["billUsageInTrial"] is billed
    assert made["currentPeriod"] == {"start": "2026-01-06T00:00:00Z", "end": end}
    assert done["firstInvoice"]["total"] == {"amount": "0.00"}
    client.record(tokens(1))
    assert amounts(client, made["id"]) == [usage, "100.00"]
    assert amounts(client, made["id"], "2026-02-20T00:00:00Z") == ["0.00", "100.00"]


def test_after_its_trial_a_subscription_is_active(client: Asking, story: Story) -> None:
    over = subscribe(client, story, startAt="2026-01-01T00:00:00Z", trialEnd="2026-01-15T12:00:00Z")
    assert over["subscription"]["status"] == "ACTIVE"


def test_a_trial_that_could_not_be_is_refused(client: Asking, story: Story) -> None:
    for more, path in (
        ({"trialEnd": "2026-01-15T12:00:00Z"}, ["input", "trialEnd"]),
        ({"trialEnd": "soon"}, ["input", "trialEnd"]),
        ({"billUsageInTrial": True}, ["input", "billUsageInTrial"]),
    ):
        [error] = subscribe(client, story, **more)["userErrors"]
        assert (error["code"], error["path"]) == ("INVALID_VALUE", path)


def test_a_stub_is_shared_out_by_whole_days_when_asked(client: Asking, story: Story) -> None:
    anchor = {"startAt": "2026-01-17T12:00:00Z", "billingAnchor": "2026-02-01T00:00:00Z"}
    exact = subscribe(client, story, **anchor)
    by_day = subscribe(client, story, **anchor, prorationGranularity="DAY")
    assert exact["subscription"]["prorationGranularity"] == "SECOND"
    assert by_day["subscription"]["prorationGranularity"] == "DAY"
    assert exact["firstInvoice"]["total"] == {"amount": "46.77"}
    assert by_day["firstInvoice"]["total"] == {"amount": "48.39"}


def test_a_backdated_start_is_first_billed_all_that_has_elapsed(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1, timestamp="2025-11-10T00:00:00Z"))
    done = subscribe(client, story, startAt="2025-11-01T00:00:00Z")
    invoice = done["firstInvoice"]
    assert invoice["at"] == "2026-01-15T12:00:00Z"
    found = [
        (line["kind"], line["period"]["start"][:10], line["amount"]["amount"])
        for line in invoice["lines"]
    ]
    assert found == [
        ("USAGE", "2025-11-01", "80.00"),
        ("USAGE", "2025-12-01", "0.00"),
        ("RECURRING", "2025-11-01", "100.00"),
        ("RECURRING", "2025-12-01", "100.00"),
        ("RECURRING", "2026-01-01", "100.00"),
    ]
    assert invoice["total"] == {"amount": "380.00"}
    id = done["subscription"]["id"]
    assert amounts(client, id, "2025-12-01T00:00:00Z") == ["80.00", "100.00"]
    assert amounts(client, id) == ["0.00", "100.00"]


def test_decades_in_days_are_more_than_an_invoice_holds(client: Asking, story: Story) -> None:
    daily = client.create(
        "price",
        productId=story.licence_product,
        currency="USD",
        interval={"unit": "DAY"},
        pricing={"perUnit": {"unitAmount": "1"}},
    )
    input = {
        "customerId": story.customer,
        "items": [{"priceId": daily}],
        "startAt": "2016-01-01T00:00:00Z",
    }
    done = client.mutate("createSubscription", "CreateSubscriptionInput", input, SUBSCRIPTION)
    assert done["userErrors"] == []
    assert done["firstInvoice"] is None
    assert amounts(client, done["subscription"]["id"]) == ["1.00"]

"""What was known then, through GraphQL: previews and summaries as of a position or a time."""

from typing import Any

import pytest

from domain.periods import parse_instant
from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

PREVIEW = """query($id: ID!, $at: DateTime, $asOf: AsOf) {
  invoicePreview(subscriptionId: $id, at: $at, asOf: $asOf) {
    position total { amount } contentHash
    lines { kind quantity amount { amount }
      usage { totalCount nodes { id value state } } } } }"""
SUMMARY = """query($meter: ID!, $customer: ID!, $asOf: AsOf) {
  usageSummary(meterId: $meter, customerId: $customer, asOf: $asOf, groupBy: ["model"],
    period: {start: "2026-01-01T00:00:00Z", end: "2026-02-01T00:00:00Z"}) {
    value recordCount group { value } } }"""
FEBRUARY = "2026-02-01T00:00:00Z"


def preview(client: Asking, story: Story, **as_of: Any) -> Any:
    """The invoice for January, as it would have been then."""
    wanted = as_of or None
    return client.field(PREVIEW, id=story.subscription, at=FEBRUARY, asOf=wanted)


def test_a_preview_says_again_what_it_said(client: Asking, story: Story) -> None:
    """At every position since the subscription, whatever came later."""
    said = [preview(client, story)]
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("amendUsage", "AmendUsageInput", {"id": "r1", "value": "2000"}),
        (
            "supersedePrice",
            "SupersedePriceInput",
            {
                "priceId": story.usage,
                "effectiveAt": "2026-01-10T00:00:00Z",
                "pricing": {"perUnit": {"unitAmount": "1"}},
            },
        ),
        ("voidUsage", "VoidUsageInput", {"id": "r2"}),
        (
            "reviseMeter",
            "ReviseMeterInput",
            {"meterId": story.meter, "aggregation": "COUNT", "effectiveAt": "2026-01-12T00:00:00Z"},
        ),
        ("pauseCollection", "PauseCollectionInput", {"subscriptionId": story.subscription}),
    ]
    client.record(tokens(1), tokens(2, "500", timestamp="2026-01-11T00:00:00Z"))
    said.append(preview(client, story))
    for name, type, input in steps:
        assert client.mutate(name, type, input)["userErrors"] == []
        client.record(tokens(int(said[-1]["position"]) + 100, "7"))
        said.append(preview(client, story))
    assert len({one["contentHash"] for one in said}) > 4
    for one in said:
        assert preview(client, story, position=one["position"]) == one


def test_usage_of_others_and_of_later_is_not_in_it(client: Asking, story: Story) -> None:
    client.create("customer", name="Somebody", externalId="somebody")
    client.record(tokens(1, "2000"), tokens(2, "9999", customer="somebody"))
    then = client.position
    client.record(tokens(3, "5000"))
    [usage, _] = preview(client, story, position=str(then))["lines"]
    assert (usage["quantity"], usage["amount"]["amount"]) == ("2000", "40.00")
    assert [record["id"] for record in usage["usage"]["nodes"]] == ["r1"]
    assert usage["usage"]["totalCount"] == 1


def test_records_behind_a_line_are_as_they_were(client: Asking, story: Story) -> None:
    client.record(tokens(1, "2000"))
    then = str(client.position)
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    [usage, _] = preview(client, story, position=then)["lines"]
    assert usage["usage"]["nodes"] == [{"id": "r1", "value": "2000", "state": "COUNTED"}]


def test_a_time_is_the_last_position_recorded_by_then(client: Asking, story: Story) -> None:
    client.record(tokens(1, "2000"))
    client.ledger.advance_now(parse_instant("2026-01-20T00:00:00Z", ()))
    client.record(tokens(2, "500"))
    early = preview(client, story, time="2026-01-19T23:59:59Z")
    late = preview(client, story, time="2026-01-20T00:00:00Z")
    assert [one["lines"][0]["quantity"] for one in (early, late)] == ["2000", "2500"]


def test_before_the_subscription_there_is_no_invoice(client: Asking, story: Story) -> None:
    assert preview(client, story, position="1") is None


def test_a_summary_says_what_was_known(client: Asking, story: Story) -> None:
    asked = {"meter": story.meter, "customer": story.customer}
    client.record(
        tokens(1, "10", properties={"model": "small"}),
        tokens(2, "5", properties={"model": "large"}),
    )
    then = client.position
    before = client.field(SUMMARY, **asked)
    client.mutate("amendUsage", "AmendUsageInput", {"id": "r1", "properties": {"model": "large"}})
    client.record(tokens(3, "100"))
    after = client.field(SUMMARY, **asked)
    assert client.field(SUMMARY, **asked, asOf={"position": str(then)}) == before
    assert client.field(SUMMARY, **asked, asOf={"position": str(client.position)}) == after
    assert before != after


def test_a_customer_known_by_another_key_later(client: Asking) -> None:
    """Its records wait until the key means it, then as now."""
    told = Story(client)
    client.record(tokens(1, "2000", customer="alpaca"))
    waiting = str(client.position)
    change = {"customerId": told.customer, "externalId": "alpaca"}
    client.mutate("updateCustomer", "UpdateCustomerInput", change)
    assert preview(client, told)["lines"][0]["quantity"] == "2000"
    assert preview(client, told, position=waiting)["lines"][0]["quantity"] == "0"
    assert preview(client, told, position=str(client.position)) == preview(client, told)


@pytest.mark.parametrize(
    ("as_of", "path"),
    [
        ({"position": "0"}, ["asOf", "position"]),
        ({"position": "99999"}, ["asOf", "position"]),
        ({"time": "2025-12-31T00:00:00Z"}, ["asOf", "time"]),
        ({"time": "yesterday"}, ["asOf", "time"]),
    ],
)
def test_a_moment_that_the_ledger_does_not_have(
    client: Asking, story: Story, as_of: dict[str, str], path: list[str]
) -> None:
    variables = {"id": story.subscription, "at": FEBRUARY, "asOf": as_of}
    [error] = client.ask(PREVIEW, **variables)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("BAD_USER_INPUT", path)

"""Corrections through the schema: what is voided or amended, and what every answer makes of it."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.test_schema_story import PREVIEW

__all__ = ["client", "story"]

RECORD_FIELDS = """id source eventName customer { name } timestamp value properties state position
    originalValue originalProperties
    corrections { kind value properties reason actor recordedAt position }"""
RECORD = f"""query($id: String!, $source: String) {{
  usageRecord(id: $id, source: $source) {{ {RECORD_FIELDS} }} }}"""
STATES = """query($state: UsageRecordState, $meter: ID, $customer: ID, $period: PeriodInput,
    $first: Int, $after: String) {
  usageRecords(state: $state, meterId: $meter, customerId: $customer, period: $period,
      first: $first, after: $after) {
    totalCount nodes { id value properties state } pageInfo { hasNextPage endCursor } } }"""
SUMMARY = """query($meter: ID!, $customer: ID!, $groups: [String!]) {
  usageSummary(meterId: $meter, customerId: $customer, groupBy: $groups,
      period: {start: "2026-01-01T00:00:00Z", end: "2026-02-01T00:00:00Z"}) {
    value recordCount group { value } } }"""


def void(client: Asking, id: str = "r1", **more: Any) -> Any:
    """Void a record; answer the payload."""
    wanted = f"record {{ {RECORD_FIELDS} }}"
    return client.mutate("voidUsage", "VoidUsageInput", {"id": id, **more}, wanted)


def amend(client: Asking, id: str = "r1", **more: Any) -> Any:
    """Amend a record; answer the payload."""
    wanted = f"record {{ {RECORD_FIELDS} }}"
    return client.mutate("amendUsage", "AmendUsageInput", {"id": id, **more}, wanted)


def record(client: Asking, id: str = "r1", source: str | None = None) -> Any:
    """The record as it is shown."""
    return client.field(RECORD, id=id, source=source)


def listed(client: Asking, **variables: Any) -> list[tuple[str, str | None, str]]:
    """(id, value, state) of each record of a list; a list counts what it holds."""
    page = client.field(STATES, **variables)
    assert page["totalCount"] == len(page["nodes"])
    return [(node["id"], node["value"], node["state"]) for node in page["nodes"]]


def billed(client: Asking, story: Story, **variables: Any) -> tuple[str, str]:
    """Quantity and amount of the usage line of the next invoice."""
    lines = client.field(PREVIEW, id=story.subscription, **variables)["lines"]
    (line,) = (one for one in lines if one["kind"] == "USAGE")
    return line["quantity"], line["amount"]["amount"]


def refusal(payload: Any) -> tuple[str, str]:
    """Why it was refused, and where."""
    assert payload["record"] is None
    (error,) = payload["userErrors"]
    assert error["message"]
    return error["code"], ".".join(error["path"])


# --------------------------------------------------------------------------------- one record


def test_a_voided_record_tells_its_story(client: Asking, story: Story) -> None:
    sent = client.record(tokens(1, properties={"model": "large"}))["position"]
    payload = void(client, reason="A test run")
    assert payload["userErrors"] == []
    assert int(payload["position"]) == client.position == int(sent) + 1
    assert payload["record"] == record(client)
    assert record(client) == {
        "id": "r1",
        "source": "default",
        "eventName": "tokens",
        "customer": {"name": "Llama Ltd"},
        "timestamp": "2026-01-10T00:00:00Z",
        "value": "3000",
        "properties": {"model": "large"},
        "state": "VOIDED",
        "position": sent,
        "originalValue": "3000",
        "originalProperties": {"model": "large"},
        "corrections": [
            {
                "kind": "VOIDED",
                "value": None,
                "properties": None,
                "reason": "A test run",
                "actor": "tester",
                "recordedAt": "2026-01-15T12:00:00Z",
                "position": payload["position"],
            }
        ],
    }


def test_a_record_is_amended_twice_and_then_voided(client: Asking, story: Story) -> None:
    client.record(tokens(1, properties={"model": "large"}))
    amend(client, value="2500", reason="Typo")
    now = amend(client, properties={"model": "small"}, source=None)["record"]
    assert (now["value"], now["properties"], now["state"]) == (
        "2500",
        {"model": "small"},
        "AMENDED",
    )
    assert (now["originalValue"], now["originalProperties"]) == ("3000", {"model": "large"})
    now = void(client, source=None)["record"]
    assert (now["value"], now["properties"], now["state"]) == ("2500", {"model": "small"}, "VOIDED")
    story_of = [(one["kind"], one["value"], one["properties"]) for one in now["corrections"]]
    assert story_of == [
        ("AMENDED", "2500", {"model": "large"}),
        ("AMENDED", "2500", {"model": "small"}),
        ("VOIDED", None, None),
    ]
    assert [one["reason"] for one in now["corrections"]] == ["Typo", None, None]
    assert refusal(amend(client, value="1")) == ("WRONG_STATE", "input.id")


def test_the_same_again_writes_nothing(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    amend(client, value="2500")
    position = client.position
    assert amend(client, value="2500.0")["position"] == str(position)
    void(client)
    again = void(client, reason="Again")
    assert client.position == position + 1 == int(again["position"])
    assert [one["kind"] for one in again["record"]["corrections"]] == ["AMENDED", "VOIDED"]


@pytest.mark.parametrize(
    ("id", "more"),
    [
        ("r2", {}),
        ("r1", {"source": "other"}),
        ("", {}),
        ("\ud800", {}),
        ("r1", {"source": "\ud800"}),
        ("r1\0", {}),
        ("x" * 256, {}),
    ],
)
def test_an_unknown_record_cannot_be_corrected(
    client: Asking, story: Story, id: str, more: dict[str, Any]
) -> None:
    client.record(tokens(1))
    position = client.position
    assert refusal(void(client, id, **more)) == ("NOT_FOUND", "input.id")
    assert refusal(amend(client, id, value="1", **more)) == ("NOT_FOUND", "input.id")
    assert client.position == position


def test_only_the_record_of_that_source_is_corrected(client: Asking, story: Story) -> None:
    client.record(tokens(1), tokens(1, "7", source="proxy"))
    amend(client, value="8", source="proxy")
    assert (record(client)["value"], record(client, source="proxy")["value"]) == ("3000", "8")
    void(client)
    assert listed(client) == [("r1", "3000", "VOIDED"), ("r1", "8", "AMENDED")]


@pytest.mark.parametrize(
    ("input", "code", "path"),
    [
        ({}, "REQUIRED", "input.value"),
        ({"value": None, "properties": None}, "REQUIRED", "input.value"),
        ({"value": "1e3"}, "INVALID_VALUE", "input.value"),
        ({"value": "1", "properties": {"value": "1"}}, "INVALID_VALUE", "input.value"),
        ({"properties": {"value": "many"}}, "INVALID_VALUE", "input.value"),
        ({"properties": {"model": 10**30}}, "INVALID_VALUE", "input.properties.model"),
        ({"properties": {"model": "\ud800"}}, "INVALID_VALUE", "input.properties.model"),
        ({"properties": {"model": ["x"]}}, "INVALID_VALUE", "input.properties.model"),
        ({"properties": "model"}, "INVALID_VALUE", "input.properties"),
        ({"value": "1", "reason": "a\x00"}, "INVALID_VALUE", "input.reason"),
    ],
)
@pytest.mark.parametrize("key", [None, "once"])
def test_what_could_not_be_sent_cannot_be_amended(
    client: Asking, story: Story, input: dict[str, Any], code: str, path: str, key: str | None
) -> None:
    client.record(tokens(1))
    position = client.position
    assert refusal(amend(client, **input, idempotencyKey=key)) == (code, path)
    assert client.position == position
    assert record(client)["corrections"] == []


# -------------------------------------------------------------------------- sent and asked again


def test_a_corrected_record_sent_again_is_still_a_duplicate(client: Asking, story: Story) -> None:
    sent = client.record(tokens(1))["position"]
    amend(client, value="2500")
    assert client.record(tokens(1))["receipts"][0]["status"] == "DUPLICATE"
    assert client.record(tokens(1, "2500"))["receipts"][0]["status"] == "CONFLICT"
    void(client)
    (receipt,) = client.record(tokens(1))["receipts"]
    assert (receipt["status"], receipt["position"]) == ("DUPLICATE", sent)
    assert billed(client, story) == ("0", "0.00")


def test_a_key_answers_the_first_position_and_the_record_as_it_now_is(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1), tokens(2))
    first = amend(client, value="2500", idempotencyKey="once")
    amend(client, value="2600")
    position = client.position
    again = amend(client, value="2500", idempotencyKey="once")
    assert (again["position"], again["record"]["value"]) == (first["position"], "2600")
    other = amend(client, "r2", value="2500", idempotencyKey="once")
    assert refusal(other) == ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    voided = void(client, idempotencyKey="void")
    assert void(client, idempotencyKey="void") == voided
    assert client.position == position + 1


# ----------------------------------------------------------------------------------- what counts


def test_a_preview_moves_across_the_bound_of_a_tier(client: Asking, story: Story) -> None:
    client.record(tokens(1, "900"), tokens(2, "300"), tokens(3, "100"))
    assert billed(client, story) == ("1300", "12.00")
    void(client, "r2")
    assert billed(client, story) == ("1000", "0.00")
    amend(client, "r3", value="100.5")
    assert billed(client, story) == ("1000.5", "0.02")
    amend(client, "r3", value="-50")
    assert billed(client, story) == ("850", "0.00")
    extra = [{"eventName": "tokens", "value": "1150"}]
    assert billed(client, story, extra=extra) == ("2000", "40.00")


def test_summaries_and_the_records_behind_a_line_follow(client: Asking, story: Story) -> None:
    large, small = {"model": "large"}, {"model": "small"}
    client.record(tokens(1, "1", properties=large), tokens(2, "2", properties=large))
    client.record(tokens(3, "4", properties=small))
    amend(client, "r2", properties=small)
    void(client, "r1")
    asked = {"meter": story.meter, "customer": story.customer}
    assert client.field(SUMMARY, **asked, groups=["model"]) == [
        {"value": "6", "recordCount": "2", "group": [{"value": "small"}]}
    ]
    behind = "query($id: ID!) { invoicePreview(subscriptionId: $id) { lines { usage {"
    behind += " totalCount nodes { id value properties state } } } } }"
    usage, licence = client.field(behind, id=story.subscription)["lines"]
    assert licence["usage"]["totalCount"] == 0
    assert usage["usage"] == {
        "totalCount": 2,
        "nodes": [
            {"id": "r2", "value": "2", "properties": small, "state": "AMENDED"},
            {"id": "r3", "value": "4", "properties": small, "state": "COUNTED"},
        ],
    }


def test_pricing_by_single_records_reads_them_as_they_are(client: Asking, story: Story) -> None:
    percentage = {"percentage": {"rate": "10", "fixedAmount": "1", "freeRecords": 1}}
    price = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        pricing=percentage,
        currency="USD",
        interval={"unit": "MONTH"},
    )
    story.subscription = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": price}],
        startAt="2026-01-01T00:00:00Z",
    )
    client.record(tokens(1, "100"), tokens(2, "200"), tokens(3, "300"))
    assert billed(client, story) == ("600", "52.00")
    void(client, "r1")
    amend(client, "r3", value="400")
    assert billed(client, story) == ("600", "41.00")


def test_unrated_usage_follows(client: Asking, story: Story) -> None:
    unrated = """{ unratedUsage(period: {start: "2025-12-01T00:00:00Z",
        end: "2026-01-01T00:00:00Z"}) { nodes { value recordCount } } }"""
    before = "2025-12-31T00:00:00Z"
    client.record(tokens(1, "1", timestamp=before), tokens(2, "2", timestamp=before))
    void(client, "r2")
    amend(client, "r1", value="4")
    assert client.field(unrated)["nodes"] == [{"value": "4", "recordCount": "1"}]
    void(client, "r1")
    assert client.field(unrated)["nodes"] == []


def test_a_record_that_waits_is_corrected(client: Asking, story: Story) -> None:
    client.record(
        tokens(1, "1", customer="late"),
        tokens(2, "2", customer="late"),
        tokens(3, "4", customer="late"),
    )
    now = amend(client, "r2", value="8")["record"]
    assert (now["state"], now["value"], now["customer"]) == ("UNMATCHED", "8", None)
    assert void(client, "r3")["record"]["state"] == "VOIDED"
    assert listed(client, state="UNMATCHED") == [("r1", "1", "UNMATCHED"), ("r2", "8", "UNMATCHED")]
    late = client.create("customer", name="Late", externalId="late")
    asked = {"meter": story.meter, "customer": late}
    assert client.field(SUMMARY, **asked) == [{"value": "9", "recordCount": "2", "group": []}]
    assert listed(client, customer=late) == [
        ("r1", "1", "COUNTED"),
        ("r2", "8", "AMENDED"),
        ("r3", "4", "VOIDED"),
    ]
    now = void(client, "r2")["record"]
    assert (now["state"], now["value"], now["customer"]) == ("VOIDED", "8", {"name": "Late"})


def test_a_later_meter_asks_for_what_it_needs(client: Asking, story: Story) -> None:
    client.record({"id": "r1", "eventName": "jobs", "customer": "llama"})
    amend(client, value="5")
    amend(client, properties={"seconds": "many"})
    client.create(
        "meter", name="Jobs", eventName="jobs", aggregation="MAX", valueProperty="seconds"
    )
    refused = refusal(amend(client, properties={"seconds": "more"}))
    assert refused == ("INVALID_VALUE", "input.properties.seconds")
    assert amend(client, properties={"seconds": "7"})["record"]["state"] == "AMENDED"


# ------------------------------------------------------------------------------------- lists


def test_lists_by_state(client: Asking, story: Story) -> None:
    other = client.create("customer", name="Other", externalId="other")
    late = {"timestamp": "2026-01-12T00:00:00Z"}
    client.record(tokens(1), tokens(2, **late), tokens(3), tokens(4, customer="nobody"))
    client.record(tokens(5, **late), tokens(6, customer="other"), tokens(7, eventName="unknown"))
    amend(client, "r2", value="2")
    amend(client, "r6", value="6")
    for id in ("r3", "r5", "r7"):
        void(client, id)
    assert listed(client, state="COUNTED") == [("r1", "3000", "COUNTED")]
    assert listed(client, state="AMENDED") == [("r6", "6", "AMENDED"), ("r2", "2", "AMENDED")]
    assert listed(client, state="UNMATCHED") == [("r4", "3000", "UNMATCHED")]
    voided = [("r3", "3000", "VOIDED"), ("r7", "3000", "VOIDED"), ("r5", "3000", "VOIDED")]
    assert listed(client, state="VOIDED") == voided
    assert [id for id, *_ in listed(client)] == ["r1", "r3", "r4", "r6", "r7", "r2", "r5"]
    assert listed(client, state="AMENDED", customer=other) == [("r6", "6", "AMENDED")]
    assert listed(client, state="VOIDED", customer=other) == []
    assert listed(client, state="VOIDED", customer=story.customer) == voided
    assert listed(client, state="VOIDED", meter=story.meter) == [voided[0], voided[2]]
    period = {"start": "2026-01-10T00:00:00Z", "end": "2026-01-12T00:00:00Z"}
    assert listed(client, state="VOIDED", period=period) == voided[:2]
    pages, after, more = [], None, True
    while more:
        page = client.field(STATES, state="VOIDED", first=1, after=after)
        pages += [node["id"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert pages == ["r3", "r7", "r5"]


def test_a_voided_record_stays_with_its_customer(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    void(client)
    renamed = {"customerId": story.customer, "externalId": "alpaca"}
    client.mutate("updateCustomer", "UpdateCustomerInput", renamed)
    assert listed(client, customer=story.customer) == [("r1", "3000", "VOIDED")]

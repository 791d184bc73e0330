"""Unique counts and weighted sums through the schema: tried, summarised, and billed."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story
from tests.app.test_schema_usage import JANUARY, SUMMARY

__all__ = ["client", "story"]

TRY = """query($aggregation: Aggregation!, $records: [SampleRecordInput!]!, $period: PeriodInput,
    $carried: Boolean) {
  aggregationPreview(aggregation: $aggregation, records: $records, period: $period,
      carriesOver: $carried) { value recordCount } }"""

PREVIEW = """query($subscription: ID!, $at: DateTime, $extra: [HypotheticalUsageInput!]) {
  invoicePreview(subscriptionId: $subscription, at: $at, extraUsage: $extra) {
    lines { quantity amount { amount } usage { totalCount nodes { id } } } } }"""


def sent(number: int, timestamp: str, **more: Any) -> dict[str, Any]:
    """A usage record named `seats` at a time."""
    record = {"id": f"s{number}", "eventName": "seats", "customer": "llama"}
    return {**record, "timestamp": f"{timestamp}Z", **more}


def changed(number: int, timestamp: str, by: str, **properties: str) -> dict[str, Any]:
    """A change of the seats at a time."""
    return sent(number, timestamp, value=by, properties=properties)


def called(number: int, timestamp: str, **properties: str) -> dict[str, Any]:
    """A call at a time."""
    return sent(number, timestamp, properties=properties)


def sample(timestamp: str, value: str | None) -> dict[str, Any]:
    """A record made up to try an aggregation."""
    return {"timestamp": f"{timestamp}Z", "value": value}


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (["ann", "bob", "ann"], 2),
        (["1", "1.0", "1.00", "2"], 2),
        (["1", None, "one"], 2),
        (["", "é"], 2),
        ([], 0),
    ],
)
def test_a_unique_count_can_be_tried(client: Asking, values: list[str | None], count: int) -> None:
    records = [sample("2026-01-01T00:00:00", value) for value in values]
    preview = client.field(TRY, aggregation="UNIQUE_COUNT", records=records)
    assert preview == {"value": str(count), "recordCount": sum(v is not None for v in values)}


@pytest.mark.parametrize(
    ("carried", "value", "count"), [(False, "15.161290322581", 2), (True, "20.161290322581", 2)]
)
def test_a_weighted_sum_can_be_tried(client: Asking, carried: bool, value: str, count: int) -> None:
    """20 for one day, then 30 for 15 days of 31: the example that Lago gives of its own."""
    records = [
        sample("2022-03-16T00:00:00", "20"),
        sample("2022-03-17T00:00:00", "10"),
        sample("2022-02-01T00:00:00", "5"),
        sample("2022-04-01T00:00:00", "1000"),
    ]
    period = {"start": "2022-03-01T00:00:00Z", "end": "2022-04-01T00:00:00Z"}
    tried = {"aggregation": "WEIGHTED_SUM", "records": records, "period": period}
    preview = client.field(TRY, carried=carried, **tried)
    assert preview == {"value": value, "recordCount": count}


def summaries(client: Asking, meter: str, story: Story, **variables: Any) -> list[dict[str, Any]]:
    """Summaries of January unless told otherwise."""
    asked = {"meter": meter, "customer": story.customer, "period": JANUARY, **variables}
    found: list[dict[str, Any]] = client.field(SUMMARY, **asked)
    return found


def test_unique_users_by_day_and_model(client: Asking, story: Story) -> None:
    users = client.create(
        "meter",
        name="Users",
        eventName="seats",
        aggregation="UNIQUE_COUNT",
        valueProperty="user",
        dimensions=["model"],
    )
    client.record(
        called(1, "2026-01-01T08:00:00", user="ann", model="small"),
        called(2, "2026-01-01T09:30:00", user="ann", model="large"),
        called(3, "2026-01-01T23:59:59", user="bob"),
        called(4, "2026-01-02T00:00:00", user="ann", model="small"),
    )
    (whole,) = summaries(client, users, story)
    assert (whole["value"], whole["recordCount"]) == ("2", "4")
    by_day = summaries(client, users, story, window="DAY")
    assert [one["value"] for one in by_day] == ["2", "1"]
    by_model = summaries(client, users, story, groups=["model"])
    assert [(one["group"][0]["value"], one["value"]) for one in by_model] == [
        (None, "1"),
        ("large", "1"),
        ("small", "1"),
    ]
    large = [{"name": "model", "values": ["large"]}]
    every = summaries(client, users, story, filter=large, window="DAY", empty=True)
    assert [one["value"] for one in every] == ["1", *["0"] * 30]
    for unit in ("MINUTE", "HOUR", "WEEK", "MONTH"):
        period = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
        found = summaries(client, users, story, window=unit, period=period)
        assert sum(int(one["recordCount"]) for one in found) == 4


def test_a_record_without_the_user_is_refused(client: Asking) -> None:
    client.create(
        "meter",
        name="Users",
        eventName="seats",
        aggregation="UNIQUE_COUNT",
        valueProperty="user",
    )
    payload = client.record(
        called(1, "2026-01-01T08:00:00", user="ann"), called(2, "2026-01-01T08:00:00", model="x")
    )
    assert [one["status"] for one in payload["receipts"]] == ["UNMATCHED", "REJECTED"]
    error = payload["receipts"][1]["error"]
    assert (error["code"], error["path"][-2:]) == ("REQUIRED", ["properties", "user"])


def seats_meter(client: Asking, *, carried: bool) -> str:
    """A meter of seats by team."""
    return client.create(
        "meter",
        name="Seats",
        eventName="seats",
        aggregation="WEIGHTED_SUM",
        dimensions=["team"],
        carriesOver=carried,
    )


def test_seats_by_day_with_and_without_what_was_there(client: Asking, story: Story) -> None:
    zero, carried = (seats_meter(client, carried=carried) for carried in (False, True))
    client.record(
        changed(1, "2025-12-01T00:00:00", "10", team="a"),
        changed(2, "2026-01-02T12:00:00", "-4", team="a"),
        changed(3, "2026-01-03T06:00:00", "2", team="b"),
    )
    period = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-05T00:00:00Z"}
    from_zero = summaries(client, zero, story, window="DAY", period=period, empty=True)
    assert [one["value"] for one in from_zero] == ["0", "-2", "1.5", "0"]
    carrying = summaries(client, carried, story, window="DAY", period=period)
    assert [one["value"] for one in carrying] == ["10", "8", "7.5", "8"]
    assert [one["recordCount"] for one in carrying] == ["0", "1", "1", "0"]
    (whole,) = summaries(client, carried, story, period=period)
    assert whole["value"] == "8.375"
    teams = summaries(client, carried, story, groups=["team"], period=period)
    assert [(one["group"][0]["value"], one["value"]) for one in teams] == [
        ("a", "7.5"),
        ("b", "0.875"),
    ]
    b = [{"name": "team", "values": ["b"]}]
    assert [one["value"] for one in summaries(client, carried, story, filter=b)] == [
        "1.854838709677"
    ]


def test_a_carrying_meter_as_it_is_shown(client: Asking) -> None:
    meter = seats_meter(client, carried=True)
    shown = "query($id: ID!) { meter(id: $id) { aggregation carriesOver } }"
    expected = {"aggregation": "WEIGHTED_SUM", "carriesOver": True}
    assert client.field(shown, id=meter) == expected


def test_seats_on_a_bill_with_usage_that_was_never_sent(client: Asking, story: Story) -> None:
    meter = seats_meter(client, carried=True)
    price = client.create(
        "price",
        productId=story.usage_product,
        meterId=meter,
        pricing={"perUnit": {"unitAmount": "31"}},
        currency="USD",
        interval={"unit": "MONTH"},
    )
    subscription = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": price}],
        startAt="2026-01-01T00:00:00Z",
    )
    client.record(changed(1, "2025-12-01T00:00:00", "10"), changed(2, "2026-01-11T00:00:00", "-5"))

    def line(at: str, *extra: dict[str, Any]) -> tuple[str, str, int]:
        asked = {"subscription": subscription, "at": f"{at}Z", "extra": list(extra)}
        (found,) = client.field(PREVIEW, **asked)["lines"]
        return found["quantity"], found["amount"]["amount"], found["usage"]["totalCount"]

    # 10 for 10 days of 31, and 5 for the other 21; so far is a part of the month, not of ten days.
    assert line("2026-02-01T00:00:00") == ("6.612903225806", "205.00", 1)
    assert line("2026-01-11T00:00:00") == ("3.225806451613", "100.00", 0)
    extra = {"eventName": "seats", "value": "1", "timestamp": "2026-01-31T00:00:00Z"}
    assert line("2026-02-01T00:00:00", extra)[1] == "206.00"
    extra["timestamp"] = "2025-06-01T00:00:00Z"
    assert line("2026-02-01T00:00:00", extra)[1] == "236.00"

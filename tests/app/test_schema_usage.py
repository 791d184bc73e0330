"""Usage through the schema: receipts, records in lists, and summaries of any window."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

RECORDS = """query($first: Int, $after: String, $meter: ID, $customer: ID, $period: PeriodInput,
    $state: UsageRecordState) {
  usageRecords(first: $first, after: $after, meterId: $meter, customerId: $customer,
      period: $period, state: $state) {
    totalCount nodes { id source eventName customer { id } timestamp recordedAt value properties
      state position } pageInfo { hasNextPage hasPreviousPage endCursor } } }"""
RECORD = """query($id: String!, $source: String) { usageRecord(id: $id, source: $source) {
    id state customer { name } } }"""
SUMMARY = """query($meter: ID!, $customer: ID!, $period: PeriodInput!, $window: UsageWindow,
    $zone: String = "UTC", $groups: [String!], $filter: [DimensionFilter!], $empty: Boolean) {
  usageSummary(meterId: $meter, customerId: $customer, period: $period, window: $window,
      timeZone: $zone, groupBy: $groups, filter: $filter, includeEmpty: $empty) {
    period { start end } value recordCount group { name value } } }"""
JANUARY = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


def at(number: int, timestamp: str, value: str = "1", **more: Any) -> dict[str, Any]:
    """A usage record of the story at a time."""
    return tokens(number, value, timestamp=f"2026-01-{timestamp}Z", **more)


# ------------------------------------------------------------------------------------ receipts


def test_every_record_is_answered_by_itself(client: Asking, story: Story) -> None:
    client.record(tokens(1), tokens(2))
    payload = client.record(
        tokens(1),
        tokens(2, "7"),
        tokens(3),
        tokens(4, "1e3"),
        tokens(5, customer="nobody"),
        tokens(3),
    )
    statuses = [receipt["status"] for receipt in payload["receipts"]]
    assert statuses == [
        *("DUPLICATE", "CONFLICT", "ACCEPTED", "REJECTED", "UNMATCHED", "DUPLICATE"),
    ]
    counts = ("accepted", "unmatched", "duplicates", "conflicts", "rejected")
    assert [payload[name] for name in counts] == [1, 1, 2, 1, 1]
    assert payload["userErrors"] == []
    assert payload["position"] == str(client.position)
    first, conflict, _, rejected, *_ = payload["receipts"]
    assert (first["position"], first["error"]) == (str(client.position - 1), None)
    assert conflict["error"]["code"] == "CONFLICT"
    assert rejected["position"] is None
    assert rejected["error"]["path"] == ["input", "records", "3", "value"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": ""}, ["id"]),
        ({"id": "\ud800"}, ["id"]),
        ({"id": "a\x00b"}, ["id"]),
        ({"id": "x" * 256}, ["id"]),
        ({"source": "\udfff"}, ["source"]),
        ({"eventName": "\ud800"}, ["eventName"]),
        ({"customer": ""}, ["customer"]),
        ({"timestamp": "2026-01-10T00:00:00"}, ["timestamp"]),
        ({"value": "NaN"}, ["value"]),
        ({"value": "9" * 19}, ["value"]),
        ({"value": None}, ["value"]),
        ({"properties": {"value": "1"}}, ["value"]),
        ({"properties": {"model": 4}}, ["properties", "model"]),
        ({"properties": {"model": ["large"]}}, ["properties", "model"]),
        ({"properties": {"model": "\ud800"}}, ["properties", "model"]),
        ({"properties": {"\ud800": "large"}}, ["properties", "\ud800"]),
        ({"properties": {"": "large"}}, ["properties", ""]),
        ({"properties": {str(n): "x" for n in range(21)}}, ["properties"]),
        ({"properties": ["large"]}, ["properties"]),
        ({"properties": []}, ["properties"]),
        ({"properties": "large"}, ["properties"]),
        ({"properties": 5}, ["properties"]),
        ({"properties": False}, ["properties"]),
    ],
)
def test_a_bad_record_is_named_and_harms_no_other(
    client: Asking, story: Story, change: dict[str, Any], path: list[str]
) -> None:
    payload = client.record(tokens(1), tokens(2, **change))
    good, bad = payload["receipts"]
    assert (good["status"], bad["status"]) == ("ACCEPTED", "REJECTED")
    assert bad["error"]["path"] == ["input", "records", "1", *path]
    assert bad["id"] == change.get("id", "r2")  # echoed, whatever it is


def test_left_out_is_now_and_by_default(client: Asking, story: Story) -> None:
    client.record({"id": "r1", "eventName": "tokens", "customer": story.customer, "value": "5"})
    (record,) = client.field(RECORDS)["nodes"]
    assert record["timestamp"] == record["recordedAt"] == "2026-01-15T12:00:00Z"
    assert record["source"] == "default"
    assert client.record(tokens(1, "5", source=None))["conflicts"] == 1


# ------------------------------------------------------------------------------------ records


def test_a_record_as_it_is_shown(client: Asking, story: Story) -> None:
    payload = client.record(tokens(1, "0.50", properties={"model": "large", "note": ""}))
    assert client.field(RECORDS, meter=story.meter)["nodes"] == [
        {
            "id": "r1",
            "source": "default",
            "eventName": "tokens",
            "customer": {"id": story.customer},
            "timestamp": "2026-01-10T00:00:00Z",
            "recordedAt": "2026-01-15T12:00:00Z",
            "value": "0.5",
            "properties": {"model": "large", "note": ""},
            "state": "COUNTED",
            "position": payload["position"],
        }
    ]


def test_by_its_identity(client: Asking, story: Story) -> None:
    client.record(tokens(1), tokens(1, source="other", customer="nobody"))
    counted = {"id": "r1", "state": "COUNTED", "customer": {"name": "Llama Ltd"}}
    assert client.field(RECORD, id="r1") == counted
    waiting = {"id": "r1", "state": "UNMATCHED", "customer": None}
    assert client.field(RECORD, id="r1", source="other") == waiting
    for id, source in (("r1", "third"), ("r2", None), ("", None), ("\ud800", None), ("r1", "\0")):
        assert client.field(RECORD, id=id, source=source) is None


def pages(client: Asking, **variables: Any) -> tuple[list[str], int]:
    """The ids on all pages of a list, and the count that the list gives."""
    ids: list[str] = []
    after = None
    while True:
        page = client.field(RECORDS, first=4, after=after, **variables)
        info, before = page["pageInfo"], after
        ids += [node["id"] for node in page["nodes"]]
        assert info["hasPreviousPage"] == (before is not None)
        after = info["endCursor"]
        if not info["hasNextPage"]:
            return ids, page["totalCount"]


def test_lists_are_in_the_order_of_time(client: Asking, story: Story) -> None:
    second = client.create("customer", name="Two")
    client.create("meter", name="Calls", eventName="calls", aggregation="COUNT")
    client.record(
        at(1, "03T10:00:00"),
        at(2, "01T10:30:00", customer=second),
        at(3, "01T10:15:00"),
        at(4, "02T00:00:00", customer="nobody"),
        at(5, "01T10:15:00"),
        at(6, "01T10:45:00", eventName="calls"),
        at(7, "01T10:20:00", eventName="unknown"),
    )
    client.record(*(at(n, f"{n:02}T09:00:00") for n in range(10, 20)))
    later = [f"r{n}" for n in range(10, 20)]
    assert pages(client) == (["r3", "r5", "r7", "r2", "r6", "r4", "r1", *later], 17)
    matched = ["r3", "r5", "r2", "r6", "r1", *later]
    assert pages(client, state="COUNTED") == (matched, 15)
    assert pages(client, state="UNMATCHED") == (["r7", "r4"], 2)
    assert pages(client, meter=story.meter) == (["r3", "r5", "r2", "r4", "r1", *later], 15)
    assert pages(client, customer=second) == (["r2"], 1)
    mine = {"customer": story.customer}
    assert pages(client, **mine) == (["r3", "r5", "r7", "r6", "r1", *later], 15)
    mine["meter"] = story.meter
    assert pages(client, **mine) == (["r3", "r5", "r1", *later], 13)
    period = {"start": "2026-01-01T10:15:00Z", "end": "2026-01-03T10:00:00Z"}
    assert pages(client, period=period) == (["r3", "r5", "r7", "r2", "r6", "r4"], 6)
    assert pages(client, period=period, **mine) == (["r3", "r5"], 2)


def test_a_record_that_waited_is_counted_once_its_customer_is_there(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1, customer="late"))
    assert pages(client, state="UNMATCHED") == (["r1"], 1)
    client.create("customer", name="Late", externalId="late")
    assert pages(client, state="COUNTED") == (["r1"], 1)
    assert pages(client, state="UNMATCHED") == ([], 0)


# ---------------------------------------------------------------------------------- summaries


def summaries(client: Asking, story: Story, **variables: Any) -> list[dict[str, Any]]:
    """Summaries of the story's usage in January unless told otherwise."""
    asked = {"meter": story.meter, "customer": story.customer, "period": JANUARY, **variables}
    found: list[dict[str, Any]] = client.field(SUMMARY, **asked)
    return found


def test_one_total_of_any_period(client: Asking, story: Story) -> None:
    nothing = {"period": JANUARY, "value": "0", "recordCount": "0", "group": []}
    assert summaries(client, story) == [nothing]
    client.record(at(1, "01T00:00:00", "1"), at(2, "10T00:30:00", "2"), at(3, "31T23:59:59", "4"))
    assert summaries(client, story) == [{**nothing, "value": "7", "recordCount": "3"}]
    period = {"start": "2026-01-10T00:30:00Z", "end": "2026-01-31T23:59:59Z"}
    assert [one["value"] for one in summaries(client, story, period=period)] == ["2"]


def test_windows_that_follow_a_clock(client: Asking, story: Story) -> None:
    client.record(at(1, "10T22:30:00", "1"), at(2, "10T23:30:00", "2"), at(3, "12T00:00:00", "4"))
    by_day = summaries(client, story, window="DAY")
    assert [(one["period"]["start"], one["value"]) for one in by_day] == [
        ("2026-01-10T00:00:00Z", "3"),
        ("2026-01-12T00:00:00Z", "4"),
    ]
    in_paris = summaries(client, story, window="DAY", zone="Europe/Paris")
    assert [one["value"] for one in in_paris] == ["1", "2", "4"]
    assert in_paris[0]["period"]["end"] == "2026-01-10T23:00:00Z"
    every = summaries(client, story, window="DAY", empty=True)
    assert len(every) == 31
    assert sum(int(one["value"]) for one in every) == 7


def test_groups_and_filters(client: Asking, story: Story) -> None:
    client.record(
        at(1, "01T00:00:00", "1", properties={"model": "large"}),
        at(2, "02T00:00:00", "2", properties={"model": "small"}),
        at(3, "03T00:00:00", "4"),
        at(4, "03T00:00:01", "8", properties={"model": "large"}),
    )
    groups = summaries(client, story, groups=["model"])
    assert [(one["group"], one["value"]) for one in groups] == [
        ([{"name": "model", "value": value}], total)
        for value, total in ((None, "4"), ("large", "9"), ("small", "2"))
    ]
    large = [{"name": "model", "values": ["large", "none"]}]
    assert [one["value"] for one in summaries(client, story, filter=large)] == ["9"]
    by_day = summaries(client, story, filter=large, window="DAY")
    assert [one["value"] for one in by_day] == ["1", "8"]


def test_no_value_without_records(client: Asking, story: Story) -> None:
    for aggregation, value in (("MAX", None), ("AVERAGE", None), ("LAST", "0"), ("COUNT", "0")):
        meter = client.create("meter", name=aggregation, eventName="other", aggregation=aggregation)
        assert [one["value"] for one in summaries(client, story, meter=meter)] == [value]


@pytest.mark.parametrize(
    ("aggregation", "value", "count"),
    [("SUM", "6", 3), ("COUNT", "3", 3), ("LAST", "3", 3), ("MAX", "3", 3), ("MIN", "1", 3)],
)
def test_an_aggregation_can_be_tried(
    client: Asking, aggregation: str, value: str, count: int
) -> None:
    query = """query($aggregation: Aggregation!, $records: [SampleRecordInput!]!) {
        aggregationPreview(aggregation: $aggregation, records: $records) { value recordCount } }"""
    records = [{"timestamp": f"2026-01-0{n}T00:00:00Z", "value": str(n)} for n in (3, 1, 2)]
    preview = client.field(query, aggregation=aggregation, records=records)
    assert preview == {"value": value, "recordCount": count}


def test_an_aggregation_of_a_period(client: Asking) -> None:
    query = """{ aggregationPreview(aggregation: AVERAGE,
        records: [{timestamp: "2026-01-01T00:00:00Z", value: "1"},
                  {timestamp: "2026-01-01T23:59:59.999999Z", value: "2"},
                  {timestamp: "2026-01-02T00:00:00Z", value: "5"}],
        period: {start: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z"}) { value } }"""
    assert client.field(query) == {"value": "1.5"}

"""A meter is redefined from an instant on, and everything that is asked of it follows."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.test_schema_usage import JANUARY

__all__ = ["client", "story"]

NOW = "2026-01-15T12:00:00Z"
METER = """meter { id aggregation valueProperty dimensions carriesOver versions {
    number effectiveAt aggregation valueProperty dimensions carriesOver createdAt } }"""
SUMMARY = """query($meter: ID!, $customer: ID!, $period: PeriodInput!, $window: UsageWindow,
    $groupBy: [String!], $filter: [DimensionFilter!]) {
  usageSummary(meterId: $meter, customerId: $customer, period: $period, window: $window,
    groupBy: $groupBy, filter: $filter) { period { start } value recordCount group { value } } }"""
PREVIEW = """query($id: ID!, $extra: [HypotheticalUsageInput!]) {
  invoicePreview(subscriptionId: $id, extraUsage: $extra) {
    lines { kind quantity usage { totalCount nodes { id } } } } }"""


def revise(client: Asking, meter: str, **what: Any) -> Any:
    """The payload of a revision."""
    return client.mutate("reviseMeter", "ReviseMeterInput", {"meterId": meter, **what}, METER)


def revised(client: Asking, meter: str, **what: Any) -> Any:
    """The meter after a revision that was accepted."""
    payload = revise(client, meter, **what)
    assert payload["userErrors"] == []
    return payload["meter"]


def refused(client: Asking, meter: str, **what: Any) -> tuple[str, str]:
    """Why a revision was refused, and where."""
    before = client.position
    payload = revise(client, meter, **what)
    (error,) = payload["userErrors"]
    assert payload["meter"] is None
    assert client.position == before
    return error["code"], ".".join(error["path"])


def summary(client: Asking, story: Story, **asked: Any) -> list[tuple[str | None, str]]:
    """(quantity, number of records) of January, or of its windows and groups."""
    found = client.field(
        SUMMARY, meter=story.meter, customer=story.customer, **{"period": JANUARY, **asked}
    )
    return [(one["value"], one["recordCount"]) for one in found]


def on(day: int, number: int, value: str | None = "3000", **more: Any) -> dict[str, Any]:
    """A usage record of a day in January."""
    return tokens(number, timestamp=f"2026-01-{day:02}T00:00:00Z", **{"value": value, **more})


def quantity(client: Asking, story: Story, **asked: Any) -> str:
    """The quantity that the subscription's next invoice bills."""
    lines = client.field(PREVIEW, id=story.subscription, **asked)["lines"]
    (line,) = [line for line in lines if line["kind"] == "USAGE"]
    quantity: str = line["quantity"]
    return quantity


def test_a_meter_shows_what_is_in_force_now_and_every_version(client: Asking, story: Story) -> None:
    later = "2026-02-01T00:00:00Z"
    shown = revised(client, story.meter, effectiveAt=later, aggregation="MAX")
    assert (shown["aggregation"], len(shown["versions"])) == ("SUM", 2)
    shown = revised(client, story.meter, aggregation="COUNT")
    first = {
        "number": 1,
        "effectiveAt": None,
        "aggregation": "SUM",
        "valueProperty": "value",
        "dimensions": ["model"],
        "carriesOver": False,
        "createdAt": NOW,
    }
    now = {**first, "number": 3, "effectiveAt": NOW, "aggregation": "COUNT"}
    assert shown["versions"] == [
        first,
        {**first, "number": 2, "effectiveAt": later, "aggregation": "MAX"},
        now,
    ]
    names = ("aggregation", "valueProperty", "dimensions", "carriesOver")
    assert [shown[name] for name in names] == [now[name] for name in names]


def test_records_are_measured_by_the_version_of_their_time(client: Asking, story: Story) -> None:
    client.record(on(5, 1, "1000"), on(10, 2, "2000", properties={"model": "small"}))
    revised(client, story.meter, effectiveAt="2026-01-08T00:00:00Z", aggregation="COUNT")
    client.record(on(6, 3, "500"), on(11, 4, None))
    assert summary(client, story) == [("1502", "4")]
    assert summary(client, story, window="DAY") == [
        ("1000", "1"),
        ("500", "1"),
        ("1", "1"),
        ("1", "1"),
    ]
    assert summary(client, story, groupBy=["model"]) == [("1501", "3"), ("1", "1")]
    assert quantity(client, story) == "1502"


def test_an_invoice_lists_the_records_behind_its_line(client: Asking, story: Story) -> None:
    client.record(on(5, 1, "1000"), on(10, 2, "2000"), on(12, 3, "1", properties={"size": "7"}))
    revised(client, story.meter, effectiveAt="2026-01-08T00:00:00Z", valueProperty="size")
    (line,) = [
        line
        for line in client.field(PREVIEW, id=story.subscription)["lines"]
        if line["kind"] == "USAGE"
    ]
    assert line["quantity"] == "1007"
    assert line["usage"] == {"totalCount": 2, "nodes": [{"id": "r1"}, {"id": "r3"}]}


def test_the_door_asks_for_what_the_version_of_the_records_time_needs(
    client: Asking, story: Story
) -> None:
    revised(client, story.meter, effectiveAt="2026-01-10T00:00:00Z", valueProperty="size")
    sent = client.record(
        on(9, 1, "5"),
        on(9, 2, None, properties={"size": "5"}),
        on(10, 3, "5"),
        on(10, 4, None, properties={"size": "5"}),
        on(11, 5, None, properties={"size": "many"}),
    )
    told = [
        (one["status"], one["error"] and (one["error"]["code"], one["error"]["path"][-2:]))
        for one in sent["receipts"]
    ]
    assert told == [
        ("ACCEPTED", None),
        ("REJECTED", ("REQUIRED", ["1", "value"])),
        ("REJECTED", ("REQUIRED", ["properties", "size"])),
        ("ACCEPTED", None),
        ("REJECTED", ("INVALID_VALUE", ["properties", "size"])),
    ]
    assert summary(client, story) == [("10", "2")]


def test_imagined_usage_is_judged_and_measured_by_the_version_of_its_time(
    client: Asking, story: Story
) -> None:
    revised(client, story.meter, effectiveAt="2026-01-20T00:00:00Z", valueProperty="size")
    early = {"eventName": "tokens", "value": "40", "timestamp": "2026-01-05T00:00:00Z"}
    late = {"eventName": "tokens", "properties": {"size": "2"}}
    client.record(on(5, 1, "1000"))
    assert quantity(client, story, extra=[early, late]) == "1042"
    for wrong, path in (
        ({**early, "timestamp": "2026-01-20T00:00:00Z"}, ["properties", "size"]),
        ({"eventName": "tokens", "value": "40"}, ["properties", "size"]),
        ({**late, "timestamp": "2026-01-05T00:00:00Z"}, ["value"]),
    ):
        (error,) = client.ask(PREVIEW, id=story.subscription, extra=[wrong])["errors"]
        assert error["extensions"]["path"] == ["extraUsage", "0", *path]


def test_imagined_usage_is_added_to_what_is_measured_at_its_time(
    client: Asking, story: Story
) -> None:
    revised(client, story.meter, effectiveAt="2026-01-20T00:00:00Z", aggregation="COUNT")
    client.record(on(5, 1, "1000"), on(21, 2, "500"))
    early = {"eventName": "tokens", "value": "40", "timestamp": "2026-01-19T00:00:00Z"}
    late = {"eventName": "tokens", "value": "700"}
    assert quantity(client, story) == "1001"
    assert quantity(client, story, extra=[early]) == "1041"
    assert quantity(client, story, extra=[early, late, late]) == "1043"


def test_imagined_usage_counts_in_a_level_that_every_version_carries_over(client: Asking) -> None:
    meter = client.create(
        "meter", name="Seats", eventName="seats", aggregation="WEIGHTED_SUM", carriesOver=True
    )
    product = client.create("product", name="Seats")
    price = client.create(
        "price",
        productId=product,
        meterId=meter,
        currency="USD",
        interval={"unit": "MONTH"},
        pricing={"perUnit": {"unitAmount": "1"}},
    )
    customer = client.create("customer", name="Llama Ltd", externalId="llama")
    subscription = client.create(
        "subscription",
        customerId=customer,
        items=[{"priceId": price}],
        startAt="2026-01-01T00:00:00Z",
    )
    revised(client, meter, effectiveAt="2025-12-10T00:00:00Z", valueProperty="seats")
    extra = [
        {"eventName": "seats", "value": "4", "timestamp": "2025-12-05T00:00:00Z"},
        {
            "eventName": "seats",
            "properties": {"seats": "3"},
            "timestamp": "2025-12-15T00:00:00Z",
        },
    ]

    def billed() -> str:
        (line,) = client.field(PREVIEW, id=subscription, extra=extra)["lines"]
        quantity: str = line["quantity"]
        return quantity

    assert billed() == "7"
    revised(client, meter, effectiveAt="2025-12-01T00:00:00Z", carriesOver=False)
    assert billed() == "3"


def test_a_price_may_filter_by_a_dimension_that_was_added(client: Asking, story: Story) -> None:
    new = {
        "productId": story.usage_product,
        "meterId": story.meter,
        "currency": "USD",
        "interval": {"unit": "MONTH"},
        "meterFilter": [{"name": "region", "values": ["eu"]}],
        "pricing": {"perUnit": {"unitAmount": "1"}},
    }
    before = client.mutate("createPrice", "CreatePriceInput", new)
    assert before["userErrors"][0]["path"] == ["input", "meterFilter", "0", "name"]
    revised(client, story.meter, dimensions=["model", "region"])
    assert client.mutate("createPrice", "CreatePriceInput", new)["userErrors"] == []
    assert refused(client, story.meter, dimensions=["model"]) == (
        "INVALID_VALUE",
        "input.dimensions",
    )


def test_pricing_by_records_and_sums_stay_together(client: Asking, story: Story) -> None:
    new = {
        "productId": story.usage_product,
        "meterId": story.meter,
        "currency": "USD",
        "interval": {"unit": "MONTH"},
        "pricing": {"percentage": {"rate": "1", "fixedAmount": "0.1"}},
    }
    soon = "2026-02-01T00:00:00Z"
    revised(client, story.meter, effectiveAt=soon, aggregation="MAX")
    early = client.mutate("createPrice", "CreatePriceInput", new)
    assert early["userErrors"][0]["path"] == ["input", "pricing"]
    revised(client, story.meter, effectiveAt=soon, aggregation="SUM")
    assert client.mutate("createPrice", "CreatePriceInput", new)["userErrors"] == []
    assert refused(client, story.meter, aggregation="MAX") == ("WRONG_STATE", "input.aggregation")
    assert revised(client, story.meter, valueProperty="size")["aggregation"] == "SUM"


def test_single_records_are_priced_by_the_version_of_their_time(
    client: Asking, story: Story
) -> None:
    price = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        currency="USD",
        interval={"unit": "MONTH"},
        pricing={"percentage": {"rate": "1", "fixedAmount": "0.5"}},
    )
    subscription = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": price}],
        startAt="2026-01-01T00:00:00Z",
    )
    client.record(on(5, 1, "100"), on(10, 2, "900", properties={"size": "300"}), on(11, 3, "7"))
    revised(client, story.meter, effectiveAt="2026-01-08T00:00:00Z", valueProperty="size")
    preview = """query($id: ID!) { invoicePreview(subscriptionId: $id) {
        lines { quantity amount { amount } } } }"""
    assert client.field(preview, id=subscription)["lines"] == [
        {"quantity": "400", "amount": {"amount": "5.00"}}
    ]


@pytest.mark.parametrize(
    ("what", "code", "path"),
    [
        ({"effectiveAt": "2026-01-10"}, "INVALID_VALUE", "input.effectiveAt"),
        ({"effectiveAt": "1969-01-10T00:00:00Z"}, "INVALID_VALUE", "input.effectiveAt"),
        ({"valueProperty": ""}, "REQUIRED", "input.valueProperty"),
        ({"dimensions": ["model", "\ud800"]}, "INVALID_VALUE", "input.dimensions.1"),
        ({"dimensions": []}, "INVALID_VALUE", "input.dimensions"),
        ({"carriesOver": True}, "INVALID_VALUE", "input.carriesOver"),
        ({"meter": "met_none", "aggregation": "MAX"}, "NOT_FOUND", "input.meterId"),
        ({"idempotencyKey": ""}, "REQUIRED", "input.idempotencyKey"),
    ],
)
def test_a_refused_revision(
    client: Asking, story: Story, what: dict[str, Any], code: str, path: str
) -> None:
    assert refused(client, **{"meter": story.meter, **what}) == (code, path)


def test_a_repeated_revision_is_answered_and_stands_in_the_history(
    client: Asking, story: Story
) -> None:
    once = {"aggregation": "COUNT", "idempotencyKey": "once"}
    position = revise(client, story.meter, **once)["position"]
    revised(client, story.meter, aggregation="MAX")
    assert revise(client, story.meter, **once)["position"] == position
    feed = client.field(
        "query($id: ID!) { ledgerEvents(subjectId: $id) { nodes { type data actor } } }",
        id=story.meter,
    )
    revisions = [one for one in feed["nodes"] if one["type"] == "meter.revised"]
    assert [one["actor"] for one in revisions] == ["tester", "tester"]
    assert revisions[0]["data"] == {
        "id": story.meter,
        "number": 2,
        "effectiveAt": NOW,
        "aggregation": "COUNT",
        "valueProperty": "value",
        "dimensions": ["model"],
        "carriesOver": False,
        "revisedAt": NOW,
    }

"""Usage that no price covers is told: by customer and meter, page by page."""

from typing import Any

import pytest

from app.schema import unrated_usage
from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.test_schema_usage import JANUARY

__all__ = ["client", "story"]

UNRATED = """query($period: PeriodInput!, $customer: ID, $first: Int, $after: String) {
  unratedUsage(period: $period, customerId: $customer, first: $first, after: $after) {
    edges { cursor }
    nodes { customer { name } meter { name } period { start end } value recordCount }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""

Told = tuple[str, str, str | None, str]
"""(customer, meter, quantity, number of records)."""


def at(number: int, timestamp: str, value: str = "1", **more: Any) -> dict[str, Any]:
    """A usage record of the story at a time."""
    return tokens(number, value, timestamp=f"{timestamp}Z", **more)


def told(client: Asking, **variables: Any) -> list[Told]:
    """The unrated usage of January unless told otherwise, on all pages."""
    found: list[Told] = []
    after: str | None = None
    while True:
        page = client.field(UNRATED, **{"period": JANUARY, "after": after, **variables})
        found += [
            (one["customer"]["name"], one["meter"]["name"], one["value"], one["recordCount"])
            for one in page["nodes"]
        ]
        assert len(page["edges"]) == len(page["nodes"])
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


def test_what_a_subscription_bills_is_not_told(client: Asking, story: Story) -> None:
    client.record(at(1, "2026-01-10T00:00:00"))
    assert told(client) == []


def test_what_nobody_bills_is_told(client: Asking, story: Story) -> None:
    """Before the subscription, on a meter without a price, and without any subscription."""
    client.create("meter", name="Calls", eventName="calls", aggregation="COUNT")
    client.create("customer", name="Other", externalId="other")
    client.record(
        at(1, "2025-12-31T23:30:00", "7"),
        at(2, "2025-12-31T23:59:59.999999", "8"),
        at(3, "2026-01-01T00:00:00", "16"),
        at(4, "2026-01-10T00:00:00", eventName="calls"),
        at(5, "2026-01-10T00:00:00", "32", customer="other"),
        at(6, "2026-01-10T00:00:00", "64", customer="nobody"),
    )
    period = {"start": "2025-12-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    llama: list[Told] = [
        ("Llama Ltd", "Alpaca.ai tokens", "15", "2"),
        ("Llama Ltd", "Calls", "1", "1"),
    ]
    other: list[Told] = [("Other", "Alpaca.ai tokens", "32", "1")]
    assert told(client, period=period) == [*llama, *other]
    assert told(client, period=period, customer=story.customer) == llama
    assert told(client, period=period, first=1) == [*llama, *other]
    assert told(client) == [llama[1], *other]


def test_few_customers_are_looked_at_for_a_page(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unrated_usage, "CUSTOMERS_LIMIT", 2)
    for number in range(7):
        client.create("customer", name=f"C{number}", externalId=f"c{number}")
    client.record(*(at(n, "2026-01-10T00:00:00", customer=f"c{n}") for n in (4, 6)))
    expected = [(f"C{n}", "Alpaca.ai tokens", "1", "1") for n in (4, 6)]
    assert told(client) == expected
    assert told(client, first=1) == expected
    first = client.field(UNRATED, period=JANUARY)
    assert (first["nodes"], first["pageInfo"]["hasNextPage"]) == ([], True)
    assert first["pageInfo"]["startCursor"] is None


def test_what_the_filters_leave_out_is_told(client: Asking, story: Story) -> None:
    filtered = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        meterFilter=[{"name": "model", "values": ["large"]}],
        pricing={"perUnit": {"unitAmount": "1"}},
        currency="USD",
        interval={"unit": "MONTH"},
    )
    other = client.create("customer", name="Other", externalId="other")
    client.create(
        "subscription",
        customerId=other,
        items=[{"priceId": filtered}],
        startAt="2026-01-05T10:30:00Z",
    )
    client.record(
        at(1, "2026-01-05T10:29:59", "1", customer="other", properties={"model": "large"}),
        at(2, "2026-01-05T10:30:00", "2", customer="other", properties={"model": "large"}),
        at(3, "2026-01-05T10:30:00", "4", customer="other", properties={"model": "small"}),
        at(4, "2026-01-20T00:00:00", "8", customer="other"),
        at(5, "2026-01-20T00:00:00", "16", customer="other", properties={"model": "large"}),
    )
    assert told(client) == [("Other", "Alpaca.ai tokens", "13", "3")]


def test_a_level_is_unrated_until_its_price_begins(client: Asking, story: Story) -> None:
    """10 from the start of January, and a price for it from the 21st: 20 days of 31 at 10."""
    meter = client.create(
        "meter", name="Seats", eventName="seats", aggregation="WEIGHTED_SUM", carriesOver=True
    )
    price = client.create(
        "price",
        productId=story.usage_product,
        meterId=meter,
        pricing={"perUnit": {"unitAmount": "31"}},
        currency="USD",
        interval={"unit": "MONTH"},
    )
    client.record(at(1, "2025-12-15T00:00:00", "10", eventName="seats"))
    assert told(client) == [("Llama Ltd", "Seats", "10", "0")]
    client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": price}],
        startAt="2026-01-21T00:00:00Z",
    )
    assert told(client) == [("Llama Ltd", "Seats", "6.451612903226", "0")]
    february = {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
    assert told(client, period=february) == []

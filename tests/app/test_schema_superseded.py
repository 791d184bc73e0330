"""A price is superseded through GraphQL: its versions, its lines, its refusals, its history."""

from typing import Any

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

PRICE = """price { pricing modifiers
  versions { number effectiveAt pricing modifiers createdAt } }"""
LINES = """query($id: ID!, $at: DateTime, $extra: [HypotheticalUsageInput!]) {
  invoicePreview(subscriptionId: $id, at: $at, extraUsage: $extra) {
    lines { kind quantity amount { amount } priceVersion { number } period { start end }
      usage { totalCount nodes { id } } } } }"""
DEARER = {"perUnit": {"unitAmount": "0.05"}}


def supersede(client: Asking, price: str, **input: Any) -> Any:
    """The payload of superseding a price."""
    return client.mutate(
        "supersedePrice", "SupersedePriceInput", {"priceId": price, **input}, PRICE
    )


def lines(client: Asking, story: Story, **more: Any) -> list[list[Any]]:
    """The usage lines of January: version, quantity, amount, and the records behind them."""
    variables = {"id": story.subscription, "at": "2026-02-01T00:00:00Z", **more}
    found = client.field(LINES, **variables)["lines"]
    return [
        [
            line["priceVersion"]["number"],
            line["quantity"],
            line["amount"]["amount"],
            [record["id"] for record in line["usage"]["nodes"]],
        ]
        for line in found
        if line["kind"] == "USAGE"
    ]


def test_each_line_names_the_version_and_the_records_it_charges(
    client: Asking, story: Story
) -> None:
    client.record(
        tokens(1, "1500", timestamp="2026-01-05T00:00:00Z"),
        tokens(2, "100", timestamp="2026-01-12T00:00:00Z"),
        tokens(3, "10", timestamp="2026-01-10T00:00:00Z"),
    )
    when = "2026-01-10T00:00:00Z"
    done = supersede(client, story.usage, pricing=DEARER, effectiveAt=when)
    assert done["userErrors"] == []
    assert done["price"]["pricing"] == {"model": "perUnit", "unitAmount": "0.05"}
    assert [(one["number"], one["effectiveAt"]) for one in done["price"]["versions"]] == [
        (1, None),
        (2, when),
    ]
    assert lines(client, story) == [
        [1, "1500", "20.00", ["r1"]],
        [2, "110", "5.50", ["r3", "r2"]],
    ]
    extra = [
        {"eventName": "tokens", "value": "100", "timestamp": "2026-01-02T00:00:00Z"},
        {"eventName": "tokens", "value": "20"},
    ]
    assert [line[:3] for line in lines(client, story, extra=extra)] == [
        [1, "1600", "24.00"],
        [2, "130", "6.50"],
    ]


def test_the_price_shows_what_it_asks_now(client: Asking, story: Story) -> None:
    """It is the middle of January."""
    before = client.field("query($id: ID!) { price(id: $id) { pricing } }", id=story.usage)
    supersede(client, story.usage, pricing=DEARER, effectiveAt="2026-02-01T00:00:00Z")
    later = client.field("query($id: ID!) { price(id: $id) { pricing } }", id=story.usage)
    assert later == before
    done = supersede(client, story.licence, pricing=DEARER, modifiers={"maximumAmount": "4"})
    assert done["price"]["pricing"]["model"] == "perUnit"
    assert done["price"]["modifiers"]["maximumAmount"] == "4"
    cleared = supersede(client, story.licence, modifiers=None)
    assert cleared["price"]["modifiers"] is None
    assert cleared["price"]["pricing"] == done["price"]["pricing"]
    assert [one["number"] for one in cleared["price"]["versions"]] == [1, 2, 3]


def test_what_it_asks_already_writes_nothing(client: Asking, story: Story) -> None:
    first = supersede(client, story.licence, pricing=DEARER, idempotencyKey="dearer")
    again = supersede(client, story.licence, pricing=DEARER, idempotencyKey="dearer")
    other = supersede(client, story.licence, pricing=DEARER)
    assert first["position"] == again["position"] == other["position"] == str(client.position)


def test_refusals_name_the_field(client: Asking, story: Story) -> None:
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({}, "REQUIRED", "input.pricing"),
        ({"pricing": {"perUnit": {"unitAmount": "x"}}}, "INVALID_VALUE", ""),
        ({"pricing": DEARER, "effectiveAt": "yesterday"}, "INVALID_VALUE", "input.effectiveAt"),
        (
            {"modifiers": {"percentageDiscount": "101"}},
            "INVALID_VALUE",
            "input.modifiers.percentageDiscount",
        ),
    ]
    for input, code, path in wrong:
        done = supersede(client, story.usage, **input)
        [error] = done["userErrors"]
        assert error["code"] == code
        assert ".".join(error["path"]).startswith(path)
    [error] = supersede(client, "price_nobody", pricing=DEARER)["userErrors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "priceId"])


def test_the_change_is_in_the_history_of_the_price(client: Asking, story: Story) -> None:
    supersede(client, story.usage, pricing=DEARER)
    feed = client.field(
        "query($id: ID!) { ledgerEvents(subjectId: $id, last: 1) { nodes { type actor data } } }",
        id=story.usage,
    )
    [event] = feed["nodes"]
    assert (event["type"], event["actor"]) == ("price.superseded", "tester")
    assert event["data"]["number"] == 2

"""Backtests: what another pricing would have come to, and that the baseline is what was billed."""

from typing import Any

import pytest

from domain.periods import parse_instant
from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

BACKTEST = """query($price: ID!, $candidate: PricingInput!, $modifiers: PriceModifiersInput,
  $period: PeriodInput!, $first: Int, $skip: Int) {
  priceBacktest(priceId: $price, candidate: $candidate, modifiers: $modifiers, period: $period) {
    baseline { amount currency } candidate { amount } difference { amount }
    customers(first: $first, skip: $skip) {
      customer { externalId }
      baseline { amount } candidate { amount } difference { amount } } } }"""
JANUARY = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
EACH = {"perUnit": {"unitAmount": "0.03"}}


def backtest(client: Asking, price: str, candidate: Any = EACH, **more: Any) -> Any:
    """The outcome for a price."""
    variables = {"price": price, "candidate": candidate, "period": JANUARY, **more}
    return client.field(BACKTEST, **variables)


def others(client: Asking, story: Story) -> None:
    """Two more customers of the story's prices, of which one uses much and one nothing."""
    for name, value in (("heavy", "100000"), ("idle", None)):
        id = client.create("customer", name=name, externalId=name)
        items = [{"priceId": story.usage}, {"priceId": story.licence}]
        start = "2026-01-01T00:00:00Z"
        client.create("subscription", customerId=id, items=items, startAt=start)
        if value:
            client.record(tokens(100, value, customer=name))


def test_the_largest_differences_stand_first_and_nothing_is_written(
    client: Asking, story: Story
) -> None:
    others(client, story)
    client.record(tokens(1, "3000"))
    before = client.position
    found = backtest(client, story.usage)
    assert found["baseline"] == {"amount": "4040.00", "currency": "USD"}
    assert found["candidate"] == {"amount": "3090.00"}
    assert found["difference"] == {"amount": "-950.00"}
    assert [
        (one["customer"]["externalId"], one["baseline"]["amount"], one["difference"]["amount"])
        for one in found["customers"]
    ] == [
        ("heavy", "3960.00", "-960.00"),
        ("llama", "80.00", "10.00"),
        ("idle", "0.00", "0.00"),
    ]
    assert client.position == before
    page = backtest(client, story.usage, first=1, skip=1)["customers"]
    assert [one["customer"]["externalId"] for one in page] == ["llama"]


def test_the_baseline_is_what_was_billed(client: Asking, story: Story) -> None:
    """Whatever the price asked when, and whoever changed what."""
    others(client, story)
    client.record(tokens(1, "3000"), tokens(2, "70", timestamp="2026-01-25T00:00:00Z"))
    change = {
        "priceId": story.usage,
        "effectiveAt": "2026-01-20T00:00:00Z",
        "pricing": {"perUnit": {"unitAmount": "0.5"}},
    }
    client.mutate("supersedePrice", "SupersedePriceInput", change)
    client.ledger.advance_now(parse_instant("2026-02-02T00:00:00Z", ()))
    query = """{ invoices(first: 100) { nodes { status at
        lines { kind price { id } amount { amount } } } } }"""
    billed = sum(
        round(float(line["amount"]["amount"]) * 100)
        for invoice in client.field(query)["nodes"]
        for line in invoice["lines"]
        if line["price"]["id"] == story.usage
    )
    found = backtest(client, story.usage)
    assert round(float(found["baseline"]["amount"]) * 100) == billed > 400_000


def test_licences_count_from_their_beginning(client: Asking, story: Story) -> None:
    candidate = {"perUnit": {"unitAmount": "90"}}
    found = backtest(client, story.licence, candidate, modifiers={"percentageDiscount": "10"})
    assert (found["baseline"]["amount"], found["candidate"]["amount"]) == ("100.00", "81.00")
    two = {**JANUARY, "end": "2026-02-01T00:00:00.000001Z"}
    assert backtest(client, story.licence, candidate, period=two)["baseline"]["amount"] == "200.00"


def test_a_price_that_nobody_has_comes_to_nothing(client: Asking, story: Story) -> None:
    price = client.create(
        "price",
        productId=story.licence_product,
        currency="JPY",
        interval={"unit": "MONTH"},
        pricing=EACH,
    )
    found = backtest(client, price)
    assert found["baseline"] == {"amount": "0", "currency": "JPY"}
    assert found["customers"] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"price": "price_9"}, ["priceId"]),
        (
            {"candidate": {"perUnit": {"unitAmount": "-1"}}},
            ["candidate", "perUnit", "unitAmount"],
        ),
        ({"candidate": {"percentage": {"rate": "1", "fixedAmount": "1"}}}, ["candidate"]),
        ({"modifiers": {"percentageDiscount": "101"}}, ["modifiers", "percentageDiscount"]),
        ({"period": {**JANUARY, "end": JANUARY["start"]}}, ["period", "end"]),
        ({"first": 101}, ["first"]),
        ({"skip": -1}, ["skip"]),
    ],
)
def test_what_cannot_be_tried_is_refused(
    client: Asking, story: Story, change: dict[str, Any], path: list[str]
) -> None:
    variables = {"price": story.licence, "candidate": EACH, "period": JANUARY, **change}
    [error] = client.ask(BACKTEST, **variables)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("BAD_USER_INPUT", path)


def test_subscriptions_are_found_by_their_price(client: Asking, story: Story) -> None:
    query = "query($price: ID) { subscriptions(priceId: $price) { nodes { id } totalCount } }"
    found = client.field(query, price=story.usage)
    assert found == {"nodes": [{"id": story.subscription}], "totalCount": 1}
    assert client.field(query, price="price_9")["totalCount"] == 0


def test_a_backtest_looks_back(client: Asking, story: Story) -> None:
    """Charges that are to come have no end, and would be rated for seconds."""
    period = {"start": "2026-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"}
    assert backtest(client, story.licence, period=period)["baseline"]["amount"] == "1300.00"
    further = {**period, "end": "2999-12-31T00:00:00Z"}
    variables = {"price": story.licence, "candidate": EACH, "period": further}
    (error,) = client.ask(BACKTEST, **variables)["errors"]
    assert error["extensions"]["path"] == ["period", "end"]

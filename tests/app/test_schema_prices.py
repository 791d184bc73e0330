"""Percentages and modifiers through the schema: quoted, set, and billed in a preview."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

QUOTE = """query($pricing: PricingInput!, $currency: CurrencyCode!, $quantity: Decimal!,
               $modifiers: PriceModifiersInput, $records: [Decimal!]) {
  priceQuote(pricing: $pricing, currency: $currency, quantity: $quantity, modifiers: $modifiers,
             recordValues: $records) {
    amount { amount } exactAmount steps { description amount }
  }
}"""
PREVIEW = """query($id: ID!, $extra: [HypotheticalUsageInput!]) {
  invoicePreview(subscriptionId: $id, extraUsage: $extra) {
    lines { quantity exactAmount amount { amount } steps { description } usage { totalCount } }
  }
}"""
PAYMENTS = {"percentage": {"rate": "1.3", "fixedAmount": "2", "freeRecords": 3}}
PLAIN = {"percentage": {"rate": "1.5"}}
EACH = {"perUnit": {"unitAmount": "0.04"}}


def quote(
    client: Asking, pricing: Any, quantity: str, currency: str = "USD", **more: Any
) -> dict[str, Any]:
    """What a quantity would cost."""
    answer: dict[str, Any] = client.field(
        QUOTE, pricing=pricing, quantity=quantity, currency=currency, **more
    )
    return answer


def test_a_quote_looks_at_single_records(client: Asking) -> None:
    records = ["50", "100", "250", "400"]
    assert quote(client, PAYMENTS, "800", records=records) == {
        "amount": {"amount": "7.20"},
        "exactAmount": "7.2",
        "steps": [
            {"description": "1.3% of 400 (800 after 400 free)", "amount": "5.2"},
            {"description": "1 record at 2 each (4 after 3 free)", "amount": "2"},
        ],
    }
    assert quote(client, PAYMENTS, "800", records=records[::-1])["exactAmount"] == "2.65"


def test_without_records_the_quantity_is_that_of_one(client: Asking) -> None:
    pricing = {"percentage": {"rate": "1", "fixedAmount": "5"}}
    assert quote(client, pricing, "100")["exactAmount"] == "6"
    assert quote(client, pricing, "100", records=["60", "40"])["exactAmount"] == "11"
    assert quote(client, pricing, "0")["exactAmount"] == "0"
    assert quote(client, pricing, "0", records=[])["exactAmount"] == "0"
    assert quote(client, PLAIN, "200", records=["60", "140"])["exactAmount"] == "3"


def test_a_quote_of_graduated_percentages(client: Asking) -> None:
    tiers = [{"upTo": "1000", "rate": "2.5"}, {"rate": "2", "flatAmount": "10"}]
    quoted = quote(client, {"graduatedPercentage": {"tiers": tiers}}, "3000")
    assert (quoted["amount"]["amount"], quoted["exactAmount"]) == ("75.00", "75")


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "2"), ("USD", "1.58"), ("KWD", "1.575")])
def test_modifiers_of_a_quote_are_steps(client: Asking, currency: str, amount: str) -> None:
    modifiers = {
        "divideBy": "1000",
        "divideRounding": "UP",
        "includedUnits": "10",
        "percentageDiscount": "12.5",
        "minimumAmount": "1",
        "maximumAmount": "1.575",
    }
    quoted = quote(client, EACH, "59999.5", currency, modifiers=modifiers)
    assert quoted["amount"]["amount"] == amount
    assert [step["description"] for step in quoted["steps"]] == [
        "59999.5 divided by 1000, rounded up to 60",
        "60 less 10 included: 50",
        "50 units at 0.04 each",
        "12.5% discount on 2",
        "lowered from 1.75 to the maximum of 1.575",
    ]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"pricing": {"percentage": {"rate": "-1"}}}, "pricing.percentage.rate"),
        ({"pricing": {"percentage": {"rate": "1%"}}}, "pricing.percentage.rate"),
        (
            {"pricing": {"percentage": {"rate": "1", "freeRecords": -1}}},
            "pricing.percentage.freeRecords",
        ),
        (
            {"pricing": {"percentage": {"rate": "1", "freeRecords": 2**31}}},
            "pricing.percentage.freeRecords",
        ),
        (
            {
                "pricing": {
                    "percentage": {"rate": "1", "minimumPerRecord": "2", "maximumPerRecord": "1"}
                }
            },
            "pricing.percentage.maximumPerRecord",
        ),
        (
            {"pricing": {"graduatedPercentage": {"tiers": [{"upTo": "1", "rate": "1"}]}}},
            "pricing.graduatedPercentage.tiers.0.upTo",
        ),
        (
            {"pricing": {"graduatedPercentage": {"tiers": [{"rate": "x"}]}}},
            "pricing.graduatedPercentage.tiers.0.rate",
        ),
        ({"modifiers": {"divideBy": "0"}}, "modifiers.divideBy"),
        ({"modifiers": {"includedUnits": "NaN"}}, "modifiers.includedUnits"),
        ({"modifiers": {"percentageDiscount": "101"}}, "modifiers.percentageDiscount"),
        ({"modifiers": {"minimumAmount": "2", "maximumAmount": "1"}}, "modifiers.maximumAmount"),
        ({"records": ["50", "1e3"]}, "recordValues.1"),
        ({"records": ["50", "51"]}, "recordValues"),
        ({"records": ["0.1"] * 1_001}, "recordValues"),
    ],
)
def test_a_quote_names_what_is_wrong(client: Asking, wrong: dict[str, Any], path: str) -> None:
    asked = {"pricing": PLAIN, "currency": "USD", "quantity": "100", **wrong}
    (error,) = client.ask(QUOTE, **asked)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert ".".join(error["extensions"]["path"]) == path


def create_price(client: Asking, story: Story, **more: Any) -> Any:
    """The payload of setting a monthly price over the story's meter, but for what is said."""
    terms = {
        "productId": story.usage_product,
        "currency": "USD",
        "interval": {"unit": "MONTH"},
        "meterId": story.meter,
        **more,
    }
    return client.mutate("createPrice", "CreatePriceInput", terms, "price { id pricing modifiers }")


def test_a_price_shows_its_modifiers(client: Asking, story: Story) -> None:
    payload = create_price(
        client, story, pricing=PAYMENTS, modifiers={"divideBy": "100", "divideRounding": "DOWN"}
    )
    assert payload["price"]["pricing"] == {
        "model": "percentage",
        "rate": "1.3",
        "fixedAmount": "2",
        "freeRecords": 3,
        "freeAmount": None,
        "minimumPerRecord": None,
        "maximumPerRecord": None,
    }
    assert payload["price"]["modifiers"] == {
        "divideBy": "100",
        "divideRounding": "DOWN",
        "includedUnits": None,
        "percentageDiscount": None,
        "minimumAmount": None,
        "maximumAmount": None,
    }
    assert create_price(client, story, pricing=EACH)["price"]["modifiers"] is None


def test_single_records_are_refused_over_a_meter_that_does_not_sum(
    client: Asking, story: Story
) -> None:
    counting = client.create("meter", name="Calls", eventName="tokens", aggregation="COUNT")
    for meter in (counting, None):
        payload = create_price(client, story, pricing=PAYMENTS, meterId=meter)
        (error,) = payload["userErrors"]
        assert (error["code"], error["path"]) == ("INVALID_VALUE", ["input", "pricing"])
        assert payload["price"] is None
    assert not create_price(client, story, pricing=PLAIN, meterId=counting)["userErrors"]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"pricing": {"percentage": {"rate": "-1"}}}, "pricing.percentage.rate"),
        ({"modifiers": {"percentageDiscount": "101"}}, "modifiers.percentageDiscount"),
        ({"modifiers": {"divideBy": "one"}}, "modifiers.divideBy"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(
    client: Asking, story: Story, wrong: dict[str, Any], path: str
) -> None:
    payload = create_price(client, story, **{"pricing": PLAIN, **wrong})
    (error,) = payload["userErrors"]
    assert (error["code"], ".".join(error["path"])) == ("INVALID_VALUE", f"input.{path}")


def subscribed(client: Asking, story: Story, **more: Any) -> str:
    """A subscription to a new price over the story's meter; its id."""
    price = create_price(client, story, **more)["price"]["id"]
    return client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": price}],
        startAt="2026-01-01T00:00:00Z",
    )


def line(client: Asking, id: str, **more: Any) -> Any:
    """The one line of the next invoice."""
    (only,) = client.field(PREVIEW, id=id, **more)["lines"]
    return only


def at(day: int, number: int, value: str, model: str = "large") -> dict[str, Any]:
    """A record of a day in January."""
    when = f"2026-01-{day:02}T08:30:00Z"
    return tokens(number, value, timestamp=when, properties={"model": model})


def test_a_preview_prices_records_in_the_order_of_time(client: Asking, story: Story) -> None:
    id = subscribed(
        client,
        story,
        pricing={"percentage": {"rate": "1", "freeRecords": 1}},
        meterFilter=[{"name": "model", "values": ["large"]}],
    )
    client.record(at(9, 1, "1000"), at(3, 2, "1", "small"))
    client.record(at(4, 3, "10"), at(4, 4, "20"))
    # First comes the record that was recorded first of the two of 4 January.
    shown = line(client, id)
    assert (shown["quantity"], shown["amount"]["amount"]) == ("1030", "10.20")
    assert shown["steps"] == [{"description": "1% of 1020 (1030 after 10 free)"}]
    assert shown["usage"]["totalCount"] == 3
    client.record(at(2, 5, "500"))
    assert line(client, id)["amount"]["amount"] == "10.30"


def test_hypothetical_records_take_their_place_in_time(client: Asking, story: Story) -> None:
    id = subscribed(client, story, pricing=PAYMENTS)
    client.record(at(5, 1, "100"), at(6, 2, "100"), at(7, 3, "100"))
    assert line(client, id)["amount"]["amount"] == "0.00"
    later = {"eventName": "tokens", "value": "1000"}
    assert line(client, id, extra=[later])["amount"]["amount"] == "15.00"
    earlier = {**later, "timestamp": "2026-01-02T00:00:00Z"}
    assert line(client, id, extra=[earlier])["amount"]["amount"] == "3.30"


def test_a_preview_shows_what_modifiers_do(client: Asking, story: Story) -> None:
    id = subscribed(
        client,
        story,
        pricing=EACH,
        modifiers={"includedUnits": "1000", "percentageDiscount": "10", "minimumAmount": "5"},
    )
    client.record(at(5, 1, "3000"))
    shown = line(client, id)
    assert (shown["quantity"], shown["amount"]["amount"]) == ("3000", "72.00")
    assert [step["description"] for step in shown["steps"]] == [
        "3000 less 1000 included: 2000",
        "2000 units at 0.04 each",
        "10% discount on 80",
    ]

"""Objects change in place: left out stays, null clears, and every change is in the history."""

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

CUSTOMER = "customer { name email externalId archivedAt }"


def test_a_customer_is_updated_and_the_change_is_in_the_feed(client: Asking, story: Story) -> None:
    change = {"customerId": story.customer, "name": "Llama & Co.", "externalId": None}
    done = client.mutate("updateCustomer", "UpdateCustomerInput", change, CUSTOMER)
    assert done["userErrors"] == []
    expected = {"name": "Llama & Co.", "email": None, "externalId": None, "archivedAt": None}
    assert done["customer"] == expected
    again = client.mutate("updateCustomer", "UpdateCustomerInput", change, CUSTOMER)
    assert again["position"] == done["position"] == str(client.position)
    feed = client.field(
        "query($id: ID!) { ledgerEvents(subjectId: $id, last: 1) { nodes { type data actor } } }",
        id=story.customer,
    )
    (event,) = feed["nodes"]
    assert event["type"] == "customer.updated"
    assert event["actor"] == "tester"
    assert event["data"] == {"id": story.customer, "name": "Llama & Co.", "externalId": None}
    found = client.field('{ customers(externalId: "llama") { totalCount } }')
    assert found == {"totalCount": 0}


def test_an_archived_customer_takes_no_new_subscription(client: Asking, story: Story) -> None:
    archive = {"customerId": story.customer}
    done = client.mutate("archiveCustomer", "ArchiveCustomerInput", archive, CUSTOMER)
    assert done["customer"]["archivedAt"] == "2026-01-15T12:00:00Z"
    new = {"customerId": story.customer, "items": [{"priceId": story.licence}]}
    refused = client.mutate("createSubscription", "CreateSubscriptionInput", new)
    assert [(one["code"], one["path"]) for one in refused["userErrors"]] == [
        ("WRONG_STATE", ["input", "customerId"])
    ]


def test_an_archived_product_takes_no_new_price(client: Asking, story: Story) -> None:
    product = {"productId": story.licence_product}
    done = client.mutate("archiveProduct", "ArchiveProductInput", product, "product { active }")
    assert done["product"] == {"active": False}
    new = {
        "productId": story.licence_product,
        "currency": "USD",
        "interval": {"unit": "MONTH"},
        "pricing": {"perUnit": {"unitAmount": "1"}},
    }
    refused = client.mutate("createPrice", "CreatePriceInput", new)
    assert refused["userErrors"][0]["code"] == "WRONG_STATE"


def test_a_product_is_described_otherwise(client: Asking, story: Story) -> None:
    change = {"productId": story.usage_product, "name": "Tokens", "unitLabel": None}
    done = client.mutate(
        "updateProduct", "UpdateProductInput", change, "product { name unitLabel }"
    )
    assert done["product"] == {"name": "Tokens", "unitLabel": None}


@pytest.mark.parametrize(
    ("name", "input_type", "input", "path"),
    [
        ("updateCustomer", "UpdateCustomerInput", {"customerId": "cus_none"}, "customerId"),
        ("archiveCustomer", "ArchiveCustomerInput", {"customerId": "\ud800"}, "customerId"),
        ("updateProduct", "UpdateProductInput", {"productId": "cus_none"}, "productId"),
        ("archiveProduct", "ArchiveProductInput", {"productId": ""}, "productId"),
        ("updateMeter", "UpdateMeterInput", {"meterId": "met_none", "name": "x"}, "meterId"),
        ("archiveMeter", "ArchiveMeterInput", {"meterId": "met_none"}, "meterId"),
        ("archivePrice", "ArchivePriceInput", {"priceId": "price_none"}, "priceId"),
    ],
)
def test_what_does_not_exist_is_not_changed(
    client: Asking, name: str, input_type: str, input: dict[str, str], path: str
) -> None:
    before = client.position
    refused = client.mutate(name, input_type, input)
    (error,) = refused["userErrors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", path])
    assert client.position == before


def test_a_name_cannot_be_cleared(client: Asking, story: Story) -> None:
    answer = client.ask(
        "mutation($input: UpdateCustomerInput!) { updateCustomer(input: $input) { position } }",
        input={"customerId": story.customer, "name": None},
    )
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_what_is_archived_goes_on_for_those_who_have_it(client: Asking, story: Story) -> None:
    for name, input_type, input, wanted in (
        ("archivePrice", "ArchivePriceInput", {"priceId": story.usage}, "price { active }"),
        ("archiveMeter", "ArchiveMeterInput", {"meterId": story.meter}, "meter { active }"),
        (
            "updateMeter",
            "UpdateMeterInput",
            {"meterId": story.meter, "name": "Tokens of old"},
            "meter { name active }",
        ),
    ):
        assert client.mutate(name, input_type, input, wanted)["userErrors"] == []
    client.record(tokens(1, "3000"))
    preview = "query($id: ID!) { invoicePreview(subscriptionId: $id) { total { amount } } }"
    assert client.field(preview, id=story.subscription) == {"total": {"amount": "180.00"}}
    found = client.field("query($id: ID!) { meter(id: $id) { name active } }", id=story.meter)
    assert found == {"name": "Tokens of old", "active": False}
    new = {"customerId": story.customer, "items": [{"priceId": story.usage}]}
    refused = client.mutate("createSubscription", "CreateSubscriptionInput", new)
    assert refused["userErrors"][0]["path"] == ["input", "items", "0", "priceId"]

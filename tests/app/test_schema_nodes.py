"""Several objects of any kind at once, by their ids."""

from typing import Any

import pytest

from app.schema import NODES_LIMIT
from projections import current
from tests.app.asking import Asking, Story, client, story
from tests.app.test_schema_limits import extensions

__all__ = ["client", "story"]

NODES = """query($ids: [ID!]!, $asOf: AsOf) { nodes(ids: $ids, asOf: $asOf) {
  __typename id ... on Customer { name } ... on Price { product { name } }
} }"""


def test_in_the_order_asked_with_null_for_what_is_not_there(client: Asking, story: Story) -> None:
    ids = [story.usage, "cus_none", story.customer, "", "nothing", "led_é", story.usage]
    price = {"__typename": "Price", "id": story.usage, "product": {"name": "Alpaca.ai usage"}}
    customer = {"__typename": "Customer", "id": story.customer, "name": "Llama Ltd"}
    assert client.field(NODES, ids=ids) == [price, None, customer, None, None, None, price]
    assert client.field(NODES, ids=[]) == []


def test_each_is_what_node_answers(client: Asking, story: Story) -> None:
    ids = [story.meter, story.usage_product, story.licence, story.customer, story.subscription]
    one = "query($id: ID!) { node(id: $id) { __typename id } }"
    many = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    assert client.field(many, ids=ids) == [client.field(one, id=id) for id in ids]


def test_as_they_were_known(client: Asking, story: Story) -> None:
    before = client.position
    change = {"customerId": story.customer, "name": "Llama & Co."}
    client.mutate("updateCustomer", "UpdateCustomerInput", change)
    later = client.create("customer", name="Later")
    ids = [later, story.customer]
    then = client.field(NODES, ids=ids, asOf={"position": str(before)})
    assert then == [None, {"__typename": "Customer", "id": story.customer, "name": "Llama Ltd"}]
    assert [one["name"] for one in client.field(NODES, ids=ids)] == ["Later", "Llama & Co."]


def test_they_are_looked_up_together(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[tuple[Any, ...]] = []
    read, snapshots = client.ledger.snapshot, 0
    get = current.get

    def counted() -> Any:
        nonlocal snapshots
        snapshots += 1
        return read()

    def noted(views: Any, *key: Any) -> Any:
        looked_up.append(key)
        return get(views, *key)

    monkeypatch.setattr(client.ledger, "snapshot", counted)
    monkeypatch.setattr(current, "get", noted)
    ids = [story.customer, story.meter, story.usage_product] * 20
    client.field("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)
    assert (snapshots, len(looked_up)) == (1, 3)


def test_there_is_a_limit(client: Asking, story: Story) -> None:
    assert len(client.field(NODES, ids=[story.meter] * NODES_LIMIT)) == NODES_LIMIT
    (error,) = client.ask(NODES, ids=[story.meter] * (NODES_LIMIT + 1))["errors"]
    assert error["extensions"] == {
        "code": "BAD_USER_INPUT",
        "reason": "LIMIT_EXCEEDED",
        "path": ["ids"],
    }


@pytest.mark.parametrize(
    ("document", "ids", "cost"),
    [
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ["a"] * 7, 14),
        ('{ nodes(ids: ["a", "b"]) { id } }', None, 4),
        ('{ nodes(ids: "a") { id } }', None, 1),
        ("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", "a", 1),
        (
            "query($i: [ID!]!) { nodes(ids: $i) { ...on Customer { history { totalCount } } } }",
            ["a"] * 7,
            154,
        ),
    ],
)
def test_each_costs_as_much_as_one_does(
    client: Asking, document: str, ids: object, cost: int
) -> None:
    variables = {} if ids is None else {"ids": ids, "i": ids}
    assert extensions(client, document, **variables)["cost"]["requested"] == cost

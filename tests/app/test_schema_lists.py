"""Lists page by page: forwards, backwards, filtered, knowing what lies on either side."""

from typing import Any

import pytest

from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

MANY = 45
PAGE = """totalCount nodes { %s } edges { cursor node { %s } }
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"""
PRODUCTS = (
    "query($first: Int, $after: String, $last: Int, $before: String, $name: String)"
    "{ products(first: $first, after: $after, last: $last, before: $before, name: $name)"
    f"{{ {PAGE % ('name', 'name')} }} }}"
)


@pytest.fixture
def products(client: Asking) -> list[str]:
    """The names of 45 products in the order of their creation."""
    names = [f"product {number}" for number in range(MANY)]
    for name in names:
        client.create("product", name=name)
    return names


def names(page: Any) -> list[str]:
    """The names on a page."""
    found = [node["name"] for node in page["nodes"]]
    assert found == [edge["node"]["name"] for edge in page["edges"]]
    return found


def sides(page: Any) -> tuple[bool, bool]:
    """Whether something lies before and after a page."""
    return page["pageInfo"]["hasPreviousPage"], page["pageInfo"]["hasNextPage"]


def test_forwards(client: Asking, products: list[str]) -> None:
    seen, around, after = [], [], None
    for _ in range(3):
        page = client.field(PRODUCTS, first=20, after=after)
        after = page["pageInfo"]["endCursor"]
        seen += names(page)
        around.append(sides(page))
        assert page["totalCount"] == MANY
    assert seen == products
    assert around == [(False, True), (True, True), (True, False)]


def test_backwards(client: Asking, products: list[str]) -> None:
    seen: list[str] = []
    around, before = [], None
    for _ in range(3):
        page = client.field(PRODUCTS, last=20, before=before)
        before = page["pageInfo"]["startCursor"]
        seen = names(page) + seen
        around.append(sides(page))
    assert seen == products
    assert around == [(True, False), (True, True), (False, True)]


def test_between_two_cursors(client: Asking, products: list[str]) -> None:
    edges = client.field(PRODUCTS, first=100)["edges"]
    after, before = edges[4]["cursor"], edges[10]["cursor"]
    page = client.field(PRODUCTS, after=after, before=before)
    assert (names(page), sides(page)) == (products[5:10], (True, True))
    page = client.field(PRODUCTS, after=after, before=before, last=2)
    assert (names(page), sides(page)) == (products[8:10], (True, True))


def test_past_the_end(client: Asking, products: list[str]) -> None:
    last = client.field(PRODUCTS, last=1)["pageInfo"]["endCursor"]
    page = client.field(PRODUCTS, after=last)
    assert (names(page), sides(page)) == ([], (True, False))
    assert page["pageInfo"]["startCursor"] is None
    assert names(client.field(PRODUCTS)) == products[:20]


def test_a_page_stays_where_it_is_when_the_list_grows(client: Asking, products: list[str]) -> None:
    after = client.field(PRODUCTS, first=40)["pageInfo"]["endCursor"]
    client.create("product", name="new")
    assert names(client.field(PRODUCTS, after=after)) == [*products[40:], "new"]


def test_by_name(client: Asking, products: list[str]) -> None:
    client.create("product", name="product 7")
    page = client.field(PRODUCTS, name="product 7")
    assert (names(page), page["totalCount"]) == (["product 7", "product 7"], 2)


@pytest.mark.parametrize(
    ("list", "key", "kind"),
    [
        ("meters", 'name: "Alpaca.ai tokens"', "meter"),
        ("meters", 'eventName: "tokens"', "meter"),
        ("prices", 'lookupKey: "licence"', "licence"),
        ("prices", 'productId: "{usage_product}"', "usage"),
        ("prices", 'meterId: "{meter}"', "usage"),
        ("customers", 'name: "Llama Ltd"', "customer"),
        ("customers", 'email: "llama@example.com", externalId: "two"', "second"),
        ("customers", 'externalId: "llama"', "customer"),
        ("subscriptions", 'customerId: "{customer}"', "subscription"),
    ],
)
def test_each_kind_is_found_by_its_keys(
    client: Asking, story: Story, list: str, key: str, kind: str
) -> None:
    second = client.create("customer", name="Two", email="llama@example.com", externalId="two")
    ids = {**vars(story), "second": second}
    query = f"{{ {list}({key.format(**ids)}) {{ totalCount nodes {{ id }} }} }}"
    assert client.field(query) == {"totalCount": 1, "nodes": [{"id": ids[kind]}]}


EVENTS = """query($first: Int, $last: Int, $after: String, $subject: ID, $types: [String!]) {
  ledgerEvents(first: $first, last: $last, after: $after, subjectId: $subject, types: $types) {
    totalCount nodes { position type version subjectId recordedAt actor data hash }
    pageInfo { hasPreviousPage hasNextPage endCursor } } }"""


def test_facts_of_the_whole_ledger(client: Asking, story: Story) -> None:
    client.record(tokens(1, properties={"token_type": "input"}, source="proxy"))
    page = client.field(EVENTS, last=1)
    (event,) = page["nodes"]
    hash = event.pop("hash")
    assert event == {
        "position": str(client.position),
        "type": "usage.recorded",
        "version": 2,
        "subjectId": event["subjectId"],
        "recordedAt": "2026-01-15T12:00:00Z",
        "actor": "tester",
        "data": {
            "records": [
                {
                    "id": "r1",
                    "source": "proxy",
                    "eventName": "tokens",
                    "customer": "llama",
                    "timestamp": "2026-01-10T00:00:00Z",
                    "value": "3000",
                    "properties": {"token_type": "input"},
                }
            ]
        },
    }
    assert hash == client.ledger.store.head()[1].hex()
    assert page["totalCount"] == client.position
    assert sides(page) == (True, False)


def test_facts_about_one_thing(client: Asking, story: Story) -> None:
    page = client.field(EVENTS, subject=story.meter, first=1)
    assert [node["type"] for node in page["nodes"]] == ["meter.created"]
    assert (page["totalCount"], sides(page)) == (2, (False, True))
    page = client.field(EVENTS, subject=story.meter, after=page["pageInfo"]["endCursor"])
    assert [node["type"] for node in page["nodes"]] == ["price.created"]
    assert page["nodes"][0]["data"]["pricing"]["tiers"][0]["upTo"] == "1000"


def test_facts_of_some_kinds(client: Asking, story: Story) -> None:
    page = client.field(EVENTS, types=["product.created", "ledger.opened", "no.such"])
    assert [node["position"] for node in page["nodes"]] == ["1", "3", "4"]
    assert client.field(EVENTS, types=[])["nodes"] == []

"""The audit feed through GraphQL: every fact, who it touches, when it was recorded, and why."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from domain.periods import parse_instant
from tests.app.asking import Asking, Story, client, story, tokens
from tests.stores import SQLITE

__all__ = ["client", "story"]

FEED = """query($first: Int, $after: String, $last: Int, $before: String, $subjectId: ID,
    $types: [String!], $customerId: ID, $withUsage: Boolean, $recordedFrom: DateTime,
    $recordedUntil: DateTime) {
  ledgerEvents(first: $first, after: $after, last: $last, before: $before, subjectId: $subjectId,
    types: $types, customerId: $customerId, withUsage: $withUsage, recordedFrom: $recordedFrom,
    recordedUntil: $recordedUntil) {
    totalCount nodes { position type subjectId recordedAt causedBy idempotencyKey hash }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
RECORDS = """query($first: Int, $after: String) {
  ledgerEvents(last: 1, types: ["usage.recorded"]) { nodes {
    hash
    records(first: $first, after: $after) {
      totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
      nodes { position row hash record { id value state } } } } } }"""
HISTORY = """query($id: ID!, $last: Int, $types: [String!]) { node(id: $id) {
  history(last: $last, types: $types) { totalCount nodes { type } } } }"""
STEP = "2026-01-{:02}T00:00:00Z"


def feed(client: Asking, **arguments: Any) -> Any:
    """A page of the feed."""
    return client.field(FEED, **arguments)


def types(page: Any) -> list[str]:
    """The types of the facts on a page."""
    return [event["type"] for event in page["nodes"]]


def types_of(client: Asking, id: str, **arguments: Any) -> list[str]:
    """The types of the facts in the history of an object."""
    return types(client.field(HISTORY, id=id, **arguments)["history"])


def everything(client: Asking, **filters: Any) -> list[int]:
    """The positions of all facts that a filter lets through, read page by page."""
    return [int(one["position"]) for page in pages(client, **filters) for one in page["nodes"]]


def pages(client: Asking, **filters: Any) -> Iterator[Any]:
    """The pages of a list, from its beginning."""
    after = None
    while True:
        page = feed(client, first=3, after=after, **filters)
        yield page
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]


def everything_backwards(client: Asking, **filters: Any) -> list[int]:
    """The same, read from the end."""
    found: list[int] = []
    before = None
    while True:
        page = feed(client, last=3, before=before, **filters)
        found = [int(one["position"]) for one in page["nodes"]] + found
        if not page["pageInfo"]["hasPreviousPage"]:
            return found
        before = page["pageInfo"]["startCursor"]


@pytest.fixture
def other(client: Asking, story: Story) -> str:
    """Another customer with a subscription of its own."""
    id = client.create("customer", name="Somebody", externalId="somebody")
    client.create("subscription", customerId=id, items=[{"priceId": story.licence}])
    return id


def happened(client: Asking, story: Story) -> None:
    """Some of everything, on five days from the 16th on."""
    item = {
        "customerId": story.customer,
        "subscriptionId": story.subscription,
        "description": "Setup",
        "amount": "5",
    }
    for day in range(16, 21):
        client.ledger.advance_now(parse_instant(STEP.format(day), ()))
        client.record(tokens(day), tokens(100 + day, customer="somebody"))
        client.record(tokens(200 + day, customer="somebody"))
        client.mutate("createInvoiceItem", "CreateInvoiceItemInput", item)
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r17"})


def test_a_fact_says_what_led_to_it(client: Asking) -> None:
    """The first invoice is caused by its subscription, and no fact by itself."""
    told = Story(client)
    price = {"productId": told.licence_product, "currency": "USD", "interval": {"unit": "MONTH"}}
    client.create(
        "price", **price, pricing={"perUnit": {"unitAmount": "1"}}, idempotencyKey="sent once"
    )
    nodes = feed(client)["nodes"]
    [subscribed] = [one for one in nodes if one["type"] == "subscription.created"]
    causes = [(one["type"], one["causedBy"]) for one in nodes if one["causedBy"]]
    cause = subscribed["position"]
    assert causes == [("invoice.drafted", cause), ("invoice.finalized", cause)]
    assert nodes[-1]["idempotencyKey"] == "sent once"
    assert nodes[0]["idempotencyKey"] is None


def test_what_touches_a_customer(client: Asking, story: Story, other: str) -> None:
    """Its subscriptions, invoices, items and corrections, not those of others; usage if asked."""
    happened(client, story)
    mine = feed(client, customerId=story.customer, first=100)
    assert types(mine) == [
        "customer.created",
        "subscription.created",
        "invoice.drafted",
        "invoice.finalized",
        *["invoice_item.created"] * 5,
        "usage.voided",
    ]
    with_usage = feed(client, customerId=story.customer, withUsage=True, first=100)
    assert types(with_usage)[4:] == [
        *["usage.recorded", "invoice_item.created"] * 5,
        "usage.voided",
    ]
    assert (mine["totalCount"], with_usage["totalCount"]) == (10, 15)
    theirs = feed(client, customerId=other, withUsage=True, first=100)
    assert types(theirs).count("usage.recorded") == 10
    assert "invoice_item.created" not in types(theirs)


def test_later_facts_about_a_subscription_touch_its_customer(client: Asking, story: Story) -> None:
    for name, type, input in (
        ("pauseCollection", "PauseCollectionInput", {"subscriptionId": story.subscription}),
        (
            "cancelSubscription",
            "CancelSubscriptionInput",
            {"atPeriodEnd": {"subscriptionId": story.subscription}},
        ),
    ):
        answer = client.mutate(name, type, input)
        assert answer["userErrors"] == []
    found = types(feed(client, customerId=story.customer, types=["subscription.canceled"]))
    assert found == ["subscription.canceled"]
    paused = "subscription.collection_paused"
    assert paused in types_of(client, story.customer)
    assert paused in types_of(client, story.subscription)


def test_usage_that_waits_and_usage_that_is_void_touch_their_customer(client: Asking) -> None:
    client.record(tokens(1), tokens(2, customer="somebody"))
    told = Story(client)
    client.record(tokens(3))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r3"})
    client.record(tokens(4, eventName="unknown"))
    page = feed(client, customerId=told.customer, withUsage=True, types=["usage.recorded"])
    assert [int(one["position"]) for one in page["nodes"]] == [2, 12, 14]


def test_facts_by_the_time_at_which_they_were_recorded(
    client: Asking, story: Story, other: str
) -> None:
    """From one instant, included, until another one, excluded."""
    happened(client, story)
    page = feed(client, recordedFrom=STEP.format(17), recordedUntil=STEP.format(18))
    assert {one["recordedAt"] for one in page["nodes"]} == {STEP.format(17)}
    assert page["totalCount"] == len(page["nodes"]) == 4
    until = feed(client, recordedUntil=STEP.format(18), first=100)["nodes"]
    since = feed(client, recordedFrom=STEP.format(18), first=100)["nodes"]
    assert until + since == feed(client, first=100)["nodes"]
    assert feed(client, recordedFrom="2027-01-01T00:00:00Z")["nodes"] == []
    assert feed(client, recordedUntil="2020-01-01T00:00:00Z")["nodes"] == []


def test_every_filter_with_every_other_one(
    client: Asking, story: Story, other: str, kept_in: str
) -> None:
    """Each page, from either end, is what looking at every fact gives."""
    happened(client, story)
    every = feed(client, first=100)["nodes"]
    subjects = {one["position"]: one["subjectId"] for one in every}
    invoice = next(one["subjectId"] for one in every if one["type"] == "invoice.drafted")
    chosen: list[tuple[str, list[Any]]] = [
        ("subjectId", [None, story.subscription, invoice, subjects["12"]]),
        ("customerId", [None, story.customer, other, "cus_nobody"]),
        ("types", [None, ["usage.recorded"], ["invoice.drafted", "customer.created"], []]),
        ("recorded", [(None, None), (STEP.format(17), None), (STEP.format(16), STEP.format(19))]),
    ]
    alone = {
        (name, str(value)): {*everything(client, **asked(name, value))}
        for name, values in chosen
        for value in values
    }
    seen = 0
    names = [name for name, _ in chosen]
    every_one = list(product(*(values for _, values in chosen)))
    for values in every_one if kept_in == SQLITE else every_one[::5]:
        parts = list(zip(names, values, strict=True))
        filters = {name: given for part in parts for name, given in asked(*part).items()}
        expected = sorted(set.intersection(*(alone[name, str(one)] for name, one in parts)))
        assert everything(client, **filters) == expected
        assert everything_backwards(client, **filters) == expected
        assert feed(client, **filters)["totalCount"] == len(expected)
        seen += len(expected)
    assert seen > (200 if kept_in == SQLITE else 40)


def asked(name: str, value: Any) -> dict[str, Any]:
    """One filter as the arguments of the feed."""
    if name == "recorded":
        return {"recordedFrom": value[0], "recordedUntil": value[1]}
    usage = {"withUsage": True} if name == "customerId" and value else {}
    return {name: value, **usage}


def test_a_page_stays_where_it_is_while_facts_are_added(client: Asking, story: Story) -> None:
    filters = {"customerId": story.customer, "withUsage": True}
    client.record(tokens(1))
    first, second, *_ = pages(client, **filters)
    place = first["pageInfo"]["endCursor"]
    client.record(tokens(2))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    assert feed(client, first=3, **filters)["nodes"] == first["nodes"]
    again = feed(client, first=3, after=place, **filters)
    assert again["nodes"][: len(second["nodes"])] == second["nodes"]
    back = feed(client, last=3, before=again["pageInfo"]["startCursor"], **filters)
    assert back["nodes"] == first["nodes"]


def test_the_records_of_a_batch(client: Asking, story: Story) -> None:
    """In the order recorded, with what became of each."""
    client.record(*(tokens(number) for number in range(5)), tokens(9, customer="somebody"))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    client.mutate("amendUsage", "AmendUsageInput", {"id": "r2", "value": "7"})
    [event] = client.field(RECORDS, first=4)["nodes"]
    assert [one["record"] for one in event["records"]["nodes"]] == [
        {"id": "r0", "value": "3000", "state": "COUNTED"},
        {"id": "r1", "value": "3000", "state": "VOIDED"},
        {"id": "r2", "value": "7", "state": "AMENDED"},
        {"id": "r3", "value": "3000", "state": "COUNTED"},
    ]
    assert event["records"]["totalCount"] == 6
    assert {one["hash"] for one in event["records"]["nodes"]} == {event["hash"]}
    [rest] = client.field(RECORDS, after=event["records"]["pageInfo"]["endCursor"])["nodes"]
    assert [(one["row"], one["record"]["state"]) for one in rest["records"]["nodes"]] == [
        (4, "COUNTED"),
        (5, "UNMATCHED"),
    ]
    sides = rest["records"]["pageInfo"]
    assert (sides["hasPreviousPage"], sides["hasNextPage"]) == (True, False)


def test_other_facts_have_no_records(client: Asking, story: Story) -> None:
    nodes = client.field("{ ledgerEvents { nodes { type records { totalCount } } } }")["nodes"]
    assert {one["records"] for one in nodes} == {None}


def test_every_object_has_its_history(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    client.mutate("amendUsage", "AmendUsageInput", {"id": "r1", "value": "7"})
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    client.mutate("updateMeter", "UpdateMeterInput", {"meterId": story.meter, "name": "Tokens"})
    invoices = client.field("{ invoices { nodes { id } } }")["nodes"]
    assert types_of(client, story.meter) == [
        "meter.created",
        "price.created",
        "usage.amended",
        "usage.voided",
        "meter.updated",
    ]
    assert types_of(client, story.usage_product) == ["product.created", "price.created"]
    assert types_of(client, story.usage) == ["price.created", "subscription.created"]
    assert types_of(client, invoices[0]["id"]) == ["invoice.drafted", "invoice.finalized"]
    assert types_of(client, story.customer)[-2:] == ["usage.amended", "usage.voided"]
    ledger = client.field("{ ledger { id history { nodes { type } } } }")
    assert types(ledger["history"]) == ["ledger.opened"]


def test_the_history_of_a_usage_record(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    client.mutate("amendUsage", "AmendUsageInput", {"id": "r1", "value": "7"})
    client.record(tokens(2))
    client.mutate("voidUsage", "VoidUsageInput", {"id": "r1"})
    query = """query($last: Int, $types: [String!]) { usageRecord(id: "r1") {
      history(last: $last, types: $types) { totalCount pageInfo { hasPreviousPage }
        nodes { type data } } } }"""
    found = client.field(query)["history"]
    assert types(found) == ["usage.recorded", "usage.amended", "usage.voided"]
    assert found["nodes"][1]["data"]["value"] == "7"
    last = client.field(query, last=1)["history"]
    assert (types(last), last["totalCount"]) == (["usage.voided"], 3)
    assert last["pageInfo"]["hasPreviousPage"]
    assert types(client.field(query, types=["usage.amended"])["history"]) == ["usage.amended"]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"recordedFrom": "yesterday"}, ["recordedFrom"]),
        ({"recordedUntil": "2026-01-01"}, ["recordedUntil"]),
        ({"withUsage": True}, ["customerId"]),
        ({"customerId": "\x00"}, ["customerId"]),
        ({"types": ["x"] * 101}, ["types"]),
        ({"after": "r1"}, ["after"]),
    ],
)
def test_what_cannot_be_asked(client: Asking, arguments: Any, path: list[str]) -> None:
    [error] = client.ask(FEED, **arguments)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["path"]) == ("BAD_USER_INPUT", path)


@pytest.mark.parametrize("cursor", ["r", "r-1", "p1", "rx", "r1234567890", "\u0661"])
def test_a_cursor_that_no_batch_gave_out(client: Asking, story: Story, cursor: str) -> None:
    client.record(tokens(1))
    [error] = client.ask(RECORDS, after=cursor)["errors"]
    assert error["extensions"]["path"] == ["after"]

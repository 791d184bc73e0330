"""Subscriptions change and end through GraphQL, and are previewed before they do."""

from typing import Any

import pytest

from domain.periods import parse_instant
from tests.app.asking import Asking, Story, client, tokens

__all__ = ["client"]

LINES = "total { amount } lines { kind quantity amount { amount } period { start end } }"
SUBSCRIPTION = """subscription { id status cancelAt canceledAt currentPeriod { end }
  items { id quantity price { id } } }"""
CHANGED = f"{SUBSCRIPTION} invoice {{ at {LINES} }}"
CANCELED = f"{SUBSCRIPTION} finalInvoice {{ at {LINES} }}"
FORESEE_CHANGE = f"""query($input: ChangeSubscriptionInput!) {{
  subscriptionChangePreview(input: $input) {{ {LINES} }} }}"""
FORESEE_END = f"""query($input: CancelSubscriptionInput!) {{
  cancellationPreview(input: $input) {{ at {LINES} }} }}"""
NOW = "2026-01-16T00:00:00Z"
FEBRUARY = "2026-02-01T00:00:00Z"
MARCH = "2026-03-01T00:00:00Z"


@pytest.fixture
def story(client: Asking) -> Story:
    """The reference story, half a day after its first invoice."""
    told = Story(client)
    client.ledger.advance_now(parse_instant(NOW, ()))
    return told


def amounts(invoice: Any) -> list[str]:
    """Kind and amount of each line."""
    return [f"{line['kind']} {line['amount']['amount']}" for line in invoice["lines"]]


def item_at(client: Asking, story: Story, price: str) -> str:
    """The id of the subscription's item at a price."""
    query = "query($id: ID!) { subscription(id: $id) { items { id price { id } } } }"
    items = client.field(query, id=story.subscription)["items"]
    [id] = [item["id"] for item in items if item["price"]["id"] == price]
    return str(id)


def seats(client: Asking, story: Story, quantity: str, **more: Any) -> dict[str, Any]:
    """The input that gives the licence another quantity."""
    item = {"itemId": item_at(client, story, story.licence), "quantity": quantity}
    return {"subscriptionId": story.subscription, "items": [item], **more}


def change(client: Asking, input: dict[str, Any]) -> Any:
    """The payload of a change."""
    return client.mutate("changeSubscription", "ChangeSubscriptionInput", input, CHANGED)


def cancel(client: Asking, **input: Any) -> Any:
    """The payload of a cancellation."""
    return client.mutate("cancelSubscription", "CancelSubscriptionInput", input, CANCELED)


def preview(client: Asking, story: Story, at: str) -> Any:
    """The invoice at an instant."""
    query = "query($id: ID!, $at: DateTime) { invoicePreview(subscriptionId: $id, at: $at) {"
    return client.field(f"{query} {LINES} }} }}", id=story.subscription, at=at)


def test_seats_are_added_in_mid_period(client: Asking, story: Story) -> None:
    """Of January's 31 days, 16 are left."""
    input = seats(client, story, "3")
    foreseen = client.field(FORESEE_CHANGE, input=input)
    done = change(client, input)
    assert done["userErrors"] == []
    assert done["invoice"] is None
    [quantity] = [one["quantity"] for one in done["subscription"]["items"] if one["quantity"]]
    assert quantity == "3"
    invoice = preview(client, story, FEBRUARY)
    assert amounts(invoice) == [
        "USAGE 0.00",
        "PRORATION -51.61",
        "PRORATION 154.84",
        "RECURRING 300.00",
    ]
    assert foreseen == invoice
    assert amounts(preview(client, story, MARCH)) == ["USAGE 0.00", "RECURRING 300.00"]


def test_a_change_is_invoiced_at_once_when_asked(client: Asking, story: Story) -> None:
    done = change(client, seats(client, story, "2", prorationBehavior="INVOICE_NOW"))
    assert done["invoice"]["at"] == NOW
    assert amounts(done["invoice"]) == ["PRORATION -51.61", "PRORATION 103.23"]
    assert amounts(preview(client, story, FEBRUARY)) == ["USAGE 0.00", "RECURRING 200.00"]


def test_what_is_invoiced_at_once_is_issued(client: Asking, story: Story) -> None:
    fee = {
        "customerId": story.customer,
        "subscriptionId": story.subscription,
        "description": "Setup",
        "amount": "25.00",
    }
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", fee, "invoiceItem { id }")
    input = seats(client, story, "2", prorationBehavior="INVOICE_NOW")
    issued = "invoice { number status lines { kind amount { amount } } }"
    done = client.mutate("changeSubscription", "ChangeSubscriptionInput", input, issued)
    assert (done["invoice"]["number"], done["invoice"]["status"]) == ("000002", "OPEN")
    assert amounts(done["invoice"])[-1] == "ONE_OFF 25.00"
    now = {"subscriptionId": story.subscription}
    final = "finalInvoice { number status lines { kind amount { amount } } }"
    ended = client.mutate("cancelSubscription", "CancelSubscriptionInput", {"now": now}, final)
    assert (ended["finalInvoice"]["number"], ended["finalInvoice"]["status"]) == (None, "DRAFT")


def test_a_change_before_the_end_is_previewed_on_its_own_invoice(
    client: Asking, story: Story
) -> None:
    cancel(client, at={"subscriptionId": story.subscription, "at": MARCH})
    input = seats(client, story, "2", prorationBehavior="INVOICE_NOW")
    foreseen = client.field(FORESEE_CHANGE, input=input)
    assert amounts(foreseen) == ["PRORATION -51.61", "PRORATION 103.23"]
    assert amounts(change(client, input)["invoice"]) == amounts(foreseen)


def test_a_fixed_instant_comes_to_the_same_later(client: Asking, story: Story) -> None:
    input = seats(client, story, "2", effectiveAt="2026-01-17T00:00:00Z")
    change(client, input)
    invoice = preview(client, story, FEBRUARY)
    assert amounts(invoice)[1:3] == ["PRORATION -48.39", "PRORATION 96.77"]
    assert amounts(preview(client, story, "2026-01-16T12:00:00Z")) == ["USAGE 0.00"]


def test_usage_across_a_price_swap_is_split_at_the_instant(client: Asking, story: Story) -> None:
    dearer = client.create(
        "price",
        productId=story.usage_product,
        currency="USD",
        interval={"unit": "MONTH"},
        meterId=story.meter,
        pricing={"perUnit": {"unitAmount": "1"}},
    )
    swap = {"itemId": item_at(client, story, story.usage), "priceId": dearer}
    done = change(client, {"subscriptionId": story.subscription, "items": [swap]})
    assert done["userErrors"] == []
    client.record(
        tokens(1, "1500", timestamp="2026-01-15T23:59:59Z"), tokens(2, "7", timestamp=NOW)
    )
    assert amounts(preview(client, story, FEBRUARY))[:2] == ["USAGE 20.00", "USAGE 7.00"]
    unrated = client.field(
        'query { unratedUsage(period: {start: "2026-01-01T00:00:00Z", end: "2026-02-01T00:00:00Z"})'
        " { nodes { recordCount } } }"
    )
    assert unrated == {"nodes": []}


def test_a_subscription_ends_at_once_and_settles(client: Asking, story: Story) -> None:
    client.record(tokens(1, "1500"))
    asked = {"now": {"subscriptionId": story.subscription}}
    foreseen = client.field(FORESEE_END, input=asked)
    done = cancel(client, **asked)
    assert done["userErrors"] == []
    ended = done["subscription"]
    assert (ended["status"], ended["cancelAt"], ended["canceledAt"]) == ("CANCELED", NOW, NOW)
    assert ended["currentPeriod"] is None
    assert len(ended["items"]) == 2
    final = done["finalInvoice"]
    assert amounts(final) == ["USAGE 20.00", "PRORATION -51.61"]
    assert foreseen == final
    query = "query($id: ID!) { invoicePreview(subscriptionId: $id) { id } }"
    assert client.field(query, id=story.subscription) is None


def test_usage_is_discarded_and_licences_kept_when_asked(client: Asking, story: Story) -> None:
    client.record(tokens(1, "1500"))
    done = cancel(
        client,
        now={"subscriptionId": story.subscription, "discardUsage": True, "prorate": False},
    )
    assert amounts(done["finalInvoice"]) == ["USAGE 0.00"]


def test_the_upcoming_invoice_is_the_next_preview(client: Asking, story: Story) -> None:
    client.record(tokens(1, "1500"))
    query = f"query($id: ID!) {{ subscription(id: $id) {{ upcomingInvoice {{ at {LINES} }} }} }}"
    upcoming = client.field(query, id=story.subscription)["upcomingInvoice"]
    assert upcoming["at"] == FEBRUARY
    assert amounts(upcoming) == ["USAGE 20.00", "RECURRING 100.00"]
    cancel(client, now={"subscriptionId": story.subscription})
    assert client.field(query, id=story.subscription)["upcomingInvoice"] is None


def test_an_end_to_come_is_taken_back(client: Asking, story: Story) -> None:
    done = cancel(client, atPeriodEnd={"subscriptionId": story.subscription})
    assert (done["subscription"]["status"], done["subscription"]["cancelAt"]) == (
        "ACTIVE",
        FEBRUARY,
    )
    assert amounts(done["finalInvoice"]) == ["USAGE 0.00"]
    assert preview(client, story, MARCH)["lines"] == []
    reactivated = client.mutate(
        "reactivateSubscription",
        "ReactivateSubscriptionInput",
        {"subscriptionId": story.subscription},
        SUBSCRIPTION,
    )
    assert reactivated["subscription"]["cancelAt"] is None
    assert amounts(preview(client, story, FEBRUARY)) == ["USAGE 0.00", "RECURRING 100.00"]


def test_a_subscription_ends_at_an_instant(client: Asking, story: Story) -> None:
    at = "2026-03-16T00:00:00Z"
    done = cancel(client, at={"subscriptionId": story.subscription, "at": at})
    assert done["finalInvoice"]["at"] == at
    assert amounts(done["finalInvoice"]) == ["USAGE 0.00", "PRORATION -51.61"]


@pytest.mark.parametrize(
    ("input", "code", "path"),
    [
        ({"now": {"subscriptionId": "sub_9"}}, "NOT_FOUND", "input.now.subscriptionId"),
        (
            {"at": {"subscriptionId": "{}", "at": "2025-01-01T00:00:00Z"}},
            "INVALID_VALUE",
            "input.at.at",
        ),
        ({"at": {"subscriptionId": "{}", "at": "later"}}, "INVALID_VALUE", "input.at.at"),
    ],
)
def test_an_end_that_cannot_be_is_refused(
    client: Asking, story: Story, input: dict[str, Any], code: str, path: str
) -> None:
    for asked in input.values():
        asked["subscriptionId"] = asked["subscriptionId"].format(story.subscription)
        if asked["subscriptionId"] == "":
            asked["subscriptionId"] = story.subscription
    if "at" in input:
        input["at"]["subscriptionId"] = story.subscription
    [error] = cancel(client, **input)["userErrors"]
    assert (error["code"], ".".join(error["path"])) == (code, path)


def test_a_change_that_cannot_be_is_refused_and_previewed_as_such(
    client: Asking, story: Story
) -> None:
    input = {"subscriptionId": story.subscription, "items": [{"itemId": "item_9"}]}
    [error] = change(client, input)["userErrors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "items", "0", "itemId"])
    answer = client.ask(FORESEE_CHANGE, input=input)
    [refused] = answer["errors"]
    assert refused["extensions"]["code"] == "BAD_USER_INPUT"
    assert refused["extensions"]["path"] == ["input", "items", "0", "itemId"]
    before = client.position
    bad = seats(client, story, "x")
    [error] = change(client, bad)["userErrors"]
    assert error["path"] == ["input", "items", "0", "quantity"]
    assert client.position == before


def test_changes_are_in_the_history(client: Asking, story: Story) -> None:
    change(client, seats(client, story, "3", idempotencyKey="three"))
    change(client, seats(client, story, "3", idempotencyKey="three"))
    cancel(client, atPeriodEnd={"subscriptionId": story.subscription})
    feed = client.field(
        "query($id: ID!) { ledgerEvents(subjectId: $id) { nodes { type actor } } }",
        id=story.subscription,
    )
    own = [one for one in feed["nodes"] if one["type"].startswith("subscription")]
    assert [(one["type"], one["actor"]) for one in own] == [
        ("subscription.created", "tester"),
        ("subscription.changed", "tester"),
        ("subscription.canceled", "tester"),
    ]


# ------------------------------------------------------- at the very instant of another invoice

NUMBERED = "id number status total { amount } subscription { id }"


def test_what_changes_and_ends_at_the_instant_of_an_invoice_has_its_own(client: Asking) -> None:
    """A test clock stands still: created, changed and canceled at once."""
    told = Story(client)
    input = seats(client, told, "3", prorationBehavior="INVOICE_NOW")
    done = client.mutate(
        "changeSubscription", "ChangeSubscriptionInput", input, f"invoice {{ {NUMBERED} }}"
    )
    assert done["invoice"]["number"] == "000002"
    assert done["invoice"]["total"]["amount"] == "106.45"
    ended = client.mutate(
        "cancelSubscription",
        "CancelSubscriptionInput",
        {"now": {"subscriptionId": told.subscription}},
        f"finalInvoice {{ {NUMBERED} }}",
    )
    final = ended["finalInvoice"]
    assert (final["status"], final["total"]["amount"]) == ("DRAFT", "-159.68")
    client.ledger.advance_now(parse_instant("2026-01-15T14:00:00Z", ()))
    query = f"query($id: ID!) {{ invoice(id: $id) {{ {NUMBERED} }} }}"
    issued = client.field(query, id=final["id"])
    assert (issued["number"], issued["status"]) == ("000003", "PAID")

"""What is only supposed comes to what really happens then, and is written nowhere.

Usage that comes late and prices that are superseded, also where periods are billed already: asked
first, done then, and issued in the end by the invoicing that runs by itself.
"""

from typing import Any

import pytest

from projections import supersessions
from tests import marks
from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.test_schema_late_usage import INVOICE, adjustments, cancel, move

__all__ = ["client", "story"]

FEBRUARY = "2026-02-02T00:00:00Z"
MARCH = "2026-03-02T00:00:00Z"
PREVIEW = f"""query($id: ID!, $extra: [HypotheticalUsageInput!], $asOf: AsOf) {{
  invoicePreview(subscriptionId: $id, extraUsage: $extra, asOf: $asOf) {{
    {INVOICE} contentHash }} }}"""
EFFECTS = f"""query(
  $input: SupersedePriceInput!, $id: ID, $at: DateTime, $first: Int, $skip: Int) {{
  priceSupersessionPreview(input: $input, subscriptionId: $id, at: $at) {{
    before {{ amount currency }} after {{ amount }} difference {{ amount }} subscriptionCount
    subscriptions(first: $first, skip: $skip) {{
      subscription {{ id customer {{ externalId }} }} difference {{ amount }}
      before {{ {INVOICE} contentHash }} after {{ {INVOICE} contentHash }} }} }} }}"""
DEARER = {"perUnit": {"unitAmount": "0.05"}}


def preview(
    client: Asking, story: Story, *records: dict[str, Any], as_of: int | None = None
) -> Any:
    """The next invoice, with usage that was never sent; now, or as of a position."""
    named = ("eventName", "timestamp", "value", "properties")
    extra = [{name: one[name] for name in named if name in one} for one in records]
    moment = None if as_of is None else {"position": str(as_of)}
    return client.field(PREVIEW, id=story.subscription, extra=extra, asOf=moment)


def effects(client: Asking, price: str, **asked: Any) -> Any:
    """What superseding a price would come to; `asked` is its input, but for what is no part."""
    rest = {name: asked.pop(name) for name in ("id", "at", "first", "skip") if name in asked}
    return client.field(EFFECTS, input={"priceId": price, **asked}, **rest)


def supersede(client: Asking, price: str, **asked: Any) -> None:
    """Really supersede a price."""
    done = client.mutate("supersedePrice", "SupersedePriceInput", {"priceId": price, **asked})
    assert done["userErrors"] == []


def comparable(invoice: Any) -> Any:
    """What an invoice asks for, and why: without what has a name only when it is real."""
    lines = [
        {name: line[name] for name in line if name not in {"id", "usage"}}
        for line in invoice["lines"]
    ]
    return {"at": invoice["at"], "total": invoice["total"], "lines": lines}


# ------------------------------------------------------------------------------------ late usage


LATE = tokens(2, "500")
LATER = tokens(3, "70", timestamp="2026-01-31T23:59:59.999999Z")
OPEN = tokens(4, "2000", timestamp="2026-02-01T00:00:00Z")


@pytest.mark.parametrize(
    "sent", [[LATE], [OPEN], [LATE, LATER, OPEN]], ids=["late", "open", "both"]
)
def test_a_late_batch_is_previewed_as_it_is_then_billed(
    client: Asking, story: Story, sent: list[dict[str, Any]]
) -> None:
    client.record(tokens(1))
    move(client, FEBRUARY)
    before, position = preview(client, story), client.position
    supposed = preview(client, story, *sent)
    assert client.position == position
    assert supposed["contentHash"] != before["contentHash"]
    assert len(adjustments(supposed)) == (LATE in sent)
    client.record(*sent)
    real = preview(client, story)
    assert real["contentHash"] == supposed["contentHash"]
    assert comparable(real) == comparable(supposed)
    issued = move(client, MARCH)[-1]
    assert issued["status"] == "OPEN"
    assert comparable(issued) == comparable(supposed)


def test_what_waits_already_and_what_is_supposed_are_one_adjustment(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1))
    move(client, FEBRUARY)
    client.record(LATE)
    supposed = preview(client, story, LATER)
    [line] = adjustments(supposed)
    assert (line["quantity"], line["amount"]["amount"]) == ("570", "22.80")
    client.record(LATER)
    assert preview(client, story)["contentHash"] == supposed["contentHash"]


def test_what_was_supposed_then_comes_to_what_it_came_to(client: Asking, story: Story) -> None:
    """Also after it was really sent, billed, and taken back."""
    client.record(tokens(1))
    move(client, FEBRUARY)
    then, supposed = client.position, preview(client, story, LATE, OPEN)
    assert len(adjustments(supposed)) == 1
    client.record(LATE, OPEN)
    move(client, MARCH)
    client.mutate("voidUsage", "VoidUsageInput", {"id": LATE["id"]})
    assert preview(client, story, LATE, OPEN, as_of=then) == supposed
    assert preview(client, story, as_of=then) != supposed


def test_usage_without_a_time_is_never_late(client: Asking, story: Story) -> None:
    move(client, FEBRUARY)
    supposed = preview(client, story, {"eventName": "tokens", "value": "3000"})
    assert adjustments(supposed) == []
    assert supposed["total"] == {"amount": "180.00"}


def test_after_the_end_what_comes_late_would_have_an_invoice_of_its_own(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1))
    cancel(client, story)
    move(client, FEBRUARY)
    assert preview(client, story) is None
    supposed = preview(client, story, LATE)
    assert supposed["total"] == {"amount": "20.00"}
    client.record(LATE)
    [issued] = [one for one in move(client, MARCH) if one["status"] == "OPEN"]
    assert comparable(issued) == comparable(supposed)
    assert preview(client, story) is None


def test_late_usage_that_is_only_reported_would_not_be_billed(client: Asking, story: Story) -> None:
    reported = client.create(
        "price",
        productId=story.usage_product,
        meterId=story.meter,
        pricing=DEARER,
        lateUsage="REPORT",
        currency="USD",
        interval={"unit": "MONTH"},
    )
    story.subscription = client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": reported}],
        startAt="2026-01-01T00:00:00Z",
    )
    move(client, FEBRUARY)
    assert preview(client, story, LATE)["contentHash"] == preview(client, story)["contentHash"]


# ----------------------------------------------------------------------------------- supersession


def others(client: Asking, story: Story) -> dict[str, str]:
    """Two more customers of the story's prices, of which one uses much; whose subscription is."""
    found = {"llama": story.subscription}
    for name, value in (("heavy", "100000"), ("idle", "0")):
        id = client.create("customer", name=name, externalId=name)
        items = [{"priceId": story.usage}, {"priceId": story.licence}]
        start = "2026-01-01T00:00:00Z"
        found[name] = client.create("subscription", customerId=id, items=items, startAt=start)
        client.record(tokens(len(found) + 100, value, customer=name))
    return found


def test_the_largest_differences_stand_first_and_nothing_is_written(
    client: Asking, story: Story
) -> None:
    others(client, story)
    client.record(tokens(1))
    position, asked = client.position, {"pricing": DEARER, "effectiveAt": "2026-01-01T00:00:00Z"}
    found = effects(client, story.usage, **asked)
    assert client.position == position
    assert found["before"] == {"amount": "4340.00", "currency": "USD"}
    assert found["after"] == {"amount": "5450.00"}
    assert found["difference"] == {"amount": "1110.00"}
    assert found["subscriptionCount"] == 3
    assert [
        (one["subscription"]["customer"]["externalId"], one["difference"]["amount"])
        for one in found["subscriptions"]
    ] == [("heavy", "1040.00"), ("llama", "70.00"), ("idle", "0.00")]
    [one] = effects(client, story.usage, **asked, first=1, skip=1)["subscriptions"]
    assert one["subscription"]["customer"]["externalId"] == "llama"
    alone = effects(client, story.usage, **asked, id=story.subscription)
    assert (alone["subscriptionCount"], alone["subscriptions"]) == (1, [one])


@marks.CAMPAIGN
@pytest.mark.parametrize(
    "since",
    [
        None,
        "2026-01-01T00:00:00Z",
        "2026-01-09T00:00:00Z",
        "2026-01-11T00:00:00Z",
        "2026-02-01T12:00:00Z",
        "2026-02-20T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-04-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("metered", [True, False], ids=["usage", "licence"])
def test_superseded_for_real_every_next_invoice_is_what_was_previewed(
    client: Asking, story: Story, since: str | None, metered: bool
) -> None:
    """Whether the version takes effect in a billed period, the running one, or one to come."""
    names = others(client, story)
    client.record(tokens(1))
    move(client, FEBRUARY)
    client.record(tokens(5, "1700", timestamp="2026-02-01T12:00:00Z"), LATE)
    price = story.usage if metered else story.licence
    asked = {"pricing": DEARER} | ({"effectiveAt": since} if since else {})
    found = effects(client, price, **asked)["subscriptions"]
    expected = {one["subscription"]["id"]: one["after"] for one in found}
    for one in found:
        story.subscription = one["subscription"]["id"]
        assert one["before"]["contentHash"] == preview(client, story)["contentHash"]
    supersede(client, price, **asked)
    assert set(expected) == set(names.values())
    for id, after in expected.items():
        story.subscription = id
        assert preview(client, story)["contentHash"] == after["contentHash"]
    issued = [one for one in move(client, MARCH) if one["status"] == "OPEN"]
    assert sorted(map(str, map(comparable, issued))) == sorted(
        map(str, map(comparable, expected.values()))
    )


def test_after_the_end_a_price_superseded_in_the_past_has_an_invoice_of_its_own(
    client: Asking, story: Story
) -> None:
    client.record(tokens(1))
    cancel(client, story)
    move(client, FEBRUARY)
    now = effects(client, story.usage, pricing=DEARER)
    assert (now["subscriptionCount"], now["subscriptions"]) == (0, [])
    asked = {"pricing": DEARER, "effectiveAt": "2026-01-01T00:00:00Z"}
    [one] = effects(client, story.usage, **asked)["subscriptions"]
    assert (one["before"], one["difference"]) == (None, {"amount": "70.00"})
    supersede(client, story.usage, **asked)
    [issued] = [one for one in move(client, MARCH) if one["status"] == "OPEN"]
    assert comparable(issued) == comparable(one["after"])


def test_what_changes_nothing_has_no_effect(client: Asking, story: Story) -> None:
    pricing = {
        "graduated": {"tiers": [{"upTo": "1000", "unitAmount": "0"}, {"unitAmount": "0.04"}]}
    }
    [one] = effects(client, story.usage, pricing=pricing)["subscriptions"]
    assert one["before"] == one["after"]


def test_an_instant_may_be_asked_for(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    asked = {"pricing": DEARER, "effectiveAt": "2026-01-01T00:00:00Z", "at": "2026-01-20T00:00:00Z"}
    [one] = effects(client, story.usage, **asked)["subscriptions"]
    assert one["after"]["at"] == "2026-01-20T00:00:00Z"
    assert one["difference"] == {"amount": "70.00"}


@pytest.mark.parametrize(
    ("asked", "code", "path"),
    [
        ({}, "REQUIRED", ["input", "pricing"]),
        ({"pricing": {"perUnit": {"unitAmount": "1e5"}}}, "INVALID_VALUE", None),
        ({"pricing": DEARER, "id": "sub_none"}, "NOT_FOUND", ["subscriptionId"]),
        ({"pricing": DEARER, "skip": -1}, "INVALID_VALUE", ["skip"]),
        ({"pricing": DEARER, "first": 101}, "INVALID_VALUE", ["first"]),
        ({"pricing": DEARER, "price": "price_none"}, "NOT_FOUND", ["input", "priceId"]),
        ({"pricing": DEARER, "other": True}, "INVALID_VALUE", ["subscriptionId"]),
    ],
    ids=str,
)
def test_what_could_not_be_done_cannot_be_previewed(
    client: Asking, story: Story, asked: dict[str, Any], code: str, path: list[str] | None
) -> None:
    input: dict[str, Any] = {"priceId": asked.get("price", story.usage)}
    if "pricing" in asked:
        input["pricing"] = asked["pricing"]
    id = asked.get("id")
    if "other" in asked:
        unused = {"currency": "USD", "interval": {"unit": "MONTH"}, "pricing": DEARER}
        input["priceId"] = client.create("price", productId=story.licence_product, **unused)
        id = story.subscription
    paging = {name: asked.get(name) for name in ("first", "skip")}
    [error] = client.ask(EFFECTS, input=input, id=id, **paging)["errors"]
    assert error["extensions"]["reason"] == code
    assert path is None or error["extensions"]["path"] == path


def test_too_many_subscriptions_are_refused(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    others(client, story)
    monkeypatch.setattr(supersessions, "SUBSCRIPTIONS_LIMIT", 2)
    input = {"priceId": story.usage, "pricing": DEARER}
    [error] = client.ask(EFFECTS, input=input)["errors"]
    assert error["extensions"]["reason"] == "LIMIT_EXCEEDED"
    one = effects(client, story.usage, pricing=DEARER, id=story.subscription)
    assert one["subscriptionCount"] == 1


# ------------------------------------------------------------------------------ why it would be so

WHY = """lines { kind amount { amount } priceVersion { number }
  explanation { sentences check { holds } priceEvent { position } } }"""


def test_what_is_supposed_is_explained_as_what_is_so(client: Asking, story: Story) -> None:
    client.record(tokens(1))
    move(client, FEBRUARY)
    late = {"eventName": "tokens", "timestamp": LATE["timestamp"], "value": "500"}
    lines = client.field(
        f"""query($id: ID!, $extra: [HypotheticalUsageInput!]) {{
          invoicePreview(subscriptionId: $id, extraUsage: $extra) {{ {WHY} }} }}""",
        id=story.subscription,
        extra=[late],
    )["lines"]
    assert "ADJUSTMENT" in [line["kind"] for line in lines]
    assert all(line["explanation"]["check"]["holds"] for line in lines)
    effect = client.field(
        f"""query($input: SupersedePriceInput!) {{ priceSupersessionPreview(input: $input) {{
          subscriptions {{ after {{ {WHY} }} }} }} }}""",
        input={"priceId": story.usage, "pricing": DEARER, "effectiveAt": "2026-01-15T00:00:00Z"},
    )
    [after] = [one["after"] for one in effect["subscriptions"]]
    assert 2 in [line["priceVersion"] and line["priceVersion"]["number"] for line in after["lines"]]
    assert all(line["explanation"]["check"]["holds"] for line in after["lines"])

"""Subscriptions that are held back: paused by somebody, or parked because a bill looks absurd."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from domain.periods import parse_instant
from tests.app.asking import Asking
from tests.app.billed import dump

CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
INVOICES = "{ invoices(first: 100) { nodes { status number total { amount } at } } }"
SUBSCRIPTION = """query($id: ID!) { subscription(id: $id) {
  status pausedAt parkedReason } }"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Asking]:
    """A client of a new ledger at the beginning of 2026."""
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        yield Asking(ledger)
        dump(ledger)


class Shop:
    """A product, a customer, and prices for it."""

    def __init__(self, client: Asking) -> None:
        self.client = client
        self.product = client.create("product", name="Licence")
        self.customer = client.create("customer", name="Llama Ltd")

    def price(self, unit: str = "MONTH", amount: str = "100", **more: Any) -> str:
        """A licence at so much an interval."""
        return self.client.create(
            "price",
            productId=self.product,
            currency="USD",
            interval={"unit": unit},
            pricing={"perUnit": {"unitAmount": amount}},
            **more,
        )

    def subscribe(self, *prices: str, **more: Any) -> str:
        """Subscribe the customer; return the id."""
        items = [{"priceId": price} for price in prices]
        return self.client.create("subscription", customerId=self.customer, items=items, **more)

    def hold(self, name: str, id: str) -> Any:
        """Carry out one of the mutations that hold a subscription back."""
        type = f"{name[0].upper()}{name[1:]}Input"
        wanted = "subscription { status pausedAt parkedReason }"
        return self.client.mutate(name, type, {"subscriptionId": id}, wanted)

    def invoices(self) -> list[str]:
        """Every invoice: its status, number and total."""
        nodes = self.client.field(INVOICES)["nodes"]
        return [f"{one['status']} {one['number']} {one['total']['amount']}" for one in nodes]

    def pass_time(self, until: str) -> None:
        """Move the clock."""
        self.client.ledger.advance_now(parse_instant(until, ()))


@pytest.fixture
def shop(client: Asking) -> Shop:
    """A shop with a customer."""
    return Shop(client)


def test_while_collection_is_paused_invoices_stay_drafts(client: Asking, shop: Shop) -> None:
    id = shop.subscribe(shop.price())
    done = shop.hold("pauseCollection", id)
    assert done["subscription"]["status"] == "PAUSED"
    assert done["subscription"]["pausedAt"] == "2026-01-01T00:00:00Z"
    shop.pass_time("2026-03-10T00:00:00Z")
    assert shop.invoices() == [
        "OPEN 000001 100.00",
        "DRAFT None 100.00",
        "DRAFT None 100.00",
    ]
    resumed = shop.hold("resumeCollection", id)
    assert resumed["subscription"]["pausedAt"] is None
    assert [one.split()[:2] for one in shop.invoices()] == [
        ["OPEN", "000001"],
        ["OPEN", "000002"],
        ["OPEN", "000003"],
    ]


def test_a_start_years_ago_is_parked_until_somebody_has_looked(client: Asking, shop: Shop) -> None:
    id = shop.subscribe(shop.price(), startAt="2022-01-01T00:00:00Z")
    found = client.field(SUBSCRIPTION, id=id)
    assert found["parkedReason"] == (
        "what is due since 2022-01-01T00:00:00Z is more than 36 months behind"
    )
    assert shop.invoices() == []
    shop.pass_time("2026-02-10T00:00:00Z")
    assert shop.invoices() == []
    done = shop.hold("unparkSubscription", id)
    assert done["subscription"]["parkedReason"] is None
    # All months from January 2022 to January 2026 on the first one, then February's.
    assert shop.invoices() == ["OPEN 000001 4900.00", "OPEN 000002 100.00"]
    shop.pass_time("2026-03-10T00:00:00Z")
    assert shop.invoices()[2:] == ["OPEN 000003 100.00"]


def test_three_years_are_billed_without_asking(shop: Shop) -> None:
    shop.subscribe(shop.price(), startAt="2023-01-01T00:00:00Z")
    assert shop.invoices() == ["OPEN 000001 3700.00"]


def test_more_lines_than_an_invoice_holds_park_it_again_and_again(
    client: Asking, shop: Shop
) -> None:
    id = shop.subscribe(shop.price("DAY"), startAt="2023-02-01T00:00:00Z")
    reason = "an invoice has at most 1000 lines"
    assert client.field(SUBSCRIPTION, id=id)["parkedReason"] == reason
    assert shop.hold("unparkSubscription", id)["subscription"]["parkedReason"] == reason
    assert shop.invoices() == []


def test_giving_back_more_than_was_charged_is_parked(client: Asking, shop: Shop) -> None:
    id = shop.subscribe(shop.price(amount="1"))
    item = {
        "customerId": shop.customer,
        "subscriptionId": id,
        "description": "A refund with too many zeros",
        "amount": "-50000",
        "currency": "USD",
    }
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", item)
    shop.pass_time("2026-02-10T00:00:00Z")
    parked = client.field(SUBSCRIPTION, id=id)["parkedReason"]
    assert parked == "a total of -49999.00 gives back more than the 1.00 that was charged"
    assert [one.split()[0] for one in shop.invoices()] == ["OPEN", "DRAFT"]
    shop.hold("unparkSubscription", id)
    assert shop.invoices()[1] == "PAID 000002 -49999.00"


def test_others_are_billed_while_one_is_parked(shop: Shop) -> None:
    shop.subscribe(shop.price(), startAt="2020-01-01T00:00:00Z")
    shop.subscribe(shop.price(amount="7"))
    assert shop.invoices() == ["OPEN 000001 7.00"]


def test_holding_is_refused_by_name(client: Asking, shop: Shop) -> None:
    for name in ("pauseCollection", "resumeCollection", "unparkSubscription"):
        [error] = shop.hold(name, "sub_9")["userErrors"]
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", "subscriptionId"])


def test_an_unpaid_invoice_makes_a_subscription_past_due(client: Asking, shop: Shop) -> None:
    id = shop.subscribe(shop.price(), collectionMethod="SEND_INVOICE", daysUntilDue=10)
    assert client.field(SUBSCRIPTION, id=id)["status"] == "ACTIVE"
    shop.pass_time("2026-01-12T00:00:00Z")
    assert client.field(SUBSCRIPTION, id=id)["status"] == "PAST_DUE"


def test_everything_that_waited_is_issued_at_once(client: Asking, shop: Shop) -> None:
    """More than fifty things: thirty invoices, and that each of them is overdue already."""
    id = shop.subscribe(shop.price("DAY"), collectionMethod="SEND_INVOICE", daysUntilDue=0)
    shop.hold("pauseCollection", id)
    shop.pass_time("2026-01-31T12:00:00Z")
    shop.hold("resumeCollection", id)
    nodes = client.field("{ invoices(first: 100) { nodes { status overdue } } }")["nodes"]
    assert [(one["status"], one["overdue"]) for one in nodes] == [("OPEN", True)] * 31


def test_an_item_at_a_start_without_a_licence_is_billed_then(client: Asking, shop: Shop) -> None:
    """Nothing else is due then: the setup fee has an invoice of its own, before any other."""
    meter = client.create("meter", name="m", eventName="calls", aggregation="SUM")
    id = shop.subscribe(shop.price(meterId=meter))
    item = {
        "customerId": shop.customer,
        "subscriptionId": id,
        "description": "Setup",
        "amount": "25",
    }
    client.mutate("createInvoiceItem", "CreateInvoiceItemInput", item)
    assert shop.invoices() == ["OPEN 000001 25.00"]

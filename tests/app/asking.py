"""Ask the GraphQL schema of a ledger what a client would ask it, and read the answer as JSON."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from app.schema import Context, schema
from tests.loop import run

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)

CREATE: dict[str, tuple[str, str]] = {
    "meter": ("createMeter", "CreateMeterInput"),
    "product": ("createProduct", "CreateProductInput"),
    "price": ("createPrice", "CreatePriceInput"),
    "customer": ("createCustomer", "CreateCustomerInput"),
    "subscription": ("createSubscription", "CreateSubscriptionInput"),
}
"""The mutation that creates each kind of object, and the type of its input."""

GRADUATED = {"graduated": {"tiers": [{"upTo": "1000", "unitAmount": "0"}, {"unitAmount": "0.04"}]}}
"""The reference story's pricing: 1,000 tokens included, 0.04 for each one beyond."""


class Asking:
    """A client of one ledger's schema."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer as it travels: encoded as JSON and read back."""
        asked = schema.execute(query, variables, context_value=Context(self.ledger, "tester"))
        result = run(asked)
        errors = [error.formatted for error in result.errors or ()]
        answer: dict[str, Any] = json.loads(json.dumps({"data": result.data, "errors": errors}))
        return answer

    def data(self, query: str, **variables: Any) -> Any:
        """The data of an answer that has no errors."""
        answer = self.ask(query, **variables)
        assert answer["errors"] == []
        return answer["data"]

    def field(self, query: str, **variables: Any) -> Any:
        """The one root field of an answer that has no errors."""
        (value,) = self.data(query, **variables).values()
        return value

    def mutate(self, name: str, input_type: str, input: object, wanted: str = "") -> Any:
        """The payload of a mutation."""
        return self.field(
            f"mutation($input: {input_type}!) {{ {name}(input: $input)"
            f" {{ {wanted} position userErrors {{ code message path }} }} }}",
            input=input,
        )

    def create(self, kind: str, **input: Any) -> str:
        """Create an object; answer its id."""
        name, input_type = CREATE[kind]
        payload = self.mutate(name, input_type, input, f"{kind} {{ id }}")
        assert payload["userErrors"] == []
        id: str = payload[kind]["id"]
        return id

    def record(self, *records: dict[str, Any]) -> Any:
        """Send usage records; answer the whole payload."""
        wanted = """receipts { id source status position error { code message path } }
            accepted unmatched duplicates conflicts rejected"""
        return self.mutate("recordUsage", "RecordUsageInput", {"records": records}, wanted)

    @property
    def position(self) -> int:
        """The ledger's newest position."""
        return self.ledger.store.head()[0]


class Story:
    """The objects of the reference story: an AI model sold for a licence and for usage."""

    def __init__(self, client: Asking) -> None:
        self.meter = client.create(
            "meter",
            name="Alpaca.ai tokens",
            eventName="tokens",
            aggregation="SUM",
            dimensions=["model"],
        )
        self.usage_product = client.create("product", name="Alpaca.ai usage", unitLabel="token")
        self.licence_product = client.create("product", name="Alpaca.ai licence")
        terms = {"currency": "USD", "interval": {"unit": "MONTH"}}
        self.usage = client.create(
            "price",
            productId=self.usage_product,
            meterId=self.meter,
            pricing=GRADUATED,
            nickname="Tokens",
            **terms,
        )
        self.licence = client.create(
            "price",
            productId=self.licence_product,
            pricing={"perUnit": {"unitAmount": "100"}},
            lookupKey="licence",
            **terms,
        )
        self.customer = client.create("customer", name="Llama Ltd", externalId="llama")
        self.subscription = client.create(
            "subscription",
            customerId=self.customer,
            items=[{"priceId": self.usage}, {"priceId": self.licence}],
            startAt="2026-01-01T00:00:00Z",
        )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Asking]:
    """A client of a new ledger whose clock stands in the middle of January 2026."""
    with Ledger(tmp_path, test_clock_at=NOW) as ledger:
        yield Asking(ledger)


@pytest.fixture
def story(client: Asking) -> Story:
    """The reference story up to its subscription."""
    return Story(client)


def tokens(number: int, value: str = "3000", **more: Any) -> dict[str, Any]:
    """A usage record of the reference story."""
    return {
        "id": f"r{number}",
        "eventName": "tokens",
        "customer": "llama",
        "value": value,
        "timestamp": "2026-01-10T00:00:00Z",
        **more,
    }

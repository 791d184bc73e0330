"""What the tests of the doors for usage share: one ledger, and what it keeps."""

from typing import Any

import httpx

from app.ledger import Ledger
from domain.aggregation import Aggregation
from domain.customers import CreateCustomer
from domain.meters import CreateMeter
from domain.usage import UsageRecord
from tests.app.http import Talking

FORM = "application/x-www-form-urlencoded"
KEY = {"authorization": "Bearer sk_test_1"}


def metered(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    ledger.execute_now(CreateMeter(name="Tokens", event_name="tokens", aggregation=Aggregation.SUM))
    ledger.execute_now(CreateCustomer(name="Al", external_id="al"))
    return Talking(ledger)


def kept(ledger: Ledger) -> list[UsageRecord]:
    """Every usage record in the ledger."""
    events = (one.event for one in ledger.store.read(0, ledger.store.head()[0]))
    return [record for one in events for record in getattr(one, "records", ())]


def post(talking: Talking, path: str, content: bytes, kind: str, **more: Any) -> httpx.Response:
    """The answer to a body of this type."""
    headers = {"content-type": kind, **more.pop("headers", {})}
    return talking.request("POST", path, content=content, headers=headers, **more)

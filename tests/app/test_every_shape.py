"""Whatever shape a record is sent in, the ledger keeps the same record under the same identity."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from domain.periods import format_instant, from_us
from domain.usage import UsageRecord
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import FORM, KEY, kept, metered, post

pytestmark = marks.CAMPAIGN


class Sent(NamedTuple):
    """A record as any of the shapes can tell it."""

    id: str
    value: str
    properties: dict[str, str]
    seconds: int


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\ufffd[]"),
                min_size=1, max_size=12)  # fmt: skip
NUMBERS = st.decimals(-(10**6), 10**6, places=6).map(lambda number: f"{number:f}")
NAMES = TEXTS.filter(lambda name: name not in ("value", "stripe_customer_id"))
SENT = st.builds(
    Sent,
    TEXTS,
    NUMBERS,
    st.dictionaries(NAMES, TEXTS, max_size=4),
    st.integers(0, 10**10),
)


def own(sent: Sent) -> dict[str, Any]:
    """The record in our own shape."""
    return {
        "id": sent.id,
        "eventName": "tokens",
        "customer": "al",
        "timestamp": format_instant(from_us(sent.seconds * 1_000_000)),
        "value": sent.value,
        "properties": sent.properties,
    }


def event(sent: Sent) -> bytes:
    """The record as a CloudEvent, its value a JSON number."""
    attributes = {
        "specversion": "1.0",
        "id": sent.id,
        "source": "default",
        "type": "tokens",
        "subject": "al",
        "time": format_instant(from_us(sent.seconds * 1_000_000)),
        "data": {**sent.properties, "value": "NUMBER"},
    }
    return json.dumps(attributes).replace('"value": "NUMBER"', f'"value": {sent.value}').encode()


def lago(sent: Sent) -> bytes:
    """The record as Lago's event."""
    fields = {
        "transaction_id": sent.id,
        "external_customer_id": "al",
        "code": "tokens",
        "timestamp": sent.seconds,
        "properties": {**sent.properties, "value": sent.value},
    }
    return json.dumps({"event": fields}).encode()


def stripe(sent: Sent) -> bytes:
    """The record as Stripe's form."""
    payload = {**sent.properties, "stripe_customer_id": "al", "value": sent.value}
    fields = {
        "event_name": "tokens",
        "identifier": sent.id,
        "timestamp": str(sent.seconds),
        **{f"payload[{name}]": value for name, value in payload.items()},
    }
    return urlencode(fields).encode()


SINGLE, JSON = "application/cloudevents+json", "application/json"


def send(talking: Talking, shape: str, sent: Sent) -> None:
    """Send the record in one shape."""
    line = json.dumps(own(sent))
    doors = {
        "json": ("/v1/usage", f"[{line}]".encode(), JSON),
        "ndjson": ("/v1/usage", line.encode(), "application/x-ndjson"),
        "cloudevents": ("/v1/usage", event(sent), SINGLE),
        "openmeter": ("/api/v1/events", event(sent), SINGLE),
        "lago": ("/api/v1/events", lago(sent), JSON),
        "stripe": ("/v1/billing/meter_events", stripe(sent), FORM),
    }
    if shape == "graphql":
        mutation = """mutation ($records: [UsageRecordInput!]!) {
            recordUsage(input: {records: $records}) { receipts { status } } }"""
        asked = {"query": mutation, "variables": {"records": [own(sent)]}}
        talking.request("POST", "/graphql", json=asked)
        return
    path, body, kind = doors[shape]
    post(talking, path, body, kind, headers=KEY)


SHAPES = ("graphql", "json", "ndjson", "cloudevents", "openmeter", "lago", "stripe")


@settings(max_examples=10)
@given(SENT, st.permutations(SHAPES))
def test_a_record_is_the_same_in_every_shape(sent: Sent, shapes: list[str]) -> None:
    found: list[UsageRecord] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, shape in enumerate(shapes):
            at = datetime(2026, 1, 1, tzinfo=UTC)
            with Ledger(Path(folder) / str(number), test_clock_at=at) as ledger:
                talking = metered(ledger)
                send(talking, shape, sent)
                send(talking, shapes[0], sent)  # in another shape it is known already
                [record] = kept(ledger)
                found.append(record)
    assert all(record == found[0] for record in found)

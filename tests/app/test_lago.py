"""Lago's addresses: an event or a batch in, the events or what is wrong with each out."""

import json
from typing import Any

import pytest

from app.ledger import Ledger
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import kept, metered, post

pytestmark = marks.HTTP

PATH = "/api/v1/events"


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    return metered(ledger)


def event(id: str = "a", **more: Any) -> dict[str, Any]:
    """An event as its sender writes it; a field that is None is left out."""
    fields = {
        "transaction_id": id,
        "external_subscription_id": "al",
        "code": "tokens",
        "timestamp": 1767261600,
        "properties": {"value": 12.50, "model": "opus"},
        **more,
    }
    return {name: value for name, value in fields.items() if value is not None}


def send(talking: Talking, sent: object, path: str = PATH, kind: str = "application/json") -> Any:
    """The answer to a body."""
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return post(talking, path, body, kind)


def test_an_event_is_a_record_and_is_answered_as_lago_does(talking: Talking) -> None:
    answer = send(talking, {"event": event()})
    assert answer.status_code == 200
    assert answer.json()["event"] == {
        "lago_id": "a",
        "transaction_id": "a",
        "lago_customer_id": None,
        "code": "tokens",
        "timestamp": "2026-01-01T10:00:00Z",
        "precise_total_amount_cents": None,
        "properties": {"value": 12.5, "model": "opus"},
        "lago_subscription_id": None,
        "external_subscription_id": "al",
        "external_customer_id": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
    [record] = kept(talking.ledger)
    assert (record.id, record.source, record.event_name) == ("a", "default", "tokens")
    assert (record.customer, record.value, record.properties) == ("al", "12.5", {"model": "opus"})
    assert record.timestamp_us == 1_767_261_600_000_000


def test_the_customer_is_the_customer_where_one_is_named(talking: Talking) -> None:
    send(talking, {"event": event(external_customer_id="al", external_subscription_id="sub")})
    assert [record.customer for record in kept(talking.ledger)] == ["al"]


def test_an_event_that_is_sent_again_is_answered_as_the_first_time(talking: Talking) -> None:
    first, again = (send(talking, {"event": event()}) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(kept(talking.ledger)) == 1


def test_other_content_under_the_same_transaction_is_refused(talking: Talking) -> None:
    send(talking, {"event": event()})
    answer = send(talking, {"event": event(properties={"value": 1})})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_errors")
    assert answer.json()["error_details"]["transaction_id"][0] == "value_already_exist"


@pytest.mark.parametrize(
    ("timestamp", "us"),
    [
        ("1767261600", 1_767_261_600_000_000),
        (1767261600.123, 1_767_261_600_123_000),
        ("1767261600.1234567", 1_767_261_600_123_456),
        ("2026-01-01T11:00:00+01:00", 1_767_261_600_000_000),
    ],
)
def test_times_are_exact(talking: Talking, timestamp: object, us: int) -> None:
    assert send(talking, {"event": event(timestamp=timestamp)}).status_code == 200
    assert [record.timestamp_us for record in kept(talking.ledger)] == [us]


@pytest.mark.parametrize(
    ("sent", "field", "code"),
    [
        (event(transaction_id=None) | {"transaction_id": 7}, "transaction_id", "value_is_invalid"),
        (event(code=None), "code", "value_is_mandatory"),
        (event(code=" "), "code", "value_is_mandatory"),
        (event(external_subscription_id=None), "external_subscription_id", "value_is_mandatory"),
        (event(timestamp="soon"), "timestamp", "value_is_invalid"),
        (event(timestamp=-1), "timestamp", "value_is_invalid"),
        (event(timestamp=10**11), "timestamp", "value_is_invalid"),
        (event(timestamp=[1]), "timestamp", "value_is_invalid"),
        (event(properties=[1]), "properties", "value_is_invalid"),
        (event(properties={"n": [1]}), "properties.n", "value_is_invalid"),
        (event(properties={"value": "x"}), "properties.value", "value_is_invalid"),
        (event(properties={}), "properties.value", "value_is_mandatory"),
        (event(precise_total_amount_cents="1.5"), "precise_total_amount_cents", "value_is_invalid"),
        (7, "event", "value_is_invalid"),
    ],
)
def test_a_bad_event_names_the_field(talking: Talking, sent: object, field: str, code: str) -> None:
    answer = send(talking, {"event": sent})
    assert answer.status_code == 422
    assert {name: what[0] for name, what in answer.json()["error_details"].items()} == {field: code}
    assert kept(talking.ledger) == []


def test_a_batch_is_answered_event_by_event(talking: Talking) -> None:
    answer = send(talking, {"events": [event("a"), event("b")]}, f"{PATH}/batch")
    assert [one["transaction_id"] for one in answer.json()["events"]] == ["a", "b"]


def test_of_a_batch_the_good_ones_are_kept_and_the_others_named(talking: Talking) -> None:
    answer = send(talking, {"events": [event("a"), event("b", code=None)]}, f"{PATH}/batch")
    assert answer.status_code == 422
    details = answer.json()["error_details"]
    assert {place: list(fields) for place, fields in details.items()} == {"1": ["code"]}
    assert [record.id for record in kept(talking.ledger)] == ["a"]
    mended = send(talking, {"events": [event("a"), event("b")]}, f"{PATH}/batch")
    assert mended.status_code == 200
    assert [record.id for record in kept(talking.ledger)] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        (PATH, b"{", "application/json", 400),
        (PATH, b'{"events": []}', "application/json", 400),
        (PATH, b"[" * 100_000, "application/json", 400),
        (f"{PATH}/batch", b"null", "application/json", 400),
        (f"{PATH}/batch", b"{}", "text/plain", 415),
        (
            f"{PATH}/batch",
            b'{"events": [' + b"{}," * 10_000 + b"{}]}",
            "application/json",
            413,
        ),
        (PATH, b" " * 5_242_881, "application/json", 413),
    ],
)
def test_a_bad_body_is_refused_whole(
    talking: Talking, path: str, body: bytes, kind: str, status: int
) -> None:
    answer = send(talking, body, path, kind)
    assert (answer.status_code, answer.json()["status"]) == (status, status)

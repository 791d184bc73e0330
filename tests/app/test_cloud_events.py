"""CloudEvents as usage: single, batch and binary, their numbers exact, their attributes named."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

from app.ledger import Ledger
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import kept, metered

pytestmark = marks.HTTP

SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    return metered(ledger)


def event(id: object = "a", data: object = None, **more: Any) -> dict[str, Any]:
    """An event as its sender writes it; an attribute that is None is left out."""
    attributes = {
        "specversion": "1.0",
        "id": id,
        "source": "/gateway",
        "type": "tokens",
        "subject": "al",
        "data": {"value": 3} if data is None else data,
        **more,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def test_a_single_event_is_a_record(talking: Talking) -> None:
    sent = event(data={"value": 12.50, "model": "opus"}, time="2026-01-01T10:00:00Z")
    answer = talking.usage(sent, f"{SINGLE}; charset=utf-8").json()
    assert (answer["accepted"], answer["problems"]) == (1, [])
    [record] = kept(talking.ledger)
    assert (record.id, record.source, record.event_name) == ("a", "/gateway", "tokens")
    assert (record.customer, record.value, record.properties) == ("al", "12.5", {"model": "opus"})
    assert record.timestamp_us == 1_767_261_600_000_000


def test_a_batch_judges_each_event_by_itself(talking: Talking) -> None:
    sent = [event("a"), event("a"), event("a", {"value": 4}), event("b", subject=None), 7]
    answer = talking.usage(sent, BATCH).json()
    counts = [answer[name] for name in ("accepted", "duplicates", "conflicts", "rejected")]
    assert counts == [1, 1, 1, 2]
    problems = [(one["index"], one["code"], one["path"]) for one in answer["problems"]]
    assert problems == [
        (2, "CONFLICT", ["id"]),
        (3, "REQUIRED", ["subject"]),
        (4, "INVALID_VALUE", []),
    ]


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0.1", "0.1"),
        ("123456789012345678.123456789012", "123456789012345678.123456789012"),
        ("1e-7", "0.0000001"),
        ("1.5E+3", "1500"),
        ("-0", "0"),
        ('"7.10"', "7.1"),
    ],
)
def test_numbers_are_what_their_text_says(talking: Talking, number: str, value: str) -> None:
    body = json.dumps(event(data={"value": "X"})).replace('"X"', number).encode()
    assert talking.usage(body, SINGLE).json()["accepted"] == 1
    assert [record.value for record in kept(talking.ledger)] == [value]


@pytest.mark.parametrize(
    ("sent", "code", "path", "message"),
    [
        (event(id=7), "INVALID_VALUE", ["id"], "id must be a string, not int"),
        (event(type=None), "REQUIRED", ["type"], "type is required"),
        (event(type=" "), "REQUIRED", ["type"], "type must not be empty"),
        (event(source=None), "REQUIRED", ["source"], "source is required"),
        (event(specversion="0.3"), "INVALID_VALUE", ["specversion"], "must be 1.0"),
        (event(time="yesterday"), "INVALID_VALUE", ["time"], "An instant is"),
        (event(data=[1]), "INVALID_VALUE", ["data"], "data must be an object"),
        (event(data={"n": {"m": 1}}), "INVALID_VALUE", ["data", "n"], "data.n must be a string"),
        (event(data={"model": "x"}), "REQUIRED", ["data", "value"], "data.value is required"),
        (event(data={"value": "x"}), "INVALID_VALUE", ["data", "value"], "plain decimal"),
        (event(data={"value": 10**18}), "INVALID_VALUE", ["data", "value"], "at most 18"),
        (event(data_base64="AA=="), "INVALID_VALUE", ["data_base64"], "as a JSON object"),
        (event(datacontenttype="text/xml"), "INVALID_VALUE", ["datacontenttype"], "json"),
    ],
)
def test_a_bad_event_names_the_attribute(
    talking: Talking, sent: object, code: str, path: list[str], message: str
) -> None:
    [problem] = talking.usage(sent, SINGLE).json()["problems"]
    assert (problem["code"], problem["path"]) == (code, path)
    assert message in problem["message"]
    assert kept(talking.ledger) == []


@pytest.mark.parametrize("number", ["1e1000000", "1e-999999", "01", "1.", ".5", "NaN", "tru"])
def test_what_is_no_number_within_the_limits_is_refused(talking: Talking, number: str) -> None:
    body = json.dumps(event(data={"value": "X"})).replace('"X"', number).encode()
    assert talking.usage(body, SINGLE).json()["rejected"] == 1


def binary(talking: Talking, headers: dict[str, str], body: bytes = b'{"value": 3}') -> Any:
    """The answer to an event in binary mode."""
    attributes = {"ce-specversion": "1.0", "ce-id": "a", "ce-source": "s", "ce-type": "tokens"}
    sent = {**attributes, "ce-subject": "al", "content-type": "application/json", **headers}
    return talking.request("POST", "/v1/usage", content=body, headers=sent).json()


def test_in_binary_mode_the_attributes_are_headers(talking: Talking) -> None:
    headers = {"ce-id": "%C3%A9%25", "ce-source": '"a \\"b\\""', "ce-time": "2026-01-01T00:00:00Z"}
    assert binary(talking, headers)["accepted"] == 1
    [record] = kept(talking.ledger)
    assert (record.id, record.source, record.value) == ("é%", 'a "b"', "3")


@pytest.mark.parametrize(
    ("headers", "body", "path"),
    [
        ({"ce-id": ""}, b"{}", ["id"]),
        ({"ce-id": "%FF"}, b"{}", ["ce-id"]),
        ({"ce-specversion": "2"}, b"{}", ["specversion"]),
        ({"content-type": "text/plain"}, b"{}", ["datacontenttype"]),
        ({}, b"[1]", ["data"]),
        ({}, b"{", []),
    ],
)
def test_a_bad_event_in_binary_mode_names_the_attribute(
    talking: Talking, headers: dict[str, str], body: bytes, path: list[str]
) -> None:
    [problem] = binary(talking, headers, body)["problems"]
    assert problem["path"] == path


@pytest.mark.parametrize("body", [b"{}", b"[", b"\xff", b"[" * 100_000, b"null"])
def test_a_batch_that_is_no_array_is_refused_whole(talking: Talking, body: bytes) -> None:
    answer = talking.usage(body, BATCH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_JSON")


def test_a_batch_has_at_most_as_many_events_as_any(talking: Talking) -> None:
    answer = talking.usage(b"[" + b"{}," * 10_000 + b"{}]", BATCH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "LIMIT_EXCEEDED")


@pytest.mark.parametrize("path", ["/v1/usage", "/api/v1/events"])
@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
def test_what_the_usual_library_writes_is_read(talking: Talking, path: str, write: Any) -> None:
    attributes = {"type": "tokens", "source": "/über/gateway", "subject": "al", "id": "a b"}
    message = write(CloudEvent(attributes={**attributes, "specversion": "1.0"}, data={"value": 7}))
    answer = talking.request("POST", path, content=message.body, headers=message.headers)
    assert answer.status_code in (200, 204)
    [record] = kept(talking.ledger)
    assert (record.source, record.id, record.value) == ("/über/gateway", "a b", "7")

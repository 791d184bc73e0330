"""Usage in bulk over plain HTTP: each record is judged by itself, and a body only as a whole."""

import threading
from pathlib import Path
from typing import Any

import pytest

from app.jobs import CommandJob
from app.ledger import Ledger
from app.settings import Settings
from app.writer import Group
from domain.aggregation import Aggregation
from domain.customers import CreateCustomer
from domain.meters import CreateMeter
from tests.app.http import Talking


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    ledger.execute_now(CreateMeter(name="Tokens", event_name="tokens", aggregation=Aggregation.SUM))
    ledger.execute_now(CreateCustomer(name="Al", external_id="al"))
    return Talking(ledger)


def record(id: str, value: object = "3", **more: Any) -> dict[str, Any]:
    """A usage record as its sender writes it."""
    return {"id": id, "eventName": "tokens", "customer": "al", "value": value, **more}


def counts(answer: dict[str, Any]) -> tuple[int, ...]:
    """(accepted, unmatched, duplicates, conflicts, rejected)."""
    names = ("accepted", "unmatched", "duplicates", "conflicts", "rejected")
    return tuple(answer[name] for name in names)


def test_a_list_and_an_object_of_records_are_the_same(talking: Talking) -> None:
    first = talking.usage([record("a"), record("b")]).json()
    again = talking.usage({"records": [record("a"), record("b")]}).json()
    assert counts(first) == (2, 0, 0, 0, 0)
    assert counts(again) == (0, 0, 2, 0, 0)
    assert first["position"] == again["position"] == talking.ledger.store.head()[0]


def test_ndjson_has_a_record_on_each_line(talking: Talking) -> None:
    body = b"\n".join([b'{"id":"a","eventName":"tokens","customer":"al","value":"1"}', b"", b"{"])
    answer = talking.usage(body, "application/x-ndjson").json()
    assert counts(answer) == (1, 0, 0, 0, 1)
    assert answer["problems"][0]["index"] == 1


@pytest.mark.parametrize(
    ("sent", "code", "path", "message"),
    [
        (record("x", 3), "INVALID_VALUE", ["value"], 'a decimal string such as "0.04", not int'),
        (record("x", 0.5), "INVALID_VALUE", ["value"], 'a decimal string such as "0.04", not flo'),
        (record("x", "NaN"), "INVALID_VALUE", ["value"], "NaN and infinity are refused"),
        (record("x", "1e3"), "INVALID_VALUE", ["value"], "an exponent is refused"),
        (record("x", None), "REQUIRED", ["value"], "value is required: a meter over tokens"),
        (record("x", properties=[1]), "INVALID_VALUE", ["properties"], "an object of strings"),
        (record("x", properties={"n": 1}), "INVALID_VALUE", ["properties", "n"], "a string"),
        (record("x", timestamp="2026-01-01T00:00:00"), "INVALID_VALUE", ["timestamp"], "offset"),
        (record("x", timestamp=7), "INVALID_VALUE", ["timestamp"], "timestamp must be a string"),
        (record("a\x00b"), "INVALID_VALUE", ["id"], "NUL"),
        (record("x" * 256), "LIMIT_EXCEEDED", ["id"], "at most 255 bytes"),
        ({"id": "x", "customer": "al"}, "REQUIRED", ["eventName"], "eventName is required"),
        ("x", "INVALID_VALUE", [], "cannot be read"),
    ],
)
def test_a_bad_record_is_named_and_the_others_are_kept(
    talking: Talking, sent: object, code: str, path: list[str], message: str
) -> None:
    answer = talking.usage([record("good"), sent]).json()
    assert counts(answer) == (1, 0, 0, 0, 1)
    (problem,) = answer["problems"]
    assert (problem["index"], problem["status"], problem["code"]) == (1, "REJECTED", code)
    assert problem["path"] == path
    assert message in problem["message"]


def test_a_conflict_is_a_problem_and_writes_nothing(talking: Talking) -> None:
    talking.usage([record("a")])
    answer = talking.usage([record("a", "4"), record("later", customer="signs-up-later")]).json()
    assert counts(answer) == (0, 1, 0, 1, 0)
    assert [(one["index"], one["status"]) for one in answer["problems"]] == [(0, "CONFLICT")]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "BAD_JSON"),
        (b"1", "application/json", 400, "BAD_JSON"),
        (b"null", "application/json", 400, "BAD_JSON"),
        (b"\xff", "application/json", 400, "BAD_JSON"),
        (b"[" * 100_000, "application/json", 400, "BAD_JSON"),
        (b"[]", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[]", "", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"[" + b"{}," * 10_000 + b"{}]", "application/json", 413, "LIMIT_EXCEEDED"),
        (b" " * 5_242_881, "application/json", 413, "BODY_TOO_LARGE"),
    ],
)
def test_a_bad_body_is_refused_whole(
    talking: Talking, body: bytes, kind: str, status: int, code: str
) -> None:
    before = talking.ledger.store.head()
    answer = talking.usage(body, kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert talking.ledger.store.head() == before


def test_when_too_many_wait_the_sender_is_told_to_come_back(tmp_path: Path) -> None:
    with Ledger(tmp_path, queue_limit=1) as ledger:
        busy, done = threading.Event(), threading.Event()

        def hold(group: Group) -> None:
            busy.set()
            done.wait()

        holding = ledger.writer.submit(CommandJob(hold, None))
        busy.wait()
        waiting = ledger.writer.submit(CommandJob(lambda group: None, None))
        answer = Talking(ledger, Settings()).usage([record("a")])
        done.set()
        holding.result()
        waiting.result()
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "TOO_BUSY"
        assert ledger.store.identity("default", "a") is None

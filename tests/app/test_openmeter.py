"""OpenMeter's address: CloudEvents in, 204 out, and a problem that names the field otherwise."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from app.jobs import CommandJob
from app.ledger import Ledger
from app.writer import Group
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import KEY, kept, metered, post
from tests.app.test_cloud_events import BATCH, SINGLE, event
from tests.app.test_compressed import DOORS

pytestmark = marks.HTTP

PATH = "/api/v1/events"


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    return metered(ledger)


def send(talking: Talking, sent: object, kind: str = SINGLE) -> Any:
    """The answer to events."""
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return post(talking, PATH, body, kind)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (SINGLE, event()),
        (BATCH, [event()]),
        ("application/json", event()),
        ("application/json", [event()]),
    ],
)
def test_events_are_answered_without_a_body(talking: Talking, kind: str, sent: object) -> None:
    for _ in range(2):  # what is sent again is no problem there, and none here
        answer = send(talking, sent, kind)
        assert (answer.status_code, answer.content) == (204, b"")
    [record] = kept(talking.ledger)
    assert (record.source, record.id, record.value) == ("/gateway", "a", "3")


def test_other_content_under_the_same_identity_is_a_conflict(talking: Talking) -> None:
    send(talking, event())
    answer = send(talking, event(data={"value": 4}))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Conflict"
    assert [one["path"] for one in answer.json()["problems"]] == [["id"]]


def test_what_is_wrong_is_named_and_the_others_are_kept(talking: Talking) -> None:
    answer = send(talking, [event("a"), event("b", subject=None)], BATCH)
    assert (answer.status_code, answer.json()["detail"]) == (400, "subject is required")
    [problem] = answer.json()["problems"]
    assert (problem["index"], problem["path"]) == (1, ["subject"])
    assert [record.id for record in kept(talking.ledger)] == ["a"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[", BATCH, 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"[" + b"{}," * 10_000 + b"{}]", BATCH, 413),
        (b" " * 5_242_881, SINGLE, 413),
    ],
)
def test_a_bad_body_is_a_problem(talking: Talking, body: bytes, kind: str, status: int) -> None:
    answer = send(talking, body, kind)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "kind", "body"), DOORS)
def test_when_too_many_wait_every_door_says_so(
    tmp_path: Path, path: str, kind: str, body: bytes
) -> None:
    with Ledger(tmp_path, queue_limit=1) as ledger:
        busy, done = threading.Event(), threading.Event()

        def hold(group: Group) -> None:
            busy.set()
            done.wait()

        holding = ledger.writer.submit(CommandJob(hold, None))
        busy.wait()
        waiting = ledger.writer.submit(CommandJob(lambda group: None, None))
        answer = post(Talking(ledger), path, body, kind, headers=KEY)
        done.set()
        holding.result()
        waiting.result()
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        said = answer.json()
        where = said["error"] if isinstance(said.get("error"), dict) else said
        assert where["code"] in ("TOO_BUSY", "rate_limit")
        assert kept(ledger) == []

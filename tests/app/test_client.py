"""The Python client: it batches, sends again with the same ids, and says what was not counted."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from app.client import Client, Problem
from tests.app.sending import (
    EVENT_NAME,
    PATIENCE_SECONDS,
    Answer,
    Between,
    Counting,
    answering,
    be_down,
    between,
    counting,
    lose_the_reply,
    pass_on,
)
from tests.house import ROOT

__all__ = ["between", "counting"]

LONG = 60.0
"""An age that no record of a test reaches."""


def test_what_is_recorded_is_counted(counting: Counting) -> None:
    name, customer = counting.customer()
    with Client(counting.url) as client:
        client.record(EVENT_NAME, name, "0.1")
        client.record(EVENT_NAME, name, 2, {"model": "large", "size": 3})
        client.record(EVENT_NAME, name, Decimal("1E+2"), timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        client.record(EVENT_NAME, name, timestamp="2026-01-01T00:00:00+01:00", value=1, id="mine")
    assert counting.counted(customer) == (4, "103.1")
    assert not client.problems


@pytest.mark.parametrize("value", [0.1, True, Decimal("NaN"), b"1", [1]])
def test_what_is_not_exact_is_refused(counting: Counting, value: Any) -> None:
    with Client(counting.url) as client:
        with pytest.raises(TypeError, match="value must be str, int or a finite Decimal"):
            client.record(EVENT_NAME, "al", value)
        with pytest.raises(TypeError, match=r"properties\.size must be str, int"):
            client.record(EVENT_NAME, "al", 1, {"size": value})
        with pytest.raises(ValueError, match="time zone"):
            client.record(EVENT_NAME, "al", 1, timestamp=datetime(2026, 1, 1))  # noqa: DTZ001 - the case
        with pytest.raises(ValueError, match="at most 65536 bytes"):
            client.record(EVENT_NAME, "a" * 70_000, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://here"},
        {"batch_records": 10_001},
        {"batch_bytes": 0},
        {"queue_records": 0},
        {"durable": True},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Client(**{"base_url": "http://127.0.0.1:1", **wrong})


def test_ids_are_uuids_of_version_7_in_order(between: Between) -> None:
    between.always = be_down
    client = Client(between.url)

    def recorded(_: int) -> list[str]:
        return [client.record(EVENT_NAME, "al", 1) for _ in range(500)]

    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(recorded, range(8)))
    client.close(timeout=0)
    assert len({id for some in ids for id in some}) == 4_000
    assert all(some == sorted(some) for some in ids)
    for id in ids[0]:
        uuid = UUID(id)
        assert (str(uuid), uuid.version, uuid.variant) == (id, 7, RFC_4122)


def test_batches_are_bounded_by_records_and_bytes(between: Between, counting: Counting) -> None:
    name, customer = counting.customer()
    with Client(between.url, batch_records=10, max_age_s=LONG) as client:
        for _ in range(25):
            client.record(EVENT_NAME, name, 1)
        between.wait_for(2)
        assert client.flush(PATIENCE_SECONDS)
    assert [len(ids) for ids in between.ids] == [10, 10, 5]
    between.seen.clear()
    with Client(between.url, batch_bytes=1_000, max_age_s=LONG) as client:
        for _ in range(4):
            client.record(EVENT_NAME, name, 1, {f"text-{n}": "x" * 100 for n in range(4)})
    assert [len(ids) for ids in between.ids] == [2, 2]
    assert counting.counted(customer) == (29, "29")


def test_a_record_by_itself_is_sent_when_it_is_old_enough(between: Between) -> None:
    with Client(between.url, max_age_s=0.01) as client:
        id = client.record(EVENT_NAME, "al", 1)
        between.wait_for(1)
    assert between.ids == [[id]]


def test_a_lost_reply_is_asked_for_again_with_the_same_ids(
    between: Between, counting: Counting
) -> None:
    name, customer = counting.customer()
    between.plans.extend([lose_the_reply, lose_the_reply])
    with Client(between.url, max_age_s=LONG) as client:
        ids = [client.record(EVENT_NAME, name, 1) for _ in range(3)]
        assert client.flush(PATIENCE_SECONDS)
    assert between.ids == [ids, ids, ids]
    assert between.seen[0][1] == between.seen[2][1]
    assert counting.counted(customer) == (3, "3")
    assert not client.problems


@pytest.mark.parametrize("status", [200, 408, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int, between: Between, counting: Counting) -> None:
    name, customer = counting.customer()
    between.plans.extend([answering(status), be_down])
    with Client(between.url) as client:
        id = client.record(EVENT_NAME, name, 1)
    assert between.ids == [[id]] * 3
    assert counting.counted(customer) == (1, "1")


@pytest.mark.parametrize("date", [False, True])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(date: bool, between: Between) -> None:
    at = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) + 2, UTC)
    asked = at.strftime("%a, %d %b %Y %H:%M:%S GMT") if date else "1"
    between.plans.append(answering(429, retry_after=asked))
    with Client(between.url) as client:
        client.record(EVENT_NAME, "al", 1)
        assert client.flush(PATIENCE_SECONDS)
    if date:
        assert datetime.now(UTC) >= at
    else:
        assert between.seen[1][0] - between.seen[0][0] >= 1


def test_a_record_that_is_not_counted_is_told_and_not_sent_again(
    between: Between, counting: Counting
) -> None:
    name, customer = counting.customer()
    told: list[Problem] = []

    def listen(problem: Problem) -> None:
        told.append(problem)
        raise RuntimeError("a listener may fail")

    with Client(between.url, on_problem=listen, max_age_s=LONG) as client:
        client.record(EVENT_NAME, name, 1, id=f"{name}-a")
        client.record(EVENT_NAME, name, 2, id=f"{name}-a")
        client.record(EVENT_NAME, "", 3)
        client.record(EVENT_NAME, name, 4)
        assert client.flush(PATIENCE_SECONDS)
    found = [(one.status, one.code, one.record["value"]) for one in told]
    assert found == [("CONFLICT", "CONFLICT", "2"), ("REJECTED", "REQUIRED", "3")]
    assert list(client.problems) == told
    assert len(between.seen) == 1
    assert counting.counted(customer) == (2, "5")


def test_what_is_refused_for_one_record_is_sent_without_it(
    between: Between, counting: Counting
) -> None:
    def refuse_seven(records: list[dict[str, Any]]) -> Answer | None:
        return (400, {}) if any(record["value"] == "7" for record in records) else None

    name, customer = counting.customer()
    between.always = refuse_seven
    with Client(between.url, max_age_s=LONG) as client:
        for value in range(1, 11):
            client.record(EVENT_NAME, name, value)
    assert counting.counted(customer) == (9, "48")
    (problem,) = client.problems
    assert (problem.status, problem.code, problem.record["value"]) == ("REFUSED", "HTTP_400", "7")


@pytest.mark.parametrize("status", [302, 401, 404, 415])
def test_a_server_that_takes_nothing_is_not_asked_for_ever(status: int, between: Between) -> None:
    between.always = answering(status, location=f"{between.url}/elsewhere")
    with Client(between.url, key="sesame", max_age_s=LONG) as client:
        ids = [client.record(EVENT_NAME, "al", 1) for _ in range(3)]
        assert client.flush(PATIENCE_SECONDS)
    assert between.ids == [ids]
    assert between.keys == ["Bearer sesame"]
    assert [(one.record["id"], one.code) for one in client.problems] == [
        (id, f"HTTP_{status}") for id in ids
    ]


def test_a_full_queue_makes_the_sender_wait(between: Between, counting: Counting) -> None:
    name, customer = counting.customer()
    between.always = be_down
    recorded: list[str] = []
    with Client(between.url, queue_records=5) as client:

        def record_many() -> None:
            for _ in range(20):
                recorded.append(client.record(EVENT_NAME, name, 1))  # noqa: PERF401 - as it goes

        thread = threading.Thread(target=record_many)
        thread.start()
        between.wait_for(5)
        assert len(recorded) <= 5
        assert thread.is_alive()
        between.always = pass_on
        thread.join(PATIENCE_SECONDS)
        assert client.flush(PATIENCE_SECONDS)
    assert counting.counted(customer) == (20, "20")


def test_many_threads_may_record(counting: Counting) -> None:
    name, customer = counting.customer()
    with Client(counting.url, batch_records=50, queue_records=100) as client:

        def record_many(_: int) -> None:
            for _ in range(250):
                client.record(EVENT_NAME, name, 1)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(record_many, range(8)))
    assert counting.counted(customer) == (2_000, "2000")


def test_what_is_left_at_the_end_is_told(between: Between) -> None:
    between.always = be_down
    client = Client(between.url)
    ids = [client.record(EVENT_NAME, "al", 1) for _ in range(3)]
    assert not client.flush(0.1)
    client.close(timeout=0.1)
    client.close()
    assert [(one.record["id"], one.status) for one in client.problems] == [
        (id, "UNDELIVERED") for id in ids
    ]
    with pytest.raises(RuntimeError, match="closed"):
        client.record(EVENT_NAME, "al", 1)


def test_a_client_does_not_go_on_in_a_fork(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(between.url) as client:
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: -1)
            with pytest.raises(RuntimeError, match="fork"):
                client.record(EVENT_NAME, "al", 1)
            client.close()
        client.record(EVENT_NAME, "al", 1)


@pytest.mark.parametrize("last_line", ["", "raise SystemExit(3)", "1 / 0"])
def test_a_program_that_ends_sends_what_is_left(last_line: str, counting: Counting) -> None:
    name, customer = counting.customer()
    program = f"""
from app.client import Client
client = Client({counting.url!r}, max_age_s=60)
for value in range(10):
    client.record({EVENT_NAME!r}, {name!r}, value)
{last_line}
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert counting.counted(customer) == (10, "45")

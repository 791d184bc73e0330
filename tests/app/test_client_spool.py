"""The client's spool: an outage, a full disk or a kill costs nothing; each record counts once."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.client import Client
from tests.app.sending import (
    EVENT_NAME,
    PATIENCE_SECONDS,
    Between,
    Counting,
    Plan,
    answering,
    be_down,
    between,
    child,
    counting,
    lose_the_reply,
    on_disk,
    pass_on,
    waiting,
)
from tests.house import ROOT
from tests.ports import free_port

__all__ = ["between", "counting"]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where records wait."""
    return tmp_path / "usage.spool"


def test_an_outage_is_waited_out_on_disk(between: Between, counting: Counting, spool: Path) -> None:
    name, customer = counting.customer()
    between.always = be_down
    with Client(between.url, spool=spool, patience_s=0.05, max_age_s=0.01) as client:
        with waiting(lambda: len(on_disk(spool)) == 20):
            ids = [client.record(EVENT_NAME, name, 1) for _ in range(20)]
        assert on_disk(spool) == ids
        assert not client.flush(0.01)
        between.plans.append(lose_the_reply)
        between.always = pass_on
        assert client.flush(PATIENCE_SECONDS)
    assert spool.read_bytes() == b""
    assert counting.counted(customer) == (20, "20")
    assert not client.problems


def test_a_client_that_ends_in_an_outage_leaves_its_records_to_the_next(
    counting: Counting, spool: Path
) -> None:
    name, customer = counting.customer()
    with Client(f"http://127.0.0.1:{free_port()}", spool=spool, patience_s=0) as client:
        ids = [client.record(EVENT_NAME, name, 1) for _ in range(20)]
    assert on_disk(spool) == ids
    with pytest.raises(RuntimeError, match="closed"):
        client.record(EVENT_NAME, name, 1)
    with Client(counting.url, spool=spool) as later:
        assert later.flush(PATIENCE_SECONDS)
    assert spool.read_bytes() == b""
    assert counting.counted(customer) == (20, "20")


def test_what_is_on_disk_goes_first(between: Between, counting: Counting, spool: Path) -> None:
    name, customer = counting.customer()
    with Client(f"http://127.0.0.1:{free_port()}", spool=spool, patience_s=0) as client:
        old = [client.record(EVENT_NAME, name, 1) for _ in range(5)]
    between.plans.append(be_down)
    with Client(between.url, spool=spool, batch_records=2) as later:
        new = [later.record(EVENT_NAME, name, 1) for _ in range(2)]
        assert later.flush(PATIENCE_SECONDS)
    assert between.ids == [old[:2], old[:2], old[2:4], old[4:], new]
    assert counting.counted(customer) == (7, "7")


def test_a_full_queue_goes_to_the_disk(between: Between, counting: Counting, spool: Path) -> None:
    name, customer = counting.customer()
    between.always = be_down
    with Client(between.url, spool=spool, queue_records=3, patience_s=60, max_age_s=60) as client:
        ids = [client.record(EVENT_NAME, name, 1) for _ in range(8)]
        assert on_disk(spool) == ids[3:]
        between.always = pass_on
    assert counting.counted(customer) == (8, "8")


def test_a_wrong_key_loses_nothing(between: Between, counting: Counting, spool: Path) -> None:
    name, customer = counting.customer()
    between.always = answering(401)
    with Client(between.url, "wrong", spool=spool) as client:
        ids = [client.record(EVENT_NAME, name, 1) for _ in range(3)]
    assert on_disk(spool) == ids
    assert not client.problems
    between.always = pass_on
    with Client(between.url, "right", spool=spool):
        pass
    assert counting.counted(customer) == (3, "3")


def test_a_disk_that_is_full_leaves_the_records_in_memory(
    between: Between, counting: Counting, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, customer = counting.customer()
    between.always = be_down
    failed: list[int] = []

    def full(descriptor: int) -> None:
        failed.append(descriptor)
        raise OSError("no space left on device")

    with Client(between.url, spool=spool, patience_s=0, max_age_s=0.01) as client:
        monkeypatch.setattr(os, "fsync", full)
        with waiting(lambda: len(failed) > 1):
            client.record(EVENT_NAME, name, 1)
        assert spool.read_bytes() == b""
        with pytest.raises(OSError, match="no space"):
            Client(between.url, spool=spool)
        between.always = pass_on
        assert client.flush(PATIENCE_SECONDS)
    assert counting.counted(customer) == (1, "1")


def test_a_durable_record_that_cannot_be_kept_is_not_taken(
    counting: Counting, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    name, customer = counting.customer()
    with Client(counting.url, spool=spool, durable=True) as client:
        with monkeypatch.context() as now:
            now.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="no space"):
                client.record(EVENT_NAME, name, 1)
        client.record(EVENT_NAME, name, 2)
        assert client.flush(PATIENCE_SECONDS)
    assert counting.counted(customer) == (1, "2")


@pytest.mark.parametrize("torn", [b'{"id": "half', b"\xff\x00\r\n\n", b"[]\n"])
def test_a_torn_line_costs_no_other(
    torn: bytes, between: Between, counting: Counting, spool: Path
) -> None:
    name, customer = counting.customer()
    with Client(f"http://127.0.0.1:{free_port()}", spool=spool, patience_s=0) as client:
        client.record(EVENT_NAME, name, 1)
    spool.write_bytes(spool.read_bytes() + torn)
    with Client(f"http://127.0.0.1:{free_port()}", spool=spool, patience_s=0) as client:
        client.record(EVENT_NAME, name, 1)
    with Client(counting.url, spool=spool) as later:
        assert later.flush(PATIENCE_SECONDS)
    assert counting.counted(customer) == (2, "2")
    assert {one.status for one in later.problems} == {"REJECTED"}
    assert spool.read_bytes() == b""


def test_two_processes_share_a_spool(between: Between, counting: Counting, spool: Path) -> None:
    name, customer = counting.customer()
    between.plans.extend([be_down, lose_the_reply, answering(503), lose_the_reply])
    processes = [
        subprocess.Popen(child(between.url, spool, name, 100), cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE_SECONDS)[0].split() for process in processes]
    with Client(counting.url, spool=spool) as later:
        assert later.flush(PATIENCE_SECONDS)
    assert len({id for ids in said for id in ids}) == 200
    assert counting.counted(customer) == (200, "200")
    assert not later.problems


@pytest.mark.parametrize("state", ["down", "up", "deaf"])
def test_a_client_that_is_killed_loses_nothing_that_was_safe(
    state: str, between: Between, counting: Counting, spool: Path
) -> None:
    name, customer = counting.customer()
    between.always = {"down": be_down, "up": pass_on, "deaf": lose_the_reply}[state]
    command: Any = child(between.url, spool, name, 1_000_000)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            safe = [process.stdout.readline().decode().strip() for _ in range(50)]
            between.wait_for(2)
        finally:
            process.kill()
        safe += process.stdout.read().decode().split()
    between.always = pass_on
    with Client(between.url, spool=spool) as later:
        assert later.flush(PATIENCE_SECONDS)
    arrived = {id for ids in between.ids for id in ids}
    assert set(safe) <= arrived
    assert len(arrived) <= len(safe) + 1
    assert counting.counted(customer) == (len(arrived), str(len(arrived)))
    assert not later.problems


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    plans=st.lists(
        st.sampled_from([pass_on, be_down, lose_the_reply, answering(503), answering(401)]),
        max_size=12,
    ),
    durable=st.booleans(),
    patience_s=st.sampled_from([0, 60]),
    batch_records=st.integers(1, 8),
)
def test_whatever_goes_wrong_on_the_way_each_record_counts_once(
    between: Between,
    counting: Counting,
    tmp_path: Path,
    plans: list[Plan],
    durable: bool,
    patience_s: float,
    batch_records: int,
) -> None:
    name, customer = counting.customer()
    spool = tmp_path / name
    between.plans.extend(plans)
    for _ in range(3):
        with Client(
            between.url,
            spool=spool,
            durable=durable,
            patience_s=patience_s,
            batch_records=batch_records,
            queue_records=5,
        ) as client:
            for _ in range(7):
                client.record(EVENT_NAME, name, 1)
        assert not client.problems
    between.plans.clear()
    with Client(between.url, spool=spool) as last:
        assert last.flush(PATIENCE_SECONDS)
    assert spool.read_bytes() == b""
    assert counting.counted(customer) == (21, "21")

"""A write that fails, before or after its commit, has not happened, or is caught up with."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from app import commands
from app.jobs import UsageJob
from app.ledger import Ledger
from app.store import Pending
from domain.customers import CreateCustomer
from domain.usage import RecordInput, Status
from tests import marks
from tests.app.test_writer import (
    PATIENCE_SECONDS,
    busy_writer,
    creates,
    failing_commits,
    statuses,
    tokens,
)
from tests.scenarios.story import Story

pytestmark = marks.FAILED


def test_a_failed_write_frees_the_id(alpaca: Ledger, monkeypatch: Any) -> None:
    append, failures = alpaca.store.append, iter([OSError("no space left on the disk")])

    def once_failing(events: Sequence[Pending], *rest: Any) -> list[int]:
        for failure in failures:
            raise failure
        return append(events, *rest)

    monkeypatch.setattr(alpaca.store, "append", once_failing)
    before = (alpaca.store.head(), list(alpaca.engine.database.dump()))
    with pytest.raises(OSError, match="no space left"):
        alpaca.record_now([tokens("a")])
    assert (alpaca.store.head(), list(alpaca.engine.database.dump())) == before
    [receipt] = alpaca.record_now([tokens("a")])
    assert (receipt.status, receipt.position) == (Status.ACCEPTED, before[0][0] + 1)


def test_a_failed_write_leaves_nothing_remembered(ledger: Ledger, monkeypatch: Any) -> None:
    story = Story(ledger)
    story.tell("2026-01-01 meter alpaca-tokens: sum of tokens by model")
    append = ledger.store.append
    record = RecordInput(
        id="a", event_name="tokens", customer="al", value="7", properties={"model": "small"}
    )

    def failing(*_: Any) -> list[int]:
        raise OSError("no space left on the disk")

    monkeypatch.setattr(ledger.store, "append", failing)
    with busy_writer(ledger):
        job = commands.job(CreateCustomer(name="Al", external_id="al"), key="once", actor=None)
        command, usage = ledger.writer.submit(job), ledger.writer.submit(UsageJob([record], None))
    for future in (command, usage):
        with pytest.raises(OSError, match="no space left"):
            future.result(PATIENCE_SECONDS)
    monkeypatch.setattr(ledger.store, "append", append)
    assert statuses(ledger.record_now([record])) == [Status.UNMATCHED]
    story.tell("2026-01-01 customer al")
    assert [line for line in ledger.engine.database.dump() if "small" in line]
    live = list(ledger.engine.database.dump())
    ledger.engine.start_over()
    ledger.engine.catch_up(ledger.store.read)
    assert list(ledger.engine.database.dump()) == live


def test_nothing_is_decided_on_views_that_lag_behind(alpaca: Ledger, monkeypatch: Any) -> None:
    failing_commits(alpaca, monkeypatch, 3)
    position = alpaca.writer.submit(creates("prod_1")).result(PATIENCE_SECONDS)
    with pytest.raises(sqlite3.OperationalError):
        alpaca.record_now([tokens("a")])
    assert alpaca.store.head()[0] == position
    assert statuses(alpaca.record_now([tokens("a")])) == [Status.ACCEPTED]

"""What was sent is known from what was kept and its mark: a repeated record from another one."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from app.ledger import Ledger
from app.priors import FEW, priors
from domain.usage import (
    AS_KEPT,
    TIMELESS,
    Prior,
    RecordInput,
    Status,
    UsageRecorded,
    digest_of,
    mark_of,
)
from tests.conftest import CLOCK

DUPLICATE, CONFLICT = Status.DUPLICATE, Status.CONFLICT


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger at a known time."""
    return Ledger(tmp_path / "ledger", test_clock_at=CLOCK)


def sent(number: int = 1, timestamp: str | None = "2026-01-01T00:00:00Z") -> RecordInput:
    """A record, of which several are written one way or another."""
    return RecordInput(
        id=f"r{number}",
        event_name="tokens",
        customer="al",
        timestamp=timestamp,
        value=str(number),
        properties={"model": "small"},
    )


def again(ledger: Ledger, *records: RecordInput) -> list[Status]:
    """What becomes of these records."""
    return [receipt.status for receipt in ledger.record_now(records)]


def test_a_time_left_out_is_part_of_what_was_sent(ledger: Ledger) -> None:
    with ledger:
        timed, untimed = sent(1), sent(2, None)
        ledger.record_now([timed, untimed])
        assert again(ledger, timed, untimed) == [DUPLICATE, DUPLICATE]
        now = "2026-02-01T00:00:00Z"
        assert again(ledger, replace(timed, timestamp=None), replace(untimed, timestamp=now)) == [
            CONFLICT,
            CONFLICT,
        ]


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 1_000])
def test_as_many_as_come_again_are_known(ledger: Ledger, count: int) -> None:
    with ledger:
        first = [sent(number) for number in range(1_000)]
        ledger.record_now(first)
        step = len(first) // count
        repeated = first[::step][:count]
        assert set(again(ledger, *repeated)) == {DUPLICATE}
        changed = [replace(one, value="0.5") for one in repeated]
        assert set(again(ledger, *changed)) == {CONFLICT}


def test_one_of_a_ledger_that_kept_digests_is_known(ledger: Ledger) -> None:
    with ledger:
        ledger.record_now([sent(1), sent(2, None)])
        recorded = ledger.store.at(ledger.store.head()[0])
        assert recorded is not None
        assert isinstance(recorded.event, UsageRecorded)
        one, two = recorded.event.records
        old = [digest_of(one, AS_KEPT), digest_of(two, TIMELESS)]
        assert [mark_of(one, old[0]), mark_of(two, old[1])] == [AS_KEPT, TIMELESS]
        assert mark_of(one, bytes(16)) is None
        taken = [(("default", "r1"), 2, 0, old[0]), (("default", "r2"), 2, 1, old[1])]
        known = ledger.store.recorded([("default", "r1"), ("default", "r2")])
        assert priors(ledger.store, taken) == known
        assert known["default", "r1"] == Prior(recorded.position, old[0])


def test_an_identity_says_how_its_record_was_sent(ledger: Ledger) -> None:
    with ledger:
        ledger.record_now([sent(1), sent(2, None)])
        found = ledger.store.select("SELECT id, digest FROM usage_identities ORDER BY id")
        assert [bytes(mark) for _, mark in found] == [AS_KEPT, TIMELESS]

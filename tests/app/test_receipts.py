"""Receipts that are made when somebody looks at them say what those made at once do."""

import pytest

from app.identities import IdentityRun
from app.receipts import Written, identities_of, receipt_of
from domain import usage, usual_usage
from domain.usage import BATCH_RECORDS, Facts, RecordInput, RecordUsage

COUNT = 2 * BATCH_RECORDS + 10
KNOWN = Facts(at_us=0, value_properties={"tok": ()}, customers={"al"}, recorded={})
POSITION = 7


def records(prefix: str, sources: int) -> RecordUsage:
    """Records of so many sources, every third of a customer that nobody knows."""
    return RecordUsage(
        records=[
            RecordInput(
                id=f"{prefix}{number:012x}",
                source=f"source-{number % sources}",
                event_name="tok",
                customer="al" if number % 3 else "nobody",
                timestamp="2026-01-10T12:00:00Z",
            )
            for number in range(COUNT)
        ]
    )


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize("prefix", ["0192f0c1-0000-7000-8000-", "r"])
def test_both_ways_say_the_same(prefix: str, sources: int) -> None:
    command = records(prefix, sources)
    accepted = usual_usage.decide(command, KNOWN)
    assert accepted is not None
    decided = usage.decide(command, KNOWN)
    written = Written(accepted, POSITION)
    receipts = [receipt_of(verdict, POSITION) for verdict in decided.verdicts]
    assert list(written) == receipts
    for part in (slice(5, 8), slice(990, 2_005), slice(2_000, None)):
        assert list(written[part]) == receipts[part]
        assert written[part].statuses == [one.status for one in receipts[part]]
        assert written[part].newest == receipts[part][-1].position
    kept = [
        row
        for one in identities_of(accepted, POSITION)
        for row in (one.rows() if isinstance(one, IdentityRun) else [one])
    ]
    assert [(one.id, one.source, one.position) for one in kept] == [
        (one.id, one.source, one.position) for one in receipts
    ]
    assert [(one.row, one.mark) for one in kept] == [
        (one.row, one.mark) for one in decided.verdicts
    ]
    assert kept == identities_of(decided, POSITION)


def test_nothing_stands_beyond_the_last() -> None:
    accepted = usual_usage.decide(records("r", 1), KNOWN)
    assert accepted is not None
    with pytest.raises(IndexError):
        Written(accepted, POSITION)[COUNT]

"""A few hundred hostile requests, and whether the judge of their answers is awake."""

from pathlib import Path

import pytest

from tests.fuzz.__main__ import fuzz, judged
from tests.fuzz.wire import Answer
from tests.stores import SQLITE


def test_nothing_breaks_the_server(tmp_path: Path, kept_in: str) -> None:
    requests = 500 if kept_in == SQLITE else 200
    found = fuzz(tmp_path / "ledger", requests, seed=1, timed=False)
    assert not found.failures, "\n".join(found.failures)
    assert found.statuses.total() == requests
    taken = {path for path, status in found.statuses if status in (200, 204)}
    doors = {"/graphql", "/v1/usage", "/api/v1/events", "/v1/billing/meter_events"}
    assert doors <= taken  # or everything would be refused for one and the same reason
    assert {400, 413, 415, 422} <= {status for _, status in found.statuses}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b"", b""),
        Answer(503, b"", b""),
        Answer(0, b"", b""),
        Answer(200, b"", b'{"errors":[{"extensions":{"code":"INTERNAL"}}]}'),
        Answer(400, b"", b"Traceback (most recent call last)"),
    ],
)
def test_the_judge_notices(answer: Answer) -> None:
    assert judged(answer, lies=False)


def test_who_lies_may_get_no_answer_but_no_5xx() -> None:
    assert judged(Answer(0, b"", b""), lies=True) is None
    assert judged(Answer(500, b"", b""), lies=True)

"""A write that fails although it is on disk: nobody knows what was written, but for the ledger."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.jobs import UsageJob
from app.ledger import Ledger
from app.store import Pending
from domain.usage import Status
from tests import marks
from tests.app.billed import dump
from tests.app.test_writer import PATIENCE_SECONDS, busy_writer, creates, statuses, tokens


@pytest.fixture
def unheard(alpaca: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger whose next write is done, and its success never told."""
    append, failures = alpaca.store.append, iter([OSError("the connection is gone")])

    def once_failing(events: Sequence[Pending], *rest: Any) -> list[int]:
        positions = append(events, *rest)
        for failure in failures:
            raise failure
        return positions

    monkeypatch.setattr(alpaca.store, "append", once_failing)
    return alpaca


@marks.FAILED
def test_what_was_written_is_there_and_what_follows_fits(unheard: Ledger) -> None:
    head = unheard.store.head()[0]
    with pytest.raises(OSError, match="the connection is gone"):
        unheard.record_now([tokens("a")])
    assert unheard.store.head()[0] == head + 1
    again, new = unheard.record_now([tokens("a"), tokens("b")])
    assert (again.status, again.position) == (Status.DUPLICATE, head + 1)
    assert (new.status, new.position) == (Status.ACCEPTED, head + 2)
    assert unheard.store.identity("default", "b") == (head + 2, 0)
    dump(unheard)


@marks.FAILED
def test_the_views_show_it_before_the_next_write(unheard: Ledger) -> None:
    with pytest.raises(OSError, match="the connection is gone"):
        unheard.record_now([tokens("a")])
    with unheard.snapshot() as views:
        assert views.checkpoint() == unheard.store.head()[0]


@marks.FAILED
def test_what_waited_together_is_not_done_once_more(unheard: Ledger) -> None:
    with busy_writer(unheard):
        asked: list[Any] = [unheard.writer.submit(creates(id)) for id in ("prod_1", "prod_2")]
        asked.append(unheard.writer.submit(UsageJob([tokens("a")], None)))
    for future in asked:
        with pytest.raises(OSError, match="the connection is gone"):
            future.result(PATIENCE_SECONDS)
    streams = [one.stream_id for one in unheard.store.read()]
    assert [streams.count(id) for id in ("prod_1", "prod_2")] == [1, 1]
    assert statuses(unheard.record_now([tokens("a")])) == [Status.DUPLICATE]
    dump(unheard)


@marks.FAILED
def test_a_test_clock_stands_where_it_was_written_to(unheard: Ledger) -> None:
    to = unheard.clock.now() + timedelta(days=1)
    with pytest.raises(OSError, match="the connection is gone"):
        unheard.advance_now(to)
    assert unheard.clock.now() == to
    unheard.advance_now(to + timedelta(days=1))
    dump(unheard)

"""Killed at any moment, a ledger keeps what it acknowledged, once: the short form of `crash`."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from app.ledger import Ledger
from domain.invoices import Invoice
from projections import current
from tests import marks
from tests.app import crash, killed
from tests.app.killed import Broken
from tests.histories.telling import MEMORY

pytestmark = marks.KILLED

KILLS = 24


def test_nothing_answered_is_lost_or_doubled() -> None:
    # A kill takes nothing that was handed to the system, so that the files may lie in memory.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        counted = crash.run(KILLS, seed=2026, directory=Path(folder), most=15)
    assert counted.records > KILLS
    assert counted.invoices > KILLS


def test_an_answer_that_is_not_in_the_ledger_is_noticed(tmp_path: Path) -> None:
    story = crash._begin(tmp_path)
    story.answered[0, 0, 0] = [5] * len(killed.records((0, 0, 0)))
    with pytest.raises(Broken, match="was answered at 5 and is lost"):
        crash._check(story)


def test_an_answer_that_changes_is_noticed(tmp_path: Path) -> None:
    story = crash.Story(tmp_path)
    story.note((0, 0, 0), [5])
    with pytest.raises(Broken, match="now at"):
        story.note((0, 0, 0), [6])


def test_a_clock_that_goes_back_is_noticed(tmp_path: Path) -> None:
    story = crash._begin(tmp_path)
    story.clock += timedelta(days=1)
    with pytest.raises(Broken, match="the clock stood at"):
        crash._check(story)


def test_what_is_not_billed_once_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = crash._begin(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.record_now(killed.records((0, 0, 0)))
    assert crash._check_billed(story) > 0
    places = crash._places
    monkeypatch.setattr(crash, "_places", lambda path: {**places(path), "another": 1})
    with pytest.raises(Broken, match=r"records were sent, .* are billed"):
        crash._check_billed(story)
    select = current.select
    monkeypatch.setattr(
        current,
        "select",
        lambda views, kind, *arguments, **named: select(views, kind, *arguments, **named)[
            kind is Invoice :
        ],
    )
    with pytest.raises(Broken, match="it was billed at"):
        crash._check_billed(story)

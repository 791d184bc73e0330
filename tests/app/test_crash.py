"""Killed at any moment, a ledger keeps what it acknowledged, once: the short form of `crash`."""

from pathlib import Path

import pytest

from tests.app import crash


def test_nothing_answered_is_lost_or_doubled(tmp_path: Path) -> None:
    assert crash.run(runs=5, seed=2026, directory=tmp_path) > 0


def test_an_answer_that_is_not_in_the_ledger_is_noticed(tmp_path: Path) -> None:
    story = crash._begin(tmp_path)
    story.answered[0, 0, 0] = [5] * len(crash.records((0, 0, 0)))
    with pytest.raises(crash.Broken, match="was answered at 5 and is lost"):
        crash._check(story)


def test_an_answer_that_changes_is_noticed(tmp_path: Path) -> None:
    story = crash.Story(tmp_path)
    story.note((0, 0, 0), [5])
    with pytest.raises(crash.Broken, match="now at"):
        story.note((0, 0, 0), [6])

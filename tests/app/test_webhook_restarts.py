"""Being told goes on after a restart where it stopped: nothing is lost, the order is kept."""

import json
import logging
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from app import replay, webhooks
from app.clock import SystemClock
from app.delivery_marks import BEGAN, DELIVERED, Marks
from app.ledger import Ledger
from domain.periods import format_instant
from tests import marks
from tests.app.billed import FEBRUARY, PRICES, THREE, story
from tests.app.receiving import SECRET, Receiving, hang, positions, receiving, telling
from tests.benchmarks.serving import serving
from tests.scenarios.story import Story

__all__ = ["receiving", "story"]


def change(path: Path, **fields: object) -> None:
    """Write something else into a mark."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def each_once(told: Sequence[int]) -> list[int]:
    """What was told, a fact that was told several times in a row only once."""
    return [position for position, _ in groupby(told)]


def test_restarts_lose_nothing_and_keep_the_order(
    story: Story, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a delivery, with the ledger closed and opened again each time."""
    monkeypatch.setattr(webhooks, "PARTING", timedelta(milliseconds=10))
    ledger, directory = story.ledger, story.ledger.directory
    receiving.answers.append(hang)
    with telling(ledger, receiving.url):
        story.tell(THREE)
        expected = positions(ledger)
        receiving.wait_for(1)
    chance = random.Random(1)
    for _ in range(12):
        ledger.close()
        with Ledger(directory) as ledger:
            planned = [204] * chance.randrange(2)
            receiving.answers.extend([*planned, hang])
            before = len(receiving.told)
            with telling(ledger, receiving.url):
                if positions(ledger, after=receiving.positions[-1]):
                    receiving.wait_for(before + 1 + len(planned))
    with Ledger(directory) as ledger:
        receiving.answers.clear()
        with telling(ledger, receiving.url):
            receiving.wait_for_position(expected[-1])
    assert each_once(receiving.positions) == expected
    assert len(receiving.told) > len(expected)


def test_a_killed_server_tells_the_last_one_again(
    tmp_path: Path, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYBOOK_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("TALLYBOOK_WEBHOOK_TYPES", "customer.*")
    with Ledger(tmp_path) as ledger:
        Story(ledger).tell("2026-01-01 customer before-anybody-was-told")
    with serving(tmp_path, "--webhook-url", receiving.url):
        pass  # from now on somebody is to be told
    with Ledger(tmp_path) as ledger:
        for name in ("ann", "bob", "cyd"):
            Story(ledger).tell(f"2026-01-01 customer {name}")
        _, *expected = positions(ledger, "customer.")
    receiving.answers.extend([204, hang])
    with serving(tmp_path, "--webhook-url", receiving.url) as server:
        receiving.wait_for(2)
        server.process.kill()
        server.process.wait()
    with serving(tmp_path, "--webhook-url", receiving.url):
        receiving.wait_for_position(expected[-1])
    first, second, third = expected
    assert receiving.positions == [first, second, second, third]
    assert all(one.is_signed for one in receiving.told)


def test_telling_begins_where_it_was_switched_on(story: Story, receiving: Receiving) -> None:
    story.tell(THREE)
    with telling(story.ledger, receiving.url):
        story.ledger.advance_now(FEBRUARY)
        expected = positions(story.ledger)[8:]
        receiving.wait_for_position(expected[-1])
    assert receiving.positions == expected


def test_what_happens_while_it_is_switched_off_is_told_later(
    story: Story, receiving: Receiving
) -> None:
    with telling(story.ledger, receiving.url):
        pass
    story.tell(THREE)
    with telling(story.ledger, receiving.url):
        receiving.wait_for(8)
    assert receiving.positions == positions(story.ledger)


@marks.TOUCHED
@pytest.mark.parametrize("damage", ["lost", "cut short", "of another ledger", "ahead"])
def test_a_lost_mark_begins_again_where_it_was_switched_on(
    story: Story, receiving: Receiving, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    delivered = story.ledger.directory / DELIVERED
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for_all(story.ledger)
    match damage:
        case "lost":
            delivered.unlink()
        case "cut short":
            delivered.write_bytes(delivered.read_bytes()[:-9])
        case "of another ledger":
            change(delivered, hash="00")
        case "ahead":
            change(delivered, position=1_000)
    with telling(story.ledger, receiving.url):
        receiving.wait_for(16)
    assert receiving.positions == 2 * positions(story.ledger)
    assert ("taken for lost" in caplog.text) == (damage != "lost")


@marks.TOUCHED
def test_without_either_mark_it_is_switched_on_anew(story: Story, receiving: Receiving) -> None:
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for_all(story.ledger)
    (story.ledger.directory / BEGAN).unlink()
    (story.ledger.directory / DELIVERED).unlink()
    with telling(story.ledger, receiving.url):
        story.ledger.advance_now(FEBRUARY)
        receiving.wait_for_all(story.ledger)
    assert receiving.positions == positions(story.ledger)


@marks.TOUCHED
def test_where_only_the_beginning_is_lost_it_goes_on(story: Story, receiving: Receiving) -> None:
    """And that is its beginning from now on: what nobody was told yet is not passed over."""
    directory = story.ledger.directory
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for_all(story.ledger)
    (directory / BEGAN).unlink()
    story.ledger.advance_now(FEBRUARY)
    delivered = Marks(directory, story.ledger.store).resume()  # as at a start
    assert delivered.position == receiving.positions[-1]
    (directory / DELIVERED).unlink()
    with telling(story.ledger, receiving.url):
        receiving.wait_for_all(story.ledger)
    assert receiving.positions == positions(story.ledger)


@marks.TOUCHED
def test_a_rebuild_of_the_views_tells_nothing_again(story: Story, receiving: Receiving) -> None:
    directory = story.ledger.directory
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for_all(story.ledger)
    story.ledger.close()
    before = {path.name: path.read_bytes() for path in directory.glob("webhook-*")}
    assert sorted(before) == [BEGAN, DELIVERED]
    replay.replay(directory)
    assert before == {path.name: path.read_bytes() for path in directory.glob("webhook-*")}
    with Ledger(directory) as ledger, telling(ledger, receiving.url):
        ledger.advance_now(FEBRUARY)
        assert receiving.wait_for_all(ledger) == positions(ledger)


@marks.TOUCHED
def test_five_days_of_failing_are_an_alarm_also_after_restarts(
    story: Story,
    receiving: Receiving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", timedelta(milliseconds=1))
    delivered = story.ledger.directory / DELIVERED
    receiving.answers.extend([500, hang])
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for(2)
    first = positions(story.ledger)[0]
    assert levels(caplog) == [logging.WARNING]
    assert json.loads(delivered.read_text())["failing_since"]

    since = format_instant(SystemClock().now() - timedelta(days=5))
    change(delivered, failing_since=since)
    receiving.answers.extend([500, 204, 500])
    with telling(story.ledger, receiving.url):
        receiving.wait_for(12)
    first, second, *others = positions(story.ledger)
    assert receiving.positions == [first] * 4 + [second] * 2 + others
    assert levels(caplog) == [logging.WARNING, logging.CRITICAL, logging.WARNING]
    assert f"has not taken position {first} since {since}: it answered 500" in caplog.text


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How loudly failures were spoken of."""
    return [one.levelno for one in caplog.records if one.levelno >= logging.WARNING]


@marks.TOUCHED
def test_a_mark_is_put_in_place_as_a_whole(
    story: Story, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk fails, the mark before it stays, and the fact is told again."""
    monkeypatch.setattr(webhooks, "LOOK_AGAIN", timedelta(milliseconds=1))
    delivered = story.ledger.directory / DELIVERED
    failures, seen = iter(range(2)), list[bool]()

    def fail_twice(descriptor: int) -> None:
        if receiving.told and next(failures, None) is not None:
            seen.append(delivered.exists())
            raise OSError("no space left")

    monkeypatch.setattr("app.delivery_marks.os.fsync", fail_twice)
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for(10)
    assert seen == [False, False]
    assert each_once(receiving.positions) == positions(story.ledger)
    assert receiving.positions.count(receiving.positions[0]) == 3


@marks.TOUCHED
def test_a_mark_is_flushed_before_it_takes_its_place(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = Path.replace

    def noted(one: Path, other: Path) -> Path:
        steps.append("replace")
        return replace(one, other)

    monkeypatch.setattr("app.delivery_marks.os.fsync", lambda _: steps.append("fsync"))
    monkeypatch.setattr(Path, "replace", noted)
    marks = Marks(story.ledger.directory, story.ledger.store)
    marks.keep(marks.at(3))
    assert steps == ["fsync", "replace", "fsync"]
    story.tell(PRICES.replace("tokens", "others"))
    assert marks.resume().position == 3

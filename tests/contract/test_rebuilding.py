"""A replay and a verification by several processes, of a ledger in PostgreSQL."""

from contextlib import closing
from pathlib import Path

import pytest

from app import folding_ahead, sizes, verification
from app.ledger import Ledger
from app.opening import open_store, views_of
from app.replay import replay
from projections.ahead import Part
from projections.engine import Engine
from projections.places import Place
from tests.app.rich import rich
from tests.conftest import CLOCK
from tests.postgres import Server, numbers

_numbers = numbers()


@pytest.fixture
def place(postgres: Server, tmp_path: Path) -> Place:
    """Where a ledger is in which a bit of everything has happened."""
    place = Place.of(postgres.address(f"rebuilt_{next(_numbers)}"))
    with Ledger(tmp_path, place=place, test_clock_at=CLOCK) as ledger:
        rich(ledger)
    return place


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """So little is worth it; the answer is what other processes were asked to do."""
    asked: list[int] = []
    submit = folding_ahead.Processes.submit
    monkeypatch.setattr(folding_ahead, "LEDGER_BYTES", 1)
    monkeypatch.setattr(folding_ahead, "WORTH_BYTES", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    def noted(self: folding_ahead.Folders, part: Part) -> object:
        asked.append(part.until)
        return submit(self, part)

    monkeypatch.setattr(folding_ahead.Processes, "submit", noted)
    return asked


def dump(place: Place, directory: Path) -> list[str]:
    """Everything in the views."""
    with closing(Engine(views_of(directory, place))) as engine:
        return list(engine.database.dump())


def test_a_replay_by_several_processes_makes_the_same_views(
    place: Place, tmp_path: Path, worth: list[int]
) -> None:
    before = dump(place, tmp_path)
    replayed = replay(tmp_path, place=place)
    assert worth
    assert dump(place, tmp_path) == before
    assert verification.verify(tmp_path, place=place).events == replayed.events


def test_several_processes_verify(place: Place, tmp_path: Path, worth: list[int]) -> None:
    assert verification.verify(tmp_path, place=place).ok
    assert worth


def test_what_is_small_is_left_to_one_process(place: Place, tmp_path: Path) -> None:
    with closing(open_store(tmp_path, place, exclusive=False)) as store:
        assert 8_192 < sizes.of_log(store, place) < folding_ahead.LEDGER_BYTES
        assert not folding_ahead.worth_it(store, place)

"""A replay by several processes: the same views as by one, whatever happened in the ledger."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app import folding_ahead
from app.folding_ahead import folders
from app.ledger import Ledger
from app.opening import VIEWS
from projections import engine
from projections.engine import Engine
from tests import marks
from tests.app.rich import rich
from tests.conftest import CLOCK


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in which a bit of everything has happened, late usage and corrections too."""
    with Ledger(tmp_path / "ledger", test_clock_at=CLOCK) as opened:
        yield rich(opened)


@marks.COMMANDS
def test_other_processes_fold_what_comes_next(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_ahead, "WORTH_BYTES", 1)
    store, told = ledger.store, list[int]()
    aside = engine.rebuild(
        ledger.directory / VIEWS, store.read, told.append, partial(folders, store), store.read
    )
    with closing(Engine(aside)) as rebuilt:
        assert list(rebuilt.database.dump()) == list(ledger.engine.database.dump())
    assert told == sorted(told)
    assert told[-1] == store.head()[0]


def test_the_ledger_is_parted_between_usage_and_everything_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ledger.store
    with folders(store, ledger.directory / VIEWS) as others:
        whole = list(others.parts(0))
        assert not any(part.is_usage for part in whole)  # so little is not worth it
        monkeypatch.setattr(folding_ahead, "WORTH_BYTES", 1)
        parts = list(others.parts(0))
    ends = [part.until for part in parts]
    assert [part.after for part in parts] == [0, *ends[:-1]]
    assert ends[-1] == store.head()[0]
    for part in parts:
        topics = [one.event.topic for one in store.read(part.after, part.until)]
        assert {topic.startswith("usage.recorded") for topic in topics} == {part.is_usage}
        about = ("meter.", "customer.")
        assert part.turns == any(topic.startswith(about) for topic in topics)

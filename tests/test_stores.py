"""With `--store both` a test that opens a ledger does so in files, and again in PostgreSQL."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ledger import Ledger
from app.opening import is_there, open_store, views_of
from projections.places import Place
from tests import marks
from tests.house import ROOT
from tests.places import Asked
from tests.reaching import opens_a_ledger
from tests.scenarios.story import Story
from tests.stores import CHOICES, PART, POSTGRES, fewer, takes_part


def test_a_ledger_is_on_the_store_that_the_test_is_run_on(
    alpaca: Ledger, kept_in: str, tmp_path: Path
) -> None:
    on_postgres = kept_in == POSTGRES
    assert (alpaca.place is not None) == on_postgres
    assert isinstance(views_of(alpaca.directory), Place) == on_postgres
    assert alpaca.store.typed == on_postgres
    assert (alpaca.directory / "ledger.db").exists() != on_postgres
    assert is_there(alpaca.directory)
    assert not is_there(tmp_path / "another")


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        Story(ledger).tell("2026-01-01 customer al")
        head = ledger.store.head()
    store = open_store(tmp_path, exclusive=False)
    assert store.head() == head
    store.close()


@pytest.mark.parametrize("number", range(3))
def test_a_schema_that_is_used_again_is_empty(number: int, alpaca: Ledger) -> None:
    assert alpaca.store.head()[0] == 3
    with alpaca.snapshot() as views:
        assert views.checkpoint() == 3


@marks.VIEWS
def test_what_is_about_files_is_only_run_on_files(ledger: Ledger) -> None:
    assert Asked.places is None
    assert ledger.place is None


def opening(folder: Path) -> Ledger:
    return Ledger(folder)


class Opening:
    """Opens one in a method."""

    def go_on(self) -> object:
        return [opening(Path())]


def through_a_class() -> Any:
    return Opening().go_on()


def about_something_else() -> str:
    return "Ledger"


@pytest.mark.parametrize("function", [opening, through_a_class, lambda: through_a_class])
def test_whoever_may_open_a_ledger_is_foreseen(function: Any) -> None:
    assert opens_a_ledger(function, [])
    assert opens_a_ledger(about_something_else, [function])


def test_whoever_opens_none_is_not_run_twice() -> None:
    assert not opens_a_ledger(about_something_else, [])


class Item:
    """A test as it is collected, with what decides where it is run."""

    path = ROOT / "tests" / "app" / "test_anything.py"

    def __init__(self, name: str, on: str, mark: pytest.MarkDecorator | None = None) -> None:
        self.nodeid = name
        self.callspec = SimpleNamespace(params={"kept_in": on})
        self._mark = mark

    def get_closest_marker(self, name: str) -> object:
        return self._mark if self._mark is not None and self._mark.name == name else None


@pytest.mark.parametrize("chosen", CHOICES)
def test_of_what_is_dear_there_the_first_case_is_run(chosen: str) -> None:
    names = ["test_a[1]", "test_a[2]", "test_b"]
    tried: set[str] = set()
    stores = CHOICES[chosen]
    items: list[Any] = [Item(name, on, marks.HTTP) for on in stores for name in names]
    found = [item.nodeid for item in items if takes_part(item, chosen, tried)]
    assert found == [*names, *(["test_a[1]", "test_b"] if chosen == "both" else [])]


def test_what_is_not_dear_is_run_whole() -> None:
    items: list[Any] = [Item(f"test_a[{n}]", POSTGRES) for n in range(3)]
    tried: set[str] = set()
    assert all(takes_part(item, "both", tried) for item in items)


def test_a_campaign_tries_fewer_examples() -> None:
    seen: list[int] = []

    @settings(max_examples=3 * PART, database=None)
    @given(st.integers())
    def campaign(number: int) -> None:
        seen.append(number)

    with fewer(campaign):
        campaign()
    few = len(seen)
    campaign()
    assert (few, len(seen) - few) == (3, 3 * PART)

"""Tests on both stores: with `--store both`, whoever opens a ledger does so in files, and once more
in PostgreSQL.

What a test asks of a ledger is the same on both; where its ledgers are, `places.py` says. A test
that is about files is marked `files_only`, with the reason.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from projections.places import Place
from tests import marks
from tests.house import ROOT
from tests.places import Asked, Places
from tests.postgres import Server, running
from tests.reaching import opens_a_ledger
from tests.recycled import Recycled, recycling

SQLITE, POSTGRES = "sqlite", "postgres"
CONTRACT = ROOT / "tests" / "contract"
_NAMED = re.compile(rf"[\[\-]{POSTGRES}[\]\-]")
"""What stands in the name of a test that runs there."""
CHOICES = {SQLITE: [SQLITE], POSTGRES: [POSTGRES], "both": [SQLITE, POSTGRES]}
_ONLY, _LONG = "files_only", "in_long_form"
_SHARED = ("server", "postgres", "recycled", "kept_in", "own_ledgers", "kept_loop")
"""Fixtures of the whole session, which no single test keeps anywhere."""
_PORT = "postgres_port"
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

_started = ExitStack()
_ports: list[int] = []
"""Where the server listens that the workers of this process share."""


# ---------------------------------------------------------------------------------- what is asked


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store",
        choices=list(CHOICES),
        default=os.environ.get("TALLYBOOK_TEST_STORE", SQLITE),
        help="where tests keep their ledgers: sqlite, postgres, or both, one after the other",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_ONLY}(reason): about files, and not run on PostgreSQL")
    said = "run on PostgreSQL with --store postgres, and not with --store both"
    config.addinivalue_line("markers", f"{_LONG}(reason): {said}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test is run once for each store that it is asked for on."""
    chosen, on = metafunc.config.getoption("store"), [SQLITE]
    if not _reason(metafunc.definition, long=chosen != POSTGRES) and _opens(metafunc):
        on = CHOICES[chosen]
    values = [pytest.param(one, id=pytest.HIDDEN_PARAM if one == SQLITE else one) for one in on]
    metafunc.parametrize("kept_in", values, indirect=True, scope="module")


def _opens(metafunc: pytest.Metafunc) -> bool:
    defined = metafunc._arg2fixturedefs
    for name, (*_, fixture) in defined.items():
        if fixture.scope == "module" and name not in _SHARED and opens_a_ledger(fixture.func, []):
            said = f"{fixture.func.__name__} keeps a ledger: it must ask for kept_in, to be on each"
            assert _asks(fixture.argnames, defined), said
    return _may_open(metafunc.function, defined)


def _asks(names: Sequence[str], defined: Mapping[str, Sequence[Any]]) -> bool:
    """Whether fixtures are made anew on each store, or ask for one that is."""
    return "kept_in" in names or any(
        _asks(defined[name][-1].argnames, defined) for name in names if name in defined
    )


def _may_open(function: Any, defined: Mapping[str, Sequence[Any]]) -> bool:
    fixtures = [found[-1].func for name, found in defined.items() if name not in _SHARED]
    return opens_a_ledger(function, fixtures)


def _reason(item: Any, *, long: bool = True) -> str | None:
    """Why a test is only run on files; `long` when it could be run, but for its cost."""
    if item.path.is_relative_to(CONTRACT):
        return "says itself which stores it is about"
    found = [item.get_closest_marker(_ONLY), item.get_closest_marker(_LONG) if long else None]
    dear = long and item.path.relative_to(ROOT).as_posix() in marks.DEAR_THERE
    return next((str(mark.args[0]) for mark in found if mark), marks.LONG if dear else None)


def named_store(nodeid: str) -> str:
    """The store on which a test of this name runs."""
    return POSTGRES if _NAMED.search(nodeid) else SQLITE


def _on(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    return call.params.get("kept_in", SQLITE) if call else SQLITE


def pytest_itemcollected(item: pytest.Item) -> None:
    reason = _reason(item, long=item.config.getoption("store") != POSTGRES)
    if reason is not None:
        item.user_properties.append((_ONLY, reason))


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Asked for PostgreSQL alone, whatever does not run there is left out."""
    if config.getoption("store") == POSTGRES:
        left = [item for item in items if _on(item) != POSTGRES]
        items[:] = [item for item in items if _on(item) == POSTGRES]
        config.hook.pytest_deselected(items=left)


# --------------------------------------------------------------------------------- where they run


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The workers of a session share a server."""
    if not _ports:
        try:
            _ports.append(_started.enter_context(running()).port)
        except pytest.skip.Exception:
            return  # each test says so
    node.workerinput[_PORT] = _ports[0]


def pytest_unconfigure() -> None:
    _started.close()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A PostgreSQL of our own, one for all tests."""
    shared = getattr(request.config, "workerinput", {}).get(_PORT)
    if shared is not None:
        yield Server.at(shared)
        return
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def recycled(postgres: Server) -> Iterator[Recycled]:
    """Schemas that were emptied."""
    with recycling(Place.of(postgres.address("public")), _WORKER) as free:
        yield free


@pytest.fixture(scope="module", autouse=True)
def kept_in(request: pytest.FixtureRequest) -> Iterator[str]:
    """The store that tests run on: `sqlite` or `postgres`.

    Fixtures of a module that keep a ledger ask for it, so that there is one on each.
    """
    on: str = getattr(request, "param", SQLITE)
    if on == SQLITE:
        yield on
        return
    places = Asked.places = Places(request.getfixturevalue("postgres"), _WORKER)
    free: Recycled = request.getfixturevalue("recycled")
    try:
        yield on
    finally:
        Asked.places = None
        _take_back(free, places, 0)


@pytest.fixture(autouse=True)
def own_ledgers(kept_in: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test leave no ledger behind, and none be opened that was not foreseen."""
    places, times = Asked.places, Asked.times
    if places is not None:
        free: Recycled = request.getfixturevalue("recycled")
        known = places.known
        yield
        _take_back(free, places, known)
        return
    yield
    if Asked.times > times and not _reason(request.node):
        item: Any = request.node
        foreseen = _may_open(item.function, item._fixtureinfo.name2fixturedefs)
        assert foreseen, "it opens a ledger: see OPENERS in tests/reaching.py"


def _take_back(free: Recycled, places: Places, known: int) -> None:
    for place in places.taken_back(known):
        free.take_back(place)


# ---------------------------------------------------------------------------------- what is told


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many ran on each store, and what did not run on both."""
    ran: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call":
                ran[named_store(report.nodeid)] += 1
                why.update(str(value) for name, value in report.user_properties if name == _ONLY)
    if ran[POSTGRES]:
        said = f"{ran[SQLITE]} tests in files or without a ledger, {ran[POSTGRES]} on PostgreSQL"
        terminalreporter.write_line(said)
        for reason, times in sorted(why.items()):
            terminalreporter.write_line(f"only in files: {times}: {reason}")

"""Tests on both stores: with `--store both`, whoever opens a ledger does so in files, and once more
in PostgreSQL.

What a test asks of a ledger is the same on both; where its ledgers are, `places.py` says. A test
that is about files is marked `files_only`, with the reason.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings

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
_ONLY, _FIRST, _CAMPAIGN = "files_only", "first_case", "campaign"
_LEFT = "left to the long form"
PART = 6
"""Of so many examples of a campaign one is tried on PostgreSQL, where both are asked for."""
_EXAMPLES = "_hypothesis_internal_use_settings"
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
    said = "with --store both, its first case on PostgreSQL, and not the others"
    config.addinivalue_line("markers", f"{_FIRST}(reason): {said}")
    said = f"the same, and one in {PART} of its random examples"
    config.addinivalue_line("markers", f"{_CAMPAIGN}(reason): {said}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test is run once for each store that it is asked for on."""
    chosen, on = metafunc.config.getoption("store"), [SQLITE]
    if not _reason(metafunc.definition) and _opens(metafunc):
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


def _reason(item: Any) -> str | None:
    """Why a test is only run on files."""
    if item.path.is_relative_to(CONTRACT):
        return "says itself which stores it is about"
    only = item.get_closest_marker(_ONLY)
    return str(only.args[0]) if only else None


def named_store(nodeid: str) -> str:
    """The store on which a test of this name runs."""
    return POSTGRES if _NAMED.search(nodeid) else SQLITE


def _on(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    return call.params.get("kept_in", SQLITE) if call else SQLITE


def pytest_itemcollected(item: pytest.Item) -> None:
    reason = _reason(item)
    if reason is not None:
        item.user_properties.append((_ONLY, reason))


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Asked for PostgreSQL alone, what does not run there; asked for both, what is dear there."""
    chosen = config.getoption("store")
    if chosen == SQLITE:
        return
    tried: set[str] = set()
    kept = [item for item in items if takes_part(item, chosen, tried)]
    left = set(items).difference(kept)
    items[:] = kept
    if chosen != POSTGRES:  # told at the end by those that are run
        others = Counter(item.nodeid.partition("[")[0] for item in left)
        for item in kept:
            if _on(item) == POSTGRES and (count := others.get(item.nodeid.partition("[")[0])):
                item.user_properties.append((_LEFT, count))
    config.hook.pytest_deselected(items=list(left))


def takes_part(item: pytest.Item, chosen: str, tried: set[str]) -> bool:
    """Whether a test is run, in their order, when others were tried before it."""
    if chosen == POSTGRES:
        return _on(item) == POSTGRES
    first = item.nodeid.partition("[")[0] not in tried
    if _on(item) == POSTGRES:
        tried.add(item.nodeid.partition("[")[0])
    return first or _on(item) != POSTGRES or not _is_dear(item)


def _is_dear(item: pytest.Item) -> bool:
    marked = item.get_closest_marker(_FIRST) or item.get_closest_marker(_CAMPAIGN)
    return marked is not None or item.path.relative_to(ROOT).as_posix() in marks.DEAR_THERE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Asked for both, a campaign tries fewer examples on PostgreSQL."""
    campaign = item.get_closest_marker(_CAMPAIGN) is not None
    if campaign and item.config.getoption("store") == "both" and _on(item) == POSTGRES:
        with fewer(item.function):
            yield
    else:
        yield


@contextmanager
def fewer(function: Any) -> Iterator[None]:
    """Let a random test try one in some of its examples."""
    given = getattr(function, _EXAMPLES, None)
    if given is None:
        yield
        return
    some = settings(given, max_examples=max(1, given.max_examples // PART))
    with mock.patch.object(function, _EXAMPLES, some):
        yield


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
    left = 0
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call":
                ran[named_store(report.nodeid)] += 1
                why.update(str(value) for name, value in report.user_properties if name == _ONLY)
                left += sum(int(value) for name, value in report.user_properties if name == _LEFT)
    if ran[POSTGRES]:
        said = f"{ran[SQLITE]} tests in files or without a ledger, {ran[POSTGRES]} on PostgreSQL"
        terminalreporter.write_line(said)
        if left:
            said = f"on PostgreSQL {left} more cases of these are tried by make test-postgres"
            terminalreporter.write_line(said)
        for reason, times in sorted(why.items()):
            terminalreporter.write_line(f"only in files: {times}: {reason}")

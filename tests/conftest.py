"""What every test has: the same examples at each run, and a ledger whose clock stands still."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings

from app.ledger import Ledger
from tests import forked, loop, places, quick
from tests.benchmarks import serving
from tests.quick import (
    pytest_collection,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_xdist_make_scheduler,
)
from tests.stores import (
    kept_in,
    own_ledgers,
    postgres,
    pytest_addoption,
    pytest_configure,
    pytest_configure_node,
    pytest_generate_tests,
    pytest_itemcollected,
    pytest_runtest_call,
    pytest_terminal_summary,
    pytest_unconfigure,
    recycled,
)

__all__ = [
    "kept_in",
    "own_ledgers",
    "postgres",
    "pytest_addoption",
    "pytest_collection",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_itemcollected",
    "pytest_runtest_call",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "pytest_xdist_make_scheduler",
    "recycled",
]

quick.keep_compiled()
quick.write_to_memory()
places.install()
if forked.DESCRIPTORS.is_dir():
    serving.Starting.tallybook = forked.start
    mock.patch("app.folding_ahead.get_context", forked.context).start()

pytest.register_assert_rewrite("tests.spec")

settings.register_profile(
    "tallybook", max_examples=60, derandomize=True, deadline=None, print_blob=False
)
settings.load_profile("tallybook")

# They import what only their own environments have.
collect_ignore = ["clients/gql_suite.py", "fuzz/scalars.py"]

CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each processor: some tests mostly wait, for servers and deadlines."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session", autouse=True)
def kept_loop() -> Iterator[None]:
    """Whatever is asked is answered by one event loop."""
    yield
    loop.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger that begins with 2026."""
    with Ledger(tmp_path / "ledger", test_clock_at=CLOCK) as opened:
        yield opened


@pytest.fixture
def alpaca(ledger: Ledger) -> Ledger:
    """The same with a meter over `tokens` and the customer alpaca-lover."""
    # Imported here, because the assertions in a module are rewritten only before its first import.
    from tests.scenarios.story import Story

    story = Story(ledger)
    story.tell("2026-01-01 meter alpaca-tokens: sum of tokens")
    story.tell("2026-01-01 customer alpaca-lover")
    return ledger

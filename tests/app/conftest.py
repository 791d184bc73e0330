"""What the tests of the application share: a real server with the demo data."""

from collections.abc import Iterator

import pytest

from tests.benchmarks.serving import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that loaded the demo; it shares its ledger with every test, so only add to it."""
    with serving(tmp_path_factory.mktemp("served"), "--demo") as running:
        yield running

"""The databases that the contract is held against: files of SQLite, and a PostgreSQL of our own."""

from collections.abc import Iterator

import pytest

from tests.postgres import Server, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of this process."""
    with running() as server:
        yield server

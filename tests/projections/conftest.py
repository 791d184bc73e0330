"""A book for each test."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from projections.places import Place
from tests.postgres import Server
from tests.projections.book import Book

_numbers = count(1)


@pytest.fixture(params=["file", "postgres"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    """A book in which nothing has happened, its views in a file or in PostgreSQL."""
    place = None
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        place = Place.of(server.address(f"book_{next(_numbers)}"))
    with closing(Book(tmp_path, place)) as opened:
        yield opened

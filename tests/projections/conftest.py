"""A book for each test."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.places import place_of
from tests.projections.book import Book


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A book in which nothing has happened, its views in a file or in PostgreSQL."""
    with closing(Book(tmp_path, place_of(tmp_path))) as opened:
        yield opened

"""A book for each test."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.projections.book import Book


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A book in which nothing has happened."""
    with closing(Book(tmp_path)) as opened:
        yield opened

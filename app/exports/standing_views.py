"""The views of a ledger for whoever only reads them, with a server running on it or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import VIEWS
from projections import engine
from projections.tables import Views


@contextmanager
def standing_views(directory: Path) -> Iterator[Views]:
    """The views as they are at one moment; those that nobody serves are brought up to date first.

    Raises `ValueError` when a server of another version keeps them.
    """
    try:
        with Ledger(directory):
            pass  # opening it folds whatever a crash left unfolded
    except LedgerInUse:
        pass  # whoever serves the ledger keeps them
    with engine.of_same_version(directory / VIEWS) as database, database.snapshot() as views:
        yield views

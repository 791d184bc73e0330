"""The views of a ledger for whoever only reads them, with a server running on it or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import views_of
from projections import engine
from projections.places import Place
from projections.tables import Views


@contextmanager
def standing_views(directory: Path, place: Place | None = None) -> Iterator[Views]:
    """The views as they are at one moment; those that nobody serves are brought up to date first.

    Raises `ValueError` when a server of another version keeps them.
    """
    try:
        with Ledger(directory, place=place):
            pass  # opening it folds whatever a crash left unfolded
    except LedgerInUse:
        pass  # whoever serves the ledger keeps them
    found = engine.of_same_version(views_of(directory, place))
    with found as database, database.snapshot() as views:
        yield views

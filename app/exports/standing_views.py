"""The views of a ledger for whoever only reads them, with a server running on it or not."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import open_store, views_of
from projections import engine, views_at
from projections.places import Place
from projections.tables import Views


@contextmanager
def standing_views(directory: Path, place: Place | None = None) -> Iterator[Views]:
    """The views as they are at one moment; those that nobody serves are brought up to date first.

    Raises `ValueError` when a server of another version keeps them.
    """
    if place is None or not _are_up_to_date(directory, place):
        try:
            with Ledger(directory, place=place):
                pass  # opening it folds whatever a crash left unfolded
        except LedgerInUse:
            pass  # whoever serves the ledger keeps them
    found = engine.of_same_version(views_of(directory, place))
    with found as database, database.snapshot() as views:
        yield views


def _are_up_to_date(directory: Path, place: Place) -> bool:
    """Whether views in a database need nothing, so that a replica of it will do.

    Raises `ValueError` for those of another version, which somebody may be serving.
    """
    views = views_of(directory, place)
    if views_at.stamp_of(views) is None:
        return False
    with (
        engine.of_same_version(views) as database,
        closing(open_store(directory, place, exclusive=False)) as store,
    ):
        return database.writing.checkpoint() >= store.head()[0]

"""Fold the log again: the views are disposable, and made anew from nothing but the ledger."""

from collections.abc import Callable
from pathlib import Path

from app.ledger import VIEWS
from app.store import Store
from projections import engine

Progress = Callable[[int], None]


def replay(directory: Path, progress: Progress | None = None) -> int:
    """Fold the whole ledger into new views and swap them in; return the events read.

    Raises `LedgerInUse` when a server holds the ledger.
    """
    store = Store(directory)
    try:
        views = directory / VIEWS
        engine.swap(engine.rebuild(views, store.read, progress), views)
        return store.head()[0]
    finally:
        store.close()

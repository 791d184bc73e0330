"""The live views of a ledger at one moment, whoever keeps them, to be compared with the ledger."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import sleep

from app.store import Store
from projections import engine
from projections.engine import Engine
from projections.places import Where
from projections.tables import Views

_BEHIND_S = 10
"""How long live views may lag behind the ledger: moments, unless their disk is full."""

Live = Callable[[int], AbstractContextManager[Views]]
"""The live views, at one moment and folded up to a position at least."""


def at_rest(path: Where, store: Store) -> Live:
    """The views of a ledger that this process alone holds, caught up after any crash."""

    @contextmanager
    def live(position: int) -> Iterator[Views]:
        views = Engine(path)
        try:
            views.catch_up(store.read)
            with views.database.snapshot() as snapshot:
                yield snapshot
        finally:
            views.close()

    return live


def served(path: Where) -> Live:
    """The views that another process keeps; they are only read."""

    @contextmanager
    def snapshot() -> Iterator[Views]:
        # Opened each time: others may have been put in their place.
        with engine.of_same_version(path) as database, database.snapshot() as views:
            yield views

    return lambda position: caught_up(snapshot, position)


@contextmanager
def caught_up(
    snapshot: Callable[[], AbstractContextManager[Views]], position: int
) -> Iterator[Views]:
    """A snapshot of views that somebody else folds, once they have come to a position."""
    for _ in range(int(_BEHIND_S * 100)):
        with snapshot() as views:
            if views.checkpoint() >= position:
                yield views
                return
        sleep(0.01)
    with snapshot() as views:
        yield views

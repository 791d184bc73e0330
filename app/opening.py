"""Opening what a ledger is kept in: files in its directory, or a PostgreSQL that was named."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from app.store import Store
from app.turns import Turns
from app.writer import Writer
from projections.engine import Engine
from projections.places import Place, Where

if TYPE_CHECKING:
    from app.postgres_following import Follower

LOG = "ledger.db"
VIEWS = "views.db"


def open_store(directory: Path, place: Place | None = None, *, exclusive: bool = True) -> Store:
    """The log of a ledger. Raises `LedgerInUse` when another process writes to it.

    In PostgreSQL raises `ConnectionError` when it cannot be reached, and `ValueError` when it is
    not fit to keep a ledger, or nothing is installed to speak to it.
    """
    if place is None:
        return Store(directory, exclusive=exclusive)
    opened: Store = _postgres().PostgresStore(place, directory, exclusive=exclusive)
    return opened


def is_there(directory: Path, place: Place | None = None) -> bool:
    """Whether there is a ledger already. Raises as `open_store` does."""
    if place is None:
        return (directory / LOG).exists()
    found: bool = _postgres().is_there(place)
    return found


def opening(place: Place | None = None) -> AbstractContextManager[None]:
    """For as long as the block lasts, no other process makes what is missing here."""
    if place is None:
        return nullcontext()  # whoever opens files holds them
    held: AbstractContextManager[None] = _postgres().opening(place)
    return held


def following(place: Place | None, store: Store, writer: Writer, origin: str) -> "Follower | None":
    """Who follows what other processes write; nobody where there are none."""
    if place is None:
        return None
    from app.postgres_following import Follower

    return Follower(place, store, writer, origin)


def replaying(place: Place) -> AbstractContextManager[None]:
    """One replay at a time of what is in a place. Raises `LedgerInUse`."""
    held: AbstractContextManager[None] = _postgres().replaying(place)
    return held


def turns_of(store: Store, engine: Engine, origin: str) -> Turns:
    """The turns of whoever writes; `origin` tells this process from others."""
    if not store.typed:
        return Turns(store, engine)
    from app.postgres_turns import PostgresTurns

    return PostgresTurns(cast("Any", store), engine, origin)


def views_of(directory: Path, place: Place | None = None) -> Where:
    """Where the views of a ledger are kept."""
    return directory / VIEWS if place is None else place.beside("views")


def _postgres() -> ModuleType:
    """What keeps a log in PostgreSQL: only whoever uses it need have installed what it needs."""
    try:
        from app import postgres_store
    except ImportError as error:
        message = "speaking to PostgreSQL needs more packages: pip install 'tallybook[postgres]'"
        raise ValueError(message) from error
    return postgres_store

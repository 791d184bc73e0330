"""Opening what a ledger is kept in: files in its directory, or a PostgreSQL that was named."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from app.snapshots import Snapshot
from app.store import Store
from app.turns import Turns
from app.writer import Writer
from projections.engine import Engine
from projections.places import Place, Where

if TYPE_CHECKING:
    from app.postgres_following import Follower

LOG = "ledger.db"
VIEWS = "views.db"


class Home(NamedTuple):
    """Where a ledger is: its directory, and its place in PostgreSQL when it is there.

    Then the directory has what is beside the ledger: keys that sign, checkpoints, marks of
    deliveries.
    """

    directory: Path
    place: Place | None = None

    def __str__(self) -> str:
        return self.place.shown if self.place else str(self.directory)


def open_store(directory: Path, place: Place | None = None, *, exclusive: bool = True) -> Store:
    """The log of a ledger. Raises `LedgerInUse` when another process writes to it.

    In PostgreSQL raises `ConnectionError` when it cannot be reached, and `ValueError` when it is
    not fit to keep a ledger, or nothing is installed to speak to it.
    """
    if place is None:
        return Store(directory, exclusive=exclusive)
    with _the_extra():
        from app import postgres_schemas
        from app.postgres_store import PostgresStore
    if exclusive:
        postgres_schemas.check_primary(place)
    return PostgresStore(place, directory, exclusive=exclusive)


def open_snapshot(directory: Path, place: Place | None = None) -> Snapshot:
    """The log of a ledger as it is at this moment. Raises as `open_store` does, or finds none."""
    if place is None:
        return Snapshot(directory / LOG)
    with _the_extra():
        from app.postgres_snapshots import PostgresSnapshot
    return PostgresSnapshot(place)


def is_there(directory: Path, place: Place | None = None) -> bool:
    """Whether there is a ledger already. Raises as `open_store` does."""
    if place is None:
        return (directory / LOG).exists()
    with _the_extra():
        from app import postgres_store
    return postgres_store.is_there(place)


def opening(place: Place | None = None) -> AbstractContextManager[None]:
    """For as long as the block lasts, no other process makes what is missing here."""
    if place is None:
        return nullcontext()  # whoever opens files holds them
    with _the_extra():
        from app import postgres_store
    return postgres_store.opening(place)


def following(place: Place | None, store: Store, writer: Writer, origin: str) -> "Follower | None":
    """Who follows what other processes write; nobody where there are none."""
    if place is None:
        return None
    from app.postgres_following import Follower

    return Follower(place, store, writer, origin)


def replaying(place: Place) -> AbstractContextManager[None]:
    """One replay at a time of what is in a place. Raises `LedgerInUse`."""
    with _the_extra():
        from app import postgres_store
    return postgres_store.replaying(place)


def turns_of(store: Store, engine: Engine, origin: str) -> Turns:
    """The turns of whoever writes; `origin` tells this process from others."""
    if not store.typed:
        return Turns(store, engine)
    from app.postgres_turns import PostgresTurns

    return PostgresTurns(cast("Any", store), engine, origin)


def views_of(directory: Path, place: Place | None = None) -> Where:
    """Where the views of a ledger are kept."""
    return directory / VIEWS if place is None else place.beside("views")


@contextmanager
def new_schemas(place: Place) -> Iterator[Place]:
    """A place to make a ledger in, which becomes that one in PostgreSQL once all is well.

    Raises `ValueError` when something is there already, and as `open_store` does.
    """
    with _the_extra():
        from app import postgres_schemas
    with postgres_schemas.new_schemas(place) as unfinished:
        yield unfinished


def check_free(place: Place) -> None:
    """Refuse a place in PostgreSQL that holds anything. Raises as `new_schemas` does."""
    with _the_extra():
        from app import postgres_schemas
    postgres_schemas.check_free(place)


def drop(place: Place) -> None:
    """Remove a ledger in PostgreSQL and its views. Raises as `new_schemas` does."""
    with _the_extra():
        from app import postgres_schemas
    postgres_schemas.drop(place)


@contextmanager
def _the_extra() -> Iterator[None]:
    """Only whoever speaks to PostgreSQL need have installed what that needs."""
    try:
        yield
    except ImportError as error:
        message = "speaking to PostgreSQL needs more packages: pip install 'tallybook[postgres]'"
        raise ValueError(message) from error

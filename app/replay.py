"""Fold the log again: the views are disposable, and made anew from nothing but the ledger.

While a server holds the ledger, they are folded beside it, by the process that was asked to, and
handed over: as a file that the server finds, brings up to date and puts in the place of its own,
between two transactions. It answers all the time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import sleep

import msgspec

from app.folding_ahead import folders, worth_it
from app.jobs import Busy
from app.ledger import Ledger
from app.lock import LedgerInUse, hold
from app.opening import VIEWS, open_store, replaying
from app.store import Store
from projections import engine
from projections.engine import Engine
from projections.places import Place

HANDED_OVER = "views.rebuilt.db"
"""Views that were rebuilt while a server serves, for it to take over."""
TAKEN = "views.taken.db"
"""The same once the server has seen them."""
PATIENCE_MS = 30_000
"""How long whoever holds the ledger may take to see them."""
LOOK_MS = 250
"""How often a server looks for them."""
_PAUSE_MS = 50

Progress = Callable[[int, int], None]
"""Is told how far the log was folded, and how far it goes."""

_log = logging.getLogger("tallybook.replay")


class Replayed(msgspec.Struct, frozen=True):
    """What was folded: how many events, and whether a server goes on with the new views."""

    events: int
    served: bool


def replay(
    directory: Path, progress: Progress | None = None, place: Place | None = None
) -> Replayed:
    """Fold the whole ledger into new views and put them in the place of the old ones.

    Raises `LedgerInUse` when another replay runs, or when whoever holds the ledger does not take
    the new views over.
    """
    if place is not None:
        with replaying(place), closing(open_store(directory, place, exclusive=False)) as store:
            return _in_database(place, store, progress)
    with _alone(directory):
        try:
            store = Store(directory)
        except LedgerInUse:
            with closing(Store(directory, exclusive=False)) as store:
                return _hand_over(directory, store, progress)
        with closing(store):
            return _at_rest(directory, store, progress)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One replay at a time, for there is one place for views aside."""
    try:
        lock = hold(directory / "replay.lock")
    except LedgerInUse:
        raise LedgerInUse(f"{directory} is being replayed already") from None
    with lock:
        yield


def _in_database(place: Place, store: Store, progress: Progress | None) -> Replayed:
    """Whoever writes goes on until the new views are in place, and whoever reads is waited for."""
    views, follow = place.beside("views"), _follow(store, progress)
    others = partial(folders, store, place=place) if worth_it(store, place) else None
    aside = engine.rebuild(views, store.read, follow, others, store.read)

    def up_to_date() -> None:
        with closing(Engine(aside)) as rebuilt:
            rebuilt.catch_up(store.read)
            rebuilt.seal(store.hash_at)

    up_to_date()  # as far as it goes, so that writers are held up less
    _patiently(lambda: engine.swap(aside, views, up_to_date))
    return Replayed(store.head()[0], served=False)


def _follow(store: Store, progress: Progress | None) -> Callable[[int], None] | None:
    head = store.head()[0]
    return (lambda at: progress(at, max(at, head))) if progress else None


def _rebuilt(directory: Path, store: Store, progress: Progress | None) -> Path:
    """Views folded from the whole ledger, aside, which say what they were folded from."""
    follow = _follow(store, progress)
    others = partial(folders, store) if worth_it(store) else None
    aside = engine.rebuild(directory / VIEWS, store.read, follow, others, store.read)
    with closing(Engine(aside)) as rebuilt:
        rebuilt.catch_up(store.read)
        rebuilt.seal(store.hash_at)
    return aside


def _at_rest(directory: Path, store: Store, progress: Progress | None) -> Replayed:
    """Nobody writes to the views."""
    aside = _rebuilt(directory, store, progress)
    _patiently(lambda: engine.swap(aside, directory / VIEWS))
    for name in (HANDED_OVER, TAKEN):
        engine.remove(directory / name)
    return Replayed(store.head()[0], served=False)


# ------------------------------------------------------------------------------ whoever asks for it


def _hand_over(directory: Path, store: Store, progress: Progress | None) -> Replayed:
    """Rebuild the views beside a server, and wait until it goes on with them."""
    aside, handed = _rebuilt(directory, store, progress), directory / HANDED_OVER
    inode = aside.stat().st_ino
    engine.remove(handed)
    aside.replace(handed)
    waited = 0
    while handed.exists() or (directory / TAKEN).exists():
        if waited >= PATIENCE_MS and _withdrawn(handed):
            message = f"whoever holds {directory} does not take the views over; stop it first"
            raise LedgerInUse(message)
        try:
            with closing(Store(directory)) as own:  # the server has stopped meanwhile
                return _at_rest(directory, own, progress)
        except LedgerInUse:
            sleep(_PAUSE_MS / 1_000)
            waited += _PAUSE_MS
    if (directory / VIEWS).stat().st_ino != inode:
        raise LedgerInUse(
            f"the server of {directory} did not take the views over; its log says why"
        )
    return Replayed(store.head()[0], served=True)


def _withdrawn(handed: Path) -> bool:
    """Whether nobody had taken the views yet, and nobody will."""
    try:
        handed.unlink()
    except FileNotFoundError:
        return False
    engine.remove(handed)
    return True


# ------------------------------------------------------------------------------- whoever serves


async def keep_taking_over(ledger: Ledger) -> None:
    """Take over what is handed over, for as long as a server runs."""
    engine.remove(ledger.directory / TAKEN)  # from a server that was killed
    while True:
        if (ledger.directory / HANDED_OVER).exists():
            try:
                await asyncio.to_thread(take_over, ledger)
            except Exception:  # noqa: BLE001  # whatever it was, the old views are good
                _log.exception("could not take over views that were rebuilt")
        await asyncio.sleep(LOOK_MS / 1_000)


def take_over(ledger: Ledger) -> None:
    """Go on with the views that were handed over, once they are up to date.

    Raises `ValueError` when they are of another version of Tallybook, or of another ledger.
    """
    store, taken = ledger.store, ledger.directory / TAKEN
    (ledger.directory / HANDED_OVER).replace(taken)
    try:
        engine.of_same_version(taken).close()
        with closing(Engine(taken)) as rebuilt:
            sealed = rebuilt.database.writing.meta("sealed_position") is not None
            if not sealed or not rebuilt.follows(lambda: store.head()[0], store.hash_at):
                raise ValueError("they were not folded from this ledger")
            rebuilt.catch_up(store.read)  # as far as it goes, so that the writer is held up less
        _patiently(lambda: ledger.take_over(taken))
        _log.info("went on with views that were rebuilt, at position %s", store.head()[0])
    finally:
        engine.remove(taken)


def _patiently(step: Callable[[], None]) -> None:
    """Do what cannot be done while somebody is just opening the views, or too much waits."""
    while True:
        try:
            return step()
        except (BlockingIOError, Busy):
            sleep(_PAUSE_MS / 1_000)

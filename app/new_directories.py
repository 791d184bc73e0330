"""Make a ledger where nothing is, and leave nothing there when that fails.

In a directory it is done here; `postgres_schemas.py` does it in PostgreSQL.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from app import server_secret
from app.control import FILE, OTHERS
from app.delivery_marks import BEGAN, DELIVERED
from app.lock import hold
from app.opening import LOG, VIEWS, Home, new_schemas

_IN_ORDER = (BEGAN, DELIVERED, VIEWS, LOG)
_UNFINISHED = "unfinished"
_LOCK = "ledger.lock"
_OF_ALL_LEDGERS = {FILE, f"{FILE}-wal", f"{FILE}-shm", OTHERS, server_secret.FILE}
"""What a data directory may have before its first ledger: others, and the keys."""


@contextmanager
def new_home(home: Home) -> Iterator[Home]:
    """Somewhere to make a ledger, which has its home once all is well.

    Raises `ValueError` when something is there, `LedgerInUse` when another process makes it.
    """
    if home.place is None:
        with new_directory(home.directory) as unfinished:
            yield Home(unfinished)
        return
    existed = home.directory.exists()
    _check_empty(home.directory)
    unfinished = home.directory / _UNFINISHED  # for what is beside a ledger while it is made
    try:
        with new_schemas(home.place) as place:
            rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            try:
                yield Home(unfinished, place)
            finally:
                rmtree(unfinished)
    except BaseException:
        if not existed:
            with suppress(OSError):  # somebody has put something there
                home.directory.rmdir()
        raise


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """A folder to make the files of a ledger in; they are the directory's once all is well.

    The log is moved last: without one a directory holds no ledger, whatever else happened. Raises
    `ValueError` when something is there already, `LedgerInUse` when another process makes it.
    """
    existed = directory.exists()
    _check_empty(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory / _LOCK):
        _check_empty(directory)
        unfinished = directory / _UNFINISHED
        rmtree(unfinished, ignore_errors=True)
        _remove(directory)
        unfinished.mkdir()
        try:
            yield unfinished
            _move(unfinished, directory)
        except BaseException:
            rmtree(unfinished)
            _remove(directory)
            (directory / _LOCK).unlink()
            if not existed:
                directory.rmdir()
            raise
        rmtree(unfinished)


def check_finished(directory: Path) -> None:
    """Refuse a directory in which a ledger was being made when that was interrupted."""
    if (directory / _UNFINISHED).exists() and not (directory / LOG).exists():
        raise ValueError(f"an import or a restore into {directory} was interrupted; do it again")


def _check_empty(directory: Path) -> None:
    """Nothing may be there but what an interrupted attempt has left."""
    if directory.exists():
        found = {path.name for path in directory.iterdir()}
        left = {_UNFINISHED, _LOCK, *_OF_ALL_LEDGERS}
        if _UNFINISHED in found and LOG not in found:
            left |= set(_IN_ORDER)
        if found - left:
            raise ValueError(f"{directory} is not empty: it holds {min(found - left)}")


def _remove(directory: Path) -> None:
    """Take away what was moved in already; the log first, so that it is no ledger any more."""
    for name in reversed(_IN_ORDER):
        (directory / name).unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Everything else is on the disk before the log is at its place."""
    for name in _IN_ORDER:
        if (source / name).exists():
            _flush(source / name)
            (source / name).rename(target / name)
            _flush(target)


def _flush(path: Path) -> None:
    """What was written is on the disk, or the names in a directory are."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

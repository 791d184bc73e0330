"""Copy a ledger while it is served, and take such a copy into service again; both are verified."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from app import verification
from app.ledger import VIEWS
from app.new_directories import LOG, new_directory
from app.snapshots import copy, settle
from app.store import CorruptLedger, Store
from projections.engine import Engine, remove

Progress = Callable[[int], None]


class Copied(msgspec.Struct, frozen=True):
    """A ledger in its new place: the position that it ends at, and the hash there."""

    position: int
    head_hash: str


def copied(source: Path, target: Path, progress: Progress | None = None) -> Copied:
    """Copy a ledger as it is at one moment into an empty directory, and verify the copy.

    A server may go on writing. Raises `CorruptLedger` when the copy is not what was written; then
    nothing is left of it.
    """
    if not (source / LOG).exists():
        raise ValueError(f"there is no ledger in {source}")
    with new_directory(target) as unfinished:
        # The views first: a log that is copied later holds all that they were folded from.
        _copy_views(source / VIEWS, unfinished / VIEWS)
        copy(source / LOG, unfinished / LOG)
        return finished(unfinished, progress)


def _copy_views(source: Path, target: Path) -> None:
    """Copy the views if there are any that can be read; they can be made again."""
    if source.exists():
        try:
            copy(source, target)
        except CorruptLedger:
            remove(target)


def finished(directory: Path, progress: Progress | None = None) -> Copied:
    """Verify the log of a new ledger and bring its views up to the same position."""
    told = None if progress is None else lambda position, _: progress(position)
    for finding in verification.verify(directory, told).findings:
        if finding.code == "PROJECTION_DIFFERS":
            continue  # views are made again below when they are not those of this log
        where = "" if finding.position is None else f" at position {finding.position}"
        raise CorruptLedger(f"{finding.code}{where}: {finding.message}")
    with closing(Store(directory)) as store:
        position, head = store.head()
        with closing(Engine(directory / VIEWS)) as engine:
            engine.follow(position, store.read, store.hash_at)
    for name in (LOG, VIEWS):
        settle(directory / name)
    return Copied(position, head.hex())

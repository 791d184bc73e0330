"""Copy a ledger while it is served, and take such a copy into service again; both are verified."""

from contextlib import closing
from pathlib import Path

import msgspec

from app import verification
from app.delivery_marks import BEGAN, DELIVERED
from app.new_directories import new_directory
from app.opening import LOG, VIEWS, Home, open_store, views_of
from app.reading import Progress
from app.snapshots import copy, settle
from app.store import CorruptLedger
from projections.engine import Engine, remove

_NOT_OF_THE_LOG = frozenset({"PROJECTION_DIFFERS", "INVOICE_DIFFERS"})
"""Findings that say nothing against a copy: views are made anew, and invoices stand as issued."""


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
        # The log last: it then holds all that was told, and all that the views were folded from.
        for name in (DELIVERED, BEGAN):
            if (source / name).exists():
                (unfinished / name).write_bytes((source / name).read_bytes())
        _copy_views(source / VIEWS, unfinished / VIEWS)
        copy(source / LOG, unfinished / LOG)
        return finished(Home(unfinished), progress)


def _copy_views(source: Path, target: Path) -> None:
    """Copy the views if there are any that can be read; they can be made again."""
    if source.exists():
        try:
            copy(source, target)
        except CorruptLedger:
            remove(target)


def finished(home: Home, progress: Progress | None = None) -> Copied:
    """Verify the log of a new ledger and bring its views up to the same position."""
    verified = verification.verify(home.directory, progress, place=home.place)
    for finding in verified.findings:
        if finding.code not in _NOT_OF_THE_LOG:
            where = "" if finding.position is None else f" at position {finding.position}"
            raise CorruptLedger(f"{finding.code}{where}: {finding.message}")
    views = views_of(*home)
    if not verified.projections_equal:
        remove(views)
    with closing(open_store(*home)) as store, closing(Engine(views)) as engine:
        engine.follow(lambda: verified.events, store.read, store.hash_at)
    if home.place is None:
        for name in (LOG, VIEWS):
            settle(home.directory / name)
    return Copied(verified.events, verified.head_hash)

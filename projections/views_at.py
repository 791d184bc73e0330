"""Views wherever they are kept: opened, removed, put in the place of others."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from projections.places import Place, W, Where
from projections.tables import Table, ViewsDatabase, ViewsFile, opening
from projections.tables import stamp_of as stamp_of_file


def aside(at: W) -> W:
    """Where views are rebuilt that will take the place of those here."""
    if isinstance(at, Place):
        return at.beside("rebuild")
    return at.with_name(f"{at.stem}.rebuild{at.suffix}")


def open_views(at: Where, tables: Sequence[Table], stamp: str | None = None) -> ViewsDatabase:
    """The views, made when there are none; whoever reads them wants those of this version."""
    opened: ViewsDatabase
    opened = _postgres().ViewsSchema(at, tables) if isinstance(at, Place) else ViewsFile(at, tables)
    opened.stamp = stamp
    return opened


def version_stamp(tables: Sequence[Table], code_version: int) -> str:
    """What the tables and the code that fills them look like; another stamp means a rebuild."""
    text = "\n".join(statement for table in tables for statement in table.statements)
    return hashlib.sha256(f"{code_version}\n{text}".encode()).hexdigest()


def stamp_of(at: Where) -> str | None:
    """The version stamp of the views, before anything is assumed about their tables."""
    return _postgres().stamp_of(at) if isinstance(at, Place) else stamp_of_file(at)


def mark_of(at: Where) -> object:
    """What tells views from those that stood in their place before. Raises `FileNotFoundError`.

    Only of files: a schema that is opened is the one of its name, whoever took the name.
    """
    if isinstance(at, Place):
        return None
    try:
        found = at.stat()
    except FileNotFoundError:
        with opening(at):  # perhaps others are just being put in their place
            found = at.stat()
    return found.st_dev, found.st_ino  # given to no other file while somebody has it open


def swap(aside: Where, at: Where, last: Callable[[], None] = lambda: None) -> None:
    """Put rebuilt views in the place of the old ones; `last` is done to them before.

    Whoever has files open keeps them; SQLite sees that they moved, and leaves the new ones be.
    Raises `BlockingIOError` when somebody is just opening them, or in a database reading them; then
    nothing is changed.
    """
    if isinstance(aside, Place) and isinstance(at, Place):
        _postgres().swap(aside, at, last)
        return
    assert isinstance(aside, Path), "views take the place of others of their kind"
    assert isinstance(at, Path), "views take the place of others of their kind"
    last()
    with opening(at, alone=True):
        remove(at)
        aside.replace(at)
    remove(aside)


def remove(at: Where) -> None:
    """Remove views, and whatever files SQLite keeps beside them."""
    if isinstance(at, Place):
        _postgres().remove(at)
        return
    for suffix in ("", "-wal", "-shm"):
        at.with_name(at.name + suffix).unlink(missing_ok=True)


def _postgres() -> ModuleType:
    """What keeps views in PostgreSQL: only whoever uses it need have installed what it needs."""
    from projections import postgres_tables

    return postgres_tables

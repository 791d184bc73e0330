"""How much a ledger takes, and its views: the sizes of their files, or of their schemas."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from app.opening import VIEWS
from app.store import Store
from projections.places import Place

if TYPE_CHECKING:
    from app.ledger import Ledger

# It looks at the files of each table; a ledger with its views has some fifty of them.
_SCHEMA = """SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
    JOIN pg_namespace n ON n.oid=c.relnamespace WHERE n.nspname=? AND c.relkind='r'"""


def sizes(ledger: "Ledger") -> Mapping[str, int]:
    """The bytes of a ledger, and of its views."""
    store, place = ledger.store, ledger.place
    views = (
        _file(ledger.directory / VIEWS) if place is None else _schema(store, place.beside("views"))
    )
    return {"ledger": of_log(store, place), "views": views}


def of_log(store: Store, place: Place | None) -> int:
    """The bytes of a log, with the identities and keys beside it."""
    return _file(store.path) if place is None else _schema(store, place)


def _file(path: Path) -> int:
    """A file, and what SQLite keeps in another one beside it."""
    paths = [path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal")]
    return sum(one.stat().st_size for one in paths if one.exists())


def _schema(store: Store, place: Place) -> int:
    """The tables of a schema, with their indexes and what lies out of line."""
    [row] = store.select(_SCHEMA, (place.schema,))
    return int(row[0])

"""How much a ledger takes, and its views: the sizes of their files, or of their schemas."""

from collections.abc import Mapping
from pathlib import Path

from app.ledger import Ledger
from app.opening import LOG, VIEWS
from app.store import Store
from projections.places import Place

# It looks at the files of each table; a ledger with its views has some fifty of them.
_SCHEMA = """SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
    JOIN pg_namespace n ON n.oid=c.relnamespace WHERE n.nspname=? AND c.relkind='r'"""


def sizes(ledger: Ledger) -> Mapping[str, int]:
    """The bytes of a ledger, and of its views."""
    if ledger.place is None:
        files = {"ledger": LOG, "views": VIEWS}
        return {name: _file(ledger.directory / file) for name, file in files.items()}
    places = {"ledger": ledger.place, "views": ledger.place.beside("views")}
    return {name: _schema(ledger.store, place) for name, place in places.items()}


def _file(path: Path) -> int:
    """A file, and what SQLite keeps in another one beside it."""
    paths = [path.with_name(f"{path.name}{suffix}") for suffix in ("", "-wal")]
    return sum(one.stat().st_size for one in paths if one.exists())


def _schema(store: Store, place: Place) -> int:
    """The tables of a schema, with their indexes and what lies out of line."""
    [row] = store.select(_SCHEMA, (place.schema,))
    return int(row[0])

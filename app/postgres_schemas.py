"""Make a ledger in schemas that hold nothing, and leave nothing there when that fails.

It is made in schemas aside, which then take their names in one transaction: without that there is
no ledger, whatever else happened.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection

from app.lock import LedgerInUse
from projections import postgres
from projections.places import Place

_MAKING = "new"
_HELD = b"SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_TABLES = b"SELECT tablename FROM pg_tables WHERE schemaname=$1 ORDER BY tablename LIMIT 1"


@contextmanager
def new_schemas(place: Place) -> Iterator[Place]:
    """A place to make a ledger in; it becomes the one that was asked for once all is well.

    Raises `ValueError` when that one holds anything, `LedgerInUse` when another process makes a
    ledger there, `ConnectionError` when nobody can say.
    """
    aside = Place(place.url, f"{place.schema}_{_MAKING}")  # a ledger by itself
    with _connected(place) as connection:
        held = connection.execute(_HELD, (f"tallybook {place.schema} {_MAKING}",)).fetchone()
        if held is None or not held[0]:
            raise LedgerInUse(f"{place} is being made by another tallybook process")
        _check_free(connection, place)
        _drop(connection, aside)
        try:
            yield aside
            _rename(connection, aside, place)
        except BaseException:
            with suppress(psycopg.Error):  # whoever comes next removes what is left aside
                _drop(connection, aside)
            raise


def check_free(place: Place) -> None:
    """Refuse schemas that hold anything. Raises as `new_schemas` does."""
    with _connected(place) as connection:
        _check_free(connection, place)


def check_primary(place: Place) -> None:
    """Refuse a replica: it takes nothing, and says so late and in many ways."""
    with _connected(place) as connection:
        if connection.execute(b"SELECT pg_is_in_recovery()").fetchone() == (True,):
            raise ValueError(f"{place} is in a replica, which can only be read")


def drop(place: Place) -> None:
    """Remove a ledger and its views. Raises `ValueError` when there is something else."""
    with _connected(place) as connection:
        _drop(connection, place)


@contextmanager
def _connected(place: Place) -> Iterator[Connection[Any]]:
    try:
        connection = postgres.connect(place, place.schema)
    except psycopg.OperationalError as error:
        raise ConnectionError(f"{place} cannot be opened: {error}") from error
    with closing(connection):
        yield connection


def _both(place: Place) -> tuple[Place, Place]:
    """The schema of the log, and that of the views."""
    return place, place.beside("views")


def _check_free(connection: Connection[Any], place: Place) -> None:
    for one in _both(place):
        found = connection.execute(_TABLES, (one.schema,)).fetchone()
        if found is not None:
            raise ValueError(f"{one} is not empty: it holds {found[0]}")


def _drop(connection: Connection[Any], place: Place) -> None:
    for one, ours in zip(_both(place), ("event_hashes", "meta"), strict=True):
        found = connection.execute(_TABLES, (one.schema,)).fetchone()
        if found is not None and not postgres.exists(connection, f'"{one.schema}".{ours}'):
            raise ValueError(f"{one} holds other tables than those of a ledger")
        connection.execute(f'DROP SCHEMA IF EXISTS "{one.schema}" CASCADE'.encode())


def _rename(connection: Connection[Any], aside: Place, place: Place) -> None:
    with connection.transaction():
        _check_free(connection, place)
        for one, other in zip(_both(aside), _both(place), strict=True):
            connection.execute(f'DROP SCHEMA IF EXISTS "{other.schema}"'.encode())
            rename = f'ALTER SCHEMA "{one.schema}" RENAME TO "{other.schema}"'
            connection.execute(rename.encode())

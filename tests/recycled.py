"""Schemas that tests have done with, for the next ones: emptied and renamed, not made anew.

To make the tables of a ledger costs PostgreSQL a tenth of a second, which thousands of tests would
wait for. Only schemas of `places.PREFIX` are used again; all others are made and dropped as ever.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest import mock

from app.postgres_store import PostgresLedgerRecorder
from projections import postgres, postgres_tables
from projections.places import Place
from projections.postgres_tables import ViewsSchema
from tests.kept import keeping
from tests.places import PREFIX

LOG, VIEWS = "event_hashes", "meta"
"""The tables by which a log, and views, are told."""
_TABLES = b"SELECT tablename FROM pg_tables WHERE schemaname=$1 ORDER BY tablename"
_SCHEMAS = b"SELECT nspname FROM pg_namespace WHERE nspname=$1 OR starts_with(nspname, $1 || '_')"


class Recycled:
    """Emptied schemas, under names that no ledger has."""

    def __init__(self, connection: Any, worker: str) -> None:
        self._connection = connection
        self._worker = worker
        self._free: dict[str, list[str]] = {LOG: [], VIEWS: []}
        self._whole: dict[str, list[str]] = {}
        self._emptied = 0

    def take(self, connection: Any, kind: str, schema: str) -> None:
        """Let an emptied schema be called so, if there is one."""
        if self._free[kind]:
            rename = f'ALTER SCHEMA "{self._free[kind].pop()}" RENAME TO "{schema}"'
            connection.execute(rename.encode())

    def take_back(self, place: Place) -> None:
        """Empty whatever was left in a schema and those beside it."""
        for (schema,) in self._connection.execute(_SCHEMAS, (place.schema,)).fetchall():
            self.empty(self._connection, schema)

    def empty(self, connection: Any, schema: str) -> bool:
        """Empty a schema for the next one; False when it is none that could be used again."""
        tables = [row[0] for row in connection.execute(_TABLES, (schema,)).fetchall()]
        kind = next((name for name in (LOG, VIEWS) if name in tables), None)
        if kind is None or self._whole.setdefault(kind, tables) != tables:
            return False
        self._emptied += 1
        name = f"free_{self._worker}_{self._emptied}"
        steps = [f'DELETE FROM "{schema}"."{table}"' for table in tables]
        steps.append(f'ALTER SCHEMA "{schema}" RENAME TO "{name}"')
        connection.execute("; ".join(steps).encode())
        self._free[kind].append(name)
        return True


@contextmanager
def recycling(place: Place, worker: str) -> Iterator[Recycled]:
    """Keep ledgers and views of tests in schemas that were emptied, as long as the block lasts."""
    make_log: Any = PostgresLedgerRecorder.create_table
    make_views: Any = ViewsSchema._create
    drop_views: Any = postgres_tables._drop

    def log(recorder: Any) -> None:
        schema = recorder.datastore.schema
        if schema.startswith(PREFIX):
            with recorder.datastore.get_connection() as connection:
                sql = f"SELECT to_regclass('\"{schema}\".{LOG}') AS found"
                if connection.execute(sql.encode()).fetchone()["found"] is None and free._free[LOG]:
                    connection.execute(f'DROP SCHEMA IF EXISTS "{schema}"'.encode())
                    free.take(connection, LOG, schema)
                    return  # with every table
        make_log(recorder)

    def views(database: Any, place: Place) -> None:
        connection, table = database._session.connection, f'"{place.schema}".{VIEWS}'
        if place.schema.startswith(PREFIX) and not postgres.exists(connection, table):
            free.take(connection, VIEWS, place.schema)
        make_views(database, place)

    def drop(connection: Any, place: Place) -> None:
        if not (place.schema.startswith(PREFIX) and free.empty(connection, place.schema)):
            drop_views(connection, place)

    with closing(postgres.connect(place, "public")) as connection:
        connection.execute(b"SET lock_timeout TO '2s'")
        free = Recycled(connection, worker)
        with (
            keeping(),
            mock.patch.object(PostgresLedgerRecorder, "create_table", log),
            mock.patch.object(ViewsSchema, "_create", views),
            mock.patch.object(postgres_tables, "_drop", drop),
        ):
            yield free

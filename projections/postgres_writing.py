"""The connection that writes to a ledger in PostgreSQL and to its views, and waits for little."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from psycopg import Connection, RawCursor
from psycopg.errors import LockNotAvailable

from projections import postgres
from projections.places import Place
from projections.postgres import Session
from projections.tables import Row

_BEGIN = "BEGIN READ WRITE"


class Writing(Session):
    """The connection that writes, a new one when the last was lost between two transactions."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._open = False
        self._pipeline: psycopg.Pipeline | None = None
        self._piped = ExitStack()
        super().__init__(self._connect())

    def _connect(self) -> Connection[Row]:
        connection = postgres.connect(self._place, self._place.schema)
        try:
            if self._place.log:  # whoever writes a group writes to both
                path = f'SET search_path TO "{self._place.schema}", "{self._place.log}"'
                connection.execute(path.encode())
            postgres.prepare_writing(connection, self._place)
        except BaseException:
            connection.close()
            raise
        return connection

    def reconnect(self) -> None:
        """Connect anew when the connection was lost. Raises `psycopg.Error`."""
        if self.connection.closed and not self._open:
            self.connection = self._connect()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> RawCursor[Row]:
        """Run a statement. Of a transaction that was lost, nothing more is."""
        self.reconnect()
        return super().execute(sql, parameters)

    def begin(self, sql: str) -> list[Row]:
        """Begin a transaction with these statements; the answer is the rows that they gave.

        Raises `TimeoutError` when others keep a lock for too long.
        """
        self.reconnect()
        try:
            cursor = self.connection.execute(f"{_BEGIN}; {sql}".encode())
        except BaseException as error:
            self._open = True
            self.rollback()
            if isinstance(error, LockNotAvailable):
                raise TimeoutError(f"another process has kept {self._place} too long") from error
            raise
        self._open = True
        return rows_of_each(cursor)

    def send_on(self) -> None:
        """Until the transaction ends, wait for no answer but of what is asked.

        What failed is raised by whatever comes later.
        """
        if self._pipeline is None:
            self._pipeline = self._piped.enter_context(self.connection.pipeline())

    def commit(self, sql: str = "") -> None:
        """Keep what it changed, saying something more with it."""
        if sql:
            self.connection.execute(sql.encode(), prepare=False)
        cursor = self.connection.execute(b"COMMIT", prepare=False)
        if self._pipeline is not None:
            self._pipeline.sync()  # which raises what failed first, as leaving it would not
            self._leave()
        self._open = False
        if cursor.statusmessage != "COMMIT":  # something had failed, and nobody had noticed
            raise psycopg.errors.InFailedSqlTransaction("the transaction was undone")

    def rollback(self) -> None:
        """Undo what it changed; a connection that was lost has done so."""
        if self._open:
            self._open = False
            if self._pipeline is not None:
                with suppress(psycopg.Error):
                    self._leave()
                self.connection._prepared.clear()  # some may not have been, after what failed
            with suppress(psycopg.Error):
                super().execute("ROLLBACK")
                return
            self.connection.close()

    def _leave(self) -> None:
        self._pipeline = None
        self._piped.close()


def rows_of_each(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """The rows of each statement that gave any."""
    rows: list[Row] = []
    while True:
        rows += cursor.fetchall() if cursor.description else ()
        if not cursor.nextset():
            return rows

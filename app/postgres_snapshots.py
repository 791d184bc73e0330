"""The log of a ledger in PostgreSQL as it is at one moment, in the shape that `Snapshot` has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from app.postgres_rows import kept_id, written_id
from app.snapshots import Kept, Snapshot
from app.store import CorruptLedger
from domain.record_ids import stored_id
from projections import postgres
from projections.places import Place
from projections.postgres import Session

_PAGE_EVENTS = 50
"""Events that are held in memory together; each may have a thousand usage records and more."""
_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresSnapshot(Snapshot):
    """The log of one moment, read in one transaction that writes nothing."""

    def __init__(self, place: Place) -> None:
        self._place = place
        try:
            self._session = Session(postgres.connect(place, place.schema))
        except psycopg.OperationalError as error:
            raise ConnectionError(f"{place} cannot be opened: {error}") from error
        try:
            self._session.connection.execute(_BEGIN)
            self.position, self.hash = self._head()
        except BaseException:
            self._session.connection.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._session.connection.close()

    @staticmethod
    def _kept_id(id: str) -> bytes:
        return kept_id(stored_id(id))

    @staticmethod
    def _written_id(id: bytes | str) -> str:
        assert isinstance(id, bytes), "every id is kept as bytes"
        return written_id(id)

    def events(self, after: int = 0, topics: str = "") -> Iterator[Kept]:
        """Every event after a position, in order; only topics that begin so."""
        while page := [*self._page(after, topics, _PAGE_EVENTS)]:
            yield from page
            after = page[-1].position

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        with self._reading():
            return self._session.execute(sql, parameters).fetchall()

    def _scan(self, sql: str, parameters: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with self._reading():
            yield from self._session.scan(sql, parameters)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise ConnectionError(f"{self._place} went away: {error}") from error
        except psycopg.Error as error:
            raise CorruptLedger(f"{self._place} cannot be read: {error}") from error

"""Connections that tests have done with, for the next ones: PostgreSQL makes a process for each.

Whoever closes one has closed it, and whoever connects has a new one, with nothing left of what was
before. Only tests that run on both stores connect so; what is about connections has real ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

from psycopg import Connection, pq
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from tests.places import Asked

MOST = 16
"""How many a process keeps."""

_idle: list[Any] = []
_make: Any = Connection.__dict__["connect"].__func__
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def _ended() -> Any:
    nowhere = pq.PGconn.connect(b"host=/nowhere")
    nowhere.finish()
    return nowhere


class Kept(Connection[Any]):
    """A connection that is kept when it is closed."""

    def close(self) -> None:
        """Close it, for whoever has it."""
        real: Any = self.pgconn
        if real.status == ConnStatus.OK and len(_idle) < MOST and _as_new(real):
            self.pgconn = _ended()
            _idle.append(real)
        super().close()


def _as_new(real: Any) -> bool:
    """Forget whatever was begun, locked, prepared or set."""
    if real.transaction_status in _IN_TRANSACTION:
        real.exec_(b"ROLLBACK")
    if real.transaction_status != TransactionStatus.IDLE:
        return False
    return bool(real.exec_(b"DISCARD ALL").status == ExecStatus.COMMAND_OK)


def _connect(cls: type[Connection[Any]], /, conninfo: str = "", **given: Any) -> Connection[Any]:
    places = Asked.places
    if places is None or _port(conninfo, given) != places.server.port:
        return cast(Connection[Any], _make(cls, conninfo, **given))
    while _idle:
        real = _idle.pop()
        if real.status == ConnStatus.OK:
            found = Kept(real)
            found._autocommit = bool(given.get("autocommit"))
            found.row_factory = given.get("row_factory") or found.row_factory
            found.cursor_factory = given.get("cursor_factory") or found.cursor_factory
            return found
    return cast(Connection[Any], _make(Kept, conninfo, **given))


def _port(conninfo: str, given: dict[str, Any]) -> int:
    named = {k: v for k, v in given.items() if k in ("host", "port", "dbname", "user")}
    return int(Connection._get_connection_params(conninfo, **named).get("port") or 0)


@contextmanager
def keeping() -> Iterator[None]:
    """Keep connections for as long as the block lasts."""
    with mock.patch.object(Connection, "connect", classmethod(_connect)):
        yield
    while _idle:
        _idle.pop().finish()

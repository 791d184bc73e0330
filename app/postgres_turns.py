"""Turns of several processes that write one ledger in PostgreSQL, one after the other.

A turn is one transaction, which holds the locks of the ledger and of its views from its beginning.
Whoever has them reads how far the others have come, decides by that, writes events and views
together and commits: so nobody decides by what is past, and views are never behind the log. A
process that is cut off loses its turn with all it did in it.
"""

from collections.abc import Sequence
from contextlib import closing
from time import sleep

import psycopg
from psycopg import RawCursor
from psycopg.errors import UndefinedTable
from psycopg.rows import tuple_row

from app import facts, postgres_store
from app.chain import GENESIS
from app.identities import Identities
from app.jobs import Busy
from app.postgres_rows import insert_identities, keys_are_there, without_hole
from app.postgres_store import PostgresStore, ServerLost, is_away
from app.store import CorruptLedger, KeyRow, Pending, TakenError
from app.turns import Turns
from domain.usage import UsageRecorded
from projections import postgres
from projections.engine import Engine, stamp
from projections.places import Place, Unreachable, Unwritten
from projections.postgres_tables import ViewsSchema, went_away
from projections.tables import Row

CHANNEL = "tallybook_moved"
"""Where it is told that a ledger has moved on; the rest is said in the message."""

_STANDS = """
    SELECT (SELECT max(notification_id) FROM stored_events), position, hash,
        'meta'::regclass::oid::bigint FROM (SELECT) AS one
        LEFT JOIN (SELECT * FROM event_hashes ORDER BY position DESC LIMIT 1) AS newest ON true;
    SELECT value FROM meta WHERE name IN ('position', 'stamp') ORDER BY name DESC
"""
"""Where the log and the views stand, and which views these are: others may be in their place."""


class Superseded(Unreachable):
    """A newer version of Tallybook has made the views anew; this process cannot go on with them."""


class PostgresTurns(Turns):
    """The turns of this process."""

    def __init__(self, store: PostgresStore, engine: Engine, origin: str) -> None:
        super().__init__(store, engine)
        self._place = store.place
        self._log = store
        self._origin = origin
        self._stamp = stamp()
        self._views: int | None = None
        self._sources: dict[str, int] = {}
        """The numbers of sources, as this process has seen them kept."""
        self._link = GENESIS
        self._identified = 0
        """How many identities of this turn are on their way."""
        self._away = False
        store.rest()

    def begin(self) -> None:
        """Have the ledger for oneself, once whoever has it is done, and see what they did.

        Raises `Busy` when they take too long, and `Unreachable` when the database does not answer.
        """
        self.written_all_the_same = False
        self._identified = 0
        try:
            while not self._begun():
                self._engine.forget()
                self._engine.catch_up(self._store.read)
        except Exception as error:
            said = self.undo(error)
            if said is not error:
                raise said from error
            raise

    def _begun(self) -> bool:
        """Begin a turn, unless the views have to be brought up to date before."""
        head, views, folded = self._stands()
        if folded < head:
            self._database.rollback()
            return False
        if views != self._views:  # rebuilt by somebody, perhaps because these were wrong
            self._views = views
            self._engine.forget()
        if head != self.head:
            self._follow(head)
        return True

    def _stands(self) -> tuple[int, int, int]:
        """The head of the log, which views these are, and how far they are folded."""
        [(events, hashes, link, views), *metas] = self._answered()
        made_by, *position = [self._database.decoded(value) for (value,) in metas] or [None]
        if made_by != self._stamp:
            self._database.rollback()
            message = f"the views of {self._place} were made by another version of Tallybook"
            raise Superseded(message)
        try:
            head = without_hole(events, hashes)
        except CorruptLedger:
            self._database.rollback()
            raise
        self._link = link or GENESIS
        return head, views, int(position[0]) if position else 0

    def _answered(self) -> list[Row]:
        """What the database answers to whoever begins a turn; one that restarts is waited for."""
        attempts = 1 if self._away else postgres_store.ATTEMPTS
        for left in range(attempts - 1, -1, -1):
            try:
                rows = self._database.begin_group(_STANDS)
            except UndefinedTable as error:
                message = f"the views of {self._place} are being made by another version"
                raise Superseded(message) from error
            except TimeoutError as error:
                raise Busy(str(error)) from error
            except psycopg.Error as error:
                self._away = not left
                if not went_away(error):
                    raise
                if not left:
                    raise ServerLost(f"{self._place} does not answer: {error}") from error
                if left < attempts - 1:  # a connection that was lost is known only by using it
                    sleep(postgres_store.PAUSE_S)
            else:
                self._away = False
                return rows
        raise AssertionError("it answers, or it does not")

    def _follow(self, head: int) -> None:
        """Others have written: what was remembered of before counts no more."""
        sql = "SELECT DISTINCT topic FROM stored_events WHERE rowid>?"
        topics = {topic for (topic,) in self._store.select(sql, (self.head,))}
        self._engine.forget(usage_only=topics == {UsageRecorded.topic})
        self.last_us = facts.recorded_at_us(self._store, head)
        self.head = head

    def identify(self, identities: Identities) -> None:
        """Let identities be written while their usage is folded here.

        Nobody waits for them until the turn ends; if one is taken, it is said then, or before.
        """
        session = self._database.session
        session.send_on()
        c = RawCursor(session.connection, row_factory=tuple_row)
        insert_identities(c, identities, self._sources)
        self._identified += len(identities)

    def keep(
        self,
        pending: Sequence[Pending],
        identities: Identities,
        keys: Sequence[KeyRow],
        now_us: int,
    ) -> None:
        """Write what was decided, and tell the other processes.

        Raises `TakenError`, and `ServerLost` when the database went away and nobody can say.
        """
        hashes: list[tuple[int, bytes]] = []
        if pending or keys:
            self.identify(identities[self._identified :])
            connection = self._database.session.connection
            hashes = self._log.insert_group(connection, pending, keys, (self.head, self._link))
        try:
            self._database.commit_group(CHANNEL, self._message(pending, now_us))
        except psycopg.IntegrityError:
            raise
        except psycopg.Error as error:
            if not self._kept(hashes[-1:], keys, error):
                raise
            self._database.rollback()  # for the connection, of which nothing is left to undo
        self.head += len(pending)
        self.last_us = now_us

    def undo(self, error: BaseException) -> BaseException:
        """Leave everything as it was; where only the connection was lost, it may be tried again."""
        self._database.rollback()
        self._engine.forget()
        self._sources.clear()
        if isinstance(error, psycopg.IntegrityError):
            return TakenError(str(error))
        said = isinstance(error, ServerLost | Superseded)
        if not said and (isinstance(error, Unreachable) or is_away(error)):
            return Unwritten(f"the database went away, and nothing was written: {error}")
        return error

    @property
    def _database(self) -> ViewsSchema:
        database = self._engine.database
        assert isinstance(database, ViewsSchema), "a ledger in PostgreSQL has its views there"
        return database

    def _message(self, pending: Sequence[Pending], now_us: int) -> str:
        """What the other processes are told; nothing when nothing was written."""
        if not pending:
            return ""
        usage_only = all(isinstance(one.event, UsageRecorded) for one in pending)
        words = (self._place.schema, self._origin, now_us, "usage" if usage_only else "any")
        return " ".join(map(str, words))

    def _kept(
        self, last: Sequence[tuple[int, bytes]], keys: Sequence[KeyRow], error: Exception
    ) -> bool:
        """Whether a turn was kept of which no answer came: by its end in the chain, or its keys.

        Others may have written meanwhile. Raises `ServerLost` when nobody can say.
        """
        for left in range(postgres_store.ATTEMPTS - 1, -1, -1):
            try:
                return _is_there(self._place, last, keys)
            except psycopg.OperationalError:
                if left:
                    sleep(postgres_store.PAUSE_S)  # it restarts
        self._away = True
        raise ServerLost(f"{self._place} does not answer") from error


def _is_there(place: Place, last: Sequence[tuple[int, bytes]], keys: Sequence[KeyRow]) -> bool:
    """Whether the chain has this link, or there are these keys, once nothing is on its way."""
    with (
        closing(postgres.connect(place, place.schema)) as connection,
        connection.transaction(force_rollback=True),
    ):
        turns = postgres.waiting_for(place.beside("views").turn, place.turn)
        connection.execute(turns.encode())
        if not last:
            return keys_are_there(RawCursor(connection, row_factory=tuple_row), keys)
        position, hash = last[0]
        sql = b"SELECT hash FROM event_hashes WHERE position=$1"
        return connection.execute(sql, (position,)).fetchone() == (hash,)

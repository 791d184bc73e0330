"""Hearing of what other processes write to a ledger in PostgreSQL, and which of them has the duty.

One connection listens. What it hears comes with the commit that it tells of; when it was
lost, it is looked how far the ledger has come meanwhile. The same connection holds the lock of the
duty: what one process does for all of them ends with it, and another takes it over.
"""

import asyncio
import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from time import monotonic

import psycopg

from app import facts
from app.postgres_turns import CHANNEL
from app.store import Store
from app.writer import Writer
from projections import postgres
from projections.places import Place, Unreachable
from projections.tables import Row

LOOK_SECONDS = 1.0
"""How often it is looked whether the duty is free, and the connection still there."""

_log = logging.getLogger("tallybook.ledger")


class Follower:
    """Follows a ledger that several processes write, in a thread of its own."""

    def __init__(self, place: Place, store: Store, writer: Writer, origin: str) -> None:
        self._place = place
        self._store = store
        self._writer = writer
        self._origin = origin
        self._stopping = False
        self._woken, self._wake = os.pipe()
        self.on_duty = False
        self._watching: tuple[Callable[[], object], ...] = ()
        self._thread = threading.Thread(target=self._run, name="tallybook-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the connection, and with it of the duty."""
        self._stopping = True
        os.write(self._wake, b".")
        self._thread.join()
        os.close(self._woken)
        os.close(self._wake)

    async def duty(self, *, held: bool) -> None:
        """Wait until this process has the duty, or has it no longer."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def told() -> None:
            with suppress(RuntimeError):  # its event loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(changed.set)

        self._watching = (*self._watching, told)
        try:
            while self.on_duty is not held:
                changed.clear()
                if self.on_duty is not held:
                    await changed.wait()
        finally:
            self._watching = tuple(one for one in self._watching if one is not told)

    # -------------------------------------------------------------------------- in its own thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                with closing(postgres.connect(self._place, self._place.schema)) as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    self._catch_up()
                    self._listen(connection)
            except (psycopg.Error, Unreachable) as error:
                _log.warning("%s is not heard of: %s", self._place, error)
            except Exception:  # noqa: BLE001  # whatever it was, the next connection may do better
                _log.exception("%s is not heard of", self._place)
            self._take_duty(held=False)
            self._sleep(None)

    def _catch_up(self) -> None:
        """See how far the ledger has come: nobody told us while we did not listen."""
        head, _ = self._store.head()
        self._writer.set_clock(facts.recorded_at_us(self._store, head))
        self._writer.tell(usage_only=False)

    def _listen(self, connection: psycopg.Connection[Row]) -> None:
        lock = postgres.lock_of(f"tallybook duty {self._place.schema}")
        look_at = monotonic()
        while not self._stopping:
            if monotonic() >= look_at:
                ask = "" if self.on_duty else f"SELECT pg_try_advisory_lock({lock})"
                found = connection.execute(ask.encode())  # raises when nobody is there any longer
                self._take_duty(held=self.on_duty or found.fetchone() == (True,))
                look_at = monotonic() + LOOK_SECONDS
            for notice in connection.notifies(timeout=0):
                self._hear(notice.payload)
            self._sleep(connection)

    def _sleep(self, connection: psycopg.Connection[Row] | None) -> None:
        """Wait for something to hear, or for the end."""
        sources = [self._woken] if connection is None else [self._woken, connection.fileno()]
        select.select(sources, [], [], LOOK_SECONDS)

    def _hear(self, payload: str) -> None:
        """Somebody has written; of this ledger it may be, and another process."""
        schema, origin, recorded_at_us, what = payload.split(" ")
        if schema == self._place.schema and origin != self._origin:
            self._writer.set_clock(int(recorded_at_us))
            self._writer.tell(usage_only=what == "usage")

    def _take_duty(self, *, held: bool) -> None:
        if held is not self.on_duty:
            self.on_duty = held
            for told in self._watching:
                told()

"""Facts read from the ledger by where they stand: the stream of one object, a page of any."""

from collections.abc import Sequence

import msgspec

from app.store import Store
from domain.decider import EVENTS, Envelope, Event, Recorded

_COLUMNS = "e.rowid, originator_id, originator_version, topic, state"


class Fact(msgspec.Struct, frozen=True):
    """An event as it is stored, with the chain's hash: what it says is decoded when it is asked."""

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes
    hash: bytes = b""

    def envelope(self, store: Store) -> Envelope:
        """What is known about the fact beside the fact itself."""
        return store.envelope(self.state)

    def event(self, store: Store) -> Event:
        """The fact itself, in its newest version."""
        return store.decoded(self.position, self).event

    def newest_topic(self, store: Store) -> str:
        """The name and the version that the fact is read as."""
        return self.topic if self.topic in EVENTS else self.event(store).topic


def at(store: Store, positions: Sequence[int]) -> list[Fact]:
    """The facts at these positions, in the order of the ledger."""
    marks = ",".join("?" * len(positions))
    rows = store.select(
        f"SELECT {_COLUMNS}, hash FROM stored_events e JOIN event_hashes h ON h.position=e.rowid"
        f" WHERE e.rowid IN ({marks}) ORDER BY e.rowid",
        positions,
    )
    return [Fact(*row) for row in rows]


def stream(store: Store, id: str, until: int) -> list[Recorded]:
    """What happened to one object by itself, up to a position."""
    rows = store.select(
        f"SELECT {_COLUMNS} FROM stored_events e WHERE originator_id=? AND e.rowid<=?"
        " ORDER BY originator_version",
        (id, until),
    )
    return [store.decoded(row[0], Fact(*row)) for row in rows]


def recorded_at_us(store: Store, position: int) -> int:
    """When the fact at a position was recorded."""
    [row] = store.select("SELECT state FROM stored_events WHERE rowid=?", (position,))
    return store.envelope(row[0]).recorded_at_us

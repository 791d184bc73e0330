"""Fork a ledger: a ledger of its own that goes on from a position of another one, to try anything.

It holds the same events up to there, byte for byte, so that the chain is the same; then a fact
that says what it is, under an id of its own. Its clock is a test clock. Nobody is told of what
happens in it, and what was signed for the original is not signed for the fork.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from itertools import chain, takewhile
from pathlib import Path

import msgspec

import app.commands  # noqa: F401 - every event type is registered once every command is known
from app.backups import Copied, finished
from app.clock import new_id
from app.identities import IdentityRow
from app.new_directories import new_home
from app.opening import Home, is_there, open_snapshot, open_store
from app.reading import Progress
from app.snapshots import Kept, Snapshot
from app.store import CorruptLedger, KeyRow, LedgerMapper, Pending, Store, TakenError
from domain import ledgers
from domain.decider import Code, Envelope, Rejected, fold
from domain.ledgers import Facts, ForkLedger, LedgerForked
from domain.periods import from_us, to_us
from domain.usage import UsageRecorded
from projections.places import Place

_EVENTS_PER_COMMIT = 500
_BYTES_PER_COMMIT = 16 * 1024 * 1024

AsOf = int | datetime
"""A position, or an instant: then the last position that was recorded by it."""


def forked(
    source: Path,
    target: Path,
    *,
    as_of: AsOf | None = None,
    at: datetime | None = None,
    progress: Progress | None = None,
    place: Place | None = None,
) -> tuple[Copied, LedgerForked]:
    """Fork a ledger into an empty directory, as of its newest position by default, and verify it.

    When the original has a place in PostgreSQL the fork has one in the same database, `place_of`.

    A server may go on writing to the original. Raises `Rejected` for a position that it does not
    have, or a clock before its own; `CorruptLedger` when it is not what was written. Then nothing
    is left of the fork.
    """
    if not is_there(source, place):
        raise ValueError(f"there is no ledger in {place or source}")
    try:
        with open_snapshot(source, place) as snapshot:
            original = _Original(snapshot, as_of)
            event = original.forked(at)
            with new_home(Home(target, place_of(event.id, place))) as unfinished:
                with closing(open_store(*unfinished)) as store:
                    original.copy_to(store)
                    envelope = Envelope(to_us(event.clock_at))
                    store.append([Pending(event.id, 1, envelope, event)])
                return finished(unfinished, progress), event
    except msgspec.MsgspecError as error:
        raise CorruptLedger(f"an event cannot be read: {error}") from error


def place_of(id: str, original: Place | None) -> Place | None:
    """Where the fork with this id is in PostgreSQL, when the original is there.

    >>> place_of("led_01m8", Place.of("postgresql://me@db/bills?schema=acme"))
    the schema fork_01m8 of db/bills
    """
    return original and original.in_schema(f"fork_{id.partition('_')[2]}")


class _Original:
    """A ledger up to the position that a fork leaves it at."""

    def __init__(self, snapshot: Snapshot, as_of: AsOf | None) -> None:
        self._snapshot = snapshot
        self._mapper = LedgerMapper()
        self._position = self._place(as_of)

    def _place(self, as_of: AsOf | None) -> int:
        """The position that is meant. Raises `Rejected` for one that the ledger does not have."""
        head = self._snapshot.position
        if isinstance(as_of, datetime):
            # What is recorded later stands later.
            found = bisect_right(range(1, head + 1), to_us(as_of), key=self._recorded_at_us)
            if not found:
                raise Rejected(Code.INVALID_VALUE, ("as-of",), "nothing was recorded by then")
            return found
        position = head if as_of is None else as_of
        if not 1 <= position <= head:
            message = f"the ledger has the positions 1 to {head}"
            raise Rejected(Code.INVALID_VALUE, ("as-of",), message)
        return position

    def _recorded_at_us(self, position: int) -> int:
        kept = self._snapshot.at(position)
        return self._mapper.decode(kept.topic, kept.state)[0].recorded_at_us

    def forked(self, clock_at: datetime | None) -> LedgerForked:
        """The fact that the fork goes on with. Raises `Rejected`."""
        told = takewhile(self._is_known, self._snapshot.events(topics="ledger."))
        state = fold(ledgers.evolve, [self._mapper.decode(one.topic, one.state)[1] for one in told])
        hash = self._snapshot.hash_at(self._position).hex()
        command = ForkLedger(position=self._position, hash=hash, clock_at=clock_at)
        facts = Facts(id=new_id("led"), at=from_us(self._recorded_at_us(self._position)))
        [event] = ledgers.decide(state, command, facts)
        assert isinstance(event, LedgerForked)
        return event

    def copy_to(self, store: Store) -> None:
        """Write every event up to the position, and what stands beside it. Raises `CorruptLedger`.

        The store makes the chain anew from the bytes, so that it ends at the same hash.
        """
        keys = takewhile(self._is_known, self._snapshot.keys())
        key = next(keys, None)
        named = set[str]()
        for events in _portions(takewhile(self._is_known, self._snapshot.events())):
            theirs: list[KeyRow] = []
            while key is not None and key.position <= events[-1].position:
                theirs.append(key)
                key = next(keys, None)
            named.update(filter(None, map(self._key_of, events)))
            named.difference_update(one.key for one in theirs)
            identities = list(chain.from_iterable(map(self._identities, events)))
            _take(store, events, identities, theirs)
        _take(store, [], [], self._cut(named))
        if store.head() != (self._position, self._snapshot.hash_at(self._position)):
            message = "the log is not what was written; tallybook verify says where"
            raise CorruptLedger(message)

    def _cut(self, named: Collection[str]) -> list[KeyRow]:
        """The keys of commands whose transaction the fork cuts in two: it answers for its part."""
        found = filter(None, map(self._snapshot.key, sorted(named)))
        return [replace(one, position=self._position) for one in found]

    def _key_of(self, kept: Kept) -> str | None:
        """The idempotency key of the command that an event came of."""
        envelope: Envelope = self._mapper.transcoder.decode(kept.state)[0]
        return envelope.idempotency_key

    def _is_known(self, one: Kept | KeyRow) -> bool:
        return one.position <= self._position

    def _identities(self, kept: Kept) -> Iterator[IdentityRow]:
        """The identities of the usage records that an event holds, as they are kept beside it."""
        if not kept.topic.startswith("usage.recorded/"):
            return
        _, event = self._mapper.decode(kept.topic, kept.state)
        assert isinstance(event, UsageRecorded)
        names = [(record.source, record.id) for record in event.records]
        marks = self._snapshot.marks(kept.position, names)
        for row, ((source, id), mark) in enumerate(zip(names, marks, strict=True)):
            yield IdentityRow(source, id, kept.position, row, mark)


def _take(
    store: Store,
    events: Sequence[Kept],
    identities: Sequence[IdentityRow],
    keys: Sequence[KeyRow],
) -> None:
    try:
        store.take(events, identities, keys)
    except TakenError as error:
        raise CorruptLedger(f"something stands there twice: {error}") from error


def _portions(events: Iterator[Kept]) -> Iterator[Sequence[Kept]]:
    """Events in commits of bounded size."""
    portion: list[Kept] = []
    size = 0
    for one in events:
        if portion and (len(portion) == _EVENTS_PER_COMMIT or size > _BYTES_PER_COMMIT):
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += len(one.state)
    yield portion

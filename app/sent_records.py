"""Single usage records as they were sent, out of the batches that hold them.

A page of records lies in as many batches, each with up to a thousand records. Only those that are
asked for are made, which takes a fraction of the time that making all of a batch does.
"""

from functools import cache

import msgspec

from app import facts
from app.store import CorruptLedger, Store
from domain.decider import Envelope
from domain.usage import UsageRecord, UsageRecorded


class Sent(msgspec.Struct, frozen=True):
    """A record as it was sent, what is known beside it, and the hash of the event it is in."""

    record: UsageRecord
    envelope: Envelope
    hash: bytes


class SentRecords:
    """Reads records of one ledger; each batch is read once, so this is for one answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batch = cache(self._read)

    def at(self, position: int, row: int) -> Sent:
        """The record at a place of the ledger."""
        envelope, batch, hash = self._batch(position)
        return Sent(batch.record(row), envelope, hash)

    def _read(self, position: int) -> tuple[Envelope, UsageRecorded, bytes]:
        found = facts.at(self._store, [position])
        if not found:
            raise CorruptLedger(f"the ledger has no position {position}")
        recorded = self._store.decoded(position, found[0])
        assert isinstance(recorded.event, UsageRecorded), f"no usage stands at {position}"
        return recorded.envelope, recorded.event, found[0].hash

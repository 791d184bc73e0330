"""Single usage records as they were sent, out of the batches that hold them.

A page of records lies in as many batches, each with up to a thousand records. Only those that are
asked for are decoded, which takes a tenth of the time that decoding whole batches does.
"""

from collections.abc import Sequence
from functools import cache

import msgspec

from app.store import CorruptLedger, Store
from domain.decider import Envelope
from domain.usage import UsageRecord, UsageRecorded

_SQL = """SELECT topic, state, hash FROM stored_events
    JOIN event_hashes ON position=stored_events.rowid WHERE position=?"""


class _Batch(msgspec.Struct, frozen=True):
    """The payload of a batch, its records still encoded."""

    records: Sequence[msgspec.Raw]


class Sent(msgspec.Struct, frozen=True):
    """A record as it was sent, what is known beside it, and the hash of the event it is in."""

    record: UsageRecord
    envelope: Envelope
    hash: bytes


_decode_batch = msgspec.msgpack.Decoder(tuple[Envelope, _Batch]).decode
_decode_record = msgspec.msgpack.Decoder(UsageRecord).decode


class SentRecords:
    """Reads records of one ledger; each batch is read once, so this is for one answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batch = cache(self._read)

    def at(self, position: int, row: int) -> Sent:
        """The record at a place of the ledger."""
        envelope, batch, hash = self._batch(position)
        return Sent(_decode_record(batch.records[row]), envelope, hash)

    def _read(self, position: int) -> tuple[Envelope, _Batch, bytes]:
        rows = self._store.select(_SQL, (position,))
        if not rows:
            raise CorruptLedger(f"the ledger has no position {position}")
        topic, state, hash = rows[0]
        assert topic == UsageRecorded.topic, f"{topic} at {position} holds no usage records"
        return *_decode_batch(state), hash

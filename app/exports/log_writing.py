"""Write a log as lines, from a snapshot of it, an event at a time."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from app.chain import chain_hash
from app.exports.log_lines import (
    FORMAT,
    LINE_BYTES,
    ClosingLine,
    DigestsLine,
    EventLine,
    KeyLine,
    Line,
    OpeningLine,
    encode,
)
from app.opening import open_snapshot
from app.snapshots import Kept, Snapshot
from app.store import CorruptLedger, KeyRow, LedgerMapper
from domain.ledgers import LedgerOpened
from domain.usage import UsageRecorded, digest_of
from projections.places import Place

Progress = Callable[[int], None]


def log(
    directory: Path,
    first: int = 1,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Iterator[bytes]:
    """The log of a ledger from a position on, line by line, as it is when the first is read.

    Raises `CorruptLedger` at the first event that is not what was written.
    """
    with open_snapshot(directory, place) as snapshot:
        if not 1 <= first <= snapshot.position + 1:
            raise ValueError(f"there is no position {first}: the log ends at {snapshot.position}")
        digest, lines = hashlib.sha256(), 0
        for line in _lines(snapshot, first - 1, progress):
            written = _written(line)
            digest.update(written)
            lines += 1
            yield written
        yield _written(
            ClosingLine(
                position=snapshot.position,
                hash=snapshot.hash.hex(),
                lines=lines,
                sha256=digest.hexdigest(),
            )
        )


def _written(line: Line) -> bytes:
    written = encode(line) + b"\n"
    if len(written) > LINE_BYTES:
        raise CorruptLedger(f"a line of {len(written)} bytes is longer than an event can be")
    return written


def _lines(snapshot: Snapshot, after: int, progress: Progress | None) -> Iterator[Line]:
    """The lines but for the last one; the chain is checked on the way."""
    mapper = LedgerMapper()
    head = snapshot.hash_at(after)
    yield _opening(snapshot, mapper, after, head)
    keys = snapshot.keys(after)
    key = next(keys, None)
    expected = after + 1
    for kept in snapshot.events(after):
        head = chain_hash(head, kept)
        if (kept.position, kept.hash) != (expected, head):
            raise CorruptLedger(f"position {expected} is not what was written; verify says more")
        yield EventLine(
            position=kept.position,
            stream=kept.originator_id,
            version=kept.originator_version,
            topic=kept.topic,
            state=kept.state,
            hash=head.hex(),
        )
        yield from _digests(snapshot, mapper, kept)
        while key is not None and key.position <= kept.position:
            yield _key(key)
            key = next(keys, None)
        expected += 1
        if progress is not None:
            progress(kept.position)
    if expected != snapshot.position + 1 or key is not None:
        raise CorruptLedger(f"the log ends at {expected - 1}, and what stands beside it does not")


def _opening(snapshot: Snapshot, mapper: LedgerMapper, after: int, head: bytes) -> OpeningLine:
    """The first line; what the ledger is called stands in its first event."""
    kept = next(snapshot.events(), None)
    opened = mapper.decode(kept.topic, kept.state)[1] if kept else None
    if not isinstance(opened, LedgerOpened):
        raise CorruptLedger("the log does not begin with a ledger being opened")
    return OpeningLine(
        format=FORMAT, ledger=opened.id, name=opened.name, after=after, after_hash=head.hex()
    )


def _digests(snapshot: Snapshot, mapper: LedgerMapper, kept: Kept) -> Iterator[DigestsLine]:
    """The digests of usage records, for an event that holds any."""
    if not kept.topic.startswith("usage.recorded/"):
        return
    _, event = mapper.decode(kept.topic, kept.state)
    assert isinstance(event, UsageRecorded)
    identities = [(record.source, record.id) for record in event.records]
    marks = snapshot.marks(kept.position, identities)
    digests = map(digest_of, event.records, marks)
    yield DigestsLine(position=kept.position, digests=b"".join(digests))


def _key(key: KeyRow) -> KeyLine:
    return KeyLine(position=key.position, key=key.key, digest=key.digest.hex(), subject=key.subject)

"""Make a ledger from an exported log: all of it, or nothing."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from app.backups import Copied, finished
from app.exports.log_lines import DigestsLine, EventLine, KeyLine, OpeningLine
from app.exports.log_reading import BadLog, Numbered, read
from app.identities import IdentityRow
from app.new_directories import new_home
from app.opening import Home, open_store
from app.reading import Progress
from app.store import KeyRow, Store, TakenError
from domain.usage import UsageRecord, UsageRecorded, mark_of
from projections.places import Place

_LINES_PER_COMMIT = 500
_BYTES_PER_COMMIT = 16 * 1024 * 1024


def imported(
    file: IO[bytes],
    directory: Path,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Copied:
    """Make the ledger that a log is of where nothing is, and fold its views.

    Raises `BadLog` at the first line that does not fit; then nothing is left of it.
    """
    with new_home(Home(directory, place)) as unfinished:
        with closing(open_store(*unfinished)) as store:
            for lines in _portions(_whole(file)):
                _take(store, lines)
        return finished(unfinished, progress)


def _whole(file: IO[bytes]) -> Iterator[Numbered]:
    """The lines of a log, which must begin at its first event."""
    for one in read(file):
        if isinstance(one.line, OpeningLine) and one.line.after:
            first = one.line.after + 1
            raise BadLog(
                1, f"the log begins at position {first}; only one from position 1 is whole"
            )
        yield one


def _portions(lines: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    """Lines in commits of bounded size; what belongs to an event stays with it."""
    portion: list[Numbered] = []
    size = 0
    for one in lines:
        if isinstance(one.line, EventLine):
            size += len(one.line.state)
            if len(portion) >= _LINES_PER_COMMIT or size > _BYTES_PER_COMMIT:
                yield portion
                portion, size = [], len(one.line.state)
        portion.append(one)
    yield portion


def _take(store: Store, lines: Sequence[Numbered]) -> None:
    """Write what the lines say. Raises `BadLog` at one that says what another has said."""
    try:
        store.take(*_rows(lines))
    except TakenError as error:
        if len(lines) == 1:
            message = f"an identity, an idempotency key or a version stands there twice ({error})"
            raise BadLog(lines[0].number, message) from error
        for one in lines:
            _take(store, [one])
        raise


Rows = tuple[list[EventLine], list[IdentityRow], list[KeyRow]]


def _rows(lines: Sequence[Numbered]) -> Rows:
    """The events, identities and keys of some lines."""
    events: list[EventLine] = []
    identities: list[IdentityRow] = []
    keys: list[KeyRow] = []
    for one in lines:
        match one.line:
            case EventLine() as line:
                events.append(line)
            case DigestsLine() as line:
                assert one.recorded is not None, "digests come with the event before them"
                assert isinstance(one.recorded.event, UsageRecorded)
                records = zip(one.recorded.event.records, line.each, strict=True)
                identities += [
                    IdentityRow(record.source, record.id, line.position, row, _mark(record, digest))
                    for row, (record, digest) in enumerate(records)
                ]
            case KeyLine() as line:
                digest = bytes.fromhex(line.digest)
                keys.append(KeyRow(line.key, digest, line.subject, line.position))
    return events, identities, keys


def _mark(record: UsageRecord, digest: bytes) -> bytes:
    mark = mark_of(record, digest)
    assert mark is not None, "lines that were read are right"
    return mark

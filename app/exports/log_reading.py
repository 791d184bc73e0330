"""Read an exported log again: every line is checked against all before it, from first to last."""

import hashlib
from collections.abc import Iterator
from typing import IO

import msgspec

from app.chain import GENESIS, chain_hash
from app.exports.log_lines import (
    DIGEST_BYTES,
    FORMAT,
    LINE_BYTES,
    ClosingLine,
    DigestsLine,
    EventLine,
    KeyLine,
    Line,
    OpeningLine,
    decode,
    decode_format,
)
from app.store import CorruptLedger, LedgerMapper
from domain.decider import Recorded
from domain.ledgers import LedgerOpened
from domain.usage import UsageRecorded, mark_of


class BadLog(Exception):
    """A line of an exported log does not fit."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class Numbered(msgspec.Struct, frozen=True):
    """A line that fits, with its number; with an event or its digests the fact that it holds."""

    number: int
    line: Line
    recorded: Recorded | None = None


def read(file: IO[bytes]) -> Iterator[Numbered]:
    """Every line of a log that is whole, the last one too. Raises `BadLog` at the first misfit."""
    reading = _Reading()
    digest = hashlib.sha256()
    number = 1
    while written := file.readline(LINE_BYTES + 1):
        try:
            line = _line(written, number)
            if isinstance(line, ClosingLine):
                reading.close(line, number - 1, digest.hexdigest())
            recorded = reading.take(line)
        except (CorruptLedger, ValueError, OverflowError, RecursionError) as error:
            raise BadLog(number, str(error)) from error
        yield Numbered(number, line, recorded)
        digest.update(written)
        number += 1
    if not reading.closed:
        raise BadLog(number, "the log is cut short: its last line is missing")


def _line(written: bytes, number: int) -> Line:
    """One line, if it is a line at all. Raises `ValueError` with what it is instead."""
    if len(written) > LINE_BYTES:
        raise ValueError(f"the line is longer than {LINE_BYTES} bytes")
    if not written.endswith(b"\n"):
        raise ValueError("the line is cut short")
    try:
        if number == 1:
            known = decode_format(written).format
            if known != FORMAT:
                raise ValueError(f"the format is {known!r}, and {FORMAT!r} is what can be read")
        return decode(written)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is no line of a log: {error}") from error


class _Reading:
    """What has been read so far, as far as the next line depends on it."""

    def __init__(self) -> None:
        self.closed = False
        self._mapper = LedgerMapper()
        self._opening: OpeningLine | None = None
        self._position = 0
        self._head = GENESIS
        self._undigested: Recorded | None = None
        self._last_key: str | None = None

    def take(self, line: Line) -> Recorded | None:
        """Check a line against those before it. Raises `ValueError` or `CorruptLedger`."""
        if (self._opening is None) != isinstance(line, OpeningLine):
            raise ValueError("the first line, and no other, says what the file is")
        if self._undigested is not None and not isinstance(line, DigestsLine):
            raise ValueError(f"the digests of event {self._position} are missing")
        if not isinstance(line, OpeningLine | ClosingLine):
            if self.closed:
                raise ValueError("the log has ended already")
            self._check_position(line)
        match line:
            case OpeningLine():
                self._opening, self._position = line, line.after
                self._head = _hash(line.after_hash)
            case EventLine():
                return self._event(line)
            case DigestsLine():
                return self._digested(line)
            case KeyLine():
                self._check_key(line)
            case ClosingLine():
                self.closed = True
        return None

    def close(self, line: ClosingLine, lines: int, sha256: str) -> None:
        """Check the last line, which must know of all the others."""
        if self.closed:
            raise ValueError("the log has ended already")
        if (line.position, line.hash) != (self._position, self._head.hex()):
            raise ValueError(f"the log should end at {line.position}, not at {self._position}")
        if (line.lines, line.sha256) != (lines, sha256):
            raise ValueError("the lines before are not those that were written")

    def _check_position(self, line: EventLine | DigestsLine | KeyLine) -> None:
        expected = self._position + isinstance(line, EventLine)
        if line.position != expected:
            raise ValueError(f"position {expected} should stand here, not {line.position}")

    def _event(self, line: EventLine) -> Recorded:
        """The event, which must hash to what stands beside it and be readable."""
        head = chain_hash(self._head, line)
        if head.hex() != line.hash:
            raise ValueError(f"event {line.position} does not hash to what is written beside it")
        try:
            envelope, event = self._mapper.decode(line.topic, line.state)
        except msgspec.DecodeError as error:
            raise ValueError(f"event {line.position} cannot be read: {error}") from error
        if line.position == 1:
            self._check_opened(event)
        self._position, self._head, self._last_key = line.position, head, None
        recorded = Recorded(line.position, line.stream, line.version, envelope, event)
        self._undigested = recorded if isinstance(event, UsageRecorded) else None
        return recorded

    def _check_opened(self, event: object) -> None:
        assert self._opening is not None, "it comes before every event"
        said = (self._opening.ledger, self._opening.name, self._opening.after_hash)
        if not isinstance(event, LedgerOpened):
            raise CorruptLedger("the log does not begin with a ledger being opened")
        if said != (event.id, event.name, GENESIS.hex()):
            raise ValueError("the first line says another ledger than the first event")

    def _digested(self, line: DigestsLine) -> Recorded:
        """The event before, if each of its usage records hashes to its digest."""
        recorded, self._undigested = self._undigested, None
        if recorded is None:
            raise ValueError(f"event {line.position} has no digests to come")
        assert isinstance(recorded.event, UsageRecorded)
        records = recorded.event.records
        if len(line.digests) != DIGEST_BYTES * len(records):
            raise ValueError(f"event {line.position} holds {len(records)} usage records")
        for record, digest in zip(records, line.each, strict=True):
            if mark_of(record, digest) is None:
                raise ValueError(f"usage record {record.id!r} does not hash to its digest")
        return recorded

    def _check_key(self, line: KeyLine) -> None:
        if self._last_key is not None and line.key <= self._last_key:
            raise ValueError(f"idempotency key {line.key!r} is out of order")
        bytes.fromhex(line.digest)
        self._last_key = line.key


def _hash(text: str) -> bytes:
    """A hash from its hexadecimal digits."""
    hash = bytes.fromhex(text)
    if len(hash) != len(GENESIS):
        raise ValueError(f"a hash has {len(GENESIS)} bytes")
    return hash

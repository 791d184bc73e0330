"""What was used: usage records, accepted once for ever, and the facts that hold them.

Life cycle of a record: offered -> accepted (matched or waiting for its meter or customer),
or answered as duplicate, conflict or rejected, and then nothing is written. What is wrong with an
accepted record is corrected by facts of its own (`domain/usage_corrections.py`).

One `usage.recorded` event holds the records of one commit. A record's identity is (source, id): the
same identity with the same content is a duplicate and gets its first receipt; with other content
it is a conflict (RULES, Promises).
"""

from collections.abc import Container, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import msgspec

from domain.decider import Code, Path, Rejected
from domain.money import format_decimal, parse_decimal
from domain.periods import parse_instant, to_us
from domain.text import VALUE_BYTES, check_text
from domain.usage_batches import UsageRecord, UsageRecorded

__all__ = [
    "BATCH_BYTES",
    "BATCH_RECORDS",
    "PROPERTIES_LIMIT",
    "Decided",
    "Facts",
    "Identity",
    "Needed",
    "Prior",
    "RecordInput",
    "RecordUsage",
    "Status",
    "UsageRecord",
    "UsageRecorded",
    "Verdict",
    "check_property",
    "checked",
    "decide",
    "digest_of",
    "encode_record",
    "identifiable",
    "mark_of",
]

BATCH_RECORDS = 1_000
"""The most records one event holds."""
BATCH_BYTES = 1_000_000
"""The most bytes of records one event holds, a little under the 1 MiB that a store takes well."""
PROPERTIES_LIMIT = 20

encode_record = msgspec.msgpack.Encoder(order="sorted").encode
"""Encodes a record; two sendings are the same when these bytes are."""


AS_KEPT = b""
"""The mark of a record that was sent as it is kept."""
TIMELESS = b"\1"
"""The mark of one that was sent without a time: the one that it is kept with is our own."""


# --------------------------------------------------------------------------------------- state

Identity = tuple[str, str]
"""(source, id) of a usage record."""


class Prior(msgspec.Struct, frozen=True):
    """Where an identity was first recorded, and the digest of what was sent then."""

    position: int
    digest: bytes


# ------------------------------------------------------------------------------------ commands


class RecordInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One record as its sender wrote it; nothing in it has been checked yet."""

    id: str
    event_name: str
    customer: str
    source: str = "default"
    timestamp: str | None = None
    value: str | None = None
    properties: dict[str, Any] | None = None


class RecordUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Record usage; each record is judged by itself."""

    records: Sequence[RecordInput]


class Needed(msgspec.Struct, frozen=True):
    """A property that records of some time must have, as a number or whatever it says."""

    name: str
    numeric: bool
    since_us: int
    until_us: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding needs from outside: the time, and what the ledger already knows.

    `value_properties` names, for each event name that has a meter, the properties that must be
    numeric, `text_properties` those that must be there, whatever they say; `at_times` are those
    that only records of some time must have, because a meter was revised. `customers` are the keys
    that mean a customer; `recorded` the identities already taken.
    """

    at_us: int
    value_properties: Mapping[str, tuple[str, ...]]
    customers: Container[str]
    recorded: Mapping[Identity, Prior]
    text_properties: Mapping[str, tuple[str, ...]] = {}
    at_times: Mapping[str, tuple[Needed, ...]] = {}


class Status(StrEnum):
    """What became of one offered record."""

    ACCEPTED = "ACCEPTED"
    UNMATCHED = "UNMATCHED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    REJECTED = "REJECTED"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to one offered record.

    When it was written: `event` is the index of its event among those decided, `row` its place in
    it, `mark` how what was sent differs from what is kept. For a duplicate, `position` is that of
    the first receipt. The path of `error` is relative to the record.
    """

    id: str
    source: str
    status: Status
    event: int = -1
    row: int = -1
    mark: bytes = b""
    position: int | None = None
    error: Rejected | None = None


class Decided(msgspec.Struct, frozen=True):
    """The facts to write, and one verdict for each record in the order offered."""

    events: list[UsageRecorded]
    verdicts: list[Verdict]


def decide(command: RecordUsage, facts: Facts) -> Decided:
    """Accept what is new and sound; answer every record by itself (RULES, Promises)."""
    batch = _Batch(facts)
    verdicts = [batch.judge(offered) for offered in command.records]
    batch.close()
    return Decided(batch.events, verdicts)


def checked(offered: RecordInput, facts: Facts) -> UsageRecord:
    """One record as it would be kept. Raises `Rejected` with a path relative to the record."""
    return _Batch(facts).checked(offered)


def digest_of(record: UsageRecord, mark: bytes) -> bytes:
    """What tells a record from others of its identity: all that its sender said.

    That is what is kept, but for what its mark says: a time may have been left out. Records that
    were kept before there were marks have the digest itself in its place.
    """
    if mark == AS_KEPT:
        return _digest(encode_record(record))
    if mark == TIMELESS:
        return _digest(encode_record(msgspec.structs.replace(record, timestamp_us=-1)))
    return mark


def mark_of(record: UsageRecord, digest: bytes) -> bytes | None:
    """The mark with which a record has this digest; None when it has it with none."""
    marks = (AS_KEPT, TIMELESS)
    return next((mark for mark in marks if digest_of(record, mark) == digest), None)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


class _Batch:
    """Accepted records gathered into events of bounded size while their verdicts are given.

    The same few names, keys and values come a thousand times; each is looked at once.
    """

    def __init__(self, facts: Facts) -> None:
        self.events: list[UsageRecorded] = []
        self._facts = facts
        self._rows: list[UsageRecord] = []
        self._bytes = 0
        self._seen: dict[Identity, tuple[int, bytes]] = {}
        self._sound: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()
        self._decimals: dict[str, str] = {}

    def judge(self, offered: RecordInput) -> Verdict:
        """Accept the record into the batch, or say why not."""
        try:
            row = self.checked(offered)
        except Rejected as refusal:
            return Verdict(offered.id, offered.source, Status.REJECTED, error=refusal)
        # A time that the sender left out is no part of what makes two sendings the same.
        told = (
            row if offered.timestamp is not None else msgspec.structs.replace(row, timestamp_us=-1)
        )
        content = encode_record(told)
        digest = _digest(content)
        identity = (row.source, row.id)
        if identity in self._seen or identity in self._facts.recorded:
            return self._known(identity, digest)
        size = len(content)
        if len(self._rows) >= BATCH_RECORDS or self._bytes + size > BATCH_BYTES:
            self.close()
        self._seen[identity] = (len(self.events), digest)
        mark = AS_KEPT if offered.timestamp is not None else TIMELESS
        place = len(self._rows)
        self._rows.append(row)
        self._bytes += size
        facts = self._facts
        matched = row.event_name in facts.value_properties and row.customer in facts.customers
        status = Status.ACCEPTED if matched else Status.UNMATCHED
        return Verdict(row.id, row.source, status, len(self.events), place, mark)

    def close(self) -> None:
        """Make one event of what has been gathered."""
        if self._rows:
            self.events.append(UsageRecorded.of(self._rows))
            self._rows, self._bytes = [], 0

    def _known(self, identity: Identity, digest: bytes) -> Verdict:
        """Duplicate or conflict with what the ledger, or this batch, already holds."""
        source, id = identity
        prior = self._facts.recorded.get(identity)
        if prior is not None:
            status = Status.DUPLICATE if prior.digest == digest else Status.CONFLICT
            return Verdict(id, source, status, position=prior.position)
        event, first = self._seen[identity]
        status = Status.DUPLICATE if first == digest else Status.CONFLICT
        return Verdict(id, source, status, event)

    def checked(self, offered: RecordInput) -> UsageRecord:
        """The record as it will be kept. Raises `Rejected` with a path relative to the record."""
        check_text(offered.id, ("id",))
        sound = self._sound
        if offered.source not in sound:
            sound.add(check_text(offered.source, ("source",)))
        if offered.event_name not in sound:
            sound.add(check_text(offered.event_name, ("eventName",)))
        if offered.customer not in sound:
            sound.add(check_text(offered.customer, ("customer",)))
        properties = {} if offered.properties is None else self._properties(offered.properties)
        row = UsageRecord(
            offered.id,
            offered.source,
            offered.event_name,
            offered.customer,
            self._timestamp_us(offered.timestamp),
            self._value(offered.value, properties),
            properties,
        )
        for name in self._facts.value_properties.get(row.event_name, ()):
            _check_numeric(row, name)
        for name in self._facts.text_properties.get(row.event_name, ()):
            _existing(row, name)
        for needed in self._facts.at_times.get(row.event_name, ()):
            if needed.since_us <= row.timestamp_us < needed.until_us:
                _check_needed(row, needed)
        return row

    def _timestamp_us(self, text: str | None) -> int:
        """When it happened; now, if its sender did not say."""
        return self._facts.at_us if text is None else to_us(parse_instant(text, ("timestamp",)))

    def _value(self, value: str | None, properties: dict[str, str]) -> str | None:
        """The value as plain decimal text, taken out of the properties if it stands there."""
        if value is None:
            value = properties.get("value")
            if value is None or not _is_decimal(value):
                return None
            del properties["value"]
        elif "value" in properties:
            message = "give either value or properties.value, not both"
            raise Rejected(Code.INVALID_VALUE, ("value",), message)
        kept = self._decimals.get(value)
        if kept is None:
            kept = self._decimals[value] = format_decimal(parse_decimal(value, ("value",)))
        return kept

    def _properties(self, properties: object) -> dict[str, str]:
        """A flat object of texts; a JSON number may have lost digits already, so none is taken."""
        if not isinstance(properties, dict):
            message = "properties must be an object of strings"
            raise Rejected(Code.INVALID_VALUE, ("properties",), message)
        if len(properties) > PROPERTIES_LIMIT:
            message = f"a record has at most {PROPERTIES_LIMIT} properties"
            raise Rejected(Code.LIMIT_EXCEEDED, ("properties",), message)
        for name, value in properties.items():
            if not isinstance(value, str) or (name, value) not in self._pairs:
                self._pairs.add(check_property(name, value))
        return dict(properties)


def identifiable(offered: RecordInput) -> bool:
    """Whether the record's identity could be in the ledger at all."""
    try:
        check_text(offered.id, ("id",))
        check_text(offered.source, ("source",))
    except Rejected:
        return False
    return True


def _is_decimal(text: str) -> bool:
    """Whether the text is a plain decimal within the limits."""
    try:
        parse_decimal(text, ("value",))
    except Rejected:
        return False
    return True


def check_property(name: str, value: object) -> tuple[str, str]:
    """One property that may be kept."""
    path = ("properties", name)
    check_text(name, path, VALUE_BYTES)
    if not isinstance(value, str):
        message = f"properties.{name} must be a string; write numbers as decimal strings"
        raise Rejected(Code.INVALID_VALUE, path, message)
    if value:
        check_text(value, path, VALUE_BYTES)
    return name, value


def _check_needed(row: UsageRecord, needed: Needed) -> None:
    """A meter needs this property of a record of this time."""
    if needed.numeric:
        _check_numeric(row, needed.name)
    else:
        _existing(row, needed.name)


def _check_numeric(row: UsageRecord, name: str) -> None:
    """A meter needs this property as a number; without one the record would be lost on it."""
    if name != "value" or row.value is None:  # a value that is there was read as one already
        parse_decimal(_existing(row, name), _path_of(name))


def _existing(row: UsageRecord, name: str) -> str:
    """A property that a meter needs; without it the record would be lost on that meter."""
    text = row.property(name)
    if text is None:
        path = _path_of(name)
        message = f"{'.'.join(path)} is required: a meter over {row.event_name} reads it"
        raise Rejected(Code.REQUIRED, path, message)
    return text


def _path_of(name: str) -> Path:
    return ("value",) if name == "value" else ("properties", name)

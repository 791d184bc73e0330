"""CloudEvents as usage: single, in a batch, or with the attributes in headers (binary mode).

`type` is the event name, `subject` the customer, `source` and `id` the identity, `time` the
timestamp; the members of `data` are the properties, with `value` among them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from app import exact_json
from app.offers import RECORDS_LIMIT, UNREADABLE, Names, Offered, Refused, each, reading
from domain.decider import Code, Path, Rejected
from domain.usage import RecordInput

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NAMES: Names = {
    "eventName": ("type",),
    "customer": ("subject",),
    "timestamp": ("time",),
    "properties": ("data",),
    "value": ("data", "value"),
}
"""What CloudEvents call the fields of a record."""

_VERSION = "1.0"
_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")
_JSON = re.compile(r"(?:application/json|[\w.-]+/[\w.-]+\+json)(?:\s*;.*)?", re.IGNORECASE)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUOTED_PAIR = re.compile(r"\\(.)")


class _Event(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: msgspec.Raw = msgspec.Raw(b"null")


class _Usual(
    RecordInput,
    frozen=True,
    kw_only=True,
    gc=False,
    rename={"event_name": "type", "customer": "subject", "timestamp": "time", "properties": "data"},
):
    """An event that is a record as it stands: what nearly every one is."""

    specversion: Literal["1.0"]
    source: str
    event_name: str
    customer: str
    timestamp: str | None = None
    value: None = None  # not one beside `data`
    properties: dict[str, str] | None = None
    datacontenttype: Literal["application/json"] | None = None
    data_base64: None = None


class _Mixed(_Usual, frozen=True, kw_only=True, gc=False, rename={"properties": "data"}):
    """One whose data may have numbers and the like in it."""

    properties: dict[str, Any] | None = None


_usual_events = msgspec.json.Decoder(list[_Usual])
_mixed_events = exact_json.decoder(list[_Mixed])
_events = msgspec.json.Decoder(_Event)
_batches = msgspec.json.Decoder(list[msgspec.Raw])


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the headers hold the attributes of an event."""
    return "ce-specversion" in headers


def offered(kind: str, headers: Mapping[str, str], body: bytes) -> list[Offered] | None:
    """The records of a request whose content type is `kind`; None when they are no CloudEvents.

    Raises `Refused` for a body that cannot be read as a whole.
    """
    if kind == SINGLE:
        return [single(body)]
    if kind == BATCH:
        return batch(body)
    if is_binary(headers):
        return [reading(lambda data: _binary(headers, data), body)]
    return None


def single(body: bytes) -> Offered:
    """The record that one event in JSON stands for, or why it cannot be read."""
    return reading(_structured, body)


def batch(body: bytes) -> list[Offered]:
    """The records of a JSON array of events. Raises `Refused`."""
    if usual := _usual(body):
        return usual
    try:
        events = _batches.decode(body)
    except UNREADABLE as error:
        raise Refused(400, "BAD_JSON", f"expected an array of CloudEvents: {error}") from error
    return each(_structured, events)


def _usual(body: bytes) -> list[Offered]:
    """The records of events that are all as usual, in one go; else none."""
    try:
        return _few(_usual_events.decode(body))
    except UNREADABLE:
        pass
    try:
        events = _mixed_events.decode(body)
        for event in events:
            if event.properties is not None:
                exact_json.make_texts(event.properties)
    except (*UNREADABLE, Rejected, TypeError, ValueError):
        return []
    return _few(events) if exact_json.exact(body) else []


def _few(records: Sequence[RecordInput]) -> list[Offered]:
    """As many records as may come at once; else none."""
    return list(records) if len(records) <= RECORDS_LIMIT else []


def _structured(event: bytes) -> RecordInput:
    return _record(_events.decode(event))


def _binary(headers: Mapping[str, str], data: bytes) -> RecordInput:
    """An event whose attributes are headers, and whose data is the whole body."""
    attributes: dict[str, object] = {
        name: _header(headers[f"ce-{name}"], (f"ce-{name}",))
        for name in _ATTRIBUTES
        if f"ce-{name}" in headers
    }
    # Who sets such a header is no page of another site, so the type may be left to be JSON.
    kind = headers.get("content-type") or None
    event = msgspec.convert({**attributes, "datacontenttype": kind}, _Event)
    return _record(msgspec.structs.replace(event, data=msgspec.Raw(data or b"null")))


def _header(text: str, path: Path) -> str:
    """An attribute as its header has it: perhaps in quotes, and with UTF-8 in percent escapes."""
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        text = _QUOTED_PAIR.sub(r"\1", text[1:-1])
    raw = _PERCENT.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode("latin-1"))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Rejected(Code.INVALID_VALUE, path, f"{path[0]} must be UTF-8") from None


def _record(event: _Event) -> RecordInput:
    """The record that an event stands for. Raises `Rejected` naming the attribute."""
    if event.specversion != _VERSION:
        message = f"specversion must be {_VERSION}"
        raise Rejected(Code.INVALID_VALUE, ("specversion",), message)
    if bytes(event.data_base64) != b"null":
        message = "data_base64 cannot be read: send data as a JSON object"
        raise Rejected(Code.INVALID_VALUE, ("data_base64",), message)
    kind = event.datacontenttype
    if kind is not None and not _JSON.fullmatch(kind):
        message = "datacontenttype must be application/json, or left out"
        raise Rejected(Code.INVALID_VALUE, ("datacontenttype",), message)
    data = bytes(event.data)
    return RecordInput(
        id=event.id,
        source=event.source,
        event_name=event.type,
        customer=event.subject,
        timestamp=event.time,
        properties=None if data == b"null" else exact_json.properties(data, ("data",)),
    )

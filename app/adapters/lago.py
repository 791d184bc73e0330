"""Lago's `POST /api/v1/events` and `/api/v1/events/batch`.

`transaction_id` is the id, `code` the event name, `properties` the properties. The customer is
`external_customer_id` where it is given, else `external_subscription_id`: usage here belongs to a
customer, so who sends a subscription's id gives it to the customer as its external id.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app import exact_json
from app.adapters.unix_times import is_unix, parse_unix, usual_instant
from app.ingest import REASONS, answer, asked, kind_of
from app.offers import RECORDS_LIMIT, UNREADABLE, Judged, Names, Offered, Refused, each, judge
from domain.decider import Code, Rejected
from domain.periods import format_instant
from domain.usage import RecordInput

NAMES: Names = {
    "id": ("transaction_id",),
    "eventName": ("code",),
    "customer": ("external_subscription_id",),
    "value": ("properties", "value"),
}
"""What Lago calls the fields of a record."""

_CODES = {Code.REQUIRED: "value_is_mandatory", Code.CONFLICT: "value_already_exist"}


class _Event(msgspec.Struct, frozen=True):
    transaction_id: str
    code: str
    external_subscription_id: str | None = None
    external_customer_id: str | None = None
    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    properties: msgspec.Raw = msgspec.Raw(b"null")
    precise_total_amount_cents: msgspec.Raw = msgspec.Raw(b"null")


class _Usual(msgspec.Struct, frozen=True, gc=False):
    """An event whose numbers are read with it."""

    transaction_id: str
    code: str
    external_subscription_id: str | None = None
    external_customer_id: str | None = None
    timestamp: Any = None
    properties: dict[str, Any] | None = None
    precise_total_amount_cents: None = None


class _One(msgspec.Struct):
    event: msgspec.Raw


class _Many(msgspec.Struct):
    events: list[msgspec.Raw]


class _Sent(msgspec.Struct):
    events: list[_Event]


class _UsualMany(msgspec.Struct):
    events: list[_Usual]


_events = msgspec.json.Decoder(_Event)
_ones = msgspec.json.Decoder(_One)
_manys = msgspec.json.Decoder(_Many)
_sent = msgspec.json.Decoder(_Sent)
_usual_manys = exact_json.decoder(_UsualMany)


async def post_event(request: Request) -> Response:
    """Record one event. 200 with the event, or 422 with what is wrong."""
    ledger, actor = asked(request, "lago")
    try:
        _check_kind(request)
        event = _decoded(_ones, await request.body()).event
        offered = each(_record, [event])
        judged = await judge(ledger, offered, actor, NAMES)
    except Refused as refused:
        return refusal(refused)
    if judged.problems:
        return _unprocessable(_details(judged)["0"])
    shown = _shown(offered[0], _events.decode(event), ledger.clock.now())
    return answer(200, {"event": shown})


async def post_batch(request: Request) -> Response:
    """Record several events. 200 with them, or 422 with what is wrong with any."""
    ledger, actor = asked(request, "lago")
    try:
        _check_kind(request)
        body = await request.body()
        offered = batch(body)
        judged = await judge(ledger, offered, actor, NAMES)
    except Refused as refused:
        return refusal(refused)
    if judged.problems:
        return _unprocessable(_details(judged))
    now, sent = ledger.clock.now(), _sent.decode(body).events
    shown = [_shown(one, event, now) for one, event in zip(offered, sent, strict=True)]
    return answer(200, {"events": shown})


def refusal(refused: Refused) -> Response:
    """The answer to a request that cannot be served as a whole."""
    error = f"{REASONS[refused.status]}: {refused.message}"
    content = {"status": refused.status, "error": error, "code": refused.code}
    return answer(refused.status, content, refused.headers)


def _check_kind(request: Request) -> None:
    # No type at all is what another site's page can make a browser send: it must be said.
    if kind_of(request) != "application/json":
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "send application/json")


def _decoded(decoder: Any, body: bytes) -> Any:
    """The body, whose events are still texts. Raises `Refused`."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise Refused(400, "BAD_JSON", str(error).replace("`", "")) from error


def batch(body: bytes) -> Sequence[Offered]:
    """The records of several events. Raises `Refused`."""
    return _usual(body) or each(_record, _decoded(_manys, body).events)


def _usual(body: bytes) -> list[RecordInput]:
    """The records of events all of which can be read, in one go; else none."""
    try:
        events = _usual_manys.decode(body).events
        if len(events) > RECORDS_LIMIT:
            return []
        records = list(map(_usual_record, events))
    except (*UNREADABLE, Rejected, TypeError, ValueError):
        return []
    return records if exact_json.exact(body) else []


def _usual_record(event: _Usual) -> RecordInput:
    """The record of one. Raises `TypeError` or `ValueError` when it needs a closer look."""
    customer = event.external_customer_id or event.external_subscription_id
    if customer is None:
        raise TypeError("whose usage it is must be told")
    if event.properties is not None:
        exact_json.make_texts(event.properties)
    text = exact_json.text_of(event.timestamp)
    return RecordInput(
        id=event.transaction_id,
        event_name=event.code,
        customer=customer,
        timestamp=None if text is None else usual_instant(text),
        properties=event.properties,
    )


def _record(raw: bytes) -> RecordInput:
    """The record that an event stands for. Raises `Rejected` naming the field."""
    event = _events.decode(raw)
    if bytes(event.precise_total_amount_cents) != b"null":
        message = "precise_total_amount_cents is not taken: amounts come from prices"
        raise Rejected(Code.INVALID_VALUE, ("precise_total_amount_cents",), message)
    customer = event.external_customer_id or event.external_subscription_id
    if customer is None:
        path = NAMES["customer"]
        raise Rejected(Code.REQUIRED, path, f"{path[0]} or external_customer_id is required")
    properties = bytes(event.properties)
    return RecordInput(
        id=event.transaction_id,
        event_name=event.code,
        customer=customer,
        timestamp=_timestamp(bytes(event.timestamp)),
        properties=(
            None if properties == b"null" else exact_json.properties(properties, ("properties",))
        ),
    )


def _timestamp(raw: bytes) -> str | None:
    """Seconds since 1970 as RFC 3339, to the microsecond; any other text as it stands."""
    text = exact_json.text(raw, ("timestamp",))
    if text is None or not is_unix(text):
        return text
    return format_instant(parse_unix(text, "timestamp", fraction=True))


def _shown(offered: Offered, event: _Event, now: datetime) -> dict[str, object]:
    """A recorded event as Lago answers it."""
    assert isinstance(offered, RecordInput), "what could not be read is a problem"
    at = format_instant(now)
    return {
        "lago_id": offered.id,
        "transaction_id": offered.id,
        "lago_customer_id": None,
        "code": offered.event_name,
        "timestamp": offered.timestamp or at,
        "precise_total_amount_cents": None,
        "properties": event.properties if bytes(event.properties) != b"null" else {},
        "lago_subscription_id": None,
        "external_subscription_id": event.external_subscription_id,
        "external_customer_id": event.external_customer_id,
        "created_at": at,
    }


def _details(judged: Judged) -> dict[str, dict[str, list[str]]]:
    """What is wrong with each event, by its place and its field."""
    return {
        str(problem.index): {
            ".".join(problem.path) or "event": [
                _CODES.get(Code(problem.code), "value_is_invalid"),
                problem.message,
            ]
        }
        for problem in judged.problems
    }


def _unprocessable(details: object) -> Response:
    content = {
        "status": 422,
        "error": REASONS[422],
        "code": "validation_errors",
        "error_details": details,
    }
    return answer(422, content)

"""Usage in bulk over plain HTTP: JSON, NDJSON or CloudEvents in, one summary of verdicts out.

The same command path, identities and receipts as the GraphQL mutation, without its cost per field.
A record that does not even decode is answered by itself, like one that the domain refuses.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import cloud_events
from app.callers import Caller
from app.ledger import Ledger
from app.offers import (
    RECORDS_LIMIT,
    UNREADABLE,
    Judged,
    Names,
    Offered,
    Problem,
    Refused,
    each,
    judge,
)
from app.web.whole import body_of
from domain.usage import RecordInput, Status

T = TypeVar("T")

_COUNTED = (
    *(Status.ACCEPTED, Status.UNMATCHED, Status.DUPLICATE),
    *(Status.CONFLICT, Status.REJECTED),
)
_CONTENT_TYPE = (b"content-type", b"application/json")

REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
"""What HTTP calls the statuses of our refusals."""


class _Body(msgspec.Struct, Generic[T]):
    records: list[T]


class _Summary(msgspec.Struct):
    """What is answered."""

    position: int
    accepted: int
    unmatched: int
    duplicates: int
    conflicts: int
    rejected: int
    problems: Sequence[Problem]


_summaries = msgspec.json.Encoder()
_bodies = msgspec.json.Decoder(_Body[msgspec.Raw] | list[msgspec.Raw])
_usual_bodies = msgspec.json.Decoder(_Body[RecordInput] | list[RecordInput])
_records = msgspec.json.Decoder(RecordInput)


class UsageEndpoint:
    """Records the usage in a body. 200 with counts and problems; 400, 413, 415, 429 or 503.

    Not wrapped as other endpoints are: most of its requests bring a single record, which costs
    hardly more than the wrapping.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ledger: Ledger = scope["state"]["ledger"]
        caller: Caller = scope["state"]["caller"]
        try:
            offered, names = _offered(scope, await body_of(receive))
            judged = await judge(ledger, offered, caller.named("bulk"), names)
        except Refused as refused:
            await refusal(refused)(scope, receive, send)
            return
        content = _summary(judged)
        headers = [(b"content-length", b"%d" % len(content)), _CONTENT_TYPE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _offered(scope: Scope, body: bytes) -> tuple[Sequence[Offered], Names | None]:
    """The records in a body, and what their fields are called in it. Raises `Refused`."""
    if _is_plain_json(scope):
        return _own("application/json", body), None
    request = Request(scope)
    kind = kind_of(request)
    offered = cloud_events.offered(kind, request.headers, body)
    if offered is not None:
        return offered, cloud_events.NAMES
    return _own(kind, body), None


def _is_plain_json(scope: Scope) -> bool:
    """Whether the headers say what those of nearly everybody say, exactly so."""
    found = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            if found or value != b"application/json":
                return False
            found = True
        elif name.startswith(b"ce-"):
            return False
    return found


def _own(kind: str, body: bytes) -> Sequence[Offered]:
    """The records of a body in our own shape. Raises `Refused`."""
    # No type at all is what another site's page can make a browser send: it must be said.
    if kind == "application/json":
        return _usual(body) or each(_records.decode, _split_json(body))
    if kind in ("application/x-ndjson", "application/ndjson"):
        lines = [line for line in body.splitlines() if line.strip()]
        return _usual_lines(lines) or each(_records.decode, lines)
    message = "send application/json, application/x-ndjson or CloudEvents"
    raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message)


def asked(request: Request, door: str) -> tuple[Ledger, str]:
    """The ledger that a request is about, and what is noted there as who sent its usage."""
    caller: Caller = request.state.caller
    return request.state.ledger, caller.named(door)


def kind_of(request: Request) -> str:
    """The content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _summary(judged: Judged) -> bytes:
    """Counts of every verdict, the problems in the order of the request, the newest position."""
    accepted, unmatched, duplicates, conflicts, rejected = map(judged.statuses.count, _COUNTED)
    return _summaries.encode(
        _Summary(
            position=judged.position,
            accepted=accepted,
            unmatched=unmatched,
            duplicates=duplicates,
            conflicts=conflicts,
            rejected=rejected,
            problems=judged.problems,
        )
    )


def _usual(body: bytes) -> Sequence[Offered]:
    """The records of a JSON body all of which can be read, in one go; else none."""
    try:
        decoded = _usual_bodies.decode(body)
    except UNREADABLE:
        return []
    records = decoded.records if isinstance(decoded, _Body) else decoded
    return records if len(records) <= RECORDS_LIMIT else []


def _usual_lines(lines: Sequence[bytes]) -> Sequence[Offered]:
    """The records of lines all of which can be read, in one go; else none."""
    if len(lines) > RECORDS_LIMIT:
        return []
    try:
        return list(map(_records.decode, lines))
    except UNREADABLE:
        return []


def _split_json(body: bytes) -> list[msgspec.Raw]:
    """The records of `[...]` or `{"records": [...]}`, each still as its own text."""
    try:
        decoded = _bodies.decode(body)
    except UNREADABLE as error:
        message = f'expected [...] or {{"records": [...]}}: {error}'
        raise Refused(400, "BAD_JSON", message) from error
    return decoded.records if isinstance(decoded, _Body) else decoded


def refusal(refused: Refused) -> Response:
    """A typed answer to a request that cannot be served at all."""
    content = {"error": {"code": refused.code, "message": refused.message}}
    return answer(refused.status, content, refused.headers)


def answer(
    status: int,
    content: object,
    headers: Mapping[str, str] | None = None,
    kind: str = "application/json",
) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(content), status, headers=headers, media_type=kind)

"""Usage in bulk over plain HTTP: JSON, NDJSON or CloudEvents in, one summary of verdicts out.

The same command path, identities and receipts as the GraphQL mutation, without its cost per field.
A record that does not even decode is answered by itself, like one that the domain refuses.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app import cloud_events
from app.callers import Caller
from app.ledger import Ledger
from app.offers import RECORDS_LIMIT, UNREADABLE, Judged, Offered, Refused, each, judge
from domain.usage import RecordInput, Status

T = TypeVar("T")

_COUNTED = {
    Status.ACCEPTED: "accepted",
    Status.UNMATCHED: "unmatched",
    Status.DUPLICATE: "duplicates",
    Status.CONFLICT: "conflicts",
    Status.REJECTED: "rejected",
}


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


_bodies = msgspec.json.Decoder(_Body[msgspec.Raw] | list[msgspec.Raw])
_usual_bodies = msgspec.json.Decoder(_Body[RecordInput] | list[RecordInput])
_records = msgspec.json.Decoder(RecordInput)


async def post_usage(request: Request) -> Response:
    """Record the usage in the body. 200 with counts and problems; 400, 413, 415, 429 or 503."""
    ledger, actor = asked(request, "bulk")
    kind = kind_of(request)
    try:
        offered = cloud_events.offered(kind, request.headers, await request.body())
        if offered is not None:
            return _answer(await judge(ledger, offered, actor, cloud_events.NAMES))
        return _answer(await judge(ledger, _own(kind, await request.body()), actor))
    except Refused as refused:
        return refusal(refused)


def _own(kind: str, body: bytes) -> Sequence[Offered]:
    """The records of a body in our own shape. Raises `Refused`."""
    # No type at all is what another site's page can make a browser send: it must be said.
    if kind == "application/json":
        return _usual(body) or each(_records.decode, _split_json(body))
    if kind in ("application/x-ndjson", "application/ndjson"):
        return each(_records.decode, [line for line in body.splitlines() if line.strip()])
    message = "send application/json, application/x-ndjson or CloudEvents"
    raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message)


def asked(request: Request, door: str) -> tuple[Ledger, str]:
    """The ledger that a request is about, and what is noted there as who sent its usage."""
    caller: Caller = request.state.caller
    return request.state.ledger, caller.named(door)


def kind_of(request: Request) -> str:
    """The content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _answer(judged: Judged) -> Response:
    """Counts of every verdict, the problems in the order of the request, the newest position."""
    found = Counter(judged.statuses)
    counts = {name: found[status] for status, name in _COUNTED.items()}
    content: dict[str, Any] = {
        "position": judged.position,
        **counts,
        "problems": judged.problems,
    }
    return answer(200, content)


def _usual(body: bytes) -> Sequence[Offered]:
    """The records of a JSON body all of which can be read, in one go; else none."""
    try:
        decoded = _usual_bodies.decode(body)
    except UNREADABLE:
        return []
    records = decoded.records if isinstance(decoded, _Body) else decoded
    return records if len(records) <= RECORDS_LIMIT else []


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

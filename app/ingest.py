"""Usage in bulk over plain HTTP: JSON or NDJSON in, one summary of the verdicts out.

The same command path, identities and receipts as the GraphQL mutation, without its cost per field.
A record that does not even decode is answered by itself, like one that the domain refuses.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.jobs import Busy, Closed, Receipt
from app.ledger import Ledger
from domain.decider import Code
from domain.usage import RecordInput, Status

RECORDS_LIMIT = 10_000
RETRY_AFTER_SECONDS = "1"

_COUNTED = {
    Status.ACCEPTED: "accepted",
    Status.UNMATCHED: "unmatched",
    Status.DUPLICATE: "duplicates",
    Status.CONFLICT: "conflicts",
    Status.REJECTED: "rejected",
}
_CONFLICT = "this id was recorded before with other content; the first one stands"


_MISSING = re.compile(r"missing required field `(\w+)`")
_WRONG = re.compile(r"Expected `([^`]+)`, got `([^`]+)` - at `\$\.(\w+)`")


class _Body(msgspec.Struct):
    records: list[msgspec.Raw]


class _Problem(msgspec.Struct, frozen=True):
    """A record that was not written, by its place in the request."""

    index: int
    status: Status
    code: str
    message: str
    path: tuple[str, ...] = ()


class _BadBody(Exception):
    """The body as a whole cannot be read."""


_bodies = msgspec.json.Decoder(_Body | list[msgspec.Raw])
_records = msgspec.json.Decoder(RecordInput)


async def post_usage(request: Request) -> Response:
    """Record the usage in the body. 200 with counts and problems; 400, 413, 415, 429 or 503."""
    ledger: Ledger = request.app.state.ledger
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    try:
        # No type at all is what another site's page can make a browser send: it must be said.
        if kind == "application/json":
            raw = _split_json(body)
        elif kind in ("application/x-ndjson", "application/ndjson"):
            raw = [msgspec.Raw(line) for line in body.splitlines() if line.strip()]
        else:
            message = "send application/json or application/x-ndjson"
            return refusal(415, "UNSUPPORTED_MEDIA_TYPE", message)
    except _BadBody as error:
        return refusal(400, "BAD_JSON", str(error))
    if len(raw) > RECORDS_LIMIT:
        return refusal(413, Code.LIMIT_EXCEEDED, f"send at most {RECORDS_LIMIT} records at once")
    return await _record(ledger, raw)


async def _record(ledger: Ledger, raw: Sequence[msgspec.Raw]) -> Response:
    """Decode each record, record those that decode, and put all verdicts in one answer."""
    records: list[RecordInput] = []
    places: list[int] = []
    problems: list[_Problem] = []
    for index, one in enumerate(raw):
        try:
            records.append(_records.decode(one))
            places.append(index)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problems.append(_undecodable(index, error))
    try:
        receipts = await ledger.record(records, actor="bulk")
    except Busy:
        headers = {"retry-after": RETRY_AFTER_SECONDS}
        return refusal(429, "TOO_BUSY", "too many requests wait; nothing was written", headers)
    except Closed:
        return refusal(503, "SHUTTING_DOWN", "the server is stopping; nothing was written")
    return _answer(ledger, receipts, places, problems)


def _answer(
    ledger: Ledger, receipts: Sequence[Receipt], places: Sequence[int], problems: list[_Problem]
) -> Response:
    """Counts of every verdict, the problems in the order of the request, the newest position."""
    counts = dict.fromkeys(_COUNTED.values(), 0)
    counts["rejected"] = len(problems)
    position = 0
    for receipt, index in zip(receipts, places, strict=True):
        counts[_COUNTED[receipt.status]] += 1
        position = max(position, receipt.position or 0)
        if receipt.error is not None:
            error = receipt.error
            problem = _Problem(index, receipt.status, error.code, error.message, error.path)
            problems.append(problem)
        elif receipt.status is Status.CONFLICT:
            problems.append(_Problem(index, Status.CONFLICT, Code.CONFLICT, _CONFLICT, ("id",)))
    content: dict[str, Any] = {
        "position": position or ledger.store.head()[0],
        **counts,
        "problems": sorted(problems, key=lambda problem: problem.index),
    }
    return _json(200, content)


def _split_json(body: bytes) -> list[msgspec.Raw]:
    """The records of `[...]` or `{"records": [...]}`, each still as its own text."""
    try:
        decoded = _bodies.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _BadBody(f'expected [...] or {{"records": [...]}}: {error}') from error
    return decoded.records if isinstance(decoded, _Body) else decoded


def _undecodable(index: int, error: Exception) -> _Problem:
    """A record that is no JSON, or whose fields are missing or of the wrong type."""
    text = str(error)
    missing = _MISSING.search(text)
    if missing:
        field = missing[1]
        return _Problem(index, Status.REJECTED, Code.REQUIRED, f"{field} is required", (field,))
    wrong = _WRONG.search(text)
    if wrong:
        expected, got, field = wrong.groups()
        message = f"{field} must be a string, not {got}"
        if expected.startswith("object"):
            message = f"{field} must be an object of strings, not {got}"
        elif field == "value":
            message = f'value must be a decimal string such as "0.04", not {got}'
        return _Problem(index, Status.REJECTED, Code.INVALID_VALUE, message, (field,))
    message = f"the record cannot be read: {text.replace('`', '')}"
    return _Problem(index, Status.REJECTED, Code.INVALID_VALUE, message)


def refusal(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    """A typed answer to a request that cannot be served at all."""
    return _json(status, {"error": {"code": code, "message": message}}, headers)


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content), status, headers=headers, media_type="application/json"
    )

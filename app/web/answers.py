"""What is answered to a request of GraphQL: its content, its bytes and its status.

A request that fails before anything is carried out has no `data` at all. In
`application/graphql-response+json` its status is 400; in `application/json` it is 200, because
clients older than the other media type take any other status for a failure of the network.
"""

import json
import math
from typing import Any

import msgspec
from graphql import GraphQLError
from strawberry.types import ExecutionResult

from app.web.negotiation import RESPONSE

_AFTER_BEGINNING = {"TIMED_OUT"}
"""The codes of errors without a path that end what was begun, and may have been done."""

_encoder = msgspec.json.Encoder()


def content_of(result: ExecutionResult) -> dict[str, Any]:
    """The answer to an operation, without `data` when it was not begun."""
    content: dict[str, Any] = {}
    if begun(result):
        content["data"] = result.data
    if result.errors:
        content["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        content["extensions"] = result.extensions
    return content


def begun(result: ExecutionResult) -> bool:
    """Whether the operation was begun: errors of what was begun say where in the answer."""
    if result.data is not None or not result.errors:
        return True
    return any(error.path or _code(error) in _AFTER_BEGINNING for error in result.errors)


def status_of(result: ExecutionResult, kind: str) -> int:
    """The status of an answer in a media type."""
    if kind != RESPONSE or begun(result):
        return 200
    return 500 if any(_code(error) == "INTERNAL" for error in result.errors or ()) else 400


def encoded(content: object) -> bytes:
    """The bytes of an answer, the same for the same content; a number that is none is null.

    >>> encoded({"a": "\\ud800 é", "b": float("nan")})
    b'{"a":"\\\\ud800 \\\\u00e9","b":null}'
    """
    try:
        return _encoder.encode(content)
    except UnicodeEncodeError:  # half of a surrogate pair is told again as it was sent: escaped
        return json.dumps(_finite(content), separators=(",", ":")).encode()


def _finite(value: object) -> object:
    """The value with null in place of NaN and of infinities."""
    match value:
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _code(error: GraphQLError) -> object:
    return (error.extensions or {}).get("code")

"""What a request asks of GraphQL: read from its body or its address, and refused when it is none.

Read is as little as can be: whether the document makes sense is for the schema to say.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from app.offers import UNREADABLE, Refused
from app.web.negotiation import JSON, is_utf8, parameters


class Asked(NamedTuple):
    """A document, and what is carried out of it and with what."""

    query: str | None
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None
    document_id: str | None


def by_post(content_type: str, body: bytes) -> Asked:
    """What a body asks. Raises `Refused` 415 for another content type, 400 for what is none."""
    if content_type != JSON:  # as nearly everybody sends it
        type, more = parameters(content_type)
        if type != JSON or not is_utf8(more.get("charset", "utf-8")):
            message = f"send {JSON} in UTF-8"
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message, {"accept-post": JSON})
    content = decoded(body)
    if isinstance(content, list):
        raise _bad("the body must be one request: lists of them are not taken")
    if not isinstance(content, dict):
        raise _bad("the body must be a JSON object")
    return _asked(content)


def by_get(parameters: Mapping[str, str]) -> Asked:
    """What an address asks. Raises `Refused` 400 for what is none.

    A form sends what nobody filled in as an empty text.
    """
    given: dict[str, Any] = {name: text for name, text in parameters.items() if text}
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = decoded(given[name].encode("utf-8", "surrogatepass"))
    return _asked(given)


def decoded(text: bytes) -> object:
    """A JSON value. Raises `Refused` 400 for anything else.

    Half of a surrogate pair is one that is not UTF-8: the slower reader takes it, for the schema
    to refuse it by the name of its field.
    """
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        pass
    try:
        value: object = json.loads(text.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is not JSON in UTF-8, or too deep") from error
    return value


def _asked(content: dict[str, Any]) -> Asked:
    """The parts of a request. Raises `Refused` for one of a wrong type."""
    asked = Asked(
        content.get("query"),
        content.get("variables"),
        content.get("operationName"),
        content.get("extensions"),
        content.get("documentId"),
    )
    if not isinstance(asked.query, str | None):
        raise _bad("query must be a string")
    if not isinstance(asked.variables, dict | None):
        raise _bad("variables must be an object or null")
    if not isinstance(asked.operation_name, str | None):
        raise _bad("operationName must be a string or null")
    if not isinstance(asked.extensions, dict | None):
        raise _bad("extensions must be an object or null")
    if not isinstance(asked.document_id, str | None):
        raise _bad("documentId must be a string or null")
    return asked


def _no_number(name: str) -> object:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is no JSON")


def _bad(message: str) -> Refused:
    return Refused(400, "BAD_REQUEST", message)

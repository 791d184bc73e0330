"""JSON that others write, numbers among it, as exact texts: no digit goes through a float.

Our own shape takes no JSON numbers, since a program may have lost digits before it wrote them. A
shape that others defined has them, and then the number is what its text says.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from domain.decider import Code, Path, Rejected

T = TypeVar("T")

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]{1,4}))?")
_MOST_SHIFTED = 40
"""The largest exponent that is written out; beyond it a number is not within our limits anyway."""

_MINUS_ZERO = re.compile(rb"-0\s*[,}\]]")

_texts = msgspec.json.Decoder(str)
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def properties(raw: bytes, path: Path) -> dict[str, str]:
    """A flat JSON object as texts, without what is null. Raises `Rejected` naming what is wrong.

    >>> properties(b'{"value": 12.50, "tiny": 1e-7, "model": "opus", "cached": true}', ("data",))
    {'value': '12.50', 'tiny': '0.0000001', 'model': 'opus', 'cached': 'true'}
    """
    if not raw.lstrip().startswith(b"{"):
        raise Rejected(Code.INVALID_VALUE, path, f"{'.'.join(path)} must be an object")
    found: Mapping[str, msgspec.Raw] = _objects.decode(raw)
    texts = ((name, text(bytes(value), (*path, name))) for name, value in found.items())
    return {name: value for name, value in texts if value is not None}


def text(raw: bytes, path: Path) -> str | None:
    """One JSON value as a text; None for null. Raises `Rejected` for a list or an object."""
    raw = raw.strip()
    if raw.startswith(b'"'):
        return _texts.decode(raw)
    if raw == b"null":
        return None
    if raw in (b"true", b"false"):
        return raw.decode()
    return number(raw.decode(), path)


def number(text: str, path: Path) -> str:
    """The text of a JSON number without its exponent. Raises `Rejected` for what is no number."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        message = f"{'.'.join(path)} must be a string, a number, true, false or null"
        raise Rejected(Code.INVALID_VALUE, path, message)
    if match[1] is None or abs(int(match[1])) > _MOST_SHIFTED:
        return text
    return f"{Decimal(text):f}"


# ------------------------------------------------------------------------------- whole bodies


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder that leaves numbers with a fraction or an exponent as the texts they are.

    Only where the type says `Any`. It raises `Rejected` for a number that cannot be written out.
    """
    return msgspec.json.Decoder(kind, float_hook=lambda text: number(text, ()))


def exact(body: bytes) -> bool:
    """Whether no whole number in a text loses what it says: a minus before zero would be lost."""
    return _MINUS_ZERO.search(body) is None


def make_texts(properties: dict[str, Any]) -> None:
    """Make texts of what such a decoder made of an object, as `properties` has them.

    Raises `TypeError` for a list or an object in it.
    """
    for name, value in list(properties.items()):
        if value is None:
            del properties[name]
        elif type(value) is not str:
            properties[name] = text_of(value)


def text_of(value: object) -> str | None:
    """The text of one value that such a decoder made; None for null. Raises `TypeError`."""
    match value:
        case str() | None:
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            raise TypeError("neither a text nor a number")

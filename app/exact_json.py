"""JSON that others write, numbers among it, as exact texts: no digit goes through a float.

Our own shape takes no JSON numbers, since a program may have lost digits before it wrote them. A
shape that others defined has them, and then the number is what its text says.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from domain.decider import Code, Path, Rejected

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]{1,4}))?")
_MOST_SHIFTED = 40
"""The largest exponent that is written out; beyond it a number is not within our limits anyway."""

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

"""Which media type an answer of GraphQL is sent in, as the request's `Accept` header asks."""

from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
OFFERED = (JSON, RESPONSE)
"""What can be answered with. Who takes anything gets the first one, which everybody can read."""

REMEMBERED = 128
"""Headers whose meaning is remembered: a client sends the same one with each request."""


class _Range(NamedTuple):
    """One of the media types, or kinds of them, that a client takes."""

    type: str
    thousandths: int
    place: int

    def fits(self, offered: str) -> int:
        """How closely it names a media type: 3 by name, 2 by kind, 1 as anything, 0 not at all."""
        if self.type == offered:
            return 3
        if self.type == "application/*":
            return 2
        return 1 if self.type == "*/*" else 0


@lru_cache(maxsize=REMEMBERED)
def negotiated(accept: str) -> str | None:
    """The media type to answer with; None when the client takes none that there is.

    The closest range decides how welcome a media type is; of those that are as welcome, the one
    named more closely is taken, then the one named first.

    >>> negotiated("application/graphql-response+json, application/json;q=0.9")
    'application/graphql-response+json'
    >>> negotiated("text/html, */*;q=0.1")
    'application/json'
    >>> negotiated("application/json;q=0, */*")
    'application/graphql-response+json'
    >>> negotiated("text/html") is None
    True
    """
    ranges = [one for place, text in enumerate(accept.split(",")) if (one := _read(text, place))]
    if not accept.strip():
        return JSON
    best: tuple[int, int, int] = (0, 0, 0)
    chosen = None
    for offered in OFFERED:
        fitting = [one for one in ranges if one.fits(offered)]
        if fitting:
            closest = max(fitting, key=lambda one: (one.fits(offered), one.thousandths))
            rank = (closest.thousandths, closest.fits(offered), -closest.place)
            if closest.thousandths and (chosen is None or rank > best):
                best, chosen = rank, offered
    return chosen


def is_utf8(charset: str) -> bool:
    """Whether a parameter `charset` names the only encoding there is here.

    >>> is_utf8('"UTF-8"'), is_utf8("latin-1")
    (True, False)
    """
    return charset.strip().strip('"').lower() in {"utf-8", "utf8"}


def parameters(header: str) -> tuple[str, dict[str, str]]:
    """A media type and its parameters, all in small letters.

    >>> parameters("Application/JSON; Charset=utf-8")
    ('application/json', {'charset': 'utf-8'})
    """
    type, *rest = header.lower().split(";")
    pairs = (text.partition("=") for text in rest)
    return type.strip(), {name.strip(): value.strip() for name, _, value in pairs}


def _read(text: str, place: int) -> _Range | None:
    """One range of the header; None for what is none, or what nothing here could be."""
    type, more = parameters(text)
    thousandths = _thousandths(more.get("q", "1"))
    if not type or thousandths is None or not is_utf8(more.get("charset", "utf-8")):
        return None
    return _Range(type, thousandths, place)


def _thousandths(quality: str) -> int | None:
    """A quality from 0 to 1 with at most three digits behind the point, or None.

    >>> [_thousandths(text) for text in ("1", "0.5", "0.001", "2", "-1", "x", "1.5")]
    [1000, 500, 1, None, None, None, None]
    """
    whole, _, fraction = quality.partition(".")
    digits = fraction.ljust(3, "0")
    if whole not in {"0", "1"} or len(digits) > 3 or not (digits.isascii() and digits.isdecimal()):
        return None
    value = int(whole) * 1000 + int(digits)
    return value if value <= 1000 else None

"""Times as others send them: seconds since 1970, perhaps with a fraction, always exact."""

import re
from datetime import datetime

import msgspec

from domain.decider import Code, Rejected
from domain.periods import END_OF_TIME, from_us, to_us

_UNIX = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.ASCII)
_END_US = to_us(END_OF_TIME)
_WHOLE = re.compile(r"[0-9]+", re.ASCII)


def is_unix(text: str) -> bool:
    """Whether a text is seconds since 1970."""
    return _UNIX.fullmatch(text) is not None


def parse_unix(text: str, name: str, *, fraction: bool = False) -> datetime:
    """The instant, to the microsecond. Raises `Rejected` INVALID_VALUE at `name`.

    >>> parse_unix("1651240791.1234567", "timestamp", fraction=True).isoformat()
    '2022-04-29T13:59:51.123456+00:00'
    """
    match = _UNIX.fullmatch(text) if fraction or _WHOLE.fullmatch(text) else None
    if match is None:
        kind = "seconds" if fraction else "whole seconds"
        raise Rejected(Code.INVALID_VALUE, (name,), f"{name} must be {kind} since 1970")
    us = int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0")[:6])
    if us >= _END_US:
        raise Rejected(Code.INVALID_VALUE, (name,), f"{name} must not be after the year 2999")
    return from_us(us)


def usual_instant(text: str) -> str:
    """The instant as RFC 3339, of which there may be a thousand; any other text as it stands.

    Raises `ValueError` after the year 2999.

    >>> usual_instant("1651240791.1234567"), usual_instant("1651240791"), usual_instant("soon")
    ('2022-04-29T13:59:51.123456Z', '2022-04-29T13:59:51Z', 'soon')
    """
    match = _UNIX.fullmatch(text)
    if match is None:
        return text
    whole, fraction = match.groups()
    us = int(whole) * 1_000_000
    if fraction is not None:
        us += int(fraction.ljust(6, "0")[:6])
    if us >= _END_US:
        raise ValueError("after the year 2999")
    written: str = msgspec.to_builtins(from_us(us))
    return written

"""Bodies that come compressed: never more of one is inflated than a body may have."""

import zlib

from app.offers import Refused

_GZIP = 31
"""What zlib calls the gzip format with its largest window."""
_MOST_MEMBERS = 100
"""A gzip file may be several in a row; each costs a copy of what follows it."""


def plain(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed. Raises `Refused` 400, 413 or 415.

    >>> import gzip
    >>> plain(gzip.compress(b"[]"), "gzip", 2)
    b'[]'
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        message = "the content-encoding may be gzip, or none"
        headers = {"accept-encoding": "gzip"}
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message, headers)
    parts, left = list[bytes](), limit
    for _ in range(_MOST_MEMBERS):
        inflating = zlib.decompressobj(_GZIP)
        try:
            part = inflating.decompress(body, left + 1)
        except zlib.error:
            break
        left -= len(part)
        if left < 0:
            message = f"the body is larger than {limit} bytes once it is inflated"
            raise Refused(413, "BODY_TOO_LARGE", message)
        parts.append(part)
        body = inflating.unused_data
        if not inflating.eof:
            break
        if not body:
            return b"".join(parts)
    raise Refused(400, "BAD_ENCODING", "the body is not the gzip that its content-encoding says")

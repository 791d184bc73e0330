"""Bodies that come compressed: never more of one is inflated than a body may have."""

import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from app.offers import Refused

zstd: Any = None
"""What reads zstd: Python itself since 3.14, before that what is in the extra `fast`."""
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    with suppress(ImportError):
        from backports import zstd

_GZIP = 31
"""What zlib calls the gzip format with its largest window."""
_ZSTD_WINDOW_LOG = 23
"""8 MiB, the largest window that every reader of zstd is asked to have."""
_MOST_MEMBERS = 100
"""A compressed file may be several in a row; each costs a copy of what follows it."""


class _Inflating(Protocol):
    """Inflates one member of a file, never more of it at a time than it is asked for."""

    @property
    def eof(self) -> bool:
        """Whether the member was read to its end."""

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """So many bytes of it, at most."""


def _readers() -> Mapping[str, tuple[Callable[[], _Inflating], type[Exception]]]:
    """For each encoding how a member is inflated, and what is raised when it is none."""
    gzip = (lambda: zlib.decompressobj(_GZIP), zlib.error)
    if zstd is None:
        return {"gzip": gzip, "x-gzip": gzip}
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    frame = (lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError)
    return {"gzip": gzip, "x-gzip": gzip, "zstd": frame}


READERS = _readers()
"""The encodings that are known here."""


def plain(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed. Raises `Refused` 400, 413 or 415.

    >>> import gzip
    >>> plain(gzip.compress(b"[]"), "gzip", 2)
    b'[]'
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in READERS:
        known = [name for name in READERS if not name.startswith("x-")]
        message = f"the content-encoding may be {' or '.join(known)}, or none"
        headers = {"accept-encoding": ", ".join(known)}
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message, headers)
    inflated = _inflated(body, encoding, limit)
    if inflated is None:
        message = f"the body is not the {encoding} that its content-encoding says"
        raise Refused(400, "BAD_ENCODING", message)
    return inflated


def _inflated(body: bytes, encoding: str, limit: int) -> bytes | None:
    """All members of a body in a row; None when it is not whole, or has too many."""
    begin, broken = READERS[encoding]
    parts, left = list[bytes](), limit
    for _ in range(_MOST_MEMBERS):
        inflating = begin()
        try:
            part = inflating.decompress(body, left + 1)
        except broken:
            return None
        left -= len(part)
        if left < 0:
            message = f"the body is larger than {limit} bytes once it is inflated"
            raise Refused(413, "BODY_TOO_LARGE", message)
        if not inflating.eof:
            return None
        parts.append(part)
        body = inflating.unused_data
        if not body:
            return b"".join(parts)
    return None

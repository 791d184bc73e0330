"""The format of an exported log: JSON Lines, one line for each event, complete and checkable.

The first line says what it is. Each event follows with its stored bytes and its hash; after it come
what the store keeps beside it and cannot be told from it: the digests of its usage records in the
order of the records, and the idempotency keys, those that stand alone too. The last line says where
the log ends and what everything before it hashes to. The same ledger gives the same bytes.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec

FORMAT = "tallybook.log/1"
LINE_BYTES = 64 * 1024 * 1024
"""The longest line: far more than any event, and no more than a computer can hold."""
DIGEST_BYTES = 16

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """One line."""


class OpeningLine(_Line, frozen=True, kw_only=True, tag="log"):
    """What the file is: whose log, and the position and hash after which it begins."""

    format: str
    ledger: str
    name: str
    after: Whole
    after_hash: str


class EventLine(_Line, frozen=True, kw_only=True, tag="event"):
    """An event as it is stored; the hash is hexadecimal, the bytes are Base64."""

    position: Whole
    stream: str
    version: Whole
    topic: str
    state: bytes
    hash: str

    @property
    def originator_id(self) -> str:
        """Its stream, as the chain calls it."""
        return self.stream

    @property
    def originator_version(self) -> int:
        """Its place in the stream, as the chain calls it."""
        return self.version


class DigestsLine(_Line, frozen=True, kw_only=True, tag="digests"):
    """What the usage records of the event before say: 16 bytes each, in their order, as Base64."""

    position: Whole
    digests: bytes

    @property
    def each(self) -> list[bytes]:
        """The digests one by one."""
        return [
            self.digests[start : start + DIGEST_BYTES]
            for start in range(0, len(self.digests), DIGEST_BYTES)
        ]


class KeyLine(_Line, frozen=True, kw_only=True, tag="key"):
    """An idempotency key: the digest of the input it came with, and what came of it."""

    position: Whole
    key: str
    digest: str
    subject: str


class ClosingLine(_Line, frozen=True, kw_only=True, tag="end"):
    """Where the log ends; `lines` were before this one, and `sha256` is that of their bytes."""

    position: Whole
    hash: str
    lines: Whole
    sha256: str


Line = OpeningLine | EventLine | DigestsLine | KeyLine | ClosingLine


class AnyFormat(msgspec.Struct):
    """As much of a first line as tells which format it is of."""

    format: str


encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Line] = msgspec.json.Decoder(Line).decode
decode_format = msgspec.json.Decoder(AnyFormat).decode

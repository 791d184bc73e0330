"""The hash chain: each event is bound to all before it, over the bytes as they are stored."""

import hashlib
from typing import Protocol

GENESIS = bytes(32)
"""The hash before the first event."""

_TAG = b"tallybook.event/1"


class Stored(Protocol):
    """An event as it lies in the store."""

    @property
    def originator_id(self) -> object:
        """Its stream."""

    @property
    def originator_version(self) -> int:
        """Its place in the stream."""

    @property
    def topic(self) -> str:
        """Its registered name and version."""

    @property
    def state(self) -> bytes:
        """Its envelope and payload."""


def chain_hash(previous: bytes, stored: Stored) -> bytes:
    """The hash of one event over the one before it and its stored bytes, each with its length.

    Lengths keep the parts apart, the tag keeps these hashes apart from others (RULES, Promises).
    """
    digest = hashlib.sha256(_TAG + previous)
    version = stored.originator_version.to_bytes(8)
    stream_id = str(stored.originator_id).encode()
    for part in (stream_id, version, stored.topic.encode(), stored.state):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()

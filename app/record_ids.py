"""How the id of a usage record is kept: in its own byte order, and come back as it was written.

Time-ordered ids then fall into neighbouring pages of the index, which a hash of them would not.
"""

import re
from collections.abc import Sequence

_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(_PATTERN)
_UUIDS = re.compile(f"(?:{_PATTERN})*")


def stored_id(id: str) -> bytes | str:
    """16 bytes when it is a UUID as UUIDs are written, else its text.

    >>> stored_id("0199aaaa-0000-7000-8000-00000000000f").hex(), stored_id("order-17")
    ('0199aaaa00007000800000000000000f', 'order-17')
    """
    return bytes.fromhex(id.replace("-", "")) if _UUID.fullmatch(id) else id


def stored_ids(ids: Sequence[str]) -> list[bytes] | list[bytes | str]:
    """The same for many at once.

    >>> stored_ids(["0199aaaa-0000-7000-8000-00000000000f", "order-17"])[1]
    'order-17'
    """
    joined = "".join(ids)
    if len(joined) != 36 * len(ids) or not _UUIDS.fullmatch(joined):
        return [stored_id(id) for id in ids]
    packed = bytes.fromhex(joined.replace("-", ""))
    return [packed[start : start + 16] for start in range(0, len(packed), 16)]


def written_id(stored: bytes | str) -> str:
    """The id as its sender wrote it."""
    if isinstance(stored, str):
        return stored
    text = stored.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

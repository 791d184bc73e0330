"""How the id of a usage record is kept: in its own byte order, and come back as it was written.

Time-ordered ids then fall into neighbouring pages of the index, which a hash of them would not.
"""

import re
from collections.abc import Sequence

_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(_PATTERN)
ID_BYTES = 16
"""What a UUID takes."""
UUID_CHARACTERS = 36
"""How long a UUID is as it is written."""
_HYPHENS = (8, 13, 18, 23)


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
    packed = packed_ids(ids)
    if packed is None:
        return [stored_id(id) for id in ids]
    return [packed[start : start + ID_BYTES] for start in range(0, len(packed), ID_BYTES)]


def packed_ids(ids: Sequence[str]) -> bytes | None:
    """The same as one, when all of them are UUIDs.

    >>> packed_ids(["0199aaaa-0000-7000-8000-00000000000f", "order-17"])
    """
    joined = "".join(ids)
    if any(joined[at::UUID_CHARACTERS] != "-" * len(ids) for at in _HYPHENS):
        return None
    try:
        packed = bytes.fromhex(joined.replace("-", ""))
    except ValueError:
        return None
    # Blanks are passed over, and hyphens elsewhere left out: then it comes to less.
    whole = len(packed) == ID_BYTES * len(ids) and set(map(len, ids)) <= {UUID_CHARACTERS}
    return packed if whole and joined == joined.lower() else None


def written_id(stored: bytes | str) -> str:
    """The id as its sender wrote it."""
    if isinstance(stored, str):
        return stored
    text = stored.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def written_ids(stored: bytes) -> list[str]:
    """Many UUIDs, 16 bytes each, as they were written.

    >>> written_ids(bytes(15) + b"\x0f" + bytes(16))[0]
    '00000000-0000-0000-0000-00000000000f'
    """
    text = stored.hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}"
        f"-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, len(text), 32)
    ]

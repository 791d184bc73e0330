"""Names, keys and notes that people give to things: what may stand in them, and how much.

Limits are in bytes of UTF-8, because that is what is stored and indexed (RULES, Promises).
"""

from domain.decider import Code, Path, Rejected

NAME_BYTES = 255
"""The longest name, key, event name or identity."""
NOTE_BYTES = 4_096
"""The longest free description."""
VALUE_BYTES = 128
"""The longest value of one usage property."""


def check_text(text: str, path: Path, limit_bytes: int = NAME_BYTES) -> str:
    """A text that may be kept: not blank, no NUL, no half of a surrogate pair, not over the limit.

    Raises `Rejected` with REQUIRED, INVALID_VALUE or LIMIT_EXCEEDED at `path`.

    >>> check_text("Alpaca.ai tokens", ("input", "name"))
    'Alpaca.ai tokens'
    """
    if not text or text.isspace():
        raise Rejected(Code.REQUIRED, path, f"{path[-1]} must not be empty")
    if "\x00" in text:
        raise Rejected(Code.INVALID_VALUE, path, f"{path[-1]} must not contain a NUL character")
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        message = f"{path[-1]} must not contain half of a surrogate pair"
        raise Rejected(Code.INVALID_VALUE, path, message) from None
    if size > limit_bytes:
        message = f"{path[-1]} must be at most {limit_bytes} bytes, not {size}"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    return text


def check_optional(text: str | None, path: Path, limit_bytes: int = NAME_BYTES) -> str | None:
    """The same for a text that may be left out; a blank one counts as left out."""
    if text is None or not text:
        return None
    return check_text(text, path, limit_bytes)

"""Names and notes: what may stand in a text that is kept, counted in bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decider import Code, Rejected
from domain.text import NAME_BYTES, NOTE_BYTES, check_optional, check_text

PATH = ("input", "name")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Code.REQUIRED),
        (" \t\n", Code.REQUIRED),
        ("\u00a0", Code.REQUIRED),
        ("Alpaca\x00", Code.INVALID_VALUE),
        ("half \ud83e a llama", Code.INVALID_VALUE),
        ("x" * 256, Code.LIMIT_EXCEEDED),
        ("ä" * 128, Code.LIMIT_EXCEEDED),
    ],
    ids=["empty", "blank", "no-break", "NUL", "half a pair", "256 letters", "256 bytes"],
)
def test_a_text_that_is_not_kept(text: str, code: Code) -> None:
    with pytest.raises(Rejected) as refusal:
        check_text(text, PATH)
    assert (refusal.value.code, refusal.value.path) == (code, PATH)
    assert refusal.value.message.startswith("name must")


@pytest.mark.parametrize("text", ["x", "x" * 255, "ä" * 127, "🦙" * 63, " Alpaca "])
def test_a_text_that_is_kept_as_it_is(text: str) -> None:
    assert check_text(text, PATH) == text


def test_a_note_may_be_longer_than_a_name() -> None:
    assert check_text("x" * NOTE_BYTES, PATH, NOTE_BYTES)
    with pytest.raises(Rejected, match="at most 4096 bytes, not 4097"):
        check_text("x" * (NOTE_BYTES + 1), PATH, NOTE_BYTES)


def test_a_text_may_be_left_out() -> None:
    assert check_optional(None, PATH) is None
    assert check_optional("", PATH) is None
    assert check_optional("x", PATH) == "x"
    with pytest.raises(Rejected, match="name must not contain a NUL character"):
        check_optional("\x00", PATH)


@given(st.text(st.characters(), max_size=300))
def test_whatever_is_kept_can_be_stored(text: str) -> None:
    try:
        kept = check_text(text, PATH)
    except Rejected:
        return
    assert 0 < len(kept.encode()) <= NAME_BYTES
    assert "\x00" not in kept

"""Keys: how they are written, what is kept of them, and what opens a ledger and when."""

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import keys
from app.control import FILE, MAIN, Control
from app.keyring import BadKey, Keyring, make_key, replace_key
from app.keys import Key, Rates, Scope
from domain.periods import to_us

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
SECRET = b"a secret of the server, long enough"
BILLING = frozenset({Scope.BILLING_READ})


class Wall:
    """A clock on the wall, which is set by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        """The instant that it shows."""
        return self.at


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """The control database of an empty data directory."""
    with Control(tmp_path) as opened:
        yield opened


@pytest.fixture
def wall() -> Wall:
    """The wall clock of the server."""
    return Wall()


@pytest.fixture
def keyring(control: Control, wall: Wall) -> Keyring:
    """The keys as a server has them in memory."""
    return Keyring(control, SECRET, wall.now)


def made(control: Control, **more: object) -> tuple[Key, str]:
    """A key for the first ledger."""
    given: dict[str, object] = {"ledger": MAIN, "name": "a key", "scopes": BILLING, "at": NOW}
    return make_key(control, SECRET, **{**given, **more})  # type: ignore[arg-type]  # as given


def refusal(keyring: Keyring, text: str) -> str:
    """Why a text opens nothing."""
    with pytest.raises(BadKey) as refused:
        keyring.opened_by(text)
    return str(refused.value)


def test_a_key_has_its_id_and_256_bits_and_a_checksum() -> None:
    id, text = keys.new_key()
    assert keys.TEXT.fullmatch(text)
    assert keys.id_in(text) == id
    assert 62**43 >= 2**256 > 62**42


@given(st.integers(4, 79), st.sampled_from("0Az9_ é"))
def test_a_mistyped_key_is_told_by_itself(place: int, typed: str) -> None:
    _, text = keys.new_key()
    mistyped = text[:place] + typed + text[place + 1 :]
    assert (keys.id_in(mistyped) is None) == (mistyped != text)


@pytest.mark.parametrize("text", ["", "tbk_", "sk_test_1", "\ud800", "tbk_" + "0" * 76, "x" * 9999])
def test_what_is_no_key_opens_nothing(keyring: Keyring, text: str) -> None:
    assert refusal(keyring, text).startswith("this is no key")


def test_a_key_opens_its_ledger(control: Control, keyring: Keyring) -> None:
    key, text = made(control)
    assert keyring.opened_by(text) == key
    assert (key.ledger, key.scopes) == (MAIN, BILLING)


def test_a_keyring_is_empty_until_the_first_key(control: Control, keyring: Keyring) -> None:
    before = keyring.empty
    key, _ = made(control)
    control.revoke(key.id, to_us(NOW))
    assert (before, keyring.empty) == (True, False)


def test_nothing_that_is_kept_holds_the_key(control: Control, tmp_path: Path) -> None:
    key, text = made(control)
    secret = text.split("_")[2]
    control.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in kept
    assert secret.encode() not in kept
    assert secret[:43].encode() not in kept
    assert secret not in repr(key)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_wrong_secret_and_an_unknown_id_are_told_alike(
    control: Control, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = made(control)
    wrong = keys.written(key.id, "0" * 43)
    _, unknown = keys.new_key()
    compared: list[tuple[int, int]] = []
    real = keys.digest_of

    def digest(secret: bytes, text: str) -> bytes:
        compared.append((len(secret), len(text)))
        return real(secret, text)

    monkeypatch.setattr("app.keyring.digest_of", digest)
    assert refusal(keyring, wrong) == refusal(keyring, unknown) == "there is no such key"
    assert compared[0] == compared[1]


def test_what_is_asked_at_once_is_one_question(
    control: Control, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an event loop does in one round was received before it; the next round looks again."""
    key, text = made(control)
    asked: list[tuple[int, int]] = []
    ask = control.version

    def version() -> tuple[int, int]:
        asked.append(ask())
        return asked[-1]

    monkeypatch.setattr(control, "version", version)

    async def rounds() -> None:
        assert {keyring.opened_by(text).id for _ in range(9)} == {key.id}
        assert keyring.opens(key.id)
        assert len(asked) == 1
        await asyncio.sleep(0)
        control.revoke(key.id, to_us(NOW))
        assert not keyring.opens(key.id)
        assert len(asked) == 2

    asyncio.run(rounds())
    assert not keyring.opens(key.id)
    assert len(asked) == 3


def test_a_revoked_key_opens_nothing_from_the_next_request_on(
    control: Control, keyring: Keyring, tmp_path: Path
) -> None:
    key, text = made(control)
    keyring.opened_by(text)
    with Control(tmp_path) as elsewhere:  # as another process has it
        assert elsewhere.revoke(key.id, to_us(NOW)).state(to_us(NOW)) == "revoked"
        first = elsewhere.key(key.id).revoked_at_us
        elsewhere.revoke(key.id, to_us(NOW) + 1)
        assert elsewhere.key(key.id).revoked_at_us == first
    assert refusal(keyring, text) == "the key is revoked"


def test_a_key_expires_at_its_instant(control: Control, keyring: Keyring, wall: Wall) -> None:
    _, text = made(control, expires_at=NOW + timedelta(days=1))
    wall.at = NOW + timedelta(days=1) - timedelta(microseconds=1)
    keyring.opened_by(text)
    wall.at = NOW + timedelta(days=1)
    assert refusal(keyring, text) == "the key is expired"


def test_while_a_key_is_replaced_both_are_live(
    control: Control, keyring: Keyring, wall: Wall
) -> None:
    old, old_text = made(control, rates=Rates(requests=5))
    ends_at = NOW + timedelta(days=7)
    new, new_text = replace_key(control, SECRET, old.id, at=NOW, ends_at=ends_at)
    assert (new.scopes, new.rates, new.replaces) == (old.scopes, old.rates, old.id)
    assert keyring.opened_by(old_text).id == old.id
    assert keyring.opened_by(new_text).id == new.id
    with pytest.raises(ValueError, match="which is live"):
        replace_key(control, SECRET, old.id, at=NOW, ends_at=ends_at)
    wall.at = ends_at
    assert refusal(keyring, old_text) == "the key is expired"
    assert keyring.opened_by(new_text).id == new.id


def test_a_key_that_is_over_is_not_replaced(control: Control) -> None:
    key, _ = made(control)
    control.revoke(key.id, to_us(NOW))
    with pytest.raises(ValueError, match="not live any more"):
        replace_key(control, SECRET, key.id, at=NOW, ends_at=NOW)


def test_another_secret_is_noticed_before_any_key_fails(control: Control) -> None:
    made(control)
    with pytest.raises(ValueError, match="under another secret"):
        Keyring(control, SECRET + b"!")
    with pytest.raises(ValueError, match="under another secret"):
        make_key(control, b"?", ledger=MAIN, name="x", scopes=BILLING, at=NOW)
    assert len(control.every_key()) == 1


def test_the_last_use_is_kept_now_and_then(control: Control, keyring: Keyring, wall: Wall) -> None:
    key, text = made(control)
    keyring.opened_by(text)
    assert control.key(key.id).last_used_at_us is None
    keyring.note_uses()
    assert control.key(key.id).last_used_at_us == to_us(NOW)
    wall.at = NOW + timedelta(minutes=2)
    keyring.opened_by(text)
    keyring.note_uses()
    keyring.note_uses()
    assert control.key(key.id).last_used_at_us == to_us(wall.at)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"ledger": "other"}, "there is no ledger other"),
        ({"scopes": frozenset()}, "a key needs a scope"),
        ({"expires_at": NOW}, "cannot expire before"),
    ],
)
def test_what_can_be_no_key_is_not_made(
    control: Control, more: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        made(control, **more)
    assert control.every_key() == []


def test_scopes_hold_others() -> None:
    assert keys.held([Scope.ADMIN]) == frozenset(Scope)
    assert keys.held([Scope.BILLING_WRITE]) == {Scope.BILLING_WRITE, Scope.BILLING_READ}
    assert keys.held([Scope.USAGE_WRITE, Scope.AUDIT_READ]) == {
        Scope.USAGE_WRITE,
        Scope.AUDIT_READ,
    }


def test_a_control_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Control(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ValueError, match="later version"):
        Control(tmp_path)


def test_a_broken_control_database_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, and longer than that" * 100)
    with pytest.raises(ValueError, match="cannot be read"):
        Control(tmp_path)


def test_ledgers_have_names_of_their_own(control: Control) -> None:
    control.add_ledger("shop", 1)
    assert [row.name for row in control.ledgers()] == ["main", "shop"]
    with pytest.raises(ValueError, match="already"):
        control.add_ledger("shop", 1)
    with pytest.raises(ValueError, match="no ledger nix"):
        control.home("nix")

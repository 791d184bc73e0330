"""The keys that a server holds in memory, as the control database has them at each moment.

A look into the database costs a request nothing but the question whether anything changed, and
those that come at once share the question. Thus a key that is revoked, by whichever process, opens
nothing from the next request on.
"""

import asyncio
import hmac
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from app.clock import SystemClock, new_secret
from app.control import Control
from app.keys import SECRET_BYTES, Key, Rates, Scope, digest_of, id_in, new_key
from app.logs import running_loop
from domain.periods import to_us
from domain.text import check_text


class BadKey(Exception):
    """A text that opens nothing; the message says why, and never repeats it."""


class Keyring:
    """Every key of a data directory. May be asked from any thread."""

    def __init__(
        self,
        control: Control,
        secret: bytes,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        control.check_mark(mark_of(secret))
        self._control = control
        self._secret = secret
        self._now = now or SystemClock().now
        self._nobody = new_secret(SECRET_BYTES)
        self._version: object = None
        self._keys: dict[str, Key] = {}
        self._used_at_us: dict[str, int] = {}
        self._lock = threading.Lock()
        self._looked: asyncio.AbstractEventLoop | None = None
        """The event loop in whose present round it was looked."""

    @property
    def empty(self) -> bool:
        """Whether no key was ever made."""
        return not self._as_they_are()

    def opened_by(self, text: str) -> Key:
        """The live key that a text is. Raises `BadKey`.

        A key that does not exist costs as much as a wrong secret, so that no id is told by time.
        """
        id = id_in(text)
        if id is None:
            raise BadKey("this is no key: its form or its checksum is wrong")
        key = self._as_they_are().get(id)
        digest = digest_of(self._secret, text)
        same = hmac.compare_digest(digest, self._nobody if key is None else key.digest)
        if key is None or not same:
            raise BadKey("there is no such key")
        at_us = to_us(self._now())
        if not key.live(at_us):  # whoever knows the secret may know what became of it
            raise BadKey(f"the key is {key.state(at_us)}")
        with self._lock:
            self._used_at_us[key.id] = at_us
        return key

    def opens(self, id: str) -> bool:
        """Whether a key that was shown before is live still."""
        key = self._as_they_are().get(id)
        return key is not None and key.live(to_us(self._now()))

    def note_uses(self) -> None:
        """Keep when keys were last used since this was last done; it waits for the disk."""
        with self._lock:
            used, self._used_at_us = self._used_at_us, {}
        if used:
            # Another connection, so that nobody who asks waits for this one.
            note_uses(self._control.data, used)

    def _as_they_are(self) -> dict[str, Key]:
        """The keys by id, read again when anything was changed.

        Once in a round of an event loop: what is asked in it was received before. To look lets go
        of the interpreter, and has to wait for it again where somebody writes.
        """
        loop = running_loop()
        if loop is None or loop is not self._looked:
            version = self._control.version()
            if version != self._version:
                self._keys = {key.id: key for key in self._control.every_key()}
                self._version = version
            if loop is not None:
                self._looked = loop
                loop.call_soon(self._look_again)
        return self._keys

    def _look_again(self) -> None:
        self._looked = None


def note_uses(data: Path, used_at_us: dict[str, int]) -> None:
    """Keep when keys were last used."""
    with Control(data) as control:
        control.note_uses(used_at_us)


def make_key(
    control: Control,
    secret: bytes,
    *,
    ledger: str,
    name: str,
    scopes: frozenset[Scope],
    at: datetime,
    expires_at: datetime | None = None,
    rates: Rates | None = None,
) -> tuple[Key, str]:
    """Make a key for a ledger: what is kept of it, and its text, which nobody can show again.

    Raises `ValueError` or `Rejected` for what cannot be.
    """
    control.home(ledger)
    if not scopes:
        raise ValueError(f"a key needs a scope: {', '.join(Scope)}")
    if expires_at is not None and expires_at <= at:
        raise ValueError("a key cannot expire before it is made")
    id, text = new_key()
    key = Key(
        id=id,
        ledger=ledger,
        name=check_text(name, ("name",)),
        scopes=scopes,
        digest=digest_of(secret, text),
        created_at_us=to_us(at),
        expires_at_us=to_us(expires_at) if expires_at else None,
        rates=rates or Rates(),
    )
    control.add_key(key, mark_of(secret))
    return key, text


def replace_key(
    control: Control,
    secret: bytes,
    old: str,
    *,
    at: datetime,
    ends_at: datetime,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """Make a key in the place of another one, which goes on until it ends: so long both are live.

    The new one allows the same, and expires when the old one would have if nothing else is said.
    Raises `ValueError`.
    """
    before = control.key(old)
    id, text = new_key()
    key = Key(
        id=id,
        ledger=before.ledger,
        name=before.name,
        scopes=before.scopes,
        digest=digest_of(secret, text),
        created_at_us=to_us(at),
        expires_at_us=to_us(expires_at) if expires_at else before.expires_at_us,
        replaces=old,
        rates=before.rates,
    )
    control.add_key(key, mark_of(secret), ends_us=to_us(ends_at))
    return key, text


def mark_of(secret: bytes) -> bytes:
    """What tells one server's secret from another, and nothing else about it."""
    return hmac.digest(secret, b"tallybook control", "sha256")

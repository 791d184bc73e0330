"""Keys: what opens a ledger, how a key is written, and what it allows.

A key is `tbk_`, its public id, 256 random bits and a checksum. The checksum tells a mistyped key,
and a key that leaked into a text, without asking anybody. What is kept of a key is its id and an
HMAC under the server's secret, so that whoever reads the control database holds no key.
"""

import hmac
import re
import zlib
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from app.clock import new_id, new_secret

PREFIX = "tbk_"
ID_PREFIX = "key"
"""What the public id of a key begins with; as an actor it stands in the ledger."""
ID = re.compile(r"key_[0-9a-hjkmnp-tv-z]{26}")
SECRET_BYTES = 32
TEXT = re.compile(r"tbk_([0-9a-hjkmnp-tv-z]{26})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
"""How a key is written, for whoever looks for leaked ones."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS = 43
_CHECKSUM_DIGITS = 6


class Scope(StrEnum):
    """What a key allows."""

    USAGE_WRITE = "usage:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"


IMPLIED: dict[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset(Scope),
    Scope.BILLING_WRITE: frozenset({Scope.BILLING_WRITE, Scope.BILLING_READ}),
}
"""The scopes that hold others; every scope holds itself."""


def held(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Everything that some scopes allow, those that they imply among it.

    >>> sorted(held([Scope.BILLING_WRITE]))
    [<Scope.BILLING_READ: 'billing:read'>, <Scope.BILLING_WRITE: 'billing:write'>]
    """
    return frozenset(inner for scope in scopes for inner in IMPLIED.get(scope, frozenset({scope})))


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How much one key may ask for; what is None is as the server has it."""

    requests: int | None = None
    """Requests per second, in the long run."""
    requests_burst: int | None = None
    """Requests at once, after a time of rest."""
    cost: int | None = None
    """Points of GraphQL cost per second, in the long run."""
    cost_burst: int | None = None
    """Points of GraphQL cost at once, after a time of rest."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key: everything but its secret."""

    id: str
    ledger: str
    """The name of the one ledger that it opens."""
    name: str
    scopes: frozenset[Scope]
    digest: bytes
    created_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
    last_used_at_us: int | None = None
    replaces: str | None = None
    """The id of the key in whose place it comes."""
    rates: Rates = Rates()

    def __repr__(self) -> str:
        """The key without its digest, for whoever prints it."""
        return f"Key({self.id})"

    @property
    def allows(self) -> frozenset[Scope]:
        """Everything that the key allows."""
        return held(self.scopes)

    def live(self, at_us: int) -> bool:
        """Whether it opens its ledger at an instant."""
        expired = self.expires_at_us is not None and self.expires_at_us <= at_us
        return self.revoked_at_us is None and not expired

    def state(self, at_us: int) -> str:
        """What has become of it by an instant, in a word."""
        if self.revoked_at_us is not None:
            return "revoked"
        return "live" if self.live(at_us) else "expired"


def new_key() -> tuple[str, str]:
    """A new key: its public id, and its text, which is shown once and never kept."""
    id = new_id(ID_PREFIX)
    secret = int.from_bytes(new_secret(SECRET_BYTES))
    return id, written(id, _base62(secret, _SECRET_DIGITS))


def written(id: str, secret: str) -> str:
    """A key as text, with its checksum.

    >>> written("key_06evt3q9000000000000000000", "0" * 43)[-9:]
    '0003cLLfa'
    """
    body = f"{PREFIX}{id.removeprefix(f'{ID_PREFIX}_')}_{secret}"
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM_DIGITS)


def id_in(text: str) -> str | None:
    """The public id in the text of a key; None for what is no key, or is mistyped."""
    found = TEXT.fullmatch(text)
    if found is None:
        return None
    id = f"{ID_PREFIX}_{found[1]}"
    return id if written(id, found[2]) == text else None


def digest_of(server_secret: bytes, text: str) -> bytes:
    """What is kept of a key's text, which cannot be guessed at without the server's secret."""
    return hmac.digest(server_secret, text.encode(), "sha256")


def _base62(number: int, width: int) -> str:
    """A number in as many digits as asked for."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits.rjust(width, _DIGITS[0])

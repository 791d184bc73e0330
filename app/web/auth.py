"""The door: who may ask, for which ledger, and how often. Nothing is parsed before it is passed.

With keys, the key says whose ledger a request is about; it goes no further than here. Without keys
whoever reaches the server may do anything, so it only answers to names of this machine: a page of
another site could otherwise lend its own name to it.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from math import ceil

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app import adapters, keys
from app.callers import Caller
from app.keyring import BadKey, Keyring
from app.ledger import Ledger
from app.logs import note
from app.offers import Refused
from app.rates import Throttle
from app.served import Served
from app.settings import PREFIX, Auth, Settings
from app.web import positions
from app.web.bodies import turned_away

LEDGER = "x-tallybook-ledger"
"""The header that names a ledger, where no key does."""
_LEDGER, _POSITION = LEDGER.encode(), positions.HEADER.encode()
PUBLIC = {"/", "/livez", "/readyz", "/graphiql"}
"""What anybody may see, with everything below the last one: it says nothing of any ledger."""
NEEDED: Mapping[str, keys.Scope | None] = {
    "/graphql": None,  # each field says for itself
    "/v1/usage": keys.Scope.USAGE_WRITE,
    "/api/v1/events": keys.Scope.USAGE_WRITE,
    "/api/v1/events/batch": keys.Scope.USAGE_WRITE,
    "/v1/billing/meter_events": keys.Scope.USAGE_WRITE,
    "/v1/billing/meters/": keys.Scope.BILLING_READ,
    "/invoices/": keys.Scope.BILLING_READ,
    "/metrics": keys.Scope.ADMIN,
}
"""What a key must allow by address, or by all addresses that begin so; any other needs admin."""
BY_PASSWORD = ("/v1/billing/", "/invoices/")
"""Where a key may also come as the user's name of Basic, as Stripe has it and browsers ask for."""

OPEN_WARNING = "no key is needed: whoever reaches this server may do anything"

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]@]*))(?::[0-9]+)?")
_REALM = 'realm="tallybook"'
_HOSTS_REMEMBERED = 128
_NOT_OURS = "without keys, this server is for this machine only: make one to be asked as this"


class Door:
    """Lets a request through to the ledger that it may ask, or answers why not."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        served: Served,
    ) -> None:
        self._app = app
        self._settings = settings
        self._served = served
        self._keyring = served.keyring
        self._throttle = Throttle(settings)
        self._anybody = Caller(begin=self._stay_open, go_on=self._stay_open)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, or refuse it. Nearly always there is nothing to wait for here."""
        if scope["type"] == "websocket":
            return self._websocket(scope, receive, send)
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        try:
            said = _Said(scope)
            caller, ledger = self._let_in(said)
        except Refused as refused:
            return self._turn_away(refused, scope, receive, send)
        if said.position is not None or (not said.is_public and positions.must_look(ledger)):
            return self._wait(said.position, caller, ledger, scope, receive, send)
        _put_behind(scope, caller, ledger)
        return self._app(scope, receive, send)

    async def _wait(
        self,
        position: str | None,
        caller: Caller | None,
        ledger: Ledger,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Pass a request on when the ledger has come to the position that it must see.

        One that names none sees what is there by now.
        """
        try:
            await positions.seen(ledger, "0" if position is None else position)
        except Refused as refused:
            await self._turn_away(refused, scope, receive, send)
            return
        _put_behind(scope, caller, ledger)
        await self._app(scope, receive, send)

    def _turn_away(
        self, refused: Refused, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        answer = adapters.refusal(Request(scope), refused)
        return turned_away(answer, self._settings, scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a websocket on; where no header says who it is, its first message must."""
        said = _Said(scope)
        caller: Caller | None = None
        ledger: Ledger | None = None
        try:
            if self._is_open() or _key_in(said) is not None:
                caller, ledger = self._let_in(said)
        except Refused:
            await send({"type": "websocket.close"})  # before it is accepted: the answer is 403
            return
        _put_behind(scope, caller, ledger)

        def admit(text: str) -> tuple[Caller, Ledger]:
            caller, name = self._by_key(said, _bearer(text))
            return caller, self._ledger(name)

        scope["state"]["admit"] = admit
        await self._app(scope, receive, send)

    def _let_in(self, said: "_Said") -> tuple[Caller | None, Ledger]:
        """Who asks, and which ledger; nobody for what anybody may see. Raises `Refused`."""
        is_open = self._is_open()
        # A browser always says which host it asks.
        if is_open and said.host is not None and not _is_ours(said.host, self._settings.host):
            raise Refused(403, "FORBIDDEN", _NOT_OURS)
        text = _key_in(said)
        caller: Caller | None
        if said.is_public:
            caller, name = (self._anybody if is_open else None), self._served.default
        elif is_open and (text is None or not text.startswith(keys.PREFIX)):
            caller, name = self._anybody, self._named(said)
        else:
            caller, name = self._by_key(said, text)
        return caller, self._ledger(name)

    def _named(self, said: "_Said") -> str:
        return self._served.default if said.ledger is None else said.ledger

    def _is_open(self) -> bool:
        return is_open_now(self._settings, self._keyring)

    def _stay_open(self) -> None:
        """Raises `Refused` once keys are needed, for who was connected before."""
        if not self._is_open():
            raise _no_key("")

    def _by_key(self, said: "_Said", text: str | None) -> tuple[Caller, str]:
        """Who a key lets in, and to which ledger. Raises `Refused`."""
        path = said.path
        if text is None:
            raise _no_key(path)
        try:
            assert self._keyring is not None, "it is open without keys"
            key = self._keyring.opened_by(text)
        except BadKey as error:
            headers = _challenge(path, 'error="invalid_token"')
            raise Refused(401, "UNAUTHENTICATED", str(error), headers) from None
        if said.ledger not in (None, key.ledger):
            raise _no_ledger()
        needed = needed_for(path)
        if needed is not None and needed not in key.allows:
            headers = _challenge(path, f'error="insufficient_scope", scope="{needed}"')
            raise Refused(403, "FORBIDDEN", f"this key does not allow {needed}", headers)
        self._count(key)
        return self._caller(key), key.ledger

    def _caller(self, key: keys.Key) -> Caller:
        return Caller(
            key.id,
            key.allows,
            self._throttle.of(key).cost,
            begin=lambda: self._begin(key),
            go_on=lambda: self._go_on(key),
        )

    def _begin(self, key: keys.Key) -> None:
        """Begin an operation. Raises `Refused` for one too many, or once the key is over."""
        self._go_on(key)
        self._count(key)

    def _count(self, key: keys.Key) -> None:
        """Count a request of a live key. Raises `Refused` for one too many."""
        if wait := self._throttle.of(key).requests.take(1):
            headers = {"retry-after": str(ceil(wait))}
            raise Refused(429, "THROTTLED", "this key asks too often; wait a little", headers)

    def _go_on(self, key: keys.Key) -> None:
        """Raises `Refused` when the key is over by now."""
        assert self._keyring is not None, "there is a key"
        if not self._keyring.opens(key.id):
            raise Refused(401, "UNAUTHENTICATED", "the key is over")

    def _ledger(self, name: str) -> Ledger:
        ledger = self._served.ledgers.get(name)
        if ledger is None:
            raise _no_ledger()
        return ledger


class _Said:
    """What a request says that matters here. No tuple: one would show the keys with itself."""

    __slots__ = ("host", "keys", "ledger", "path", "position")

    def __init__(self, scope: Scope) -> None:
        self.path: str = scope["path"]
        """As the routes see it, whatever the header Host says."""
        self.host: str | None = None
        self.ledger: str | None = None
        self.position: str | None = None
        self.keys: list[str] = []
        for name, value in scope["headers"]:  # of one that comes twice, the first counts
            if name == b"host" and self.host is None:
                self.host = value.decode("latin-1")
            elif name == b"authorization":
                self.keys.append(value.decode("latin-1"))
            elif name == _LEDGER and self.ledger is None:
                self.ledger = value.decode("latin-1")
            elif name == _POSITION and self.position is None:
                self.position = value.decode("latin-1")

    @property
    def is_public(self) -> bool:
        """Whether anybody may see what is at this address."""
        return self.path in PUBLIC or self.path.startswith("/graphiql/")


def is_open_now(settings: Settings, keyring: Keyring | None) -> bool:
    """Whether whoever reaches the server may do anything.

    Unless it is asked for, only on loopback, and only until the first key is made.
    """
    if keyring is None or settings.auth is not None:
        return settings.auth is not Auth.KEYS
    return is_loopback(settings.host) and keyring.empty


def check_settings(settings: Settings) -> None:
    """Refuse to be open to more than this machine. Raises `ValueError`."""
    if settings.auth is Auth.OPEN and not is_loopback(settings.host):
        raise ValueError(
            f"{PREFIX}AUTH: open is for loopback only, and {settings.host} is not; "
            "make a key with `tallybook key create`, and leave it out"
        )


@lru_cache(maxsize=_HOSTS_REMEMBERED)
def is_loopback(host: str) -> bool:
    """Whether a name or an address can only mean this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "here.example")]
    [True, True, True, False, False]
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def needed_for(path: str) -> keys.Scope | None:
    """What a key must allow to ask at an address; None when any key may."""
    for place, scope in NEEDED.items():
        if path == place or (place.endswith("/") and path.startswith(place)):
            return scope
    return keys.Scope.ADMIN


@lru_cache(maxsize=_HOSTS_REMEMBERED)
def _is_ours(given: str, bound: str) -> bool:
    """Whether a header Host names this machine: another site may have lent its own name to it."""
    found = _HOST.fullmatch(given.lower())
    host = (found[1] or found[2]) if found else ""
    return host == bound.lower() or is_loopback(host)


def _key_in(said: _Said) -> str | None:
    """The text that is sent as a key. Raises `Refused` for two of them."""
    if not said.keys:
        return None
    if len(said.keys) > 1:
        raise Refused(400, "BAD_REQUEST", "there are two Authorization headers")
    scheme, _, text = said.keys[0].partition(" ")
    if scheme.lower() == "basic" and said.path.startswith(BY_PASSWORD):
        try:
            return base64.b64decode(text, validate=True).partition(b":")[0].decode()
        except (binascii.Error, ValueError):
            return ""
    return _bearer(said.keys[0])


def _bearer(text: str) -> str | None:
    """The key in a text as the header Authorization has it."""
    scheme, _, key = text.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _challenge(path: str, *more: str) -> dict[str, str]:
    """How a key can be sent."""
    said = f"Bearer {', '.join((_REALM, *more))}"
    if path.startswith("/invoices/"):  # a page, for which a browser then asks its reader
        said += f", Basic {_REALM}"
    return {"www-authenticate": said}


def _no_key(path: str) -> Refused:
    message = "send a key as Authorization: Bearer tbk_..."
    return Refused(401, "UNAUTHENTICATED", message, _challenge(path))


def _no_ledger() -> Refused:
    return Refused(404, "NOT_FOUND", "there is no such ledger")


def _put_behind(scope: Scope, caller: Caller | None, ledger: Ledger | None) -> None:
    """Say who asks, and which ledger; the key goes no further."""
    if caller is not None and caller.actor is not None:
        scope["headers"] = [one for one in scope["headers"] if one[0] != b"authorization"]
        note(actor=caller.actor)
    scope.setdefault("state", {}).update(caller=caller, ledger=ledger)

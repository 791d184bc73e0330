"""The door: who may ask, for which ledger, and how often. Nothing is parsed before it is passed.

With keys, the key says whose ledger a request is about; it goes no further than here. Without keys
whoever reaches the server may do anything, so it only answers to names of this machine: a page of
another site could otherwise lend its own name to it.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from math import ceil

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller, ledger = self._let_in(request)
            if positions.HEADER in request.headers:
                await positions.seen(ledger, request.headers[positions.HEADER])
        except Refused as refused:
            answer = adapters.refusal(request, refused)
            await turned_away(answer, self._settings, scope, receive, send)
            return
        _put_behind(scope, caller, ledger)
        await self._app(scope, receive, _told_to_wait(caller, send))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a websocket on; where no header says who it is, its first message must."""
        connection = HTTPConnection(scope)
        caller: Caller | None = None
        ledger: Ledger | None = None
        try:
            if self._is_open() or _key_in(connection) is not None:
                caller, ledger = self._let_in(connection)
        except Refused:
            await send({"type": "websocket.close"})  # before it is accepted: the answer is 403
            return
        _put_behind(scope, caller, ledger)

        def admit(text: str) -> tuple[Caller, Ledger]:
            caller, name = self._by_key(connection, _bearer(text))
            return caller, self._ledger(name)

        scope["state"]["admit"] = admit
        await self._app(scope, receive, send)

    def _let_in(self, request: HTTPConnection) -> tuple[Caller | None, Ledger]:
        """Who asks, and which ledger; nobody for what anybody may see. Raises `Refused`."""
        path = request.scope["path"]
        is_open = self._is_open()
        if is_open:
            _check_host(request, self._settings.host)
        text = _key_in(request)
        caller: Caller | None
        if path in PUBLIC or path.startswith("/graphiql/"):
            caller, name = (self._anybody if is_open else None), self._served.default
        elif is_open and (text is None or not text.startswith(keys.PREFIX)):
            caller, name = self._anybody, request.headers.get(LEDGER, self._served.default)
        else:
            caller, name = self._by_key(request, text)
        return caller, self._ledger(name)

    def _is_open(self) -> bool:
        return is_open_now(self._settings, self._keyring)

    def _stay_open(self) -> None:
        """Raises `Refused` once keys are needed, for who was connected before."""
        if not self._is_open():
            raise _no_key("")

    def _by_key(self, request: HTTPConnection, text: str | None) -> tuple[Caller, str]:
        """Who a key lets in, and to which ledger. Raises `Refused`."""
        path = request.scope["path"]  # as the routes see it, whatever the header Host says
        if text is None:
            raise _no_key(path)
        try:
            assert self._keyring is not None, "it is open without keys"
            key = self._keyring.opened_by(text)
        except BadKey as error:
            headers = _challenge(path, 'error="invalid_token"')
            raise Refused(401, "UNAUTHENTICATED", str(error), headers) from None
        if request.headers.get(LEDGER, key.ledger) != key.ledger:
            raise _no_ledger()
        needed = needed_for(path)
        if needed is not None and needed not in key.allows:
            headers = _challenge(path, f'error="insufficient_scope", scope="{needed}"')
            raise Refused(403, "FORBIDDEN", f"this key does not allow {needed}", headers)
        self._begin(key)
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
        """Count a request of a key. Raises `Refused` for one too many, or once the key is over."""
        self._go_on(key)
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


def _check_host(request: HTTPConnection, bound: str) -> None:
    """Refuse a request that was sent to a name which another site may have lent to this machine."""
    given = request.headers.get("host")
    if given is None:
        return  # a browser always says it
    found = _HOST.fullmatch(given.lower())
    host = (found[1] or found[2]) if found else ""
    if host != bound.lower() and not is_loopback(host):
        message = "without keys, this server is for this machine only: make one to be asked as this"
        raise Refused(403, "FORBIDDEN", message)


def _key_in(request: HTTPConnection) -> str | None:
    """The text that is sent as a key. Raises `Refused` for two of them."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        raise Refused(400, "BAD_REQUEST", "there are two Authorization headers")
    scheme, _, text = (given[0] if given else "").partition(" ")
    if scheme.lower() == "basic" and request.scope["path"].startswith(BY_PASSWORD):
        try:
            return base64.b64decode(text, validate=True).partition(b":")[0].decode()
        except (binascii.Error, ValueError):
            return ""
    return _bearer(given[0]) if given else None


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


def _told_to_wait(caller: Caller | None, send: Send) -> Send:
    """Sends a refusal of an operation that costs too much just now with the status it has."""

    async def sending(message: Message) -> None:
        wait = caller.retry_after if caller is not None else None
        if wait is not None and message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"retry-after", str(wait).encode())]
            message = {**message, "status": 429, "headers": headers}
        await send(message)

    return sending

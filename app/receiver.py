"""The one door out: a message is signed and posted to the address of whoever wants to be told.

The headers are those of the Standard Webhooks specification. An address may be a secret as a whole,
so what is logged or raised here names no more of it than its origin.
"""

import base64
import binascii
import hmac
import http.client
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from app.clock import SystemClock

TIMEOUT = timedelta(seconds=10)
"""How long one delivery may take from beginning to end, once the host's name is looked up."""
SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
"""How long a secret may be, as the specification has it."""
_PORTS = {"http": 80, "https": 443}


class NotTaken(Exception):
    """The receiver did not take a message; the text says why, and holds nothing that is secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where messages are posted to."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """The part of the address that may be logged."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_address(url: str) -> Address:
    """The address that a URL names. Raises `ValueError`, which does not repeat the URL."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("a URL has only ASCII characters and no spaces; write others as %XX")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as it will be when it is looked up
    except ValueError:
        raise ValueError("the host or the port is malformed") from None
    if parts.scheme not in _PORTS:
        raise ValueError("the URL must begin with http:// or https://")
    if not host or port == 0:
        raise ValueError("the URL names no host, or port 0")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user and password in the URL, please: every delivery is signed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme], target)


def read_secret(text: str) -> bytes:
    """The key that a secret stands for. Raises `ValueError`, which does not repeat the secret."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        shortest, longest = SECRET_BYTES[0], SECRET_BYTES[-1]
        raise ValueError(f"must be {SECRET_PREFIX} and {shortest} to {longest} bytes in base64")
    return key


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """What proves that a message was sent by who knows the key, and when.

    >>> key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


class Receiver:
    """Somebody who is told, one message at a time, until it is closed."""

    def __init__(self, address: Address, key: bytes) -> None:
        self.origin = address.origin
        self._address = address
        self._key = key
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._lock = threading.Lock()
        self._call: _Call | None = None
        self._closed = False

    def close(self) -> None:
        """Tell nothing more; a delivery that is under way in another thread ends at once."""
        with self._lock:
            self._closed = True
            if self._call is not None:
                self._call.end()

    def tell(self, id: str, body: bytes) -> None:
        """Deliver a message. Raises `NotTaken` unless the answer is a 2xx."""
        call = _Call(self._connection())
        with self._lock:
            if self._closed:
                raise NotTaken("nothing is told any more")
            self._call = call
        watchdog = threading.Timer(TIMEOUT.total_seconds(), call.end)
        watchdog.daemon = True
        watchdog.start()
        try:
            status = call.post(self._address.target, body, self._headers(id, body))
        finally:
            watchdog.cancel()
        if not 200 <= status < 300:
            raise NotTaken(f"it answered {status}")

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        # A receiver compares this with its own clock, so it is never that of a test.
        timestamp = int(SystemClock().now().timestamp())
        return {
            "content-type": "application/json",
            "user-agent": "tallybook",
            "connection": "close",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, id, timestamp, body),
        }

    def _connection(self) -> http.client.HTTPConnection:
        host, port, limit = self._address.host, self._address.port, TIMEOUT.total_seconds()
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=limit)
        return http.client.HTTPSConnection(host, port, timeout=limit, context=self._tls)


class _Call:
    """One request on its way, which another thread may end."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._ended = threading.Event()

    def end(self) -> None:
        """Wait no longer: neither for a silent receiver nor for one that answers in drops."""
        self._ended.set()
        line = self._connection.sock
        if line is not None:
            with suppress(OSError):  # it was never up, or is down already
                # Not the method of a TLS socket, which another thread may be reading from.
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> int:
        """Send a body and return the status of the answer. Raises `NotTaken`."""
        try:
            self._connection.connect()
            self._check()
            self._connection.request("POST", target, body, headers)
            status = self._connection.getresponse().status
            self._check()  # a head that was cut short looks like a whole one
            return status
        except (OSError, http.client.HTTPException) as error:
            raise NotTaken(self._why(error)) from None
        finally:
            self._connection.close()

    def _check(self) -> None:
        if self._ended.is_set():
            raise TimeoutError

    def _why(self, error: Exception) -> str:
        """What went wrong, without what an answer said: it may repeat the request."""
        if self._ended.is_set() or isinstance(error, TimeoutError):
            return f"it did not answer within {TIMEOUT.total_seconds():g} s"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return f"it gave no answer in HTTP ({type(error).__name__})"

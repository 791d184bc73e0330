"""Clients of live updates over real sockets: a websocket and an event stream, step by step."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

PROTOCOL = "graphql-transport-ws"
PATIENCE_SECONDS = 30
"""How long a test waits for what must come."""


class Closed(Exception):
    """The other side has closed the websocket."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Watching:
    """A client of the protocol graphql-transport-ws; it reads only when it is asked to."""

    def __init__(
        self,
        url: str,
        *,
        protocols: tuple[str, ...] = (PROTOCOL,),
        origin: str | None = None,
        key: str | None = None,
        host: str | None = None,
        buffer_bytes: int | None = None,
    ) -> None:
        address = urlsplit(url)
        self._socket = socket.socket()
        if buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect((address.hostname, address.port))
        self._connection = WSConnection(ConnectionType.CLIENT)
        headers = [(b"origin", origin.encode())] if origin else []
        if key is not None:
            headers.append((b"authorization", f"Bearer {key}".encode()))
        request = Request(
            host=host or address.netloc,
            target="/graphql",
            subprotocols=list(protocols),
            extra_headers=headers,
        )
        self._events: list[Event] = []
        self._socket.sendall(self._connection.send(request))
        match self._next():
            case AcceptConnection(subprotocol=subprotocol):
                self.subprotocol = subprotocol
            case RejectConnection(status_code=status):
                self.drop()
                raise Closed(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def begin(self, **payload: str) -> Self:
        """Begin the GraphQL protocol."""
        self.send({"type": "connection_init", "payload": payload})
        assert self.receive() == {"type": "connection_ack"}
        return self

    def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:
        """Begin an operation."""
        payload = {"query": query, "variables": variables}
        self.send({"id": id, "type": "subscribe", "payload": payload})

    def send(self, message: object) -> None:
        """Send a message as JSON."""
        self.send_text(json.dumps(message))

    def send_text(self, text: str | bytes) -> None:
        """Send a message as it is."""
        self._write(TextMessage(data=text) if isinstance(text, str) else BytesMessage(data=text))

    def receive(self) -> Any:
        """The next message. Raises `Closed`."""
        text = ""
        while True:
            event = self._next()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return json.loads(text)

    def next(self, id: str = "1") -> Any:
        """What the next answer of an operation holds in its one field."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        assert "errors" not in message["payload"], message
        (value,) = message["payload"]["data"].values()
        return value

    def error(self, id: str = "1") -> Any:
        """The first error for which an operation was not carried out."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("error", id), message
        error, *_ = message["payload"]
        return error

    def last(self) -> Closed:
        """Why the other side closes, whatever it says before."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed

    def drop(self) -> None:
        """Go without a word."""
        self._socket.close()

    def _next(self) -> Event:
        while not self._events:
            data = self._socket.recv(65_536)
            if not data:
                raise Closed(None)
            self._connection.receive_data(data)
            self._events += self._connection.events()
        event = self._events.pop(0)
        if isinstance(event, Ping):
            self._write(event.response())
        if isinstance(event, CloseConnection):
            with suppress(OSError):
                self._write(event.response())
            raise Closed(event.code, event.reason or "")
        return event

    def _write(self, event: Event) -> None:
        self._socket.sendall(self._connection.send(event))


class Stream:
    """An open event stream; it reads only when it is asked to."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def event(self) -> tuple[str, Any]:
        """The next event and its data; a comment is one with the name of a colon."""
        name, data = "", ""
        for line in self._lines:
            if line.startswith(":"):
                name = ":"
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data:"):
                data = line.removeprefix("data:").strip()
            elif name:
                return name, json.loads(data) if data else None
        raise Closed(None)

    def next(self) -> Any:
        """What the next answer holds in its one field."""
        name, content = self.event()
        while name == ":":
            name, content = self.event()
        assert name == "next", name
        assert "errors" not in content, content
        (value,) = content["data"].values()
        return value


@contextmanager
def streaming(
    url: str,
    query: str,
    *,
    accept: str = "text/event-stream",
    key: str | None = None,
    **variables: Any,
) -> Iterator[Stream]:
    """An operation asked as an event stream, for as long as the block lasts."""
    body = {"query": query, "variables": variables}
    headers = {"accept": accept, **({"authorization": f"Bearer {key}"} if key else {})}
    with (
        httpx.Client(timeout=PATIENCE_SECONDS) as client,
        client.stream("POST", f"{url}/graphql", json=body, headers=headers) as response,
    ):
        yield Stream(response)


def ask(url: str, query: str, **variables: Any) -> Any:
    """The data of a plain request's answer."""
    body = {"query": query, "variables": variables}
    answer = httpx.post(f"{url}/graphql", json=body, timeout=PATIENCE_SECONDS).json()
    assert "errors" not in answer, answer
    return answer["data"]


def create_customer(url: str, name: str) -> int:
    """Write one fact; its position."""
    query = """mutation($name: String!) {
        createCustomer(input: { name: $name }) { position userErrors { code } } }"""
    payload = ask(url, query, name=name)["createCustomer"]
    assert payload["userErrors"] == []
    return int(payload["position"])

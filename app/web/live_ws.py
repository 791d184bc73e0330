"""The schema over websockets, by the protocol graphql-transport-ws.

Each operation is a task that waits until the socket takes its answer. Nothing is queued: while a
client does not read, its subscriptions stand still.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing, suppress
from functools import partial
from typing import Annotated, Any

import msgspec
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.logs import error_id, fields
from app.offers import Refused
from app.schema.streams import Answer
from app.web.answers import encoded
from app.web.asked import Asked
from app.web.graphql import context_of
from app.web.live import Live, Places, problem

PROTOCOL = "graphql-transport-ws"
REASON_BYTES = 123
"""The longest reason that a closing frame has room for."""

_log = logging.getLogger(__name__)


class ConnectionInit(msgspec.Struct, tag="connection_init"):
    """The client begins."""

    payload: dict[str, Any] | None = None


class Ping(msgspec.Struct, tag="ping"):
    """The client wants to know whether anybody is there."""

    payload: dict[str, Any] | None = None


class Pong(msgspec.Struct, tag="pong"):
    """The client is there."""

    payload: dict[str, Any] | None = None


class Operation(msgspec.Struct):
    """What is to be carried out."""

    query: str | None = None
    variables: dict[str, Any] | None = None
    operation_name: str | None = msgspec.field(name="operationName", default=None)
    extensions: dict[str, Any] | None = None
    document_id: str | None = msgspec.field(name="documentId", default=None)


_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Subscribe(msgspec.Struct, tag="subscribe"):
    """The client begins an operation."""

    id: _Id
    payload: Operation


class Complete(msgspec.Struct, tag="complete"):
    """The client ends an operation."""

    id: _Id


Message = ConnectionInit | Ping | Pong | Subscribe | Complete
_MESSAGES = msgspec.json.Decoder(Message)


class Ended(Exception):
    """The connection is to be closed, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class LiveSocket:
    """One endpoint for any number of websockets."""

    def __init__(self, live: Live) -> None:
        self._live = live
        allowed = (live.settings.allowed_origins or "").split(",")
        self._origins = {origin for one in allowed if (origin := one.strip().rstrip("/").lower())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket until it is closed."""
        websocket = WebSocket(scope, receive, send)
        with ExitStack() as place:
            try:
                place.enter_context(self._live.sockets.one())
            except Refused:
                await websocket.close()  # before it is accepted: the answer is 403
                return
            if not self._may_open(websocket):
                await websocket.close()
                return
            if PROTOCOL not in scope["subprotocols"]:
                await websocket.accept()
                await websocket.close(4406, "Subprotocol not acceptable")
                return
            await websocket.accept(PROTOCOL)
            await Connection(websocket, self._live).serve()

    def _may_open(self, websocket: WebSocket) -> bool:
        """Whether the page that opens it may; who is no page does not say where it comes from.

        A browser lets any page open a websocket anywhere, and sends along what it knows of the
        user.
        """
        origin = websocket.headers.get("origin")
        if origin is None or origin.lower() in self._origins:
            return True
        return origin.partition("://")[2].lower() == websocket.headers.get("host", "").lower()


class Connection:
    """One websocket and its operations."""

    def __init__(self, websocket: WebSocket, live: Live) -> None:
        self._websocket = websocket
        self._live = live
        self._begun = False
        self._places = Places(live.settings.live_connection_limit)
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._counted = ExitStack()
        self._count: Callable[[], None]

    async def serve(self) -> None:
        """Answer until either side closes."""
        try:
            await self._first()
            while True:
                await self._take(await self._receive())
        except Ended as ended:
            await self._stop()
            await self._close(ended)
        except WebSocketDisconnect:
            pass
        finally:
            self._counted.close()
            await self._stop()

    async def _stop(self) -> None:
        """End every operation."""
        tasks = list(self._operations.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _first(self) -> None:
        """Wait for the client to begin. Raises `Ended` when it does not, or with something else."""
        try:
            async with asyncio.timeout(self._live.settings.live_init_seconds):
                while not self._begun:
                    await self._take(await self._receive())
        except TimeoutError as error:
            raise Ended(4408, "Connection initialisation timeout") from error

    async def _receive(self) -> Message:
        """The next message. Raises `Ended` when it is none of the protocol."""
        received = await self._websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1005))
        text = received.get("text")
        if text is None:
            raise Ended(4400, "Messages are texts")
        try:
            message: Message = _MESSAGES.decode(text)
            return message
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            raise Ended(4400, f"Invalid message: {error}") from error

    async def _take(self, message: Message) -> None:
        """Do what a message asks for. Raises `Ended` when it comes at the wrong time."""
        match message:
            case ConnectionInit() if self._begun:
                raise Ended(4429, "Too many initialisation requests")
            case ConnectionInit(payload=payload):
                self._let_in(payload or {})
                measures = self._websocket.state.ledger.writer.measures
                self._count = self._counted.enter_context(measures.live("websocket"))
                self._begun = True
                await self._send({"type": "connection_ack"})
            case Ping():
                await self._send({"type": "pong"})
            case Subscribe() if not self._begun:
                raise Ended(4401, "Unauthorized")
            case Subscribe(id=id, payload=operation):
                await self._begin(id, operation)
            case Complete(id=id):
                if task := self._operations.pop(id, None):
                    task.cancel()

    def _let_in(self, payload: dict[str, Any]) -> None:
        """Take the key with which the client begins, as pages have no headers. Raises `Ended`."""
        state = self._websocket.state
        sent = [str(text) for name, text in payload.items() if name.lower() == "authorization"]
        if state.caller is not None and (state.caller.actor is not None or not sent):
            return  # a header came with it, or no key is needed
        try:
            state.caller, state.ledger = state.admit(sent[0] if sent else "")
        except Refused as refused:
            raise Ended(4403, f"Forbidden: {refused.message}") from refused

    async def _begin(self, id: str, operation: Operation) -> None:
        if id in self._operations:
            raise Ended(4409, f"Subscriber for {id} already exists")
        with ExitStack() as place:
            try:
                place.enter_context(self._places.one())
                place.enter_context(self._live.operations.one())
                context = context_of(self._websocket, streams=True, lanes=self._live.lanes)
                found = self._live.answers(Asked(*msgspec.structs.astuple(operation)), context)
            except Refused as refused:
                await self._send({"id": id, "type": "error", "payload": [problem(refused)]})
                return
            task = asyncio.create_task(self._operate(id, found))
            task.add_done_callback(partial(_done, place.pop_all()))
            self._operations[id] = task

    async def _operate(self, id: str, found: AsyncGenerator[Answer, None]) -> None:
        """Carry out one operation, each answer once the one before has been sent."""
        last: dict[str, Any] = {"id": id, "type": "complete"}
        async with aclosing(found):
            async for answer in found:
                if not answer.executed:
                    last = {"id": id, "type": "error", "payload": answer.content["errors"]}
                    break
                await self._send({"id": id, "type": "next", "payload": answer.content})
                self._count()
        self._forget(id)  # first, for the client may use the id again as soon as it reads this
        await self._send(last)

    def _forget(self, id: str) -> None:
        if self._operations.get(id) is asyncio.current_task():
            del self._operations[id]

    async def _send(self, message: dict[str, Any]) -> None:
        """Send one message, when the socket takes it."""
        text = encoded(message).decode()
        async with self._sending:
            await self._websocket.send_text(text)

    async def _close(self, ended: Ended) -> None:
        reason = ended.reason.encode()[:REASON_BYTES].decode(errors="ignore")
        with suppress(WebSocketDisconnect, RuntimeError):  # it was closed on the other side
            await self._websocket.close(ended.code, reason)


def _done(place: ExitStack, task: asyncio.Task[None]) -> None:
    """An operation has ended; a bug does not end it in silence."""
    place.close()
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, WebSocketDisconnect):
        _log.error("internal error", exc_info=error, extra=fields(id=error_id()))

"""Each request has an id, is counted, timed and logged in one line; a bug in it ends here."""

import logging
from collections.abc import Awaitable, Iterable
from time import perf_counter

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ingest import refusal
from app.ledger import Ledger
from app.logs import Told, fields, tell, telling
from app.measures import Measures
from app.offers import Refused, away
from projections.places import Unreachable

HEADER = "x-request-id"
_HEADER = HEADER.encode()
NO_ROUTE = "none"
"""The route of an address that leads nowhere, which would be the asker's own text."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLOSED_REQUEST = 499
"""What is noted as the status when whoever asked was gone before there was an answer."""
_access = logging.getLogger("tallybook.access")
_log = logging.getLogger("tallybook.server")


class Access:
    """Stands before everything else: nothing is answered that is not seen here."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and say what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with telling(_id_from(scope["headers"])) as told:
            answering, started = Answering(send, told.id), perf_counter()
            try:
                await self._app(scope, receive, answering)
            except Unreachable as error:
                if answering.status is not None:
                    raise
                _log.warning("the database is away", extra=fields(why=str(error)))
                await refusal(away())(scope, receive, answering)
            except Exception:
                _log.exception("internal error", extra=fields(route=route_of(scope)))
                if answering.status is not None:
                    raise  # half an answer is cut off by the server
                await broken(told)(scope, receive, answering)
            finally:
                self._note(scope, told, answering, perf_counter() - started)

    def _note(self, scope: Scope, told: Told, answering: "Answering", seconds: float) -> None:
        """Count the request and write its line."""
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route, status = route_of(scope), answering.status or _CLOSED_REQUEST
        asked: Ledger | None = scope.get("state", {}).get("ledger")
        measures = self._measures if asked is None else asked.writer.measures
        measures.answered(method, route, status, seconds)
        if _access.isEnabledFor(logging.INFO):
            tell(
                _access,
                "request",
                method=method,
                route=route,
                status=status,
                ms=int(seconds * 1_000_000) / 1_000,
                bytes=answering.bytes,
                **told.notes,
            )


def _id_from(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The id that a request came with.

    By itself, so that no other header stays in a variable of a frame that a bug may be shown with.
    """
    for name, value in headers:
        if name == _HEADER:
            return value.decode("latin-1")
    return None


class Answering:
    """The way back of one answer: names the request in it, and sees its status and its size."""

    __slots__ = ("_header", "_send", "bytes", "status")

    def __init__(self, send: Send, id: str) -> None:
        self.status: int | None = None
        self.bytes = 0
        self._send = send
        self._header = (_HEADER, id.encode())

    def __call__(self, message: Message) -> Awaitable[None]:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        return self._send(message)


def broken(told: Told) -> Response:
    """The answer to whoever met a bug: an id, under which the log has the rest."""
    return refusal(Refused(500, "INTERNAL", f"internal error {told.id}"))


def route_of(scope: Scope) -> str:
    """The template of the route that was taken, such as `/invoices/{name}`."""
    route = scope.get("route")
    return getattr(route, "path", None) or NO_ROUTE

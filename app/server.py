"""The server put together: routes, middleware and what happens at start and stop."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from cross_web import HTTPException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.exceptions import InvalidOperationTypeError

from app import adapters, checkpoints, graphiql, invoice_page, replay
from app.adapters import lago, stripe
from app.clock import new_id
from app.compressed import plain
from app.graphiql import CONTENT_SECURITY_POLICY
from app.ingest import post_usage, refusal
from app.ledger import Ledger
from app.offers import Refused
from app.schema import schema
from app.schema.context import Context
from app.settings import Settings
from app.webhooks import Delivery, Hook, read_hook
from app.worker import Worker

_log = logging.getLogger("tallybook.server")

_PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create_app(ledger: Ledger, settings: Settings) -> Starlette:
    """The web application over one open ledger, which the caller closes.

    Raises `ValueError` when the settings ask for a webhook that cannot be.
    """
    hook = read_hook(settings)
    app = Starlette(
        routes=[
            Route("/", _home),
            Route("/graphql", GraphQLEndpoint(ledger)),
            Route("/graphiql", _explorer),
            Route("/graphiql/tabs.json", _tabs),
            Route("/graphiql/", _home),
            Mount("/graphiql", _Assets(directory=graphiql.ASSETS)),
            Route("/invoices/{name}", _invoice),
            Route("/v1/usage", post_usage, methods=["POST"]),
            Route(adapters.EVENTS, adapters.post_events, methods=["POST"]),
            Route(f"{adapters.EVENTS}/batch", lago.post_batch, methods=["POST"]),
            Route("/v1/billing/meter_events", stripe.post_meter_event, methods=["POST"]),
            Route("/v1/billing/meters/{id}/event_summaries", stripe.get_event_summaries),
            Route("/livez", _alive),
            Route("/readyz", _ready),
        ],
        middleware=[Middleware(BodyLimit, settings=settings)],
        exception_handlers={StarletteHTTPException: _http_error, Exception: _internal_error},
        lifespan=_living,
    )
    app.state.ledger = ledger
    app.state.hook = hook
    app.state.between_checkpoints = settings.between_checkpoints
    return app


@asynccontextmanager
async def _living(app: Starlette) -> AsyncIterator[None]:
    """What goes on while it serves."""
    hook = app.state.hook
    if hook is not None and app.state.ledger.state.forked_from is not None:
        _log.warning("nobody is told of what happens in a fork: the webhook is left alone")
        hook = None
    async with _telling(app.state.ledger, hook), _working(app):
        yield


@asynccontextmanager
async def _telling(ledger: Ledger, hook: Hook | None) -> AsyncIterator[None]:
    """While it serves, whoever wants to be told is told, also what a test clock brings about."""
    if hook is None:
        yield
        return
    delivery = await asyncio.to_thread(Delivery, ledger, hook)
    delivery.start()
    try:
        yield
    finally:
        await asyncio.to_thread(delivery.stop)


@asynccontextmanager
async def _working(app: Starlette) -> AsyncIterator[None]:
    """While it serves, what falls due is done by itself; a test clock waits to be moved.

    Every so often a signed checkpoint is noted beside the ledger. Views that somebody rebuilt are
    taken over.
    """
    ledger: Ledger = app.state.ledger
    work = [replay.keep_taking_over(ledger)]
    if every := app.state.between_checkpoints:
        work.append(checkpoints.keep_noting(ledger.store, ledger.directory, every))
    if not ledger.clock.is_test:
        work.append(Worker(ledger).run())
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class GraphQLEndpoint(GraphQL[Context, None]):
    """The schema over HTTP; what cannot be executed at all still gets a typed JSON answer."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(schema, graphql_ide=None)
        self._ledger = ledger

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """What resolvers work on: the ledger, and who asks."""
        return Context(ledger=self._ledger, actor="graphql")

    async def run(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Serve one request."""
        try:
            return await super().run(request, *args, **kwargs)
        except HTTPException as error:
            status, headers = error.status_code, {}
            if isinstance(error.__cause__, InvalidOperationTypeError):  # a mutation by GET
                status, headers = 405, {"allow": "POST"}
            elif status == 405:
                headers = {"allow": "GET, POST"}
            code = "METHOD_NOT_ALLOWED" if status == 405 else "BAD_REQUEST"
            problem = {"message": error.reason, "extensions": {"code": code}}
            # The reason may repeat half of a surrogate pair, which not every encoder writes.
            content = self.encode_json({"errors": [problem]})
            return Response(content, status, headers, media_type="application/json")

    def parse_query_params(self, params: Mapping[str, str | None]) -> dict[str, Any]:
        """What a GET asks; a form sends what nobody filled in as an empty text."""
        return super().parse_query_params({name: text for name, text in params.items() if text})

    def decode_json(self, data: str | bytes) -> object:
        """The body as JSON; whatever is wrong with it is one kind of error."""
        try:
            decoded: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        # A body comes as bytes, and must be an object; the variables of a GET come as text.
        if isinstance(data, bytes) and not isinstance(decoded, dict | list):
            raise json.JSONDecodeError("the body must be a JSON object", "", 0)
        return decoded


class BodyLimit:
    """Read a request's body before anything else, and refuse it as soon as it is too large.

    Usage may come compressed; then its limit is that of what it is inflated to, too.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 413."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        is_usage = scope["path"].startswith(("/v1/", "/api/v1/"))
        settings, request = self._settings, Request(scope)
        limit = settings.ingest_limit_bytes if is_usage else settings.body_limit_bytes
        try:
            body = await _read(receive, limit)
            if is_usage:
                body = plain(body, request.headers.get("content-encoding", ""), limit)
        except ClientDisconnect:
            return  # half a body is never taken for a whole one
        except Refused as refused:
            await adapters.refusal(request, refused)(scope, receive, send)
            return
        whole: Message = {"type": "http.request", "body": body, "more_body": False}
        given = False

        async def receive_whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return whole

        await self._app(scope, receive_whole, send)


async def _read(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `ClientDisconnect`, or `Refused` as soon as it exceeds the limit."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refused(413, "BODY_TOO_LARGE", f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class _Assets(StaticFiles):
    """The explorer's own files, under the same policy as its page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_PAGE_HEADERS)
        # Built files carry the hash of their content in their names, so they never change.
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _home(request: Request) -> Response:
    return RedirectResponse("/graphiql")


async def _explorer(request: Request) -> Response:
    return FileResponse(
        graphiql.ASSETS / "index.html", headers={**_PAGE_HEADERS, "cache-control": "no-cache"}
    )


def _tabs(request: Request) -> Response:
    """The prepared tabs, filled in with the ids of this ledger."""
    ledger: Ledger = request.app.state.ledger
    with ledger.snapshot() as views:
        values = graphiql.values(views, ledger.clock.now())
    content = msgspec.json.encode(graphiql.prepared_tabs(ledger.state.id, values))
    headers = {"cache-control": "no-store"}
    return Response(content, media_type="application/json", headers=headers)


def _invoice(request: Request) -> Response:
    """An invoice as a page; with `.json` or `.csv` behind its id, its data."""
    ledger: Ledger = request.app.state.ledger
    id, _, form = request.path_params["name"].partition(".")
    with ledger.snapshot() as views:
        document = invoice_page.document(views, ledger.store, id, form, ledger.clock.now())
    if document is None:
        raise StarletteHTTPException(404)
    policy = {"content-security-policy": invoice_page.CONTENT_SECURITY_POLICY}
    headers = {**_PAGE_HEADERS, **policy, "cache-control": "no-store"}
    return Response(document.content, media_type=document.media_type, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """No such address, or not that method there."""
    assert isinstance(error, StarletteHTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    headers = dict(error.headers or {})
    what = f"{request.method} {request.url.path}"
    return refusal(Refused(error.status_code, code, what, headers))


async def _internal_error(request: Request, error: Exception) -> Response:
    """A bug: the asker gets an id, the log the rest."""
    id = new_id("err")
    _log.error("internal error %s at %s", id, request.url.path, exc_info=error)
    return refusal(Refused(500, "INTERNAL", f"internal error {id}"))


async def _alive(request: Request) -> Response:
    return Response("alive\n", media_type="text/plain")


def _ready(request: Request) -> Response:
    """Ready once the ledger answers."""
    ledger: Ledger = request.app.state.ledger
    with ledger.snapshot() as views:
        return Response(f"ready at {views.checkpoint()}\n", media_type="text/plain")

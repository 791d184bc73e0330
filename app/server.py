"""The server put together: routes, middleware and what happens at start and stop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from app import adapters, checkpoints, graphiql, invoice_page, replay
from app.adapters import lago, stripe
from app.graphiql import CONTENT_SECURITY_POLICY
from app.ingest import UsageEndpoint, refusal
from app.ledger import Ledger
from app.offers import Refused
from app.settings import Settings
from app.web import health, metrics
from app.web.access import Access
from app.web.bodies import BodyLimit
from app.web.documents import Documents
from app.web.graphql import GraphQLEndpoint
from app.web.live import Live
from app.web.live_sse import EventStreams
from app.web.live_ws import LiveSocket
from app.webhooks import Delivery, Hook, read_hook
from app.worker import Worker

_log = logging.getLogger("tallybook.server")

_PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_CLOSED = """\
The explorer is closed: it asks whatever its reader writes, and this server carries out trusted
documents only (TALLYBOOK_TRUSTED_DOCUMENTS=only). Serve the ledger with `allow` to explore it.
"""


def create_app(ledger: Ledger, settings: Settings) -> Starlette:
    """The web application over one open ledger, which the caller closes.

    Raises `ValueError` when the settings ask for a webhook, or trust documents, that cannot be.
    """
    hook = read_hook(settings)
    documents = Documents.of(settings)
    live = Live(ledger, settings, documents)
    app = Starlette(
        routes=[  # tried in this order, so first comes what is asked most often
            Route("/v1/usage", UsageEndpoint(), methods=["POST"]),
            Route("/graphql", EventStreams(GraphQLEndpoint(ledger, documents), live)),
            WebSocketRoute("/graphql", LiveSocket(live)),
            Route("/", _home),
            Route("/graphiql", _explorer),
            Route("/graphiql/tabs.json", _tabs),
            Route("/graphiql/", _home),
            Mount("/graphiql", _Assets(directory=graphiql.ASSETS)),
            Route("/invoices/{name}", _invoice),
            Route(adapters.EVENTS, adapters.post_events, methods=["POST"]),
            Route(f"{adapters.EVENTS}/batch", lago.post_batch, methods=["POST"]),
            Route("/v1/billing/meter_events", stripe.post_meter_event, methods=["POST"]),
            Route("/v1/billing/meters/{id}/event_summaries", stripe.get_event_summaries),
            Route("/livez", health.get_alive),
            Route("/readyz", health.get_ready),
            Route("/metrics", metrics.get_metrics),
        ],
        middleware=[
            Middleware(Access, measures=ledger.writer.measures),
            Middleware(BodyLimit, settings=settings),
        ],
        exception_handlers={StarletteHTTPException: _http_error},
        lifespan=_living,
    )
    app.state.ledger = ledger
    app.state.hook = hook
    app.state.live = live
    app.state.delivery = None
    app.state.stopping = False
    app.state.documents = documents
    app.state.between_checkpoints = settings.between_checkpoints
    return app


@asynccontextmanager
async def _living(app: Starlette) -> AsyncIterator[None]:
    """What goes on while it serves."""
    hook = app.state.hook
    if hook is not None and app.state.ledger.state.forked_from is not None:
        _log.warning("nobody is told of what happens in a fork: the webhook is left alone")
        hook = None
    async with _telling(app, hook), _working(app):
        yield
        app.state.stopping = True


@asynccontextmanager
async def _telling(app: Starlette, hook: Hook | None) -> AsyncIterator[None]:
    """While it serves, whoever wants to be told is told, also what a test clock brings about."""
    if hook is None:
        yield
        return
    delivery = await asyncio.to_thread(Delivery, app.state.ledger, hook)
    app.state.delivery = delivery
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
    if request.app.state.documents.closed:
        return PlainTextResponse(_CLOSED, 403, _PAGE_HEADERS)
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

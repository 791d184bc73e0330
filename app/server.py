"""The server put together: routes, middleware and what happens at start and stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from app import adapters, graphiql, invoice_page
from app.adapters import lago, stripe
from app.graphiql import CONTENT_SECURITY_POLICY
from app.ingest import UsageEndpoint, refusal
from app.ledger import Ledger
from app.living import Living
from app.offers import Refused
from app.served import Served
from app.settings import Settings
from app.web import health, metrics
from app.web.access import Access
from app.web.addresses import Application
from app.web.auth import Door, check_settings
from app.web.bodies import BodyLimit
from app.web.documents import Documents
from app.web.graphql import GraphQLEndpoint
from app.web.live import Live
from app.web.live_sse import EventStreams
from app.web.live_ws import LiveSocket
from app.webhooks import read_hook

_PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_CLOSED = """\
The explorer is closed: it asks whatever its reader writes, and this server carries out trusted
documents only (TALLYBOOK_TRUSTED_DOCUMENTS=only). Serve the ledger with `allow` to explore it.
"""


def create_app(served: Ledger | Served, settings: Settings) -> Application:
    """The web application over one open ledger, or over all that are served; the caller closes it.

    Raises `ValueError` when the settings ask for a webhook, or trust documents, that cannot be, or
    for no keys where others than this machine reach it.
    """
    hook = read_hook(settings)
    documents = Documents.of(settings)
    check_settings(settings)
    if isinstance(served, Ledger):
        served = Served(served)
    live = Live(settings, documents)
    usual = [
        Route("/v1/usage", UsageEndpoint(), methods=["POST"]),
        Route("/graphql", EventStreams(GraphQLEndpoint(documents), live)),
    ]
    app = Application(
        usual=usual,
        routes=[
            *usual,
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
            Middleware(Access, measures=served.ledger.writer.measures),
            Middleware(Door, settings=settings, served=served),
            Middleware(BodyLimit, settings=settings),
        ],
        exception_handlers={StarletteHTTPException: _http_error},
        lifespan=_living,
    )
    app.state.served = served
    app.state.living = Living(served, hook, settings.between_checkpoints)
    app.state.live = live
    app.state.stopping = False
    app.state.documents = documents
    return app


@asynccontextmanager
async def _living(app: Application) -> AsyncIterator[None]:
    """What goes on while it serves."""
    async with app.state.living.going_on():
        yield
        app.state.stopping = True


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
    """The prepared tabs, filled in with the ids of this ledger; with keys, filled in with none."""
    ledger: Ledger = request.state.ledger
    headers = {"cache-control": "no-store"}
    if request.state.caller is None:
        content = msgspec.json.encode(graphiql.tabs_for_keys())
        return Response(content, media_type="application/json", headers=headers)
    with ledger.snapshot() as views:
        values = graphiql.values(views, ledger.clock.now())
    content = msgspec.json.encode(graphiql.prepared_tabs(ledger.state.id, values))
    return Response(content, media_type="application/json", headers=headers)


def _invoice(request: Request) -> Response:
    """An invoice as a page; with `.json` or `.csv` behind its id, its data."""
    ledger: Ledger = request.state.ledger
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

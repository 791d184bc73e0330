"""What is asked most often is led straight to who answers it, and yet routed as by Starlette."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from app.web.addresses import Application
from app.web.whole import Whole, body_of


class Telling:
    """Tells what it is asked, and by which route."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = {name: repr(scope.get(name)) for name in ("path", "root_path", "path_params")}
        route = {"route": scope["route"].path, "endpoint": type(scope["endpoint"]).__name__}
        body = (await Request(scope, receive).body()).decode()
        await JSONResponse({**told, **route, "body": body})(scope, receive, send)


def routes() -> list[Any]:
    """Some that are usual, and others."""
    return [
        Route("/usage", Telling(), methods=["POST"]),
        Route("/any", Telling()),
        Route("/other", Telling()),
    ]


def applications() -> tuple[Starlette, Starlette]:
    """Ours, and one of Starlette's own."""
    ours, theirs = routes(), routes()
    return Application(routes=ours, usual=ours[:2]), Starlette(routes=theirs)


def answered(app: Starlette, method: str, path: str) -> tuple[int, httpx.Headers, bytes]:
    """What an application answers."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=b"{}")

    answer = asyncio.run(ask())
    return answer.status_code, answer.headers, answer.content


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/usage", "/any", "/other", "/usage/", "/none", "/usage?a=1"])
def test_a_request_goes_where_starlette_would_send_it(method: str, path: str) -> None:
    ours, theirs = (answered(app, method, path) for app in applications())
    assert ours == theirs


def test_beneath_another_application_it_does_too() -> None:
    ours, theirs = (
        answered(Starlette(routes=[Mount("/sub", app)]), "POST", "/sub/usage")
        for app in applications()
    )
    assert ours == theirs
    assert b'"route":"/usage"' in ours[2]


def test_a_whole_body_is_received_once_and_then_what_happens_next() -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def receive_all() -> None:
        whole = Whole(b"all", gone)
        assert await body_of(whole) == b"all"
        first = await whole()
        assert (first["body"], first["more_body"]) == (b"all", False)
        assert await whole() == {"type": "http.disconnect"}
        assert await body_of(Whole(b"", gone).__call__) == b""

    asyncio.run(receive_all())

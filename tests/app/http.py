"""Talk HTTP to the application over one ledger, without a socket."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from app.ledger import Ledger
from app.served import Served
from app.server import create_app
from app.settings import Settings
from tests import loop


class Talking:
    """A client of the web application over one ledger."""

    def __init__(
        self,
        served: Ledger | Served,
        settings: Settings | None = None,
        run: Callable[[Coroutine[Any, Any, httpx.Response]], httpx.Response] = loop.run,
    ) -> None:
        self.ledger = served.ledger if isinstance(served, Served) else served
        self._run = run
        self._app = create_app(served, settings or Settings())

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request and its answer."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, **more)

        return self._run(go())

    def usage(self, body: object, kind: str = "application/json") -> httpx.Response:
        """Send usage in bulk; what is not bytes yet is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", "/v1/usage", content=content, headers={"content-type": kind})

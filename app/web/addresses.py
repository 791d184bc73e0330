"""The addresses that are asked most often lead straight to who answers there."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Application(Starlette):
    """An application whose middleware stands bare, for its outermost one lets nothing escape.

    Starlette would catch what goes wrong once more around all of it, and look through its routes
    for every request. Each of these costs a small request as much as what it asks for.
    """

    def __init__(self, *args: Any, usual: Sequence[Route], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._usual = usual

    def build_middleware_stack(self) -> ASGIApp:
        """The middleware around the routes, the first one outermost."""
        handlers: Mapping[Any, Any] = self.exception_handlers
        app: ASGIApp = Usual(ExceptionMiddleware(self.router, handlers), self._usual)
        for kind, args, kwargs in reversed(self.user_middleware):
            app = kind(app, *args, **kwargs)
        return app


class Usual:
    """Hands a request for one of the usual addresses to its route, and any other on."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route]) -> None:
        self._app = app
        self._routes = {route.path: route for route in routes}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on. Nothing is waited for here, so what is passed on to is awaited."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if (
            route is None
            or scope.get("root_path")
            or (route.methods is not None and scope["method"] not in route.methods)
        ):
            return self._app(scope, receive, send)
        scope["route"] = route
        scope["endpoint"] = route.endpoint
        scope["path_params"] = {}
        return route.app(scope, receive, send)

"""The schema over HTTP."""

import json
from collections.abc import Mapping
from typing import Any

from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.schema.exceptions import InvalidOperationTypeError

from app.ledger import Ledger
from app.schema import schema
from app.schema.context import Context
from app.web.documents import Documents, Untrusted


class GraphQLEndpoint(GraphQL[Context, None]):
    """The schema over HTTP; what cannot be executed at all still gets a typed JSON answer."""

    def __init__(self, ledger: Ledger, documents: Documents | None = None) -> None:
        super().__init__(schema, graphql_ide=None)
        self._ledger = ledger
        self._documents = documents or Documents()

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """What resolvers work on: the ledger, and who asks."""
        return Context(ledger=self._ledger, actor="graphql")

    async def run(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Serve one request."""
        try:
            return await super().run(request, *args, **kwargs)
        except Untrusted as error:
            problem = {"message": error.message, "extensions": {"code": error.code}}
            content = self.encode_json({"errors": [problem]})
            # An answer to a GET that asks for more must not be kept for those who ask the same.
            headers = {"cache-control": "no-store"}
            return Response(content, error.status, headers, media_type="application/json")
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
        given = {name: text for name, text in params.items() if text}
        return self._documents.completed(super().parse_query_params(given))

    def should_render_graphql_ide(self, request: Any) -> bool:
        """Never: a GET that names no text may name its document in another way."""
        return False

    def parse_json(self, data: str | bytes) -> Any:
        """What a body asks, or the variables of a GET."""
        parsed = super().parse_json(data)
        is_request = isinstance(data, bytes) and isinstance(parsed, dict)
        return self._documents.completed(parsed) if is_request else parsed

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

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

from app.callers import Caller
from app.schema import schema
from app.schema.context import Context


class GraphQLEndpoint(GraphQL[Context, None]):
    """The schema over HTTP; what cannot be executed at all still gets a typed JSON answer."""

    def __init__(self) -> None:
        super().__init__(schema, graphql_ide=None)

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """What resolvers work on: the ledger, and who asks."""
        caller: Caller = request.state.caller
        return Context(request.state.ledger, caller.named("graphql"), caller)

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

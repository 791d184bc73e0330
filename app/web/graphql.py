"""The schema over HTTP, as the specification of GraphQL over HTTP has it."""

from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from app.callers import Caller
from app.lanes import Lanes
from app.offers import Refused
from app.schema import schema
from app.schema.context import Context
from app.web import asked
from app.web.answers import content_of, encoded, status_of
from app.web.documents import Documents
from app.web.negotiation import JSON, OFFERED, RESPONSE, negotiated

_READ = {OperationType.QUERY, OperationType.SUBSCRIPTION}
_ALLOWED = {"GET": _READ, "POST": {*_READ, OperationType.MUTATION}}
"""What may be asked by which method; the schema tells a subscription where it is answered."""


class GraphQLEndpoint(GraphQL[Context, None]):
    """The schema over HTTP; what cannot be executed at all still gets a typed JSON answer."""

    def __init__(self, documents: Documents | None = None) -> None:
        super().__init__(schema, graphql_ide=None)
        self._documents = documents or Documents()

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """What resolvers work on: the ledger, and who asks."""
        return context_of(request)

    async def run(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Serve one request."""
        if self.is_websocket_request(request):
            return await super().run(request, *args, **kwargs)
        kind = negotiated(", ".join(request.headers.getlist("accept")))
        try:
            return await self._answered(request, kind)
        except Refused as refused:
            return refusal(refused, kind or JSON)

    async def _answered(self, request: Request, kind: str | None) -> Response:
        """The answer to a request. Raises `Refused` for what is none."""
        method = request.method
        if method not in _ALLOWED:
            message = "send GET or POST"
            raise Refused(405, "METHOD_NOT_ALLOWED", message, {"allow": "GET, POST"})
        if kind is None:
            raise Refused(406, "NOT_ACCEPTABLE", f"accept {' or '.join(OFFERED)}")
        if method == "GET":
            wanted = asked.by_get(request.query_params)
        else:
            content_type = request.headers.get("content-type", "")
            wanted = asked.by_post(content_type, await request.body())
        context = context_of(request)
        text = self._documents.text_of(wanted.query, wanted.document_id, wanted.extensions)
        try:
            result = await self.schema.execute(
                text,
                variable_values=wanted.variables,
                context_value=context,
                operation_name=wanted.operation_name,
                allowed_operation_types=_ALLOWED[method],
                operation_extensions=wanted.extensions,
            )
        except MissingQueryError as error:
            raise Refused(400, "BAD_REQUEST", "there is no query") from error
        except CannotGetOperationTypeError as error:
            raise Refused(400, "BAD_REQUEST", error.as_http_error_reason()) from error
        except InvalidOperationTypeError as error:
            message = error.as_http_error_reason(method)
            raise Refused(405, "METHOD_NOT_ALLOWED", message, {"allow": "POST"}) from error
        status, wait = status_of(result, kind), context.caller.retry_after
        if wait is None:
            return _response(content_of(result), status, kind)
        return _response(content_of(result), 429, kind, {"retry-after": str(wait)})


def context_of(
    request: HTTPConnection, *, streams: bool = False, lanes: Lanes | None = None
) -> Context:
    """The ledger that a request is about, and who asks."""
    caller: Caller = request.state.caller
    return Context(request.state.ledger, caller.named("graphql"), caller, streams, lanes)


def refusal(refused: Refused, kind: str = JSON) -> Response:
    """A typed error for what could not be carried out at all."""
    extensions: dict[str, object] = {"code": refused.code}
    if refused.status == 406:
        extensions["offered"] = OFFERED
    problem = {"message": refused.message, "extensions": extensions}
    # A document whose name is not known is 200 for clients that read no other status.
    status = max(refused.status, 400) if kind == RESPONSE else refused.status
    return _response({"errors": [problem]}, status, kind, refused.headers)


def _response(
    content: object, status: int, kind: str, headers: dict[str, str] | None = None
) -> Response:
    """An answer, which differs by what the client accepts."""
    headers = {"vary": "accept", **(headers or {})}
    return Response(encoded(content), status, headers=headers, media_type=f"{kind}; charset=utf-8")

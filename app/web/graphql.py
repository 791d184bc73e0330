"""The schema over HTTP, as the specification of GraphQL over HTTP has it."""

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
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
from app.web.whole import body_of

_READ = {OperationType.QUERY, OperationType.SUBSCRIPTION}
_ALLOWED = {"GET": _READ, "POST": {*_READ, OperationType.MUTATION}}
"""What may be asked by which method; the schema tells a subscription where it is answered."""
_VARY = (b"vary", b"accept")
_CONTENT_TYPES = {kind: (b"content-type", f"{kind}; charset=utf-8".encode()) for kind in OFFERED}


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        accepted, content_type = _media_types(scope)
        kind = negotiated(accepted)
        try:
            status, headers, content = await self._answered(scope, receive, kind, content_type)
        except Refused as refused:
            await refusal(refused, kind or JSON)(scope, receive, send)
            return
        headers += ((b"content-length", b"%d" % len(content)), _CONTENT_TYPES[kind or JSON])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answered(
        self, scope: Scope, receive: Receive, kind: str | None, content_type: str
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The answer to a request: status, headers, content. Raises `Refused` for what is none."""
        method = scope["method"]
        if method not in _ALLOWED:
            message = "send GET or POST"
            raise Refused(405, "METHOD_NOT_ALLOWED", message, {"allow": "GET, POST"})
        if kind is None:
            raise Refused(406, "NOT_ACCEPTABLE", f"accept {' or '.join(OFFERED)}")
        if method == "GET":
            wanted = asked.by_get(Request(scope).query_params)
        else:
            wanted = asked.by_post(content_type, await body_of(receive))
        text = self._documents.text_of(wanted.query, wanted.document_id, wanted.extensions)
        state = scope["state"]
        caller: Caller = state["caller"]
        try:
            result = await self.schema.execute(
                text,
                variable_values=wanted.variables,
                context_value=Context(state["ledger"], caller.named("graphql"), caller),
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
        content, wait = encoded(content_of(result)), caller.retry_after
        if wait is None:
            return status_of(result, kind), [_VARY], content
        return 429, [_VARY, (b"retry-after", b"%d" % wait)], content


def _media_types(scope: Scope) -> tuple[str, str]:
    """What a request accepts, and what it is itself."""
    accepted: list[str] = []
    content_type: str | None = None
    for name, value in scope["headers"]:
        if name == b"accept":
            accepted.append(value.decode("latin-1"))
        elif name == b"content-type" and content_type is None:
            content_type = value.decode("latin-1")
    return ", ".join(accepted), content_type or ""


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

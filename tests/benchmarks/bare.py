"""The least that an HTTP server can do: read a body and answer with the same few bytes."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = (
    b'{"position":"12345678","accepted":1,"unmatched":0,"duplicates":0,'
    b'"conflicts":0,"rejected":0,"problems":[]}'
)


async def _answer(request: Request) -> Response:
    await request.body()
    return Response(ANSWER, media_type="application/json")


async def _ready(request: Request) -> Response:
    return Response("ready\n", media_type="text/plain")


app = Starlette(
    routes=[
        Route("/readyz", _ready),
        Route("/v1/usage", _answer, methods=["POST"]),
        Route("/graphql", _answer, methods=["POST"]),
    ]
)

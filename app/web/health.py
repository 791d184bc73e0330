"""GET /livez and /readyz: whether the process answers, and whether its ledgers can be served."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.health import Health, examine_all

_JSON = "application/json"
_FRESH = {"cache-control": "no-store"}


async def get_alive(request: Request) -> Response:
    """The process answers. Nothing else is looked at: a restart would not mend a disk."""
    if _wants_json(request):
        return _json(200, {"status": "alive"})
    return _text(200, "alive")


def get_ready(request: Request) -> Response:
    """200 while every ledger can be served, with `?of=any` while any can; 503 says why not."""
    state = request.app.state
    found = examine_all(state.served, stopping=state.stopping)
    ready = found.ready or (found.some and request.query_params.get("of") == "any")
    status = 200 if ready else 503
    if _wants_json(request):
        return _json(status, _content(found, ready=ready))
    if ready:
        return _text(status, f"ready at {found.position}")
    return _text(status, "\n".join(f"not ready: {why}" for why in found.problems.values()))


def _content(found: Health, *, ready: bool) -> dict[str, object]:
    return {
        "status": "ready" if ready else "not ready",
        "position": found.position,
        "problems": found.problems,
    }


def _wants_json(request: Request) -> bool:
    return _JSON in request.headers.get("accept", "").lower()


def _json(status: int, content: object) -> Response:
    return Response(msgspec.json.encode(content), status, headers=_FRESH, media_type=_JSON)


def _text(status: int, line: str) -> Response:
    return Response(f"{line}\n", status, headers=_FRESH, media_type="text/plain")

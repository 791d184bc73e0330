"""GET /livez and /readyz: whether the process answers, and whether its ledger can be served."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.health import Health, examine

_JSON = "application/json"
_FRESH = {"cache-control": "no-store"}


async def get_alive(request: Request) -> Response:
    """The process answers. Nothing else is looked at: a restart would not mend a disk."""
    if _wants_json(request):
        return _json(200, {"status": "alive"})
    return _text(200, "alive")


def get_ready(request: Request) -> Response:
    """200 while the ledger can be served; 503 says why it cannot."""
    state = request.app.state
    found = examine(state.served.ledger, stopping=state.stopping)
    status = 200 if found.ready else 503
    if _wants_json(request):
        return _json(status, _content(found))
    if found.ready:
        return _text(status, f"ready at {found.position}")
    return _text(status, "\n".join(f"not ready: {why}" for why in found.problems.values()))


def _content(found: Health) -> dict[str, object]:
    return {
        "status": "ready" if found.ready else "not ready",
        "position": found.position,
        "problems": found.problems,
    }


def _wants_json(request: Request) -> bool:
    return _JSON in request.headers.get("accept", "").lower()


def _json(status: int, content: object) -> Response:
    return Response(msgspec.json.encode(content), status, headers=_FRESH, media_type=_JSON)


def _text(status: int, line: str) -> Response:
    return Response(f"{line}\n", status, headers=_FRESH, media_type="text/plain")

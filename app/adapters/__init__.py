"""Doors in the shapes of others: who sends to them already changes only the address and the key.

Each door is a thin one: it says how the fields of a record are called there, and answers as is
usual there. What is judged, and how, is the same behind all of them (`app/offers.py`).
"""

from starlette.requests import Request
from starlette.responses import Response

from app import ingest
from app.adapters import lago, openmeter, stripe
from app.offers import Refused

EVENTS = "/api/v1/events"
METER_EVENTS = "/v1/billing/"


async def post_events(request: Request) -> Response:
    """Record events as OpenMeter or as Lago sends them: both have the same address.

    CloudEvents are OpenMeter's; JSON with an `event` in it is Lago's.
    """
    if _is_lago(request, await request.body()):
        return await lago.post_event(request)
    return await openmeter.post_events(request)


def refusal(request: Request, refused: Refused) -> Response:
    """What is answered to a request that got no further than the door, in the door's own shape."""
    path = request.url.path
    if path.startswith(METER_EVENTS):
        return stripe.refusal(refused)
    if path == EVENTS and not _is_lago(request, b""):
        return openmeter.refusal(refused)
    if path.startswith(EVENTS):
        return lago.refusal(refused)
    return ingest.refusal(refused)


def _is_lago(request: Request, body: bytes) -> bool:
    """Whether it is Lago's; OpenMeter takes CloudEvents as plain JSON, too."""
    if ingest.kind_of(request) != "application/json" or "ce-specversion" in request.headers:
        return False
    return not openmeter.are_events(body)

"""OpenMeter's `POST /api/v1/events`: CloudEvents in, 204 out, problems as RFC 9457 has them.

Here as there an event that is sent again is no problem: it was counted once. One with the identity
of another but other content is answered 409, for otherwise nobody would know of it.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app import cloud_events
from app.ingest import REASONS, answer, asked, kind_of
from app.offers import UNREADABLE, Offered, Refused, judge
from domain.usage import Status

_PROBLEM = "application/problem+json"


class _Marked(msgspec.Struct):
    """What tells an event from anything else."""

    specversion: msgspec.Raw


_marked = msgspec.json.Decoder(_Marked | list[msgspec.Raw])


async def post_events(request: Request) -> Response:
    """Record the events in the body. 204, or a problem."""
    ledger, actor = asked(request, "openmeter")
    try:
        offered = _read(request, await request.body())
        judged = await judge(ledger, offered, actor, cloud_events.NAMES)
    except Refused as refused:
        return refusal(refused)
    if not judged.problems:
        return Response(status_code=204)
    conflicts = all(problem.status is Status.CONFLICT for problem in judged.problems)
    status = 409 if conflicts else 400
    problem = _problem(status, judged.problems[0].message)
    return answer(status, {**problem, "problems": judged.problems}, kind=_PROBLEM)


def refusal(refused: Refused) -> Response:
    """The problem with a request as a whole."""
    content = {**_problem(refused.status, refused.message), "code": refused.code}
    return answer(refused.status, content, refused.headers, _PROBLEM)


def are_events(body: bytes) -> bool:
    """Whether plain JSON is an event, or an array."""
    try:
        _marked.decode(body)
    except UNREADABLE:
        return False
    return True


def _read(request: Request, body: bytes) -> list[Offered]:
    """The records of the body. Raises `Refused`."""
    kind = kind_of(request)
    offered = cloud_events.offered(kind, request.headers, body)
    if offered is not None:
        return offered
    if kind != "application/json":
        message = f"send {cloud_events.SINGLE}, {cloud_events.BATCH} or application/json"
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message)
    return (
        cloud_events.batch(body) if body.lstrip().startswith(b"[") else [cloud_events.single(body)]
    )


def _problem(status: int, detail: str) -> dict[str, object]:
    return {
        "type": "about:blank",
        "title": REASONS[status],
        "status": status,
        "detail": detail,
    }

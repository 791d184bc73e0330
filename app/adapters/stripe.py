"""Stripe's `POST /v1/billing/meter_events` and `GET /v1/billing/meters/{id}/event_summaries`.

`identifier` is the id, `payload[stripe_customer_id]` the customer; all else in `payload` are
properties, with `value` among them. Here as there an identifier that comes a second time is
answered 400, whether or not all else is the same.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from app.adapters.event_summaries import Asked, read
from app.adapters.unix_times import parse_unix
from app.clock import new_id
from app.ingest import answer, asked, kind_of
from app.ledger import Ledger
from app.offers import Names, Refused, judge
from domain.decider import Code, Rejected
from domain.periods import format_instant, to_us
from domain.usage import RecordInput, Status

NAMES: Names = {
    "id": ("identifier",),
    "eventName": ("event_name",),
    "customer": ("payload", "stripe_customer_id"),
    "properties": ("payload",),
    "value": ("payload", "value"),
}
"""What Stripe calls the fields of a record."""

_CUSTOMER = "stripe_customer_id"
_FIELDS_LIMIT = 100
_PAYLOAD = re.compile(r"payload\[([^\[\]]+)\]")
_CODES = {Code.REQUIRED: "parameter_missing", Code.NOT_FOUND: "resource_missing"}
_FORM = "application/x-www-form-urlencoded"

_FINAL = {"stripe-should-retry": "false"}


async def post_meter_event(request: Request) -> Response:
    """Record one meter event. 200 with the event, or an error."""
    ledger, actor = asked(request, "stripe")
    try:
        _check_sender(request)
        form = _form(request, await request.body())
        record = _record(form, request.headers.get("idempotency-key"))
        judged = await judge(ledger, [record], actor, NAMES)
    except Refused as refused:
        return refusal(refused)
    except Rejected as rejected:
        return _error(400, rejected.message, rejected.code, rejected.path)
    [status] = judged.statuses
    # Without an identifier the key of the request is the id: then this is the same request again.
    sent_again = status is Status.DUPLICATE and "identifier" in form
    if sent_again or status is Status.CONFLICT:
        message = f"An event already exists with identifier {record.id}."
        return _error(400, message, None, NAMES["id"])
    if judged.problems:
        problem = judged.problems[0]
        return _error(400, problem.message, problem.code, problem.path)
    return answer(200, _shown(record, form, ledger))


def get_event_summaries(request: Request) -> Response:
    """What a customer used on a meter, in one window or in hours or days, the newest first."""
    ledger: Ledger = request.state.ledger
    try:
        _check_sender(request)
        asked = Asked.of(request.path_params["id"], request.query_params)
        with ledger.snapshot() as views:
            found, more = read(views, asked, livemode=not ledger.clock.is_test)
    except Refused as refused:
        return refusal(refused)
    except Rejected as rejected:
        status = 404 if rejected.path == ("id",) else 400
        return _error(status, rejected.message, rejected.code, rejected.path)
    url = f"/v1/billing/meters/{asked.meter_id}/event_summaries"
    return answer(200, {"object": "list", "data": found, "has_more": more, "url": url})


def refusal(refused: Refused) -> Response:
    """The answer to a request that cannot be served as a whole."""
    kind = "api_error" if refused.status >= 500 else "invalid_request_error"
    error = {"type": kind, "code": refused.code.lower(), "message": refused.message}
    if refused.status == 429:
        error["code"] = "rate_limit"
    return answer(refused.status, {"error": error}, refused.headers)


def _check_sender(request: Request) -> None:
    """Refuse what the page of another site can make a browser send: a form without a key."""
    keyed = request.state.caller.actor is not None or "authorization" in request.headers
    if not keyed:
        message = "You did not provide an API key: send it as Authorization: Bearer"
        raise Refused(401, "API_KEY_MISSING", message)
    if "origin" in request.headers:
        raise Refused(403, "FORBIDDEN", "meter events are sent by servers, not from a page")


def _form(request: Request, body: bytes) -> dict[str, str]:
    """The fields of the form. Raises `Refused` or `Rejected`."""
    if kind_of(request) != _FORM:
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", f"send {_FORM}")
    if body.count(b"&") >= _FIELDS_LIMIT:
        raise Refused(400, Code.LIMIT_EXCEEDED, f"send at most {_FIELDS_LIMIT} parameters")
    form: dict[str, str] = {}
    for name, value in QueryParams(body).multi_items():
        if "\ufffd" in name + value:
            raise Rejected(Code.INVALID_VALUE, (name,), f"{name} must be UTF-8")
        if name in form:
            raise Rejected(Code.INVALID_VALUE, (name,), f"{name} is given twice")
        known = name in ("event_name", "identifier", "timestamp") or _PAYLOAD.fullmatch(name)
        if not known and not name.startswith("expand"):
            raise Rejected(Code.INVALID_VALUE, (name,), f"Received unknown parameter: {name}")
        form[name] = value
    return form


def _record(form: Mapping[str, str], key: str | None) -> RecordInput:
    """The record that the form stands for. Raises `Rejected` naming the parameter."""
    payload = _payload(form)
    if "event_name" not in form:
        raise Rejected(Code.REQUIRED, ("event_name",), "Missing required param: event_name.")
    if _CUSTOMER not in payload:
        message = f"Missing required param: payload[{_CUSTOMER}]."
        raise Rejected(Code.REQUIRED, NAMES["customer"], message)
    return RecordInput(
        id=form.get("identifier") or key or new_id("mtrevt"),
        event_name=form["event_name"],
        customer=payload.pop(_CUSTOMER),
        timestamp=_timestamp(form.get("timestamp")),
        properties=payload,
    )


def _payload(form: Mapping[str, str]) -> dict[str, str]:
    matches = ((_PAYLOAD.fullmatch(name), value) for name, value in form.items())
    return {match[1]: value for match, value in matches if match is not None}


def _timestamp(text: str | None) -> str | None:
    """Seconds since 1970 as RFC 3339."""
    if text is None:
        return None
    return format_instant(parse_unix(text, "timestamp"))


def _shown(record: RecordInput, form: Mapping[str, str], ledger: Ledger) -> dict[str, object]:
    """A recorded event as Stripe answers it."""
    now = _seconds(ledger.clock.now())
    return {
        "object": "billing.meter_event",
        "created": now,
        "event_name": record.event_name,
        "identifier": record.id,
        "livemode": not ledger.clock.is_test,
        "payload": _payload(form),
        "timestamp": int(form.get("timestamp", now)),
    }


def _seconds(instant: datetime) -> int:
    return to_us(instant) // 1_000_000


def _error(status: int, message: str, code: str | None, path: Sequence[str]) -> Response:
    """An error as Stripe shapes it; `param` is written as the form would have it."""
    first, *rest = path or ("",)
    error = {
        "type": "invalid_request_error",
        "message": message,
        "param": first + "".join(f"[{name}]" for name in rest),
    }
    if code is not None:
        error["code"] = _CODES.get(Code(code), "parameter_invalid")
    return answer(status, {"error": error}, _FINAL)

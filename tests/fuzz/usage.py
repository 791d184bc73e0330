"""Hostile usage: our own shape, CloudEvents, and the shapes of OpenMeter, Lago and Stripe."""

import gzip
import json
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from urllib.parse import quote_from_bytes

from tests.fuzz import hostile
from tests.fuzz.wire import Asked

_CUSTOMERS = ("northwind-labs", "alpaca-lover", "nobody-yet")
_NUMBERS = count(1)

Fields = dict[str, str]
"""The fields of a JSON object, each value as JSON text."""


def ask(random: Random) -> Asked:
    """A request with usage in some shape, most often with something wrong in it."""
    asked: Asked = random.choice(_SHAPES)(random)
    if asked.method == "POST":
        asked = _encoded(random, asked)
    if random.random() < 0.1:
        asked = asked.with_headers({"content-type": random.choice(_KINDS)})
    return asked


def _id(random: Random) -> str:
    """An id in JSON: mostly a new one, sometimes one that was sent before."""
    number = next(_NUMBERS)
    return json.dumps(f"fuzz-{random.randrange(number) if random.random() < 0.2 else number}")


def _spoilt(random: Random, fields: Fields) -> str:
    """An object in JSON, in which some fields are hostile, missing or doubled."""
    pairs = list(fields.items())
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        place = random.randrange(len(pairs)) if pairs else 0
        kind = random.randrange(4)
        if pairs and kind < 2:
            pairs[place] = (pairs[place][0], hostile.value(random))
        elif pairs and kind == 2:
            del pairs[place]
        elif pairs:
            pairs.append((pairs[place][0], hostile.value(random)))
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


def _record(random: Random) -> str:
    return _spoilt(
        random,
        {
            "id": _id(random),
            "eventName": '"alpaca_ai_tokens"',
            "customer": json.dumps(random.choice(_CUSTOMERS)),
            "timestamp": f'"2026-01-{random.randint(1, 31):02}T12:00:00Z"',
            "value": f'"{random.randrange(10_000)}"',
            "properties": '{"model":"alpaca-large"}',
        },
    )


def _event(random: Random) -> str:
    """A CloudEvent."""
    return _spoilt(
        random,
        {
            "specversion": '"1.0"',
            "id": _id(random),
            "source": '"fuzz"',
            "type": '"alpaca_ai_tokens"',
            "subject": json.dumps(random.choice(_CUSTOMERS)),
            "time": '"2026-01-05T00:00:00Z"',
            "data": '{"value":12.5,"model":"alpaca-small"}',
        },
    )


def _lago_event(random: Random) -> str:
    return _spoilt(
        random,
        {
            "transaction_id": _id(random),
            "code": '"alpaca_ai_tokens"',
            "external_subscription_id": json.dumps(random.choice(_CUSTOMERS)),
            "timestamp": random.choice(("1767225600", '"1767225600.123"', *hostile.NUMBERS)),
            "properties": '{"value":3}',
        },
    )


def _many(random: Random, one: Callable[[Random], str]) -> list[str]:
    return [one(random) for _ in range(random.choice((0, 1, 1, 2, 5, 30)))]


def _post(path: str, kind: str, body: str, **headers: str) -> Asked:
    content = body.encode("utf-8", "surrogatepass")
    return Asked("POST", path, {"content-type": kind, **headers}, content)


def _own(random: Random) -> Asked:
    records = ",".join(_many(random, _record))
    body = random.choice((f"[{records}]", f'{{"records":[{records}]}}'))
    return _post("/v1/usage", "application/json", body)


def _lines(random: Random) -> Asked:
    end = random.choice(("\n", "\r\n", "\n\n", "\x0b", "\u2028"))
    return _post("/v1/usage", "application/x-ndjson", end.join(_many(random, _record)))


def _cloud_events(random: Random) -> Asked:
    path = random.choice(("/v1/usage", "/api/v1/events"))
    if random.random() < 0.5:
        return _post(path, "application/cloudevents+json", _event(random))
    body = f"[{','.join(_many(random, _event))}]"
    return _post(path, "application/cloudevents-batch+json", body)


def _binary(random: Random) -> Asked:
    """A CloudEvent whose attributes are headers."""
    names = ("specversion", "id", "source", "type", "subject", "time")
    sane = ("1.0", json.loads(_id(random)), "fuzz", "alpaca_ai_tokens", "northwind-labs", None)
    headers = {f"ce-{name}": text for name, text in zip(names, sane, strict=True) if text}
    for _ in range(random.randrange(3)):
        odd = random.choice(("%", "%ff", "%00", '"', '"\\', "%C3%28", "é", "x" * 9_000, ""))
        headers[f"ce-{random.choice(names)}"] = odd
    data = hostile.value(random) if random.random() < 0.5 else '{"value":"1"}'
    path = random.choice(("/v1/usage", "/api/v1/events"))
    return _post(path, "application/json", data, **headers)


def _openmeter(random: Random) -> Asked:
    return _post("/api/v1/events", "application/json", _event(random))


def _lago(random: Random) -> Asked:
    if random.random() < 0.5:
        return _post("/api/v1/events", "application/json", f'{{"event":{_lago_event(random)}}}')
    body = f'{{"events":[{",".join(_many(random, _lago_event))}]}}'
    return _post("/api/v1/events/batch", "application/json", body)


def _stripe(random: Random) -> Asked:
    fields = {
        "event_name": "alpaca_ai_tokens",
        "identifier": json.loads(_id(random)),
        "timestamp": "1767225600",
        "payload[stripe_customer_id]": random.choice(_CUSTOMERS),
        "payload[value]": "7",
    }
    for _ in range(random.choice((0, 1, 1, 2))):
        odd = random.choice(("payload", "payload[", "payload[]", "payload[a][b]", "x", "", "]"))
        name = random.choice((*fields, odd))
        fields[name] = random.choice(hostile.TEXTS)
    pairs = [_escaped(name) + "=" + _escaped(text) for name, text in fields.items()]
    pairs += pairs[: random.choice((0, 0, 0, 2))]
    body = random.choice(("&", "&", "&", ";", "&&")).join(pairs)
    kind = "application/x-www-form-urlencoded"
    return _post("/v1/billing/meter_events", kind, body, authorization="Bearer fuzz")


def _escaped(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"))


def _summaries(random: Random) -> Asked:
    names = (
        "customer",
        "start_time",
        "end_time",
        "value_grouping_window",
        "limit",
        "starting_after",
    )
    sane = ("alpaca-lover", "1767225600", "1769904000", "day", "10", "mtrusg_x")
    query = dict(zip(names, sane, strict=True))
    for name in random.sample(names, random.randrange(4)):
        query[name] = random.choice((*hostile.TEXTS[:30], *hostile.NUMBERS))[:500]
    asked = "&".join(f"{name}={_escaped(text)}" for name, text in query.items())
    id = random.choice(("met_x", "%00", "alpaca_ai_tokens", "%F0%9F", "a" * 300))
    path = f"/v1/billing/meters/{id}/event_summaries?{asked}"
    return Asked("GET", path, {"authorization": "Bearer fuzz"}, b"")


def _encoded(random: Random, asked: Asked) -> Asked:
    """The same compressed, damaged, or neither."""
    kind = random.randrange(20)
    if kind < 12:
        return asked
    if kind < 16:
        return asked.with_body(hostile.damaged(random, asked.body))
    packed = gzip.compress(asked.body, 1)
    if kind == 17:
        packed = hostile.damaged(random, packed)
    if kind == 18:
        packed = gzip.compress(bytes(random.choice((100, 6_000_000, 40_000_000))), 9)
    encoding = random.choice(("br", "deflate", "gzip, gzip", "x", "")) if kind == 19 else "gzip"
    return asked.with_body(packed).with_headers({"content-encoding": encoding})


_KINDS = (
    *("", "text/plain", "application/json", "application/json; charset=utf-16", "/", ";"),
    *("application/cloudevents+json", "application/x-ndjson", "multipart/form-data", "a" * 5_000),
    *("application/x-www-form-urlencoded", "application/cloudevents-batch+json", "\xff"),
)
_SHAPES: Sequence[Callable[[Random], Asked]] = (
    *(_own, _own, _lines, _cloud_events, _binary, _openmeter, _lago, _stripe, _summaries),
)

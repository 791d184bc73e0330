"""Compressed bodies: the same records, and never more inflated than a body may have."""

import gzip
import json
import zlib

import pytest

from app.compressed import plain
from app.ledger import Ledger
from app.offers import Refused
from tests.app.http import Talking
from tests.app.shapes import FORM, KEY, kept, metered, post

RECORDS = [
    {"id": str(n), "eventName": "tokens", "customer": "al", "value": "1"} for n in range(100)
]
EVENT = {"specversion": "1.0", "id": "a", "source": "s", "type": "tokens", "subject": "al"}
LAGO = {
    "transaction_id": "a",
    "code": "tokens",
    "external_customer_id": "al",
    "properties": {"value": 1},
}


def packed(body: bytes) -> bytes:
    """The body as gzip, without the time at which it was made: a test is named after it."""
    return gzip.compress(body, mtime=0)


DOORS = [
    ("/v1/usage", "application/json", json.dumps(RECORDS[:1]).encode()),
    (
        "/api/v1/events",
        "application/cloudevents+json",
        json.dumps({**EVENT, "data": {"value": 1}}).encode(),
    ),
    (
        "/api/v1/events",
        "application/json",
        json.dumps({"event": LAGO}).encode(),
    ),
    (
        "/v1/billing/meter_events",
        FORM,
        b"event_name=tokens&payload[stripe_customer_id]=al&payload[value]=1",
    ),
]


@pytest.mark.parametrize(("path", "kind", "body"), DOORS)
def test_every_door_takes_gzip(ledger: Ledger, path: str, kind: str, body: bytes) -> None:
    headers = {**KEY, "content-encoding": "gzip"}
    answer = post(metered(ledger), path, gzip.compress(body), kind, headers=headers)
    assert answer.status_code in (200, 204)
    assert [record.value for record in kept(ledger)] == ["1"]


@pytest.mark.parametrize(("path", "kind", "body"), DOORS)
@pytest.mark.parametrize(
    ("encoding", "sent", "status"),
    [
        ("gzip", packed(b" " * 5_242_881), 413),
        ("gzip", b"no gzip", 400),
        ("gzip", b"", 400),
        ("gzip", packed(b"[]")[:-1], 400),
        ("gzip", packed(b"[]") + b"more", 400),
        ("gzip", packed(b"") * 101, 400),
        ("gzip, gzip", packed(packed(b"[]")), 415),
        ("zstd", b"[]", 415),
        ("deflate", zlib.compress(b"[]"), 415),
    ],
)
def test_what_cannot_be_inflated_is_refused_in_the_shape_of_the_door(
    ledger: Ledger, path: str, kind: str, body: bytes, encoding: str, sent: bytes, status: int
) -> None:
    headers = {**KEY, "content-encoding": encoding}
    before = ledger.store.head()
    answer = post(Talking(ledger), path, sent, kind, headers=headers)
    assert answer.status_code == status
    shapes = {
        "/v1/usage": {"error"},
        "/v1/billing/meter_events": {"error"},
        "/api/v1/events": {"status", "error", "code"},
    }
    expected = shapes[path]
    if "cloudevents" in kind:
        expected = {"type", "title", "status", "detail", "code"}
        assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == expected
    assert ("accept-encoding" in answer.headers) == (status == 415)
    assert ledger.store.head() == before


def test_a_body_may_be_several_gzips_in_a_row(ledger: Ledger) -> None:
    lines = [json.dumps(record).encode() + b"\n" for record in RECORDS]
    body = b"".join(gzip.compress(line) for line in lines)
    headers = {"content-encoding": "gzip"}
    answer = post(metered(ledger), "/v1/usage", body, "application/x-ndjson", headers=headers)
    assert answer.json()["accepted"] == 100


def test_the_limit_is_that_of_the_inflated_body() -> None:
    assert len(plain(gzip.compress(b" " * 1_000), "gzip", 1_000)) == 1_000
    with pytest.raises(Refused) as refused:
        plain(gzip.compress(b" " * 1_001), "gzip", 1_000)
    assert refused.value.status == 413


def test_a_bomb_of_several_gzips_is_refused_as_one_is() -> None:
    with pytest.raises(Refused) as refused:
        plain(gzip.compress(b" " * 600) * 2, "gzip", 1_000)
    assert refused.value.status == 413


def test_only_usage_may_come_compressed(ledger: Ledger) -> None:
    body = gzip.compress(b'{"query": "{ledger{id}}"}')
    headers = {"content-encoding": "gzip"}
    answer = post(Talking(ledger), "/graphql", body, "application/json", headers=headers)
    assert answer.status_code == 400

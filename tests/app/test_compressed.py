"""Compressed bodies: the same records, and never more inflated than a body may have."""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping

import pytest

from app import compressed
from app.compressed import READERS, plain
from app.ledger import Ledger
from app.offers import Refused
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import FORM, KEY, kept, metered, post

pytestmark = marks.HTTP

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


def zstd(body: bytes) -> bytes:
    """The body as zstd."""
    if compressed.zstd is None:
        pytest.skip("nothing reads zstd here: it is in the extra fast, or in Python 3.14")
    packed: bytes = compressed.zstd.compress(body)
    return packed


PACKED: Mapping[str, Callable[[bytes], bytes]] = {"gzip": packed, "x-gzip": packed, "zstd": zstd}
"""How a body is compressed in each encoding."""

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


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize(("path", "kind", "body"), DOORS)
def test_every_door_takes_what_is_compressed(
    ledger: Ledger, path: str, kind: str, body: bytes, encoding: str
) -> None:
    headers = {**KEY, "content-encoding": encoding}
    answer = post(metered(ledger), path, PACKED[encoding](body), kind, headers=headers)
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
        ("br", b"[]", 415),
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


@pytest.mark.parametrize("encoding", PACKED)
def test_a_body_may_be_several_in_a_row(ledger: Ledger, encoding: str) -> None:
    lines = [json.dumps(record).encode() + b"\n" for record in RECORDS]
    body = b"".join(PACKED[encoding](line) for line in lines)
    headers = {"content-encoding": encoding}
    answer = post(metered(ledger), "/v1/usage", body, "application/x-ndjson", headers=headers)
    assert answer.json()["accepted"] == 100


@pytest.mark.parametrize("encoding", PACKED)
def test_the_limit_is_that_of_the_inflated_body(encoding: str) -> None:
    pack = PACKED[encoding]
    assert len(plain(pack(b" " * 1_000), encoding, 1_000)) == 1_000
    for body in (pack(b" " * 1_001), pack(b" " * 600) * 2, pack(b" " * 100_000_000)):
        with pytest.raises(Refused) as refused:
            plain(body, encoding, 1_000)
        assert refused.value.status == 413


@pytest.mark.parametrize("encoding", PACKED)
def test_what_is_not_whole_is_refused(encoding: str) -> None:
    pack = PACKED[encoding]
    for body in (b"", b"none", pack(b"[]")[:-1], pack(b"[]") + b"more", pack(b"") * 101):
        with pytest.raises(Refused) as refused:
            plain(body, encoding, 1_000)
        assert refused.value.status == 400


def test_where_nothing_reads_zstd_it_is_refused_and_gzip_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compressed, "zstd", None)
    readers = compressed._readers()
    assert set(readers) == {"gzip", "x-gzip"}
    monkeypatch.setattr(compressed, "READERS", readers)
    with pytest.raises(Refused) as refused:
        plain(b"[]", "zstd", 10)
    assert (refused.value.status, refused.value.headers) == (415, {"accept-encoding": "gzip"})


def test_the_encodings_are_those_that_can_be_read() -> None:
    assert {"gzip", "x-gzip"} <= set(READERS) <= set(PACKED)


def test_only_usage_may_come_compressed(ledger: Ledger) -> None:
    body = gzip.compress(b'{"query": "{ledger{id}}"}')
    headers = {"content-encoding": "gzip"}
    answer = post(Talking(ledger), "/graphql", body, "application/json", headers=headers)
    assert answer.status_code == 400

"""Live updates as event streams: in order, to an end, and only for those who want one."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.web.live_sse import is_wanted
from tests.app.watching import (
    PATIENCE_SECONDS,
    Closed,
    Stream,
    Watching,
    ask,
    create_customer,
    streaming,
)
from tests.benchmarks.serving import STOP_S, Server, serving

WATCH = "subscription($after: BigInt) { ledgerEventAdded(after: $after) { position type } }"
CREATE = 'mutation { createCustomer(input: { name: "Streamed" }) { position } }'
STREAM = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Server]:
    """A server with room for one subscriber, who is pinged every second."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TALLYBOOK_LIVE_LIMIT", "1")
        environment.setenv("TALLYBOOK_LIVE_PING_SECONDS", "1")
        with serving(tmp_path_factory.mktemp("narrow")) as running:
            yield running


def test_a_query_is_one_event_and_an_end(server: Server) -> None:
    with streaming(server.url, "{ ledger { name } }") as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.event()[1]["data"] == {"ledger": {"name": "main"}}
        assert stream.event() == ("complete", None)
        with pytest.raises(Closed):
            stream.event()


def test_a_mutation_is_carried_out_once(server: Server) -> None:
    before = int(ask(server.url, "{ ledger { position } }")["ledger"]["position"])
    with streaming(server.url, CREATE) as stream:
        assert stream.next() == {"position": str(before + 1)}
        assert stream.event() == ("complete", None)


def test_facts_come_as_they_are_recorded_and_go_on_after_a_cut(server: Server) -> None:
    first = create_customer(server.url, "Before")
    with streaming(server.url, WATCH, after=str(first - 1)) as stream:
        assert stream.next()["position"] == str(first)
    positions = [create_customer(server.url, f"Unseen {turn}") for turn in range(3)]
    with streaming(server.url, WATCH, after=str(first)) as stream:
        positions.append(create_customer(server.url, "Seen"))
        assert [stream.next()["position"] for _ in positions] == list(map(str, positions))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("", "BAD_REQUEST"),
        ("query A { ledger { id } } query B { ledger { id } }", "OPERATION_RESOLUTION_FAILURE"),
        ("{" + "a{" * 20 + "b" + "}" * 21, "LIMIT_EXCEEDED"),
        ('subscription { ledgerEventAdded(types: ["x"]) { type } }', "BAD_USER_INPUT"),
    ],
)
def test_what_cannot_be_carried_out_is_an_event_with_errors(
    server: Server, query: str, code: str
) -> None:
    with streaming(server.url, query) as stream:
        name, content = stream.event()
        assert (name, content["errors"][0]["extensions"]["code"]) == ("next", code)
        assert "data" not in content
        assert stream.event() == ("complete", None)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b'{"query": "{ledger{name}}"}', 415),
        ({}, b"", 400),
        ({}, b"null", 400),
        ({}, b"[]", 400),
        ({}, b'{"query": 1}', 400),
        ({}, b'{"query": "{a}", "variables": []}', 400),
        ({}, b"\xff", 400),
        ({}, b"[" * 100_000, 400),
        ({}, b"x" * 1_100_000, 413),
    ],
)
def test_what_is_no_operation_is_refused(
    server: Server, headers: dict[str, str], body: bytes, status: int
) -> None:
    headers = {"content-type": "application/json", **STREAM, **headers}
    answer = httpx.post(f"{server.url}/graphql", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/json")


def get(server: Server, **parameters: str) -> list[str]:
    """The lines of the stream that a GET is answered by."""
    with httpx.stream(
        "GET",
        f"{server.url}/graphql",
        params=parameters,
        headers=STREAM,
        timeout=PATIENCE_SECONDS,
    ) as response:
        return [line for line in response.iter_lines() if line]


def test_a_browsers_own_event_stream_may_read_and_nothing_else(server: Server) -> None:
    query = "query($id: ID!) { node(id: $id) { id } }"
    event, data, *end = get(server, query=query, variables='{"id": "cus_none"}')
    assert (event, json.loads(data.removeprefix("data: "))["data"]) == (
        "event: next",
        {"node": None},
    )
    assert end == ["event: complete", "data:"]
    before = ask(server.url, "{ ledger { position } }")
    _, data, *_ = get(server, query=CREATE)
    (error,) = json.loads(data.removeprefix("data: "))["errors"]
    assert error["extensions"]["code"] == "METHOD_NOT_ALLOWED"
    assert ask(server.url, "{ ledger { position } }") == before
    assert "BAD_REQUEST" in get(server, query=query, variables="{")[0]
    assert "BAD_REQUEST" in get(server)[1]


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("text/event-stream", True),
        ("TEXT/EVENT-STREAM; charset=utf-8", True),
        ("text/event-stream, multipart/mixed", True),
        ("text/event-stream, application/json;q=0.9", True),
        ("application/json;q=0.5, text/event-stream;q=0.8", True),
        ("application/graphql-response+json, application/json, text/event-stream", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=nonsense", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_only_who_wants_a_stream_gets_one(accept: str, streamed: bool) -> None:
    assert is_wanted(accept) is streamed


def test_who_wants_something_else_gets_one_answer(server: Server) -> None:
    accept = "application/json, text/event-stream"
    with streaming(server.url, "{ ledger { name } }", accept=accept) as stream:
        assert stream.response.headers["content-type"].startswith("application/json")
    query = {"query": "subscription { ledgerEventAdded { type } }"}
    for answer in (
        httpx.post(f"{server.url}/graphql", json=query),
        httpx.get(f"{server.url}/graphql", params=query),
    ):
        assert answer.json()["errors"][0]["extensions"] == {"code": "NOT_STREAMED"}


def test_who_waits_is_pinged_and_leaves_a_place_free(narrow: Server) -> None:
    with streaming(narrow.url, WATCH) as stream:
        assert stream.event() == (":", None)
        with streaming(narrow.url, WATCH) as refused:
            assert refused.response.status_code == 429
            assert "retry-after" in refused.response.headers
        position = create_customer(narrow.url, "Plain requests find room")
        assert stream.next()["position"] == str(position)
    while True:  # the server learns soon that the first one has gone
        with streaming(narrow.url, WATCH, after="0") as stream:
            if stream.response.status_code == 200:
                assert stream.next() == {"position": "1", "type": "ledger.opened"}
                return
        time.sleep(0.05)


def test_the_server_stops_at_once_and_the_stream_has_no_end(tmp_path: Path) -> None:
    with serving(tmp_path) as server, streaming(server.url, WATCH, after="0") as stream:
        assert stream.next()["position"] == "1"
        server.process.terminate()
        with pytest.raises(Closed):
            stream.event()
        assert server.process.wait(STOP_S) == 0


def test_only_trusted_documents_are_followed_where_no_others_are_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"watch": WATCH}), encoding="utf-8")
    monkeypatch.setenv("TALLYBOOK_TRUSTED_DOCUMENTS", "only")
    monkeypatch.setenv("TALLYBOOK_TRUSTED_MANIFEST", str(manifest))
    named = {"documentId": "watch", "variables": {"after": "0"}}
    other = {"query": "subscription { ledgerEventAdded { position } }"}
    with serving(tmp_path / "ledger") as server:
        with Watching(server.url).begin() as watching:
            watching.send({"id": "1", "type": "subscribe", "payload": other})
            assert watching.error()["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"
            watching.send({"id": "1", "type": "subscribe", "payload": named})
            assert watching.next()["position"] == "1"
        answer = httpx.post(f"{server.url}/graphql", json=other, headers=STREAM)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"
        with httpx.stream("POST", f"{server.url}/graphql", json=named, headers=STREAM) as response:
            assert Stream(response).next()["position"] == "1"

"""Live updates over websockets: in order, resumable, bounded, and no burden to anybody else."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import marks
from tests.app.watching import Closed, Watching, ask, create_customer
from tests.benchmarks.serving import STOP_S, Server, serving
from tests.house import ROOT

pytestmark = marks.HTTP

WATCH = """subscription($after: BigInt, $types: [String!], $subject: ID) {
    ledgerEventAdded(after: $after, types: $types, subjectId: $subject) {
        position type subjectId } }"""
ALL = """query($after: String) { ledgerEvents(first: 100, after: $after) {
    nodes { position } pageInfo { hasNextPage } } }"""
LARGE = "{ ledgerEvents(first: 100) { nodes { hash data again: data oncemore: data } } }"
ASKED = 8
"""More answers than any two sockets hold: each has megabytes."""
SETTINGS = {
    "LIVE_INIT_SECONDS": "1",
    "ANSWER_DEADLINE_SECONDS": "1",
    "LIVE_CONNECTION_LIMIT": "3",
    "BODY_LIMIT_BYTES": "100000",
    "ALLOWED_ORIGINS": "https://app.example, https://other.example:8443",
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Server]:
    """A server with the demo that is quick to lose patience."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in SETTINGS.items():
            environment.setenv(f"TALLYBOOK_{name}", value)
        with serving(tmp_path_factory.mktemp("strict"), "--demo") as running:
            yield running


def written(server: Server) -> list[str]:
    """Every position of the ledger, page by page."""
    found: list[str] = []
    while True:
        page = ask(server.url, ALL, after=f"p{found[-1]}" if found else None)["ledgerEvents"]
        found.extend(node["position"] for node in page["nodes"])
        if not page["pageInfo"]["hasNextPage"]:
            return found


# ------------------------------------------------------------------------- facts of the ledger


def test_what_is_recorded_from_now_on_is_told(server: Server) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH)
        # A query on the same socket is answered after the subscription has begun, if it began.
        watching.subscribe("{ ledger { position } }", id="2")
        answered = watching.next("2")
        assert watching.receive() == {"type": "complete", "id": "2"}
        position = create_customer(server.url, "Told")
        told = watching.next()
    assert int(answered["position"]) < position
    assert told == {**told, "position": str(position), "type": "customer.created"}


def test_who_was_cut_off_goes_on_and_misses_nothing(server: Server) -> None:
    last, told = "0", []
    for turn in range(4):
        with Watching(server.url).begin() as watching:
            watching.subscribe(WATCH, after=last)
            told += [watching.next()["position"] for _ in range(7)]
            last = told[-1]
        create_customer(server.url, f"Between the turns {turn}")
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH, after=last)
        newest = create_customer(server.url, "The newest")
        while told[-1] != str(newest):
            told.append(watching.next()["position"])
    assert told == written(server)


def test_only_what_was_asked_for_is_told(server: Server) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH, types=["customer.created", "meter.created"], after="0")
        types = {watching.next()["type"] for _ in range(3)}
        watching.send({"type": "complete", "id": "1"})
    assert types == {"customer.created", "meter.created"}

    product = ask(
        server.url, 'mutation { createProduct(input: { name: "Mine" }) { product { id } } }'
    )["createProduct"]["product"]["id"]
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH, subject=product, after="0")
        assert watching.next()["subjectId"] == product
        create_customer(server.url, "Nothing to do with it")
        query = """mutation($input: UpdateProductInput!) {
            updateProduct(input: $input) { position } }"""
        position = ask(server.url, query, input={"productId": product, "name": "Ours"})
        assert watching.next()["position"] == position["updateProduct"]["position"]


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"types": ["customer.created", "customer.invented"]}, ["types", "1"]),
        ({"types": ["a"] * 101}, ["types"]),
        ({"subject": "\x00"}, ["subjectId"]),
        ({"after": "-1"}, ["after"]),
        ({"after": "99999999999999999999"}, ["after"]),
    ],
)
def test_what_can_never_come_is_refused(
    server: Server, variables: dict[str, Any], path: list[str]
) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH, **variables)
        error = watching.error()
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"]["path"] == path
        watching.send({"type": "ping"})  # the socket is for other operations still
        assert watching.receive() == {"type": "pong"}


def test_two_hundred_subscribers_hear_the_same_of_one_writer(server: Server) -> None:
    watching = [Watching(server.url).begin() for _ in range(200)]
    try:
        begin = written(server)[-1]
        for one in watching:
            one.subscribe(WATCH, after=begin)
        positions = [str(create_customer(server.url, f"Heard {turn}")) for turn in range(5)]
        for one in watching:
            assert [one.next()["position"] for _ in positions] == positions
    finally:
        for one in watching:
            one.drop()


def test_views_made_anew_are_followed_all_the_same(server: Server) -> None:
    with Watching(server.url).begin() as watching:
        before = create_customer(server.url, "Before the replay")
        watching.subscribe(WATCH, after=str(before - 1))
        assert watching.next()["position"] == str(before)
        command = [sys.executable, "-m", "app.cli", "replay", "--data", str(server.data)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "the server goes on with the new views" in done.stdout
        after = create_customer(server.url, "After the replay")
        assert [watching.next()["position"] for _ in range(after - before)] == [
            str(position) for position in range(before + 1, after + 1)
        ]


# ------------------------------------------------------------------------------- the protocol


def test_queries_and_mutations_are_answered_too(server: Server) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe('mutation { createCustomer(input: { name: "Here" }) { position } }')
        position = watching.next()["position"]
        assert watching.receive() == {"type": "complete", "id": "1"}
        watching.subscribe("{ ledger { position } }")  # the id may be used again
        assert int(watching.next()["position"]) >= int(position)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("", "BAD_REQUEST"),
        ("subscription { a: __typename, b: __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("{" + "a{" * 20 + "b" + "}" * 21, "LIMIT_EXCEEDED"),
        ("{ ledger { name } } #" + "x" * 50_000, "LIMIT_EXCEEDED"),
        ("subscription { usageChanged(meterId: 1, customerId: 2) { value } }", "BAD_USER_INPUT"),
    ],
)
def test_what_cannot_be_carried_out_is_an_error(server: Server, query: str, code: str) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe(query)
        assert watching.error()["extensions"]["code"] == code


INIT = '{"type": "connection_init"}'
SUBSCRIBE = '{"type": "subscribe", "id": "1", "payload": {"query": "%s"}}'
LIVE = SUBSCRIBE % "subscription { ledgerEventAdded { position } }"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], 4408),
        (['{"type": "ping"}'], 4408),
        ([INIT, INIT], 4429),
        ([LIVE], 4401),
        ([INIT, LIVE, LIVE], 4409),
        (["{"], 4400),
        (["[" * 100_000], 4400),
        (["null"], 4400),
        (["[]"], 4400),
        ([b"{}"], 4400),
        (['{"type": "start"}'], 4400),
        (['{"type": 1}'], 4400),
        (['{"type": "connection_init", "payload": 1}'], 4400),
        ([INIT, '{"type": "subscribe", "id": "1"}'], 4400),
        ([INIT, '{"type": "subscribe", "id": "", "payload": {"query": "{a}"}}'], 4400),
        ([INIT, '{"type": "subscribe", "id": "1", "payload": {"query": 1}}'], 4400),
        ([INIT, '{"type": "subscribe", "id": 1, "payload": {"query": "{a}"}}'], 4400),
        ([INIT, '{"type": "complete"}'], 4400),
        ([INIT, SUBSCRIBE % ("x" * 100_000)], 1009),
    ],
)
def test_who_breaks_the_protocol_is_told_how(
    strict: Server, messages: list[str | bytes], code: int
) -> None:
    with Watching(strict.url) as watching:
        for message in messages:
            watching.send_text(message)
        assert watching.last().code == code


@pytest.mark.parametrize("protocols", [(), ("graphql-ws",), ("graphql", "soap")])
def test_another_protocol_is_refused(server: Server, protocols: tuple[str, ...]) -> None:
    with Watching(server.url, protocols=protocols) as watching:
        assert watching.subprotocol is None
        with pytest.raises(Closed) as closed:
            watching.receive()
    assert closed.value.code == 4406


def test_our_protocol_is_found_among_others(server: Server) -> None:
    with Watching(server.url, protocols=("graphql-ws", "graphql-transport-ws")) as watching:
        assert watching.subprotocol == "graphql-transport-ws"


def test_an_operation_ends_when_its_client_ends_it(server: Server) -> None:
    with Watching(server.url).begin() as watching:
        watching.subscribe(WATCH)
        watching.send({"type": "complete", "id": "1"})
        watching.send({"type": "complete", "id": "never begun"})
        watching.send({"type": "ping"})
        assert watching.receive() == {"type": "pong"}  # so it has heard what came before
        create_customer(server.url, "Not told any more")
        watching.send({"type": "ping", "payload": {"any": "thing"}})
        assert watching.receive() == {"type": "pong"}


def test_a_page_of_another_origin_opens_no_socket(strict: Server) -> None:
    own = strict.url
    for origin in (own, own.upper(), "https://app.example", "https://other.example:8443"):
        with Watching(strict.url, origin=origin) as watching:
            watching.begin()
    for origin in ("https://evil.example", "null", f"{own}.evil.example", "https://app.example.it"):
        with pytest.raises(Closed) as refused:
            Watching(strict.url, origin=origin)
        assert refused.value.code == 403


# ------------------------------------------------------------------------------------- limits


def test_one_socket_has_room_for_so_many_operations(strict: Server) -> None:
    with Watching(strict.url).begin() as watching:
        for id in "1234":
            watching.subscribe(WATCH, id=id)
        assert watching.error("4")["extensions"]["code"] == "TOO_BUSY"
        watching.send({"type": "complete", "id": "1"})
        position = create_customer(strict.url, "Told to two")
        assert {(watching.receive()["id"]) for _ in "23"} == {"2", "3"}
        # The place is free as soon as the operation has ended, which the client is not told.
        answer: dict[str, Any] = {"type": "error"}
        for turn in itertools.count():
            if answer["type"] == "next":
                break
            watching.subscribe(WATCH, id=f"again {turn}", after=str(position - 1))
            answer = watching.receive()
        assert answer["payload"]["data"]["ledgerEventAdded"]["position"] == str(position)


def test_who_does_not_read_is_cut_off_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYBOOK_ANSWER_DEADLINE_SECONDS", "1")
    monkeypatch.setenv("TALLYBOOK_LIVE_LIMIT", "1")
    with (
        serving(tmp_path, "--demo") as server,
        Watching(server.url, buffer_bytes=4_096).begin() as deaf,
    ):
        with suppress(OSError):  # it may be cut off before it has asked for everything
            for turn in range(ASKED):
                deaf.subscribe(LARGE, id=str(turn))
        assert create_customer(server.url, "Written meanwhile")
        # There is room for one socket: another one is let in when the first has been cut off.
        while not let_in(server):
            time.sleep(0.05)
        heard = 0
        with suppress(Closed, OSError):
            while deaf.receive():
                heard += 1
        assert heard < ASKED


def let_in(server: Server) -> bool:
    """Whether there is room for another socket."""
    try:
        with Watching(server.url) as another:
            another.begin()
    except Closed as refused:
        return refused.code != 403
    return True


# ----------------------------------------------------------------------------------- stopping


def test_the_server_stops_at_once_and_says_so(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--demo") as server,
        Watching(server.url).begin() as watching,
        Watching(server.url, buffer_bytes=4_096).begin() as deaf,
        Watching(server.url),
    ):
        watching.subscribe(WATCH)
        for turn in range(ASKED):
            deaf.subscribe(LARGE, id=str(turn))
        create_customer(server.url, "The last one")
        assert watching.next()["type"] == "customer.created"
        server.process.terminate()
        with pytest.raises(Closed) as closed:
            watching.receive()
        assert closed.value.code == 1001
        assert server.process.wait(STOP_S) == 0

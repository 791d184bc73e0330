"""Whoever is told what happens is counted, while connected, and so is what is told."""

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app.measures import TRANSPORTS
from tests.app.watching import PATIENCE_SECONDS, Watching, create_customer, streaming
from tests.benchmarks.serving import Server

WATCH = "subscription { ledgerEventAdded { position } }"
FROM_THE_FIRST = 'subscription { ledgerEventAdded(after: "0") { type } }'
Figures = tuple[int, ...]
"""How many connections are open and how many answers were sent, for each transport in turn."""


def figures(server: Server) -> Figures:
    """What the server counts."""
    text = httpx.get(f"{server.url}/metrics").text
    found = {
        (sample.name.removeprefix("tallybook_live_"), sample.labels["transport"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("tallybook_live_")
    }
    kinds = [(name, one) for one in TRANSPORTS for name in ("connections", "events_total")]
    assert set(kinds) == found.keys()
    return tuple(int(found[kind]) for kind in kinds)


def become(server: Server, *expected: int | None) -> bool:
    """Whether the figures are soon these: what happens is counted a moment later."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = zip(figures(server), expected, strict=True)
        if all(wanted in (None, one) for one, wanted in found):
            return True
        time.sleep(0.01)
    return False


def test_connections_and_answers_are_counted(server: Server) -> None:
    sockets, told, streams, _ = figures(server)
    with Watching(server.url) as watching:
        assert figures(server)[:2] == (sockets, told), "it was not let in yet"
        watching.begin()
        watching.subscribe(WATCH)
        watching.subscribe("{ ledger { position } }", id="2")
        watching.next("2")
        assert watching.receive() == {"type": "complete", "id": "2"}
        assert become(server, sockets + 1, told + 1, streams, None)
        create_customer(server.url, "Counted")
        watching.next()
        assert become(server, sockets + 1, told + 2, streams, None)
    assert become(server, sockets, told + 2, streams, None)


def test_event_streams_are_counted_too(server: Server) -> None:
    sockets, told, streams, streamed = figures(server)
    with streaming(server.url, FROM_THE_FIRST) as stream:
        assert stream.next() == {"type": "ledger.opened"}
        assert become(server, sockets, told, streams + 1, None)
    assert become(server, sockets, told, streams, None)
    assert figures(server)[3] > streamed


def test_who_is_not_let_in_is_not_counted(server: Server) -> None:
    before = figures(server)
    with Watching(server.url, protocols=("another",)) as watching:
        watching.last()
    assert figures(server) == before

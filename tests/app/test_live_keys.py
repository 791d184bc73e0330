"""Live updates with keys: who may follow what, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.control import MAIN, Control, note_ledger, place
from app.keyring import make_key
from app.keys import Scope, id_in, new_key
from app.ledger import Ledger
from app.server_secret import read
from app.settings import Settings
from domain.periods import to_us
from tests import marks
from tests.app.keyed import OTHER
from tests.app.watching import Closed, Watching, streaming
from tests.benchmarks.serving import Server, serving
from tests.conftest import CLOCK
from tests.places import place_of

pytestmark = marks.HTTP

WATCH = """subscription {
    ledgerEventAdded(after: "0", types: ["ledger.opened", "meter.created"]) { type actor } }"""
CREATE = """mutation { createMeter(input: {name: "x", eventName: "x", aggregation: COUNT}) {
    position userErrors { code } } }"""
ID = "{ ledger { id } }"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Server]:
    """A server of two ledgers, for whoever has a key."""
    data = tmp_path_factory.mktemp(kept_in)
    note_ledger(data, OTHER, place_of(place(data, OTHER)))
    for name in (MAIN, OTHER):
        Ledger(place(data, name), name=name).close()
    with serving(data, "--auth", "keys") as server:
        yield server


def made(server: Server, *scopes: Scope, ledger: str = MAIN) -> str:
    """A new key."""
    with Control(server.data) as control:
        secret = read(Settings(data=server.data))
        return make_key(
            control,
            secret,
            ledger=ledger,
            name="a test",
            scopes=frozenset(scopes or {Scope.ADMIN}),
            at=CLOCK,
        )[1]


def revoke(server: Server, key: str) -> None:
    """End a key."""
    with Control(server.data) as control:
        control.revoke(str(id_in(key)), to_us(CLOCK))


def bearer(key: str) -> dict[str, str]:
    """What a page sends first."""
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("by_header", [True, False], ids=["header", "first message"])
@pytest.mark.parametrize("ledger", [MAIN, OTHER])
def test_a_key_opens_a_websocket_to_its_ledger(keyed: Server, ledger: str, by_header: bool) -> None:
    key = made(keyed, ledger=ledger)
    with Watching(keyed.url, key=key if by_header else None) as watching:
        watching.begin(**({} if by_header else bearer(key)))
        watching.subscribe("{ ledger { name } }")
        assert watching.next() == {"name": ledger}


@pytest.mark.parametrize("payload", [{}, {"authorization": "Bearer x"}, {"Authorization": "tbk_"}])
def test_a_websocket_without_a_key_ends_with_its_first_message(
    keyed: Server, payload: dict[str, str]
) -> None:
    with Watching(keyed.url) as watching:
        watching.send({"type": "connection_init", "payload": payload})
        assert watching.last().code == 4403


def test_a_websocket_with_a_bad_key_is_not_accepted(keyed: Server) -> None:
    with pytest.raises(Closed) as closed:
        Watching(keyed.url, key=new_key()[1])
    assert closed.value.code == 403


def test_nothing_is_asked_before_the_key_is_shown(keyed: Server) -> None:
    with Watching(keyed.url) as watching:
        watching.subscribe(ID)
        assert watching.last().code == 4401


def test_facts_are_followed_by_auditors_only(keyed: Server) -> None:
    key = made(keyed, Scope.BILLING_WRITE, Scope.USAGE_WRITE)
    with Watching(keyed.url, key=key).begin() as watching:
        watching.subscribe(WATCH)
        assert watching.error()["extensions"]["code"] == "FORBIDDEN"
    with Watching(keyed.url, key=made(keyed, Scope.AUDIT_READ)).begin() as watching:
        watching.subscribe(WATCH)
        assert watching.next()["type"] == "ledger.opened"


def test_a_revoked_key_follows_nothing_any_more(keyed: Server) -> None:
    key, other = made(keyed), made(keyed)
    with Watching(keyed.url, key=key).begin() as watching:
        watching.subscribe(WATCH)
        assert watching.next()["type"] == "ledger.opened"
        revoke(keyed, key)
        with Watching(keyed.url, key=other).begin() as writing:
            writing.subscribe(CREATE)
            writing.next()
        assert watching.error()["extensions"]["code"] == "UNAUTHENTICATED"
        watching.subscribe(ID, id="2")
        assert watching.error("2")["extensions"]["code"] == "UNAUTHENTICATED"


def test_an_event_stream_ends_with_its_key(keyed: Server) -> None:
    key = made(keyed)
    with streaming(keyed.url, WATCH, key=key) as stream:
        assert stream.next()["type"] == "ledger.opened"
        revoke(keyed, key)
        with Watching(keyed.url, key=made(keyed)).begin() as writing:
            writing.subscribe(CREATE)
            writing.next()
        told = dict(iter(stream.event, ("complete", None)))
    [error] = told["next"]["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert "data" not in told["next"]


def test_an_event_stream_needs_a_key(keyed: Server) -> None:
    headers = {"accept": "text/event-stream"}
    answer = httpx.post(f"{keyed.url}/graphql", json={"query": WATCH}, headers=headers)
    assert answer.status_code == 401


def test_without_keys_a_websocket_is_for_this_machine(server: Server) -> None:
    with pytest.raises(Closed) as closed:
        Watching(server.url, host="evil.example")
    assert closed.value.code == 403


def test_the_first_key_ends_what_was_open_before(tmp_path: Path) -> None:
    with serving(tmp_path) as open_yet, Watching(open_yet.url).begin() as watching:
        watching.subscribe(WATCH)
        assert watching.next()["type"] == "ledger.opened"
        key = made(open_yet)
        with Watching(open_yet.url, key=key).begin() as writing:
            writing.subscribe(CREATE)
            writing.next()
        assert watching.error()["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_key_counts_on_an_open_server_too(tmp_path: Path) -> None:
    note_ledger(tmp_path, OTHER, place_of(place(tmp_path, OTHER)))
    Ledger(place(tmp_path, OTHER), name=OTHER).close()
    with serving(tmp_path, "--auth", "open") as server:
        key = made(server, ledger=OTHER)
        with Watching(server.url).begin(**bearer(key)) as watching:
            watching.subscribe("{ ledger { name } }")
            assert watching.next() == {"name": OTHER}

"""The door: who is let in, to which ledger, and what is answered to everybody else."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.arguments import parser
from app.control import MAIN, Control, note_ledger, place
from app.keys import Rates, Scope, id_in, new_key, written
from app.ledger import Ledger
from app.server import create_app
from app.settings import Auth, Settings, settings_from
from app.web.auth import NEEDED, PUBLIC, check_settings, needed_for
from domain.periods import to_us
from tests import marks
from tests.app.http import Talking
from tests.app.keyed import CLOCK, OTHER, Keyed, error, keyed, serving_directory

pytestmark = marks.HTTP

ID = "{ ledger { id name } }"
JSON = "application/json"
RECORD = {"id": "r-1", "eventName": "tokens", "customer": "al", "value": "1"}
EVENT = {"specversion": "1.0", "id": "e-1", "source": "s", "type": "tokens", "subject": "al"}
LAGO = {"transaction_id": "l-1", "external_customer_id": "al", "code": "tokens"}
FORM = "event_name=tokens&identifier=s-1&payload[stripe_customer_id]=al&payload[value]=1"

DOORS: dict[str, dict[str, Any]] = {
    "/v1/usage": {"json": [RECORD]},
    "/api/v1/events": {
        "content": json.dumps(EVENT),
        "headers": {"content-type": "application/cloudevents+json"},
    },
    "/api/v1/events/batch": {"json": {"events": [LAGO]}},
    "/v1/billing/meter_events": {
        "content": FORM,
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    },
}
"""A request that records usage, for every door that takes any."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Keyed]:
    """Two ledgers, served to whoever has a key."""
    with keyed(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Keyed]:
    """The same for all who are not let in, and for those who only look."""
    with keyed(tmp_path_factory.mktemp(kept_in)) as opened:
        yield opened


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/graphql", *DOORS, "/invoices/inv_1", "/metrics", "/nothing"])
def test_without_a_key_nothing_is_even_looked_at(closed: Keyed, method: str, path: str) -> None:
    answer = closed.request(method, path, None, content=b"{" * 2_000_000)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="tallybook"')
    assert answer.headers["content-type"].startswith("application/")
    assert json.loads(answer.content)


@pytest.mark.parametrize(
    "text", ["", "x", "sk_test_1", "tbk_", written("key_" + "0" * 26, "0" * 43), "tbk_é"]
)
def test_a_bad_key_is_not_repeated(closed: Keyed, text: str) -> None:
    headers = {"authorization": f"Bearer {text}".encode("latin-1")}
    answer = closed.request("POST", "/graphql", None, json={"query": ID}, headers=headers)
    assert error(answer) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert not text or text not in answer.text.replace("tbk_...", "")


@pytest.mark.parametrize("place", sorted(PUBLIC))
def test_a_host_is_no_part_of_the_address(closed: Keyed, place: str) -> None:
    headers = {"host": f"localhost{place}?"}
    for path in ("/metrics", "/graphql", "/invoices/inv_1"):
        assert closed.request("GET", path, None, headers=headers).status_code == 401


def test_two_keys_are_none(closed: Keyed) -> None:
    headers = [("authorization", f"Bearer {closed.key()}")] * 2
    answer = Talking(closed.served, closed.settings).request("GET", "/metrics", headers=headers)
    assert error(answer) == (400, "BAD_REQUEST")


def test_a_key_decides_the_ledger(served: Keyed) -> None:
    for name in (MAIN, OTHER):
        found = served.data(served.key(ledger=name), ID)
        assert found == {"ledger": {"id": served.served.ledgers[name].state.id, "name": name}}


@pytest.mark.parametrize("name", [OTHER, "nix", "../other"])
def test_a_key_opens_no_other_ledger_by_name(closed: Keyed, name: str) -> None:
    headers = {"x-tallybook-ledger": name}
    answer = closed.request("GET", "/metrics", closed.key(), headers=headers)
    assert error(answer) == (404, "NOT_FOUND")


def test_a_revoked_key_is_refused_at_once(served: Keyed) -> None:
    key = served.key()
    assert served.ask(key, ID).status_code == 200
    with Control(served.settings.data) as elsewhere:
        elsewhere.revoke(str(id_in(key)), to_us(CLOCK))
    assert error(served.ask(key, ID)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("path", DOORS)
def test_usage_is_sent_by_keys_that_may(served: Keyed, path: str) -> None:
    wrong = served.key(*set(Scope) - {Scope.USAGE_WRITE, Scope.ADMIN})
    answer = served.request("POST", path, wrong, **DOORS[path])
    assert answer.status_code == 403
    assert 'scope="usage:write"' in answer.headers["www-authenticate"]
    assert served.served.ledger.store.head()[0] == 1
    key = served.key(Scope.USAGE_WRITE)
    assert served.request("POST", path, key, **DOORS[path]).status_code in (200, 204)
    recorded = served.served.ledger.store.at(2)
    assert recorded is not None
    assert recorded.envelope.actor == id_in(key)
    assert served.served.ledgers[OTHER].store.head()[0] == 1


def test_what_a_mutation_does_is_noted_with_the_id_of_the_key(served: Keyed) -> None:
    key = served.key()
    served.data(key, 'mutation { createProduct(input: {name: "x"}) { position } }')
    found = served.data(key, "{ ledgerEvents(last: 1) { nodes { type actor } } }")
    assert found["ledgerEvents"]["nodes"] == [{"type": "product.created", "actor": id_in(key)}]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/billing/meter_events", 405),
        ("/invoices/inv_1", 404),
        ("/graphql", 401),
        ("/metrics", 401),
    ],
)
def test_a_key_is_a_password_only_where_one_is_asked_for(
    closed: Keyed, path: str, status: int
) -> None:
    text = base64.b64encode(f"{closed.key()}:".encode()).decode()
    headers = {"authorization": f"Basic {text}"}
    assert closed.request("GET", path, None, headers=headers).status_code == status


def test_a_browser_is_asked_for_the_key_of_an_invoice(closed: Keyed) -> None:
    answer = closed.request("GET", "/invoices/inv_1", None)
    assert answer.headers["www-authenticate"].endswith('Basic realm="tallybook"')


def test_figures_are_for_admins_and_of_their_ledger(served: Keyed) -> None:
    wrong = served.key(*set(Scope) - {Scope.ADMIN})
    assert error(served.request("GET", "/metrics", wrong)) == (403, "FORBIDDEN")
    served.data(served.key(), 'mutation { createProduct(input: {name: "x"}) { position } }')
    for ledger, events in ((MAIN, 2), (OTHER, 1)):
        figures = served.request("GET", "/metrics", served.key(ledger=ledger)).text
        assert f"tallybook_ledger_events {events}.0" in figures


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/graphiql", "/", "/graphiql/tabs.json"])
def test_what_says_nothing_of_a_ledger_is_for_everybody(closed: Keyed, path: str) -> None:
    answer = closed.request("GET", path, None)
    assert answer.status_code in (200, 307)
    assert closed.served.ledger.state.id not in answer.text


def test_the_explorer_says_where_the_key_goes(closed: Keyed) -> None:
    prepared = closed.request("GET", "/graphiql/tabs.json", None).json()
    assert len(prepared["tabs"]) > 10
    for tab in prepared["tabs"]:
        assert '{"Authorization": "Bearer tbk_..."}' in tab["query"]
        assert closed.ask(closed.key(), tab["query"]).status_code == 200  # it is a comment


def test_every_route_says_what_it_needs(ledger: Ledger) -> None:
    paths = {route.path.replace("{id}", "x") for route in create_app(ledger, Settings()).routes}  # type: ignore[attr-defined]  # routes and mounts have one
    for path in paths - PUBLIC - {"/graphiql", "/graphiql/", "/graphiql/tabs.json"}:
        assert any(path == place or path.startswith(f"{place.rstrip('/')}/") for place in NEEDED)
    assert needed_for("/whatever/comes") is Scope.ADMIN


# --------------------------------------------------------------------------------- without keys


def test_without_keys_a_request_names_the_ledger(tmp_path: Path) -> None:
    with keyed(tmp_path, auth=Auth.OPEN) as served:
        assert served.ask(None, ID).json()["data"]["ledger"]["name"] == MAIN
        for name, answer in ((OTHER, 200), ("nix", 404)):
            headers = {"x-tallybook-ledger": name}
            asked = served.request("POST", "/graphql", None, json={"query": ID}, headers=headers)
            assert asked.status_code == answer
        assert served.ask("sk_test_1", ID).status_code == 200  # of no concern here
        assert served.ask(served.key(ledger=OTHER), ID).json()["data"]["ledger"]["name"] == OTHER
        assert served.ask(new_key()[1], ID).status_code == 401


def test_the_first_key_closes_a_server_that_was_open_by_default(tmp_path: Path) -> None:
    with keyed(tmp_path, auth=None) as served:
        assert served.ask(None, ID).status_code == 200
        key = served.key()
        assert served.ask(None, ID).status_code == 401
        assert served.ask(key, ID).status_code == 200
        with Control(tmp_path) as control:
            control.revoke(str(id_in(key)), to_us(CLOCK))
        assert served.ask(None, ID).status_code == 401


def test_other_hosts_are_never_open_by_default(tmp_path: Path) -> None:
    with keyed(tmp_path, auth=None, host="0.0.0.0") as served:
        assert served.ask(None, ID).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "tallybook.example"])
def test_open_to_more_than_this_machine_is_refused(ledger: Ledger, host: str) -> None:
    with pytest.raises(ValueError, match="open is for loopback only"):
        create_app(ledger, Settings(host=host, auth=Auth.OPEN))
    check_settings(Settings(host=host))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("LOCALHOST:1", 200)),
        *(("tally.localhost:8000", 200), ("127.0.0.1.evil.example", 403), ("evil.example", 403)),
        *(("localhost.evil.example:8000", 403), ("", 403), ("192.0.2.1", 403), ("[::2]", 403)),
        *(("evil.example]", 403), ("[::1].evil.example", 403), ("a:b@localhost", 403)),
    ],
)
def test_without_keys_only_names_of_this_machine_are_answered(
    ledger: Ledger, host: str, status: int
) -> None:
    for path in ("/graphql", "/v1/usage", "/graphiql/tabs.json"):
        answer = Talking(ledger).request("HEAD", path, headers={"host": host})
        assert (answer.status_code == 403) == (status == 403), path


def test_with_keys_any_name_is_answered(closed: Keyed) -> None:
    headers = {"host": "tallybook.example"}
    answer = closed.request("GET", "/metrics", closed.key(), headers=headers)
    assert answer.status_code == 200


# ---------------------------------------------------------------------------------- how much of it


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(served: Keyed) -> None:
    key = served.key(rates=Rates(requests=1, requests_burst=2))
    answers = [served.ask(key, ID) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert error(answers[2]) == (429, "THROTTLED")
    assert answers[2].headers["retry-after"] == "1"
    assert served.ask(served.key(), ID).status_code == 200


def test_an_answer_says_how_much_cost_is_left(served: Keyed) -> None:
    key = served.key(rates=Rates(cost=1, cost_burst=25))
    query = "{ meters { totalCount } }"
    answer = served.ask(key, query)
    assert answer.json()["extensions"]["cost"] == {
        "requested": 20,
        "limit": 50_000,
        "throttle": {"maximum": 25, "available": 5, "restoreRate": 1},
    }
    again = served.ask(key, query)
    assert again.json()["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert again.status_code == 429
    assert int(again.headers["retry-after"]) in (14, 15)
    assert served.ask(key, ID).status_code == 200


def test_a_ledger_that_is_made_meanwhile_is_served(tmp_path: Path) -> None:
    with serving_directory(Settings(data=tmp_path, auth=Auth.KEYS)) as served:
        Ledger(place(tmp_path, "new"), name="new").close()
        note_ledger(tmp_path, "new")
        key = served.key(ledger="new")
        assert error(served.ask(key, ID)) == (404, "NOT_FOUND")
        served.served.open_others()
        assert served.data(key, ID)["ledger"]["name"] == "new"


@pytest.mark.parametrize("text", ["keys", "open"])
def test_the_mode_is_a_setting(text: str) -> None:
    assert settings_from({"TALLYBOOK_AUTH": text}).auth is Auth(text)
    assert parser().parse_args(["serve", "--auth", text]).auth is Auth(text)
    with pytest.raises(ValueError, match="TALLYBOOK_AUTH"):
        settings_from({"TALLYBOOK_AUTH": "nobody"})

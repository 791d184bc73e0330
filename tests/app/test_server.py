"""The routes of the server, and what it answers when it is asked nonsense."""

import asyncio
import json

import pytest
from starlette.types import Message, Scope

from app.graphiql import CONTENT_SECURITY_POLICY
from app.ledger import Ledger
from app.server import create_app
from app.settings import Settings
from tests.app.http import Talking


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of an empty ledger."""
    return Talking(ledger)


def graphql(talking: Talking, body: bytes) -> tuple[int, str]:
    """The status and the code of the one error."""
    headers = {"content-type": "application/json"}
    answer = talking.request("POST", "/graphql", content=body, headers=headers)
    return answer.status_code, answer.json()["errors"][0]["extensions"]["code"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"1", b"null", b'"x"', b"[]", b"[1]", b"{", b"\xff", b"", b'{"query": 1}', b"{}"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000),
        b'{"query": "{ ledger { id } }", "variables": 1}',
        b'{"query": "{ ledger { id } }", "variables": {"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        b'{"query": "{ ledger { id } }", "operationName": "A"}',
        b'{"query": "{ ledger { id } }", "operationName": "\\ud800"}',
        b'{"query": "{ ledger { id } }", "operationName": [1]}',
    ],
)
def test_a_body_that_is_no_request_is_a_typed_400(talking: Talking, body: bytes) -> None:
    assert graphql(talking, body) == (400, "BAD_REQUEST")


def test_a_body_that_is_too_large_is_a_413(talking: Talking) -> None:
    body = json.dumps({"query": "{ ledger { id } }", "pad": "x" * 1_048_576}).encode()
    answer = talking.request("POST", "/graphql", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_a_query_may_come_by_get_and_a_mutation_may_not(talking: Talking) -> None:
    answer = talking.request("GET", "/graphql", params={"query": "{ ledger { name } }"})
    assert answer.json()["data"] == {"ledger": {"name": "main"}}
    mutation = 'mutation { createProduct(input: {name: "x"}) { position } }'
    refused = talking.request("GET", "/graphql", params={"query": mutation})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json()["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"
    assert talking.ledger.store.head()[0] == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_told_which_there_are(talking: Talking, method: str) -> None:
    answer = talking.request(method, "/graphql", params={"query": "{ ledger { name } }"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["errors"][0]["extensions"]["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("empty", ["variables", "extensions", "operationName"])
def test_what_a_form_leaves_empty_was_not_given(talking: Talking, empty: str) -> None:
    params = {"query": "{ ledger { name } }", empty: ""}
    answer = talking.request("GET", "/graphql", params=params)
    assert (answer.status_code, answer.json()["data"]) == (200, {"ledger": {"name": "main"}})


@pytest.mark.parametrize("variables", ["1", "{", "[" * 10_000, '"x"', "[]"])
def test_variables_of_a_get_are_an_object(talking: Talking, variables: str) -> None:
    params = {"query": "{ ledger { name } }", "variables": variables}
    answer = talking.request("GET", "/graphql", params=params)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_an_answer_says_what_it_cost(talking: Talking) -> None:
    answer = talking.request("POST", "/graphql", json={"query": "{ meters { totalCount } }"})
    assert answer.json()["extensions"] == {"cost": {"requested": 20, "limit": 50_000}}


def test_a_document_that_is_too_long_is_a_typed_error(talking: Talking) -> None:
    answer = talking.request("POST", "/graphql", json={"query": "{ ledger { id } }" + " " * 50_000})
    (error,) = answer.json()["errors"]
    assert error["extensions"]["limit"] == "bytes"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "NOT_FOUND"),
        ("GET", "/v1/usage", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/graphiql/nothing.js", 404, "NOT_FOUND"),
        ("GET", "/graphiql/../../pyproject.toml", 404, "NOT_FOUND"),
    ],
)
def test_other_addresses_are_typed_errors(
    talking: Talking, method: str, path: str, status: int, code: str
) -> None:
    answer = talking.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_health_is_of_the_process_and_of_the_ledger(talking: Talking) -> None:
    assert talking.request("GET", "/livez").text == "alive\n"
    assert talking.request("GET", "/readyz").text == "ready at 1\n"


def test_the_explorer_is_served_from_here_under_its_policy(talking: Talking) -> None:
    assert talking.request("GET", "/").headers["location"] == "/graphiql"
    page = talking.request("GET", "/graphiql")
    assert page.status_code == 200
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert page.headers["cache-control"] == "no-cache"
    tabs = talking.request("GET", "/graphiql/tabs.json").json()
    assert tabs["ledger"] == talking.ledger.state.id
    assert len(tabs["tabs"]) == 16


def test_a_bug_is_answered_with_an_id_and_nothing_else(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, str]:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.graphiql.values", broken)
    answer = talking.request("GET", "/graphiql/tabs.json")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "INTERNAL"
    assert "secret" not in answer.text


def test_half_a_body_is_never_taken_for_a_whole_one(talking: Talking) -> None:
    sent: list[Message] = []
    arriving: list[Message] = [
        {"type": "http.request", "body": b'{"id":"a","eventName":"t"', "more_body": True},
        {"type": "http.request", "body": b',"customer":"al"}\n{"id":', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return arriving.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/usage",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-ndjson")],
    }
    before = talking.ledger.store.head()
    asyncio.run(create_app(talking.ledger, Settings())(scope, receive, send))
    assert (sent, arriving) == ([], [])
    assert talking.ledger.store.head() == before

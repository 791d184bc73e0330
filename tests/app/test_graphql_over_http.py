"""GraphQL over HTTP as its specification has it: what is asked how, and answered with what.

The reference audit of the specification asks the same of a running server (`make clients`).
"""

import json
from collections.abc import Mapping
from typing import Any

import graphql
import httpx
import pytest
from graphql import DocumentNode
from hypothesis import given
from hypothesis import strategies as st

from app.ledger import Ledger
from app.schema.connections import PAGE_DEFAULT
from app.web.answers import encoded
from app.web.negotiation import JSON, OFFERED, RESPONSE, negotiated
from tests import marks
from tests.app.http import Talking

pytestmark = marks.HTTP

LEDGER = {"query": "{ ledger { name } }"}
UTF8 = "; charset=utf-8"


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of an empty ledger."""
    return Talking(ledger)


def post(
    talking: Talking, content: object, accept: str | None = None, kind: str | None = JSON
) -> httpx.Response:
    """One request by POST; what is not bytes yet is sent as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {} if kind is None else {"content-type": kind}
    # Without a header of ours, the client would send its own.
    return talking.request(
        "POST", "/graphql", content=body, headers={**headers, "accept": accept or ""}
    )


def code(answer: httpx.Response) -> str:
    """The code of the one error."""
    (error,) = answer.json()["errors"]
    assert "data" not in answer.json()
    found: str = error["extensions"]["code"]
    return found


ACCEPTED = [
    ("", JSON),
    ("*/*", JSON),
    ("application/*", JSON),
    ("application/json", JSON),
    ("application/json; charset=utf-8", JSON),
    ("APPLICATION/JSON", JSON),
    ("application/graphql-response+json", RESPONSE),
    ('application/graphql-response+json; charset="UTF-8"', RESPONSE),
    ("application/graphql-response+json, application/json", RESPONSE),
    ("application/json, application/graphql-response+json", JSON),
    ("application/graphql-response+json, application/json;q=0.9", RESPONSE),
    ("application/graphql-response+json;q=0.8, application/json;q=0.9", JSON),
    ("application/graphql-response+json, */*;q=0.1", RESPONSE),
    ("*/*, application/graphql-response+json", RESPONSE),
    ("application/json;q=0, */*", RESPONSE),
    ("application/json;q=0.2, application/*;q=0.7", RESPONSE),
    ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", JSON),
    ("application/json;q=nonsense, application/graphql-response+json;q=0.1", RESPONSE),
    ("application/json;charset=latin-1, application/graphql-response+json", RESPONSE),
]
"""What a client accepts, and the media type that it is answered in."""


@pytest.mark.parametrize(("accept", "kind"), ACCEPTED)
def test_the_answer_is_of_the_media_type_that_is_accepted(
    talking: Talking, accept: str, kind: str
) -> None:
    answer = post(talking, LEDGER, accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind + UTF8)
    assert answer.headers["vary"] == "accept"
    assert answer.json()["data"] == {"ledger": {"name": "main"}}


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "text/*", "application/json;q=0", "*/*;q=0", "application/json;q=2"),
        *("nonsense", ";", "application/json;charset=latin-1", "image/png, text/plain;q=0.5"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_takes_none_of_them_is_told_what_there_is(
    talking: Talking, accept: str, method: str
) -> None:
    more: Any = {"params": LEDGER} if method == "GET" else {"json": LEDGER}
    answer = talking.request(method, "/graphql", headers={"accept": accept}, **more)
    assert (answer.status_code, code(answer)) == (406, "NOT_ACCEPTABLE")
    assert answer.headers["content-type"] == JSON + UTF8
    assert answer.json()["errors"][0]["extensions"]["offered"] == list(OFFERED)


@given(
    st.text(st.sampled_from('*/application+jsongraphqlresponse;q=.019, "charset\t-'), max_size=80)
)
def test_whatever_is_accepted_one_of_the_media_types_is_answered_or_none(accept: str) -> None:
    assert negotiated(accept) in (*OFFERED, None)


FAILED = {
    "a document that cannot be read": ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
    "a document that is not valid": ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
    "a variable of the wrong type": (
        {"query": "query Q($id: ID!) { node(id: $id) { id } }", "variables": {"id": None}},
        "BAD_USER_INPUT",
    ),
    "a variable that is missing": (
        {"query": "query Q($id: ID!) { node(id: $id) { id } }"},
        "BAD_USER_INPUT",
    ),
    "a document that is too long": (
        {"query": "{ ledger { name } }" + " " * 50_000},
        "LIMIT_EXCEEDED",
    ),
    "an operation that costs too much": (
        {"query": "{ meters(first: 100) { nodes { name } } }"},
        "LIMIT_EXCEEDED",
    ),
}
"""Requests that are well formed and fail before anything is carried out."""


@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), ("*/*", 200), (RESPONSE, 400)])
@pytest.mark.parametrize(("asked", "expected"), FAILED.values(), ids=FAILED)
def test_a_request_that_fails_before_it_is_carried_out_has_no_data(
    talking: Talking,
    monkeypatch: pytest.MonkeyPatch,
    asked: Mapping[str, Any],
    expected: str,
    accept: str,
    status: int,
) -> None:
    monkeypatch.setattr("app.schema.limits.COST_LIMIT", 99)
    answer = post(talking, asked, accept)
    assert (answer.status_code, code(answer)) == (status, expected)


@pytest.mark.parametrize("accept", OFFERED)
def test_an_error_of_what_was_carried_out_stands_beside_its_data(
    talking: Talking, accept: str
) -> None:
    query = '{ ledger { name } usageRecords(meterId: "met_0") { totalCount } }'
    answer = post(talking, {"query": query}, accept)
    assert answer.status_code == 200
    assert answer.json()["data"] is None  # there is always a page, so that nothing is left
    (error,) = answer.json()["errors"]
    assert error["path"] == ["usageRecords"]


@pytest.mark.parametrize("accept", OFFERED)
def test_what_took_too_long_was_begun(
    talking: Talking, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr("app.schema.limits.DEADLINE_SECONDS", 0)
    answer = post(talking, {"query": "{ meters { totalCount } }"}, accept)
    assert answer.status_code == 200
    assert answer.json()["data"] is None
    assert answer.json()["errors"][0]["extensions"]["code"] == "TIMED_OUT"


def test_a_bug_before_anything_is_carried_out_is_ours(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.schema.limits.cost_of", broken)
    answer = post(talking, LEDGER, RESPONSE)
    assert (answer.status_code, code(answer)) == (500, "INTERNAL")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF8"'],
)
def test_a_body_is_json_in_utf8(talking: Talking, kind: str) -> None:
    query = '{ __type(name: "Run\N{RUNNER}") { name } }'
    body = json.dumps({"query": query}, ensure_ascii=False).encode()
    answer = post(talking, body, kind=kind)
    assert (answer.status_code, answer.json()["data"]) == (200, {"__type": None})


@pytest.mark.parametrize(
    "kind",
    [
        *(None, "", "text/plain", "application/graphql", "application/graphql-response+json"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
        *("application/json; charset=latin-1", "application/json; charset=utf-16", "x/json"),
    ],
)
def test_any_other_body_is_refused(talking: Talking, kind: str | None) -> None:
    answer = post(talking, LEDGER, kind=kind)
    assert (answer.status_code, code(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["accept-post"] == JSON


def request(**more: object) -> bytes:
    """A body whose document is all right."""
    return json.dumps({**LEDGER, **more}).encode()


NO_TEXT = {"a number": 0, "false": False, "an object": {"a": "b"}, "a list": ["x"]}
NO_OBJECT = {"a number": 0, "false": False, "a text": "{}", "a list": ["x"]}
WRONG: Mapping[str, Mapping[str, object]] = {
    "query": NO_TEXT,
    "operationName": NO_TEXT,
    "variables": NO_OBJECT,
    "extensions": NO_OBJECT,
}
"""What each part of a request cannot be."""

NO_REQUESTS = {
    "nothing": b"",
    "a number": b"1",
    "null": b"null",
    "a text": b'"{ ledger { name } }"',
    "half of it": b'{"query": "{ ledger',
    "not UTF-8": b'{"query": "\xff"}',
    "UTF-16": json.dumps(LEDGER).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + request(),
    "NaN": b'{"query": "{ ledger { name } }", "variables": {"x": NaN}}',
    "two values": request() + request(),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep variables": b'%s, "variables": {"x": %s}}'
    % (request()[:-1], b"[" * 5_000 + b"]" * 5_000),
    "a list of requests": b"[" + request() + b"]",
    "an empty list": b"[]",
    "no query": b"{}",
    "null for a query": b'{"query": null}',
    "an empty query": b'{"query": ""}',
    **{
        f"{what} for {name}": request(**{name: value})
        for name, wrong in WRONG.items()
        for what, value in wrong.items()
    },
    "another operation": request(operationName="Other"),
}
"""Bodies that are no requests."""


@pytest.mark.parametrize("accept", OFFERED)
@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_is_a_400_in_either_media_type(
    talking: Talking, body: bytes, accept: str
) -> None:
    answer = post(talking, body, accept)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert answer.headers["content-type"] == accept + UTF8


@pytest.mark.parametrize("name", ["variables", "operationName", "extensions"])
def test_null_is_as_good_as_left_out(talking: Talking, name: str) -> None:
    answer = post(talking, {**LEDGER, name: None})
    assert answer.json()["data"] == {"ledger": {"name": "main"}}


TWO = "query A { ledger { name } } mutation B { __typename }"


def test_of_several_operations_none_is_carried_out_that_is_not_named(talking: Talking) -> None:
    answer = post(talking, {"query": TWO}, RESPONSE)
    assert (answer.status_code, code(answer)) == (400, "OPERATION_RESOLUTION_FAILURE")
    assert "data" not in answer.json()
    for name, data in (("A", {"ledger": {"name": "main"}}), ("B", {"__typename": "Mutation"})):
        assert post(talking, {"query": TWO, "operationName": name}).json()["data"] == data


def test_a_get_carries_its_variables_as_json(talking: Talking) -> None:
    params = {
        "query": "query Q($name: String!) { __type(name: $name) { name } }",
        "variables": '{"name": "Ledger"}',
        "operationName": "Q",
        "extensions": '{"some": "value"}',
    }
    answer = talking.request("GET", "/graphql", params=params, headers={"accept": RESPONSE})
    assert answer.headers["content-type"] == RESPONSE + UTF8
    assert answer.json()["data"] == {"__type": {"name": "Ledger"}}


@pytest.mark.parametrize("accept", OFFERED)
@pytest.mark.parametrize("params", [{}, {"query": ""}, {"variables": "{}"}])
def test_a_get_without_a_query_is_a_400(
    talking: Talking, params: dict[str, str], accept: str
) -> None:
    answer = talking.request("GET", "/graphql", params=params, headers={"accept": accept})
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")


def test_a_number_that_is_none_and_half_a_character_break_no_answer() -> None:
    assert encoded({"a": float("nan"), "b": [float("inf")]}) == b'{"a":null,"b":[null]}'
    broken = encoded({"a": float("nan"), "b": [float("-inf"), "\ud800"], "c": 2**70})
    assert json.loads(broken) == {"a": None, "b": [None, "\ud800"], "c": 2**70}


def test_a_document_is_read_and_validated_once_and_its_cost_reckoned_each_time(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[DocumentNode] = []

    def validate(schema: Any, document: DocumentNode, *args: Any, **more: Any) -> Any:
        validated.append(document)
        return graphql.validate(schema, document, *args, **more)

    monkeypatch.setattr("app.schema.limits.validate", validate)
    query = "query OnceValidated($first: Int) { customers(first: $first) { totalCount } }"
    for first in (5, 50, None):
        answer = post(talking, {"query": query, "variables": {"first": first}}).json()
        assert answer["data"] == {"customers": {"totalCount": 0}}
        assert answer["extensions"]["cost"]["requested"] == (first or PAGE_DEFAULT)
    broken = {"query": "query OnceValidated { nothing }"}
    refused, again = (post(talking, broken, RESPONSE) for _ in range(2))
    assert (refused.status_code, refused.content) == (400, again.content)
    assert len(validated) == 2


@pytest.mark.parametrize("accept", OFFERED)
def test_the_same_request_is_answered_the_same_bytes(talking: Talking, accept: str) -> None:
    query = "{ ledger { name id } meters { nodes { id } } __schema { types { name } } }"
    assert len({post(talking, {"query": query}, accept).content for _ in range(3)}) == 1

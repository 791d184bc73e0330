"""Top-level errors: each has a code, none tells what went wrong inside."""

import json
import logging
from typing import Any

import pytest

from app.jobs import Busy, Closed
from app.ledger import Ledger
from app.logs import TextLines
from projections import current
from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.http import Talking

__all__ = ["client", "story"]


def only_error(answer: dict[str, Any]) -> dict[str, Any]:
    """The one error of an answer."""
    (error,) = answer["errors"]
    found: dict[str, Any] = error
    return found


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ('{ meters(name: "\\ud800") { totalCount } }', "GRAPHQL_PARSE_FAILED"),
        ("{ " + "ledger { id } " * 2_000 + "}", "LIMIT_EXCEEDED"),
        ("{ " + "a { " * 300 + "}" * 301, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ ledger }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ ledger { id(x: 1) } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: ID!) { ledger { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: Nothing) { node(id: $id) { id } }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_a_document_that_cannot_be_run(client: Asking, document: str, code: str) -> None:
    for _ in range(2):  # the second answer comes from the caches
        for error in client.ask(document)["errors"]:
            assert error["extensions"]["code"] == code


def test_a_missing_variable_is_named(client: Asking) -> None:
    error = only_error(client.ask("query($id: ID!) { node(id: $id) { id } }"))
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "path": ["id"]}


def test_at_most_twenty_errors(client: Asking) -> None:
    document = "{ " + " ".join(f"wrong{n}" for n in range(50)) + " }"
    assert len(client.ask(document)["errors"]) == 20


def test_a_bug_is_masked_and_logged_under_its_id(
    client: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(current, "select", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.ask("{ ledger { name } meters { nodes { id } } }")
    error = only_error(answer)
    assert error["message"] == "internal error"
    assert error["extensions"]["code"] == "INTERNAL"
    id = error["extensions"]["id"]
    assert id.startswith("err_")
    assert "secret" not in json.dumps(answer)
    (logged,) = caplog.records
    assert f"id={id}" in TextLines().format(logged)
    assert "the secret" in caplog.text


@pytest.mark.parametrize(("refusal", "code"), [(Busy, "TOO_BUSY"), (Closed, "SHUTTING_DOWN")])
def test_a_writer_that_takes_no_more(
    client: Asking, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception], code: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise refusal("17 requests")

    monkeypatch.setattr(Ledger, "execute", refuse)
    monkeypatch.setattr(Ledger, "record", refuse)
    for document in (
        'mutation { createProduct(input: {name: "x"}) { position } }',
        (
            'mutation { recordUsage(input: {records: [{id: "1", eventName: "x", customer: "y"}]})'
            " { position } }"
        ),
    ):
        answer = client.ask(document)
        assert answer["data"] is None
        assert only_error(answer)["extensions"] == {"code": code}
        assert "17" not in only_error(answer)["message"]


def test_a_refusal_says_its_reason_and_where(client: Asking) -> None:
    error = only_error(client.ask('{ usageRecords(meterId: "met_0") { totalCount } }'))
    assert error["message"] == "there is no meter met_0"
    assert error["path"] == ["usageRecords"]
    assert error["extensions"] == {
        "code": "BAD_USER_INPUT",
        "reason": "NOT_FOUND",
        "path": ["meterId"],
    }


def post(ledger: Ledger, body: object) -> Any:
    """The answer of the endpoint, as JSON."""

    headers = {"content-type": "application/json"}
    content = json.dumps(body)
    response = Talking(ledger).request("POST", "/graphql", content=content, headers=headers)
    assert response.status_code == 200
    return json.loads(response.content)


def test_over_http_whatever_is_echoed_is_json(client: Asking, story: Story) -> None:
    query = """mutation($input: RecordUsageInput!) { recordUsage(input: $input) {
        receipts { id status error { path } } } }"""
    variables = {"input": {"records": [tokens(1, id="\ud800")]}}
    answer = post(client.ledger, {"query": query, "variables": variables})
    (receipt,) = answer["data"]["recordUsage"]["receipts"]
    assert (receipt["id"], receipt["status"]) == ("\ud800", "REJECTED")
    answer = post(client.ledger, {"query": "{ nothing }"})
    assert only_error(answer)["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"

"""Documents that are named instead of sent: registered by clients, trusted, or nothing else."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.ledger import Ledger
from app.offers import Refused
from app.schema.guard import DOCUMENT_BYTES
from app.server import create_app
from app.settings import Settings, settings_from
from app.web import documents
from app.web.documents import Documents, read_manifest
from tests import marks
from tests.app.http import Talking

pytestmark = marks.HTTP

NAME = "{ ledger { name } }"
POSITION = "query Where($n: Int) { ledger { position } meters(first: $n) { totalCount } }"
MUTATION = 'mutation Make { createProduct(input: {name: "x"}) { position } }'
TRUSTED = {"8d4d": NAME, "where": POSITION, "make": MUTATION}


def sha256(text: str) -> str:
    """The name of a document."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def persisted(text: str) -> dict[str, Any]:
    """How Apollo's clients name a document."""
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256(text)}}


def post(talking: Talking, **asked: Any) -> httpx.Response:
    """What is answered to a POST."""
    return talking.request("POST", "/graphql", json=asked)


def get(talking: Talking, **asked: Any) -> httpx.Response:
    """What is answered to a GET."""
    params = {name: one if isinstance(one, str) else json.dumps(one) for name, one in asked.items()}
    return talking.request("GET", "/graphql", params=params)


def refused(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of the one error of an answer without data."""
    content = answer.json()
    (error,) = content.pop("errors")
    assert content == {}
    return answer.status_code, error["extensions"]["code"]


def name_of(answer: httpx.Response) -> str:
    """The name of the ledger that was asked for."""
    name: str = answer.json()["data"]["ledger"]["name"]
    return name


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest as Relay's compiler writes it."""
    path = tmp_path / "documents.json"
    path.write_text(json.dumps(TRUSTED))
    return path


def server(ledger: Ledger, mode: str, manifest: Path | None = None) -> Talking:
    """A client of a server in that mode."""
    path = str(manifest) if manifest else None
    return Talking(ledger, settings_from({}, trusted_documents=mode, trusted_manifest=path))


# ---------------------------------------------------------------------------------------- allow


@pytest.mark.parametrize("ask", [get, post])
def test_what_was_registered_is_found_by_its_digest(ledger: Ledger, ask: Any) -> None:
    talking = server(ledger, "allow")
    unknown = ask(talking, extensions=persisted(NAME))
    assert refused(unknown) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert unknown.headers["cache-control"] == "no-store"
    assert name_of(ask(talking, query=NAME, extensions=persisted(NAME))) == "main"
    assert name_of(ask(talking, extensions=persisted(NAME))) == "main"
    assert name_of(ask(talking, documentId=f"sha256:{sha256(NAME)}")) == "main"


@pytest.mark.parametrize("mode", ["off", "allow"])
def test_a_name_that_says_too_little_has_the_status_of_its_media_type(
    ledger: Ledger, mode: str
) -> None:
    for kind, status in (("json", 200), ("graphql-response+json", 400)):
        answer = server(ledger, mode).request(
            "POST",
            "/graphql",
            json={"extensions": persisted(NAME)},
            headers={"accept": f"application/{kind}"},
        )
        assert answer.headers["content-type"].startswith(f"application/{kind};")
        assert (answer.status_code, refused(answer)[1][:15]) == (status, "PERSISTED_QUERY")


def test_what_came_without_a_name_is_not_remembered(ledger: Ledger) -> None:
    talking = server(ledger, "allow")
    assert name_of(post(talking, query=NAME)) == "main"
    assert refused(post(talking, extensions=persisted(NAME)))[1] == "PERSISTED_QUERY_NOT_FOUND"


def test_nobody_registers_a_document_under_the_name_of_another(ledger: Ledger) -> None:
    talking = server(ledger, "allow")
    answer = post(talking, query=MUTATION, extensions=persisted(NAME))
    assert refused(answer) == (400, "PERSISTED_QUERY_MISMATCH")
    assert ledger.store.head()[0] == 1
    assert refused(post(talking, extensions=persisted(NAME)))[1] == "PERSISTED_QUERY_NOT_FOUND"
    assert refused(post(talking, query=NAME, documentId="8d4d"))[1] == "PERSISTED_QUERY_MISMATCH"


def test_trusted_documents_are_known_where_others_are_allowed(
    ledger: Ledger, manifest: Path
) -> None:
    talking = server(ledger, "allow", manifest)
    assert name_of(post(talking, documentId="8d4d")) == "main"
    assert name_of(post(talking, extensions=persisted(NAME))) == "main"
    assert name_of(post(talking, documentId="8d4d", query=NAME)) == "main"
    answer = post(talking, documentId="where", operationName="Where", variables={"n": 1})
    assert answer.json()["data"] == {"ledger": {"position": "1"}, "meters": {"totalCount": 0}}
    assert name_of(post(talking, query="{ ledger { name id } }")) == "main"


def test_a_mutation_by_get_is_refused_also_by_its_name(ledger: Ledger, manifest: Path) -> None:
    answer = get(server(ledger, "only", manifest), documentId="make")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert ledger.store.head()[0] == 1


def test_those_asked_for_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "REGISTERED_LIMIT", 2)
    known = Documents()
    texts = [f"{{ ledger {{ name }} }} #{number}" for number in range(3)]
    for text in texts[:2]:
        known.text_of(text, None, persisted(text))
    known.text_of(None, None, persisted(texts[0]))
    known.text_of(texts[2], None, persisted(texts[2]))
    assert known.text_of(None, None, persisted(texts[0])) == texts[0]
    assert known.text_of(None, None, persisted(texts[2])) == texts[2]
    with pytest.raises(Refused, match="PersistedQueryNotFound"):
        known.text_of(None, None, persisted(texts[1]))


def test_what_is_too_long_to_be_carried_out_is_not_remembered() -> None:
    known, text = Documents(), "{ ledger { name } }" + " " * DOCUMENT_BYTES
    assert known.text_of(text, None, persisted(text)) == text
    with pytest.raises(Refused, match="PersistedQueryNotFound"):
        known.text_of(None, None, persisted(text))


@pytest.mark.parametrize(
    "asked",
    [
        {"documentId": 1},
        {"documentId": ["sha256:00"]},
        {"extensions": {"persistedQuery": 1}},
        {"extensions": {"persistedQuery": {"sha256Hash": sha256(NAME)}}},
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": sha256(NAME)}}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": None}}},
        {"documentId": sha256(POSITION), "extensions": persisted(NAME)},
        {"extensions": 1},
        {"extensions": [{"persistedQuery": 1}]},
        {"query": 1, "extensions": persisted(NAME)},
    ],
)
@pytest.mark.parametrize("mode", ["allow", "only"])
def test_a_name_that_is_none_is_a_typed_400(
    ledger: Ledger, manifest: Path, mode: str, asked: dict[str, Any]
) -> None:
    assert refused(post(server(ledger, mode, manifest), **asked)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("odd", ["", "\ud800", "\0", "x" * 10_000, "sha256:", "sha256:sha256:"])
def test_odd_names_are_not_found(ledger: Ledger, odd: str) -> None:
    talking = server(ledger, "allow")
    body = json.dumps({"documentId": odd}).encode()
    answer = talking.request(
        "POST", "/graphql", content=body, headers={"content-type": "application/json"}
    )
    assert refused(answer) == (200, "PERSISTED_QUERY_NOT_FOUND")


def test_half_a_surrogate_pair_is_no_document_under_any_name(ledger: Ledger) -> None:
    talking, text = server(ledger, "allow"), NAME + "#\ud800"
    body = json.dumps({"query": text, "extensions": persisted(text)}).encode()
    headers = {"content-type": "application/json"}
    sent = talking.request("POST", "/graphql", content=body, headers=headers)
    for answer in (sent, post(talking, extensions=persisted(text))):
        (error,) = answer.json()["errors"]
        assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"


# ------------------------------------------------------------------------------------------ off


def test_off_means_that_documents_come_as_text(ledger: Ledger, manifest: Path) -> None:
    talking = server(ledger, "off", manifest)
    for answer in (
        post(talking, extensions=persisted(NAME)),
        get(talking, extensions=persisted(NAME)),
        post(talking, documentId="8d4d"),
    ):
        assert refused(answer) == (200, "PERSISTED_QUERY_NOT_SUPPORTED")
        assert answer.json()["errors"][0]["message"] == "PersistedQueryNotSupported"
    assert name_of(post(talking, query=NAME, extensions=persisted(NAME))) == "main"
    assert refused(post(talking))[0] == 400


# ----------------------------------------------------------------------------------------- only


@pytest.mark.parametrize("ask", [get, post])
def test_only_what_is_trusted_is_carried_out(ledger: Ledger, manifest: Path, ask: Any) -> None:
    talking = server(ledger, "only", manifest)
    assert name_of(ask(talking, documentId="8d4d")) == "main"
    assert name_of(ask(talking, documentId=f"sha256:{sha256(NAME)}")) == "main"
    assert name_of(ask(talking, extensions=persisted(NAME))) == "main"
    assert name_of(ask(talking, query=NAME)) == "main"
    other = "{ ledger { id } }"
    for asked in (
        {"query": other},
        {"query": NAME + " "},
        {"query": other, "extensions": persisted(other)},
        {"extensions": persisted(other)},
        {"documentId": "another"},
    ):
        assert refused(ask(talking, **asked)) == (400, "DOCUMENT_NOT_TRUSTED")


def test_the_explorer_says_that_it_is_closed(ledger: Ledger, manifest: Path) -> None:
    closed = server(ledger, "only", manifest).request("GET", "/graphiql")
    assert closed.status_code == 403
    assert "TALLYBOOK_TRUSTED_DOCUMENTS=only" in closed.text
    assert server(ledger, "allow", manifest).request("GET", "/graphiql").status_code == 200


# ------------------------------------------------------------------------------------ manifests

APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [{"id": sha256(NAME), "name": "Name", "type": "query", "body": NAME}],
}


def test_a_directory_holds_manifests_of_several_clients(tmp_path: Path) -> None:
    (tmp_path / "apollo.json").write_text(json.dumps(APOLLO))
    (tmp_path / "relay.json").write_text(json.dumps({"8d4d": NAME, "where": POSITION}))
    (tmp_path / "README").write_text("not a manifest")
    assert read_manifest(tmp_path) == {sha256(NAME): NAME, "8d4d": NAME, "where": POSITION}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "1",
        "{}",
        '{"a": 1}',
        '{"a": {"b": "c"}}',
        "[" * 100_000,
        json.dumps({**APOLLO, "version": 2}),
        json.dumps({**APOLLO, "format": "other"}),
        json.dumps({**APOLLO, "operations": [{"id": "a"}]}),
        json.dumps({**APOLLO, "operations": [{"id": "a", "body": b} for b in "xy"]}),
    ],
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"TALLYBOOK_TRUSTED_MANIFEST: .*broken\.json: "):
        read_manifest(path)


@pytest.mark.parametrize("names", [[], ["missing.json"]])
def test_a_manifest_must_be_there(ledger: Ledger, tmp_path: Path, names: Sequence[str]) -> None:
    path = tmp_path.joinpath("manifests", *names)
    (tmp_path / "manifests").mkdir()
    with pytest.raises(ValueError, match="TALLYBOOK_TRUSTED_MANIFEST: "):
        create_app(ledger, Settings(trusted_manifest=str(path)))


def test_only_without_a_manifest_is_refused_at_the_start(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="TALLYBOOK_TRUSTED_MANIFEST: nothing could be asked"):
        create_app(ledger, Settings(trusted_documents="only"))


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="TALLYBOOK_TRUSTED_DOCUMENTS: Invalid enum value 'some'"):
        settings_from({"TALLYBOOK_TRUSTED_DOCUMENTS": "some"})

"""A key, and the secret that keys are hashed under, stand nowhere but where they were given."""

import io
import logging
import os
import subprocess
import sys
import traceback
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from app import keys, server_secret
from app.cli import main
from app.keys import Scope
from app.settings import Settings
from tests import marks
from tests.app.keyed import OTHER, Keyed, keyed
from tests.app.test_logs import lines
from tests.benchmarks.serving import ready, stop
from tests.house import ROOT
from tests.ports import free_port

__all__ = ["lines"]

QUERY = "{ ledger { id } ledgerEvents(last: 3) { nodes { data actor } } }"
WRONG = (
    {"content": b"{"},
    {"json": {"query": "{ nothing }"}},
    {"json": {"query": "mutation { createProduct(input: {}) { position } }"}},
    {"json": {"query": QUERY, "operationName": "nobody"}},
)


def mistyped(text: str) -> str:
    """A key that somebody typed with one wrong letter: nearly as secret as the key."""
    return text[:40] + ("a" if text[40] != "a" else "b") + text[41:]


def secrets_of(text: str) -> list[str]:
    """What must stand nowhere: the secret of a key, also without its checksum, or half of it."""
    secret = text.split("_")[2]
    return [secret[:43], secret[:20], secret[22:43]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Keyed]:
    """Two ledgers, served to whoever has a key."""
    with keyed(tmp_path / "data") as opened:
        yield opened


def everything_said(served: Keyed, key: str) -> Iterator[str]:
    """What is answered to requests with a key, good ones and others, headers and all."""
    asked: list[dict[str, Any]] = [{"json": {"query": QUERY}}, *WRONG]
    for one in asked:
        for text in (key, mistyped(key), key.upper(), f"{key} "):
            answer = served.request("POST", "/graphql", text, **one)
            yield f"{answer.headers}{answer.text}"
    for path in ("/v1/usage", "/api/v1/events", "/v1/billing/meter_events", "/invoices/x", "/none"):
        for method in ("GET", "POST"):
            answer = served.request(method, path, key, content=b"[{}]")
            yield f"{answer.headers}{answer.text}"
    yield served.request("GET", "/metrics", key).text


def test_answers_logs_and_figures_hold_no_key(
    served: Keyed, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    key = served.key()
    said = list(everything_said(served, key))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("projections.current.select", broken)
    monkeypatch.setattr("app.invoice_page.document", broken)
    for path in ("/graphql", "/invoices/inv_1"):
        content = {"query": "{ meters { totalCount } }"}
        answer = served.request("POST" if path == "/graphql" else "GET", path, key, json=content)
        said.append(f"{answer.headers}{answer.text}")
    assert "a bug" in lines.getvalue()
    assert str(keys.id_in(key)) in lines.getvalue()  # who it was may be known
    hidden = [*secrets_of(key), server_secret.read(served.settings).decode()]
    for text in (*said, lines.getvalue()):
        assert not [one for one in hidden if one.lower() in text.lower()]


@pytest.mark.parametrize(
    ("headers", "stage"),
    [({}, "app/web/access.py"), ({"x-tallybook-position": "1"}, "app/web/auth.py")],
)
def test_a_bug_shows_no_key_to_who_prints_the_variables_of_every_frame(
    served: Keyed, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], stage: str
) -> None:
    found: list[str] = []

    def reported(*_: object, **__: object) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        found.extend(report.format())

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("app.web.access._log.exception", reported)
    monkeypatch.setattr("app.invoice_page.document", broken)
    key = served.key()
    assert served.request("GET", "/invoices/inv_1", key, headers=headers).status_code == 500
    text = "".join(found)
    assert stage in text
    assert "user-agent" in text  # other headers are there to be seen
    assert not [hidden for hidden in secrets_of(key) if hidden in text]


@marks.COMMANDS
def test_what_is_kept_or_handed_out_holds_no_key(
    served: Keyed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = served.key()
    served.data(key, 'mutation { createProduct(input: {name: "x"}) { position } }')
    data, out = str(served.settings.data), tmp_path / "out"
    out.mkdir()
    hidden = [*secrets_of(key), server_secret.read(served.settings).decode()]
    for arguments in (
        ["export", "--to", str(out / "log.jsonl")],
        ["export", "--csv", "customers", "--to", str(out / "customers.csv")],
        ["export", "--journal", "beancount", "--to", str(out / "journal")],
        ["backup", "--to", str(out / "backup")],
        ["fork", str(out / "fork")],
        ["key", "list"],
        ["ledger", "list"],
    ):
        assert main([*arguments, "--data", data]) == 0
    said = capsys.readouterr()
    kept = [path for path in (*out.rglob("*"), *Path(data).rglob("*")) if path.is_file()]
    assert len(kept) > 10
    for text in (said.out, said.err, repr(served.settings), repr(served.served.__dict__)):
        assert not [one for one in hidden if one in text]
    for path in kept:
        if path.name != server_secret.FILE:
            assert not [one for one in hidden if one.encode() in path.read_bytes()], path


def served_apart(data: Path, log: Path, secret: str) -> "tuple[subprocess.Popen[bytes], str]":
    """A server in a process of its own, and its address."""
    port = free_port()
    options = ["--data", str(data), "--port", str(port), "--log-level", "debug"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", *options],
            cwd=ROOT,
            env={**os.environ, "TALLYBOOK_SECRET": secret},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return process, f"http://127.0.0.1:{port}"


def asked(url: str, key: str) -> int:
    """The status of a request."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@marks.COMMANDS
def test_a_process_shows_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "the secret of this test, and of no other one"
    monkeypatch.setenv("TALLYBOOK_SECRET", secret)
    data, log = tmp_path / "data", tmp_path / "log"
    assert main(["ledger", "create", "main", "--data", str(data)]) == 0
    capsys.readouterr()
    assert main(["key", "create", "--data", str(data), "--scope", str(Scope.ADMIN)]) == 0
    key = capsys.readouterr().out.strip()
    process, url = served_apart(data, log, secret)
    try:
        assert ready(process, url)
        statuses = [asked(f"{url}{path}", key) for path in ("/metrics", "/invoices/x", "/none")]
        assert statuses == [200, 404, 404]
        assert asked(f"{url}/metrics", mistyped(key)) == 401
        # While it serves, a key is made and another one revoked: it is noticed at once.
        assert main(["key", "create", "--data", str(data), "--scope", "admin"]) == 0
        other = capsys.readouterr().out.strip()
        assert asked(f"{url}/metrics", other) == 200
        assert main(["key", "revoke", "--data", str(data), str(keys.id_in(other))]) == 0
        assert asked(f"{url}/metrics", other) == 401
        shown = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(process.pid)],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    finally:
        stop(process)
    said = log.read_text()
    assert "app.cli" in shown
    assert str(keys.id_in(key)) in said
    hidden: Sequence[str] = (*secrets_of(key), *secrets_of(other), secret)
    assert not [one for one in hidden if one in said + shown]


def test_settings_are_printed_without_the_secret() -> None:
    text = "correct horse battery staple, and more"
    assert text not in repr(Settings(secret=text))
    assert OTHER not in repr(Settings())

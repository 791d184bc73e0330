"""Ledgers and keys as an operator makes, lists and ends them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app import keys, server_secret
from app.cli import main
from app.settings import Settings, settings_from
from tests import marks
from tests.house import ROOT

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with its first ledger and another one."""
    assert main(["ledger", "create", "main", "--data", str(tmp_path)]) == 0
    assert main(["ledger", "create", "shop", "--data", str(tmp_path)]) == 0
    return tmp_path


def said(capsys: Capture, *arguments: object) -> list[str]:
    """What a command says on standard output."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys: Capture, *arguments: object) -> str:
    """What a command says when it does not do it."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    return answer.err


def test_the_first_ledger_is_the_data_directory_itself(data: Path, capsys: Capture) -> None:
    rows = [line.split() for line in said(capsys, "ledger", "list", "--data", data)]
    assert rows == [
        ["NAME", "WHERE", "KEYS", "POSITION"],
        ["main", str(data), "0", "1"],
        ["shop", str(data / "ledgers/shop"), "0", "1"],
    ]


def test_every_command_is_about_one_ledger(data: Path, capsys: Capture) -> None:
    said(capsys, "demo", "--data", data, "--ledger", "shop")
    assert said(capsys, "verify", "--data", data)[0].startswith("1 events")
    assert not said(capsys, "verify", "--data", data, "--ledger", "shop")[0].startswith("1 events")
    assert "no ledger nix" in refused(capsys, "verify", "--data", data, "--ledger", "nix")


@marks.COMMANDS
def test_an_imported_log_is_a_ledger_of_its_own(
    data: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "log.jsonl"
    said(capsys, "export", "--data", data, "--ledger", "shop", "--to", file)
    said(capsys, "import", "--data", data, "--ledger", "copy", file)
    names = [line.split()[0] for line in said(capsys, "ledger", "list", "--data", data)]
    assert names == ["NAME", "copy", "main", "shop"]
    assert "already" in refused(capsys, "import", "--data", data, "--ledger", "shop", file)


@marks.COMMANDS
def test_the_first_ledger_may_come_after_others(tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "data"
    said(capsys, "ledger", "create", "shop", "--data", data)
    file = tmp_path / "log.jsonl"
    said(capsys, "export", "--data", data, "--ledger", "shop", "--to", file)
    said(capsys, "import", "--data", data, file)
    assert said(capsys, "verify", "--data", data)[-1].startswith("ok")


@pytest.mark.parametrize("name", ["../x", "A", "-a", "", "a" * 64, "a/b", "."])
def test_a_name_that_could_lead_elsewhere_is_refused(
    data: Path, capsys: Capture, name: str
) -> None:
    assert "a ledger's name" in refused(capsys, "ledger", "create", f"--data={data}", "--", name)


@pytest.mark.parametrize("name", ["main", "shop"])
def test_a_ledger_is_made_once(data: Path, capsys: Capture, name: str) -> None:
    assert "already" in refused(capsys, "ledger", "create", name, "--data", data)


def test_a_key_stands_alone_on_standard_output(data: Path, capsys: Capture) -> None:
    arguments = ["--scope", "usage:write", "--scope", "audit:read", "--label", "the API"]
    [text] = said(capsys, "key", "create", "--data", data, *arguments)
    id = keys.id_in(text)
    listed = said(capsys, "key", "list", "--data", data)
    assert len(listed) == 2
    assert re.search(rf"^{id} +main +the API +audit:read,usage:write +live ", listed[1])
    assert text not in "\n".join(listed)


def test_keys_are_listed_by_ledger(data: Path, capsys: Capture) -> None:
    said(capsys, "key", "create", "--data", data, "--scope", "admin")
    said(capsys, "key", "create", "--data", data, "--scope", "admin", "--ledger", "shop")
    assert len(said(capsys, "key", "list", "--data", data)) == 3
    [_, row] = said(capsys, "key", "list", "--data", data, "--ledger", "shop")
    assert row.split()[1] == "shop"


def test_a_key_is_replaced_and_revoked(data: Path, capsys: Capture) -> None:
    [text] = said(capsys, "key", "create", "--data", data, "--scope", "admin")
    id = keys.id_in(text)
    said(capsys, "key", "create", "--data", data, "--replaces", id, "--overlap", "PT1H")
    assert said(capsys, "key", "revoke", "--data", data, id) == [f"{id} is revoked"]
    rows = said(capsys, "key", "list", "--data", data)[1:]
    assert [re.search("live|revoked|expired", row)[0] for row in rows] == ["revoked", "live"]  # type: ignore[index]  # it is there


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create"], "a key needs a scope"),
        (["create", "--scope", "admin", "--expires", "P1M"], "expires: P1M"),
        (["create", "--scope", "admin", "--expires", "2026-01-01"], "expires: An instant is"),
        (["create", "--scope", "admin", "--expires", "2026-01-01T00:00:00Z"], "cannot expire"),
        (["create", "--scope", "admin", "--requests", "0"], "--requests: from 1"),
        (["create", "--scope", "admin", "--ledger", "nix"], "no ledger nix"),
        (["create", "--scope", "admin", "--replaces", "key_x"], "has its ledger and its scopes"),
        (["revoke", "key_x"], "there is no key"),
    ],
)
def test_what_cannot_be_is_said_in_words(
    data: Path, capsys: Capture, arguments: list[str], reason: str
) -> None:
    action, *rest = arguments
    assert reason in refused(capsys, "key", action, "--data", data, *rest)


def test_a_key_given_for_its_id_is_not_repeated(data: Path, capsys: Capture) -> None:
    [text] = said(capsys, "key", "create", "--data", data, "--scope", "admin")
    assert text not in refused(capsys, "key", "revoke", "--data", data, text)
    assert text not in refused(capsys, "key", "create", "--data", data, "--replaces", text)


def test_keys_need_a_directory_with_a_ledger(tmp_path: Path, capsys: Capture) -> None:
    none = tmp_path / "none"
    for arguments in (["key", "list"], ["key", "create", "--scope", "admin"], ["ledger", "list"]):
        assert "there is no ledger" in refused(capsys, *arguments, "--data", none)
    assert not none.exists()


def test_the_keys_of_a_ledger_in_a_database_are_kept_in_the_directory(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    monkeypatch.setenv("TALLYBOOK_DATABASE", "postgresql://nobody@127.0.0.1:1/none?schema=x")
    [text] = said(capsys, "key", "create", "--data", data, "--scope", "admin")
    assert str(keys.id_in(text)) in said(capsys, "key", "list", "--data", data)[1]
    refused(capsys, "ledger", "create", "main", "--data", data)
    assert not (data / "ledger.db").exists()


def test_the_secret_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    first = server_secret.read(settings)
    assert len(first) == 64
    assert server_secret.read(settings) == first
    assert [path.name for path in tmp_path.iterdir()] == [server_secret.FILE]
    (tmp_path / server_secret.FILE).chmod(0o644)
    with pytest.raises(ValueError, match="may be read by others"):
        server_secret.read(settings)


def test_of_many_who_make_the_secret_one_wins(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from app import server_secret; from app.settings import Settings;"
        "print(server_secret.read(Settings(data=pathlib.Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    assert len({one.communicate(timeout=60)[0] for one in running}) == 1


def test_a_secret_may_come_from_the_environment_and_is_never_shown(tmp_path: Path) -> None:
    text = "correct horse battery staple, and more"
    settings = settings_from({"TALLYBOOK_SECRET": text, "TALLYBOOK_DATA": str(tmp_path)})
    assert server_secret.read(settings) == text.encode()
    assert text not in repr(settings)
    assert list(tmp_path.iterdir()) == []
    short = settings_from({"TALLYBOOK_SECRET": "hunter2"})
    with pytest.raises(ValueError, match="at least 32") as refusal:
        server_secret.read(short)
    assert "hunter2" not in str(refusal.value)

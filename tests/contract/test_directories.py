"""One data directory has ledgers in files and on several PostgreSQL servers, beside each other."""

import io
import logging
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import served
from app.cli import main
from app.control import FILE, MAIN, Control, home_of, schema_of
from app.settings import Auth, Settings
from projections.places import Place
from tests.app.keyed import Keyed, serving_directory
from tests.app.test_logs import lines
from tests.benchmarks.serving import serving
from tests.contract.test_commands import did, refused, schemas
from tests.postgres import Server, running

__all__ = ["lines"]

Capture = pytest.CaptureFixture[str]
PASSWORD = "correct-horse%40battery"
WRITTEN = "correct-horse@battery"
"""A password as it stands in an address, and what it is."""
JSON = {"accept": "application/json"}

_numbers = count(1)


def database(server: Server, schema: str | None = None) -> str:
    """The address of a database, or of a ledger in it, with a password that nobody asks for."""
    address = server.address(schema or "any").replace("postgres@", f"postgres:{PASSWORD}@")
    return address if schema else address.partition("?")[0]


@pytest.fixture
def name() -> str:
    """The name of a ledger that nobody has begun."""
    return f"shop-{next(_numbers)}"


@pytest.fixture
def data(tmp_path: Path, postgres: Server, name: str, capsys: Capture) -> Path:
    """A data directory with its first ledger in files, one more there, and one in PostgreSQL."""
    data = tmp_path / "data"
    for one in (MAIN, "other"):
        did(capsys, "ledger", "create", one, "--data", data)
    did(capsys, "ledger", "create", name, "--data", data, "--database", database(postgres))
    return data


def settings(data: Path) -> Settings:
    """How it is served."""
    return Settings(data=data, auth=Auth.KEYS)


# --------------------------------------------------------------------------- the directory of them


def test_a_ledger_is_made_in_a_schema_of_its_name(
    data: Path, postgres: Server, name: str, capsys: Capture
) -> None:
    schema = f"ledger_{name.replace('-', '__')}"
    shown = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres?schema={schema}"
    rows = [line.split() for line in did(capsys, "ledger", "list", "--data", data).splitlines()]
    assert rows == [
        ["NAME", "WHERE", "KEYS", "POSITION"],
        ["main", str(data), "0", "1"],
        ["other", str(data / "ledgers/other"), "0", "1"],
        [name, shown, "0", "1"],
    ]
    assert {schema, f"{schema}_views"} <= schemas(postgres)
    did(capsys, "demo", "--data", data, "--ledger", name)
    assert "ok: nothing was touched" in did(capsys, "verify", "--data", data, "--ledger", name)
    assert did(capsys, "verify", "--data", data).startswith("1 events")


def test_the_database_that_is_set_takes_new_ledgers_unless_files_are_asked_for(
    postgres: Server, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (f"set-{next(_numbers)}" for _ in range(3))
    monkeypatch.setenv("TALLYBOOK_DATABASE", database(postgres, f"set_{next(_numbers)}"))
    create = ("ledger", "create", "--data", tmp_path)
    assert "?schema=set_" in did(capsys, *create, MAIN)
    assert f"?schema={schema_of(first)}" in did(capsys, *create, first)
    own = database(postgres, f"own_{next(_numbers)}")
    assert "?schema=own_" in did(capsys, *create, second, "--database", own)
    assert str(tmp_path / "ledgers") in did(capsys, *create, third, "--files")
    for name in (first, second, third):
        did(capsys, "verify", "--data", tmp_path, "--ledger", name)
    monkeypatch.delenv("TALLYBOOK_DATABASE")  # where they are was noted
    for name in (MAIN, first, second, third):
        did(capsys, "verify", "--data", tmp_path, "--ledger", name)


def test_a_ledger_is_imported_under_a_name(
    data: Path, postgres: Server, name: str, tmp_path: Path, capsys: Capture
) -> None:
    log, copy = tmp_path / "log.jsonl", f"copy-{next(_numbers)}"
    did(capsys, "demo", "--data", data, "--ledger", "other")
    did(capsys, "export", "--data", data, "--ledger", "other", "--to", log)
    into = ["--data", data, "--ledger", copy, "--database", database(postgres)]
    did(capsys, "import", *into, log)
    for command in (["import", log], ["ledger", "create", copy]):
        assert f"there is a ledger {copy} in postgresql://" in refused(
            capsys, *command, *(into[:2] if command[0] == "ledger" else into)
        )
    again = tmp_path / "again.jsonl"
    did(capsys, "export", "--data", data, "--ledger", copy, "--to", again)
    assert again.read_bytes() == log.read_bytes()


def test_one_place_has_one_ledger(data: Path, postgres: Server, name: str, capsys: Capture) -> None:
    there = database(postgres, schema_of(name))
    create = ["ledger", "create", "twin", "--data", data, "--database", there]
    assert "there is a ledger in postgresql://" in refused(capsys, *create)
    placed = ["ledger", "place", "other", "--data", data, "--database", there]
    assert f"has the ledger {name}" in refused(capsys, *placed)


def test_names_come_to_schemas_that_differ() -> None:
    names = ["a", "a-views", "a--views", "a-", "a-new", "views", "new-views", "a-new-views"]
    ours = [schema_of(name) + tail for name in names for tail in ("", "_views", "_new_views")]
    assert len(set(ours)) == len(ours)
    with pytest.raises(ValueError, match="too long for a schema"):
        schema_of("a" * 40)


def test_a_ledger_that_moved_is_noted_where_it_is_now(
    data: Path, postgres: Server, name: str, tmp_path: Path, capsys: Capture
) -> None:
    log, there = tmp_path / "log.jsonl", database(postgres, f"moved_{next(_numbers)}")
    did(capsys, "export", "--data", data, "--ledger", name, "--to", log)
    place = ["ledger", "place", name, "--data", data, "--database", there]
    assert "there is no ledger in postgresql://" in refused(capsys, *place)
    did(capsys, "import", "--data", tmp_path / "aside", "--database", there, log)
    key = did(capsys, "key", "create", "--data", data, "--ledger", name, "--scope", "admin")
    assert "?schema=moved_" in did(capsys, *place)
    with serving_directory(settings(data)) as opened:
        assert opened.served.ledgers[name].place == Place.of(there)
        assert opened.ask(key.strip(), "{ ledger { id } }").status_code == 200


def test_a_ledger_goes_back_into_its_folder(
    data: Path, name: str, tmp_path: Path, capsys: Capture
) -> None:
    log, aside, folder = tmp_path / "log.jsonl", tmp_path / "aside", data / "ledgers" / name
    did(capsys, "demo", "--data", data, "--ledger", name)
    did(capsys, "export", "--data", data, "--ledger", name, "--to", log)
    place = ["ledger", "place", name, "--data", data, "--files"]
    assert f"there is no ledger in {folder}" in refused(capsys, *place)
    did(capsys, "import", "--data", aside, "--files", log)
    for file in ("ledger.db", "views.db"):
        (aside / file).rename(folder / file)
    assert f"{name}: in {folder}, at position" in did(capsys, *place)
    did(capsys, "export", "--data", data, "--ledger", name, "--to", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == log.read_bytes()


def test_another_place_than_the_one_that_is_noted_is_refused(
    data: Path, postgres: Server, name: str, capsys: Capture
) -> None:
    named = ["--data", data, "--ledger", name]
    elsewhere = database(postgres, "elsewhere")
    for command in (["verify"], ["serve"], ["export"], ["demo"]):
        said = refused(capsys, *command, *named, "--database", elsewhere)
        assert f"the ledger {name} is in postgresql://" in said
        assert "not in the schema elsewhere" in said
    files = refused(capsys, "verify", "--data", data, "--ledger", "other", "--database", elsewhere)
    assert f"the ledger other is in {data}" in files
    newer = database(postgres, schema_of(name)).replace(PASSWORD, "newer")
    did(capsys, "verify", *named, "--database", newer)


# ---------------------------------------------------------------------------------------- served


def test_one_process_serves_them_all(data: Path, name: str) -> None:
    with serving_directory(settings(data)) as opened:
        assert sorted(opened.served.ledgers) == sorted([MAIN, "other", name])
        for ledger in (MAIN, "other", name):
            key = opened.key(ledger=ledger)
            found = opened.data(key, "{ ledger { name } }")
            assert found == {"ledger": {"name": ledger}}
            body = [{"id": ledger, "eventName": "tokens", "customer": "al", "value": "1"}]
            assert opened.request("POST", "/v1/usage", key, json=body).json()["unmatched"] == 1
            assert "tallybook_ledger_events 2.0" in opened.request("GET", "/metrics", key).text


def test_a_server_finds_them_where_they_were_noted(
    postgres: Server, tmp_path: Path, capsys: Capture
) -> None:
    for one in (MAIN, f"served-{next(_numbers)}"):
        there = database(postgres, f"served_{next(_numbers)}")
        did(capsys, "ledger", "create", one, "--data", tmp_path, "--database", there)
    with serving(tmp_path) as server:
        for ledger in (MAIN, one):
            body = [{"id": ledger, "eventName": "tokens", "customer": "al", "value": "1"}]
            headers = {"x-tallybook-ledger": ledger}
            answer = httpx.post(f"{server.url}/v1/usage", json=body, headers=headers)
            assert answer.json()["unmatched"] == 1
    assert not (tmp_path / "ledger.db").exists()
    rows = did(capsys, "ledger", "list", "--data", tmp_path).splitlines()[1:]
    assert [row.split()[-1] for row in rows] == ["2", "2"]


def test_sizes_are_measured_wherever_a_ledger_is(data: Path, name: str) -> None:
    with serving_directory(settings(data)) as opened:
        for ledger in ("other", name):
            text = opened.request("GET", "/metrics", opened.key(ledger=ledger)).text
            found = {line.split()[0]: line.split()[1] for line in text.splitlines()}
            for what in ("tallybook_ledger_bytes", "tallybook_views_bytes"):
                assert float(found[what]) > 4_096


def ready(opened: Keyed, query: str = "") -> tuple[int, dict[str, Any]]:
    """What `/readyz` answers."""
    answer = opened.request("GET", f"/readyz{query}", None, headers=JSON)
    return answer.status_code, answer.json()


def test_every_ledger_on_every_server_must_be_well_to_be_ready(
    postgres: Server,
    tmp_path: Path,
    capsys: Capture,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("app.postgres_store", "projections.postgres_tables"):
        monkeypatch.setattr(f"{module}._WAIT_SECONDS", 0.5)
    data, near = tmp_path / "data", f"near-{next(_numbers)}"
    did(capsys, "ledger", "create", MAIN, "--data", data)
    did(capsys, "ledger", "create", near, "--data", data, "--database", database(postgres))
    with running() as server:
        did(capsys, "ledger", "create", "far", "--data", data, "--database", database(server))
        with serving_directory(settings(data)) as opened:
            well = (200, {"status": "ready", "position": 1, "problems": {}})
            assert ready(opened) == well
            server.stop()
            for _ in range(2):
                status, said = ready(opened)
                assert (status, said["status"], said["position"]) == (503, "not ready", 1)
                assert said["problems"] == {
                    "others": "1 of 3 ledgers cannot be served; see the log"
                }
            status, said = ready(opened, "?of=any")
            assert (status, said["status"]) == (200, "ready")
            for one in (MAIN, near):
                found = opened.data(opened.key(ledger=one), "{ ledger { name } }")
                assert found == {"ledger": {"name": one}}
            server.start()
            again = (ready(opened) for _ in range(60))  # it may take a moment to connect again
            assert next(found for found in again if found[0] == 200) == well
    told = [one.getMessage() for one in caplog.records if one.name == "tallybook.health"]
    assert [line.partition(":")[0] for line in told] == [
        "a ledger cannot be served",
        "a ledger can be served again",
    ]


def test_a_ledger_whose_server_is_away_is_served_once_it_is_back(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "TRY_AGAIN_LOOKS", 2)
    data = tmp_path / "data"
    did(capsys, "ledger", "create", MAIN, "--data", data)
    with running() as server:
        did(capsys, "ledger", "create", "far", "--data", data, "--database", database(server))
        server.stop()
        listed = did(capsys, "ledger", "list", "--data", data).splitlines()
        assert [line.endswith("cannot be reached") for line in listed] == [False, True, False]
        with serving_directory(settings(data)) as opened:
            assert list(opened.served.ledgers) == [MAIN]
            assert ready(opened)[0] == 503
            server.start()
            for _ in range(2):
                opened.served.open_others()
            assert sorted(opened.served.ledgers) == ["far", MAIN]
            assert ready(opened)[0] == 200


# --------------------------------------------------------------------------------------- passwords


def test_a_password_stands_nowhere_but_in_the_control_database(
    data: Path,
    postgres: Server,
    name: str,
    tmp_path: Path,
    capsys: Capture,
    lines: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    logging.getLogger().setLevel(logging.DEBUG)
    did(capsys, "demo", "--data", data, "--ledger", name)
    out = tmp_path / "out"
    out.mkdir()
    capsys.readouterr()
    named = ["--data", str(data), "--ledger", name]
    codes = [
        main([*command, *named])
        for command in (
            ["export", "--to", str(out / "log.jsonl")],
            ["export", "--csv", "usage", "--to", str(out / "usage.csv")],
            ["export", "--journal", "hledger", "--to", str(out / "journal")],
            ["fork", str(out / "fork")],
            ["checkpoint"],
            ["replay"],
            ["verify", "--json"],
            ["backup", "--to", str(out / "copy")],
            ["verify", "--database", database(postgres, "elsewhere")],
        )
    ]
    assert codes == [0] * 7 + [2] * 2
    assert main(["ledger", "list", "--data", str(data)]) == 0
    with serving_directory(settings(data)) as opened:
        key = opened.key(ledger=name)
        monkeypatch.setattr(opened.served.ledgers[name].store, "_select", broken)
        said = [
            f"{answer.headers}{answer.text}"
            for answer in (
                opened.ask(key, "{ ledgerEvents(last: 3) { nodes { data } } }"),
                opened.request("GET", "/metrics", key),
                opened.request("GET", "/readyz", None),
            )
        ]
        shown = [repr(opened.served.__dict__), repr(settings(data)), repr(home_of(data, name))]
        with Control(data) as kept:
            shown += [repr(kept.ledgers()), str(kept.home(name))]
    spoken = capsys.readouterr()
    assert "a bug" in lines.getvalue()
    for text in (spoken.out, spoken.err, *said, *shown, lines.getvalue()):
        assert not [one for one in (PASSWORD, WRITTEN, "battery") if one in text]
    for path in (*out.rglob("*"), *data.rglob("*")):
        if path.is_file() and not path.name.startswith(FILE):
            assert b"battery" not in path.read_bytes(), path
    assert {path.stat().st_mode & 0o077 for path in data.glob(f"{FILE}*")} == {0}


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:bat%zztery@127.0.0.1:1/there",
        "postgresql://me:bat%00tery@127.0.0.1:1/there",
        "postgresql://me:bat/tery@127.0.0.1:1/there",
        "postgresql://me:bat?tery@127.0.0.1:1/there",
        "postgresql://me:bat@tery@127.0.0.1:1/there",
        "postgresql://me:bat#tery@127.0.0.1:1/there",
        "postgresql://me:bat:tery@127.0.0.1:1/there",
        "postgresql://me:bat tery@127.0.0.1:1/there",
        "postgresql://me:bat[tery@127.0.0.1:1/there",
        "postgresql://127.0.0.1:1/there?password=bat%zztery",
        "postgresql://127.0.0.1:1/there?password=bat tery",
        "postgresql://127.0.0.1:1/there?password=bat=tery",
        "postgresql://127.0.0.1:1/there?password=battery",
        "postgresql://me:battery@127.0.0.1:1/there?sslmode=nonsense",
        "postgresql://me:battery@127.0.0.1:1/there?nobody=knows",
        "postgresql://me:battery@127.0.0.1:port/there",
        "postgresql://me:battery@127.0.0.1:1/there",
    ],
)
def test_an_address_that_is_mistyped_is_not_repeated(
    address: str, tmp_path: Path, capsys: Capture, lines: io.StringIO
) -> None:
    create = ["ledger", "create", "shop", "--data", tmp_path, "--database", address]
    said = refused(capsys, *create) + lines.getvalue()
    assert said.startswith("tallybook: ")
    assert not [part for part in ("bat", "tery") if part in said]

"""Every command does on a ledger in PostgreSQL what it does on the same one in files."""

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app import checkpoints, postgres_schemas, postgres_snapshots, verification
from app.cli import main
from app.control import MAIN, home_of
from app.exports.log_import import imported
from app.exports.log_reading import BadLog
from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import is_there, open_snapshot, views_of
from app.store import CorruptLedger
from domain.invoices import Invoice
from projections import current
from projections.engine import Engine
from projections.places import Place
from tests.app.rich import SENT, rich
from tests.conftest import CLOCK
from tests.postgres import Server, numbers

Capture = pytest.CaptureFixture[str]
_numbers = numbers()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in files, in which a bit of everything has happened."""
    directory = tmp_path_factory.mktemp("rich")
    with Ledger(directory, test_clock_at=CLOCK) as ledger:
        rich(ledger)
    return directory


@pytest.fixture(scope="module")
def log(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its log."""
    file = tmp_path_factory.mktemp("log") / "log.jsonl"
    assert main(["export", "--data", str(folder), "--to", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def moved(postgres: Server, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the same ledger in PostgreSQL."""
    data = tmp_path_factory.mktemp("moved") / "data"
    address = postgres.address("moved")
    assert main(["import", "--data", str(data), "--database", address, str(log)]) == 0
    return data


@pytest.fixture
def address(postgres: Server) -> str:
    """The address of a ledger that nobody has begun."""
    return postgres.address(f"commands_{next(_numbers)}")


def did(capsys: Capture, *arguments: object) -> str:
    """What a command says that does what it is asked."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: Capture, *arguments: object) -> str:
    """What a command says that does not."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 2
    return capsys.readouterr().err


def views(data: Path) -> list[str]:
    """Everything in the views of the first ledger of a directory."""
    with closing(Engine(views_of(*home_of(data, MAIN)))) as engine:
        return list(engine.database.dump())


def schemas(server: Server) -> set[str]:
    """The schemas that there are, but for those of tests that run beside this one."""
    sql = b"SELECT nspname FROM pg_namespace WHERE nspname !~ '^(t|free)_'"
    with psycopg.connect(Place.of(server.address("any")).url) as connection:
        return {name for (name,) in connection.execute(sql)}


# ------------------------------------------------------------------------------- there and back


def test_a_ledger_moves_to_postgres_and_back_as_it_is(
    folder: Path, moved: Path, log: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert not (moved / "ledger.db").exists()
    in_files, there = verification.verify(folder), home_of(moved, MAIN)
    assert verification.verify(moved, place=there.place) == in_files
    assert in_files.ok
    assert views(moved) == views(folder)
    again, back = tmp_path / "again.jsonl", tmp_path / "back"
    did(capsys, "export", "--data", moved, "--to", again)
    assert again.read_bytes() == log.read_bytes()
    did(capsys, "import", "--data", back, again)
    assert verification.verify(back) == in_files
    assert views(back) == views(folder)


def test_a_snapshot_turns_its_pages(
    folder: Path, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_snapshots, "_PAGE_EVENTS", 7)
    with open_snapshot(folder) as here, open_snapshot(*home_of(moved, MAIN)) as there:
        assert (here.position, here.hash) == (there.position, there.hash)
        for topics in ("", "usage.recorded/", "invoice."):
            assert list(there.events(3, topics)) == list(here.events(3, topics)) != []
        assert list(there.keys()) == list(here.keys()) != []
        assert there.at(here.position) == here.at(here.position)
        with pytest.raises(CorruptLedger, match="there is no event at"):
            there.at(here.position + 1)


def test_what_was_sent_before_is_a_duplicate_there(
    folder: Path, log: Path, address: str, tmp_path: Path, capsys: Capture
) -> None:
    did(capsys, "import", "--data", tmp_path, "--database", address, log)
    with (
        Ledger(tmp_path, place=home_of(tmp_path, MAIN).place) as copy,
        Ledger(folder) as original,
    ):
        assert copy.record_now(SENT) == original.record_now(SENT)


@pytest.mark.parametrize(
    "what",
    [
        ["--from-position", "20"],
        *(["--csv", subject] for subject in ("usage", "invoices", "lines", "customers")),
        ["--csv", "usage", "--period", "2026-01-01T00:00:00Z/2026-02-01T00:00:00Z"],
        ["--parquet", "usage"],
        ["--parquet", "lines"],
        ["--journal", "beancount"],
        ["--journal", "hledger"],
    ],
    ids=" ".join,
)
def test_every_export_is_the_same_to_the_byte(
    folder: Path, moved: Path, what: list[str], capfdbinary: Any
) -> None:
    written = []
    for data in (folder, moved):
        assert main(["export", *what, "--data", str(data)]) == 0
        written.append(capfdbinary.readouterr().out)
    assert written[0] == written[1] != b""


def test_an_export_is_of_one_moment_while_the_ledger_is_served(
    moved: Path, log: Path, address: str, tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / "data"
    did(capsys, "import", "--data", data, "--database", address, log)
    with Ledger(data, place=Place.of(address)) as ledger:
        ledger.advance_now(ledger.clock.now())
        did(capsys, "export", "--data", data, "--to", tmp_path / "again.jsonl")
        for what in ("usage", "invoices"):
            did(capsys, "export", "--csv", what, "--data", data, "--to", tmp_path / what)
        assert "ok" in did(capsys, "verify", "--data", data)
    assert (tmp_path / "again.jsonl").read_bytes() == log.read_bytes()


def test_invoices_are_explained_alike(folder: Path, moved: Path, capsys: Capture) -> None:
    with Ledger(folder) as ledger, ledger.snapshot() as found:
        ids = [one.state.id for one in current.select(found, Invoice, {}, limit=3)]
    for id in ids:
        said = [did(capsys, "explain", id, "--records", "--data", data) for data in (folder, moved)]
        assert said[0] == said[1] != ""


def test_a_checkpoint_is_signed_for_the_ledger_there(moved: Path, capsys: Capture) -> None:
    line = did(capsys, "checkpoint", "--data", moved)
    file = moved.parent / "checkpoint.json"
    file.write_text(line)
    [taken] = checkpoints.read(file)
    assert taken.hash == verification.verify(moved, place=home_of(moved, MAIN).place).head_hash
    assert "1 checkpoints hold" in did(capsys, "verify", "--data", moved, "--checkpoint", file)


def test_a_backup_says_what_to_do_instead(moved: Path, tmp_path: Path, capsys: Capture) -> None:
    said = refused(capsys, "backup", "--data", moved, "--to", tmp_path / "copy")
    assert "pg_dump --schema=moved --schema=moved_views, or tallybook export" in said
    assert not (tmp_path / "copy").exists()


def test_a_backup_of_files_is_restored_whatever_database_is_set(
    folder: Path, moved: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    did(capsys, "backup", "--data", folder, "--to", tmp_path / "copy")
    monkeypatch.setenv("TALLYBOOK_DATABASE", str(home_of(moved, MAIN).place and "postgresql://x/y"))
    did(capsys, "restore", "--from", tmp_path / "copy", "--to", tmp_path / "again")
    assert verification.verify(tmp_path / "again").ok


# ------------------------------------------------------------------------------------------ forks


def test_a_fork_lies_in_a_schema_aside(moved: Path, tmp_path: Path, capsys: Capture) -> None:
    before = verification.verify(moved, place=home_of(moved, MAIN).place)
    fork = tmp_path / "fork"
    said = did(capsys, "fork", fork, "--as-of", "20", "--data", moved)
    home = home_of(fork, MAIN)
    assert home.place is not None
    assert home.place.schema.startswith("fork_")
    assert f"{home}: position 21, head " in said
    assert "ok: nothing was touched" in did(capsys, "verify", "--data", fork)
    with Ledger(fork, place=home.place) as ledger:
        assert ledger.state.forked_from is not None
        assert ledger.state.forked_from.position == 20
        ledger.record_now(SENT)
    assert verification.verify(moved, place=home_of(moved, MAIN).place) == before


def test_a_fork_is_the_same_as_one_in_files(
    folder: Path, moved: Path, tmp_path: Path, capsys: Capture
) -> None:
    logs = []
    for data, name in ((folder, "a"), (moved, "b")):
        did(capsys, "fork", tmp_path / name, "--data", data)
        did(capsys, "export", "--data", tmp_path / name, "--to", tmp_path / f"{name}.jsonl")
        lines = (tmp_path / f"{name}.jsonl").read_bytes().splitlines()
        logs.append([line for line in lines if b"ledger.forked" not in line][:-1])
    assert logs[0] == logs[1]


def test_a_fork_is_never_taken_for_the_ledger_that_is_set(
    moved: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    did(capsys, "fork", tmp_path / "fork", "--data", moved)
    place = home_of(moved, MAIN).place
    assert place is not None
    monkeypatch.setenv("TALLYBOOK_DATABASE", place.address)
    said = refused(capsys, "demo", "--data", tmp_path / "fork")
    assert "has its ledger main in the schema fork_" in said
    assert "and not in the schema moved of" in said


# ---------------------------------------------------------------------------- all of it, or nothing


def test_what_does_not_fit_leaves_nothing(
    log: Path, address: str, postgres: Server, tmp_path: Path, capsys: Capture
) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"".join(lines[:-1]))
    place = Place.of(address)
    with bad.open("rb") as file, pytest.raises(BadLog, match="cut short"):
        imported(file, tmp_path / "data", place=place)
    assert not {name for name in schemas(postgres) if name.startswith(place.schema)}
    assert not (tmp_path / "data").exists()
    did(capsys, "import", "--data", tmp_path / "data", "--database", address, log)
    assert is_there(tmp_path, place)


def test_an_interrupted_import_is_done_again(
    log: Path, address: str, postgres: Server, tmp_path: Path, capsys: Capture
) -> None:
    place = Place.of(address)
    with Ledger(tmp_path / "left", place=place.beside("new")):
        pass
    did(capsys, "import", "--data", tmp_path / "data", "--database", address, log)
    ours = {name for name in schemas(postgres) if name.startswith(place.schema)}
    assert ours == {place.schema, f"{place.schema}_views"}


def test_a_schema_with_anything_in_it_is_left_alone(
    log: Path, address: str, tmp_path: Path, capsys: Capture
) -> None:
    place = Place.of(address)
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{place.schema}_views"'.encode())
        connection.execute(f'CREATE TABLE "{place.schema}_views".theirs (a int)'.encode())
        for command in (["import", str(log)], ["ledger", "create", "main"]):
            said = refused(capsys, *command, "--data", tmp_path, "--database", address)
            assert "is not empty: it holds theirs" in said
        with pytest.raises(ValueError, match="holds other tables"):
            postgres_schemas.drop(place)
        connection.execute(f'SELECT * FROM "{place.schema}_views".theirs'.encode())
    assert not is_there(tmp_path, place)


def test_one_is_made_at_a_time(address: str) -> None:
    place = Place.of(address)
    refusal = pytest.raises(LedgerInUse, match="is being made by another")
    with refusal, postgres_schemas.new_schemas(place), postgres_schemas.new_schemas(place):
        pass


# ---------------------------------------------------------------------------------------- measuring


def test_a_bench_measures_the_database_and_leaves_nothing(
    address: str, postgres: Server, tmp_path: Path, capsys: Capture
) -> None:
    data = ["--data", tmp_path / "data", "--database", address]
    said = did(capsys, "bench", *data, "--seconds", 1, "--clients", 2)
    assert "bare PostgreSQL, batches of 1,000" in said
    assert "Tallybook, single records, 2 clients" in said
    assert not any(name.startswith("bench_") for name in schemas(postgres))
    assert list(tmp_path.iterdir()) == []

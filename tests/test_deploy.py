"""What a server is deployed with is held to the code: its files, and the page about them."""

import configparser
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import main
from app.ledger import Ledger
from app.opening import LOG, VIEWS
from app.settings import PREFIX, Settings, settings_from
from tests import marks
from tests.benchmarks.serving import STOP_S, ready, serving, stop
from tests.house import ROOT
from tests.ports import free_port
from tests.postgres import Server, binaries
from tests.test_docs import NEEDS_SHELL, SHELL

FOLDER = ROOT / "app" / "deploy"
CONTAINER = (FOLDER / "Containerfile").read_text(encoding="utf-8")
COMPOSE: Mapping[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
UNIT = FOLDER / "tallybook.service"
PAGE = (ROOT / "app" / "docs" / "deploy.md").read_text(encoding="utf-8")
POSTGRES = re.compile(r"<!-- run: postgres -->\n```bash\n(.*?)```\n```text\n(.*?)```", re.DOTALL)

INSTRUCTIONS = set(
    "FROM COPY RUN ENV WORKDIR USER VOLUME EXPOSE HEALTHCHECK STOPSIGNAL ENTRYPOINT CMD".split()
)

pytestmark = marks.DOCS


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile with what they say, continued lines joined."""
    lines = [line for line in CONTAINER.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined]


def said(instruction: str) -> list[str]:
    """What the instructions of one kind say."""
    return [text for name, text in instructions() if name == instruction]


def listed(text: str) -> list[str]:
    """A command that is written as a list."""
    words: list[str] = yaml.safe_load(text)
    assert all(isinstance(word, str) for word in words)
    return words


def copied() -> list[tuple[str, str]]:
    """What the image takes from the repository, and where it puts it."""
    pairs = [words for words in map(str.split, said("COPY")) if not words[0].startswith("--from")]
    return [(source, target) for source, target in pairs]


def container_environment() -> dict[str, str]:
    """The variables that the image sets."""
    [text] = said("ENV")
    return dict(word.split("=", 1) for word in shlex.split(text))


def unit() -> Mapping[str, str]:
    """What the unit says of its process."""
    # Names may come more than once in a unit; only those of variables do.
    text = UNIT.read_text(encoding="utf-8")
    found = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    found.read_string(re.sub(r"^Environment=.*\n", "", text, flags=re.MULTILINE))
    return found["Service"]


def unit_environment() -> dict[str, str]:
    """The variables that the unit sets."""
    text = UNIT.read_text(encoding="utf-8")
    return dict(re.findall(r"^Environment=(\w+)=(\S+)$", text, re.MULTILINE))


# ---------------------------------------------------------------------------------- each of them


@pytest.mark.parametrize(
    "text",
    [*(path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())), PAGE],
    ids=[*(path.name for path in sorted(FOLDER.iterdir())), "page"],
)
def test_every_variable_is_a_setting(text: str) -> None:
    names = set(re.findall(rf"\b{PREFIX}([A-Z_]*[A-Z])\b", text))
    assert {name.lower() for name in names} <= set(Settings.__struct_fields__)


def test_what_is_installed_is_what_was_tested() -> None:
    here = pinned(FOLDER / "requirements.txt")
    core, dev = pinned(ROOT / "requirements.txt"), pinned(ROOT / "requirements-dev.txt")
    assert core.keys() < here.keys() < dev.keys()
    assert all(core[name] == here[name] for name in core)
    assert all(dev[name] == here[name] for name in here)
    assert {"psycopg", "httptools"} <= here.keys() - core.keys()


def pinned(path: Path) -> dict[str, str]:
    """Each package of a lock file with its version and its hashes."""
    found = re.split(r"^(?=\w)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert all("--hash=sha256:" in one for one in found[1:])
    return {one.partition("==")[0]: one for one in found[1:]}


# ----------------------------------------------------------------------------------- the container


def test_the_containerfile_is_made_of_what_exists() -> None:
    assert {name for name, _ in instructions()} == INSTRUCTIONS
    assert all((ROOT / source).exists() for source, _ in copied())
    assert all(re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", image) for image in said("FROM"))
    [installing] = [text for text in said("RUN") if "pip install" in text]
    assert "--require-hashes" in installing
    assert said("USER") == ["10001"]
    assert said("VOLUME") == [container_environment()[f"{PREFIX}DATA"]]
    assert said("EXPOSE") == [container_environment()[f"{PREFIX}PORT"]]


def test_what_is_sent_to_be_built_is_what_is_copied() -> None:
    lines = (FOLDER / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert {source.partition("/")[0] for source, _ in copied()} == kept


def test_the_container_starts_is_healthy_and_stops(tmp_path: Path) -> None:
    """Its command runs among nothing but the files that it copies."""
    ignored = shutil.ignore_patterns("node_modules", "__pycache__", "explorer")
    for source, target in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / "tree" / target, ignore=ignored)
    [entry], [arguments], [health] = map(said, ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    environment, port = container_environment(), str(free_port())
    del environment["PATH"]
    environment |= {f"{PREFIX}PORT": port, f"{PREFIX}DATA": str(tmp_path / "data")}
    asking = listed(health.partition("CMD ")[2].replace(":8000/", f":{port}/"))
    assert asking[0] == "python"
    asking[0] = sys.executable
    command = [*listed(entry), *listed(arguments)]
    with started(command, tmp_path / "tree", environment, port) as process:
        assert subprocess.run(asking, check=False).returncode == 0
        stop_by_itself(process)
    assert subprocess.run(asking, capture_output=True, check=False).returncode == 1


@contextmanager
def started(
    command: list[str], directory: Path, environment: Mapping[str, str], port: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server for as long as the block lasts, by the Python that is here."""
    assert Path(command[0]).name == "python"
    own = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    process = subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=directory,
        env={**own, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert ready(process, f"http://127.0.0.1:{port}")
        yield process
    finally:
        stop(process)


def stop_by_itself(process: "subprocess.Popen[bytes]") -> None:
    """Have a server stop, which it does in time and well."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_S) == 0


# --------------------------------------------------------------------------------------- compose


def test_the_compose_file_is_about_this_image() -> None:
    assert set(COMPOSE) == {"name", "services", "volumes"}
    server, database = COMPOSE["services"]["tallybook"], COMPOSE["services"]["postgres"]
    assert (FOLDER / server["build"]["context"]).resolve() == ROOT
    assert (ROOT / server["build"]["dockerfile"]).exists()
    assert server["read_only"]
    assert server["volumes"] == [f"data:{container_environment()[f'{PREFIX}DATA']}"]
    volumes = {one.partition(":")[0] for one in (*server["volumes"], *database["volumes"])}
    assert set(COMPOSE["volumes"]) == volumes
    assert server["ports"][0].endswith(f":{container_environment()[f'{PREFIX}PORT']}")
    assert re.fullmatch(r"postgres:\d+", database["image"])


def test_the_compose_file_is_about_this_server() -> None:
    server, database = COMPOSE["services"]["tallybook"], COMPOSE["services"]["postgres"]
    settings = settings_from(server["environment"])
    assert int(server["stop_grace_period"].removesuffix("s")) > settings.shutdown_seconds
    assert settings.place is not None
    user = database["environment"]["POSTGRES_USER"]
    name = database["environment"]["POSTGRES_DB"]
    assert settings.place.url == f"postgresql://{user}@postgres/{name}"
    assert server["environment"]["PGPASSWORD"] == database["environment"]["POSTGRES_PASSWORD"]


# --------------------------------------------------------------------------------------- systemd


def test_the_unit_gives_time_to_stop() -> None:
    settings = settings_from(unit_environment())
    assert int(unit()["TimeoutStopSec"]) > settings.shutdown_seconds
    assert settings.data == Path("/var/lib") / unit()["StateDirectory"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """But for its program, which is not installed here."""
    program = unit()["ExecStart"].split()[0]
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace(program, sys.executable)
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_starts_and_stops(tmp_path: Path) -> None:
    port = str(free_port())
    environment = unit_environment() | {f"{PREFIX}PORT": port, f"{PREFIX}DATA": str(tmp_path)}
    with started(shlex.split(unit()["ExecStart"]), ROOT, environment, port) as process:
        stop_by_itself(process)


# ----------------------------------------------------------------------------- backup and restore


def comparable(output: str) -> str:
    """An output without what is another each time."""
    output = re.sub(r"\b[0-9a-f]{64}\b", "<hash>", output)
    return re.sub(r"\b(position|replayed) [0-9]+", r"\1 <number>", output).strip()


def run(block: str, ours: Mapping[str, str]) -> str:
    """What a block of the page prints, with our places for those that it names."""
    for named, place in ours.items():
        block = block.replace(named, place)
    programs = f'PATH="{binaries() or ""}:$PATH"'
    tallybook = f'tallybook() {{ "{sys.executable}" -m app.cli "$@"; }}'
    script = "\n".join(("set -eo pipefail", programs, tallybook, block))
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout
    for named, place in ours.items():
        output = output.replace(place, named)
    return comparable(output)


@NEEDS_SHELL
def test_files_are_backed_up_while_served_and_restored(tmp_path: Path) -> None:
    ours = {
        "/var/lib/tallybook": str(tmp_path / "data"),
        "/srv/backup": str(tmp_path / "backup"),
        "/srv/restored": str(tmp_path / "restored"),
    }
    blocks = SHELL.findall(PAGE)
    assert len(blocks) == PAGE.count("<!-- run -->") == 2
    with serving(tmp_path / "data", "--demo"):
        run("tallybook key create --scope admin --label first --data /var/lib/tallybook", ours)
        for block, shown in blocks:
            assert run(block, ours) == comparable(shown)
    assert (tmp_path / "restored" / "secret").stat().st_mode & 0o077 == 0


@NEEDS_SHELL
def test_a_database_is_backed_up_while_served_and_restored(
    postgres: Server, tmp_path: Path
) -> None:
    [(block, shown)] = POSTGRES.findall(PAGE)
    address = f"postgresql://postgres@127.0.0.1:{postgres.port}"
    run(f"psql --quiet --command='CREATE DATABASE billing' {address}/postgres", {})
    ours = {
        "postgresql://tallybook@db.internal": address,
        "/srv/backup": str(tmp_path),
        "/srv/restored": str(tmp_path / "restored"),
    }
    with serving(tmp_path / "data", "--demo", "--database", f"{address}/billing"):
        assert run(block, ours) == comparable(shown)


# ------------------------------------------------------------------------------ changing versions


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_an_older_version_opens_what_it_knows_and_names_what_it_does_not(
    alpaca: Ledger, known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    views = list(alpaca.engine.database.dump())
    alpaca.close()
    with closing(sqlite3.connect(alpaca.directory / LOG)) as connection, connection:
        last = "(SELECT max(rowid) FROM stored_events)"
        if not known:
            connection.execute(f"UPDATE stored_events SET topic='later/7' WHERE rowid={last}")
    with closing(sqlite3.connect(alpaca.directory / VIEWS)) as connection, connection:
        connection.execute("UPDATE meta SET value='that of a later version' WHERE name='stamp'")
    if known:
        with Ledger(alpaca.directory) as opened:
            assert list(opened.engine.database.dump()) == views
    else:
        assert main(["demo", "--data", str(alpaca.directory)]) == 2
        assert "no event type is registered under 'later/7'" in capsys.readouterr().err

"""Every ledger of a data directory is served, also one that is made, or broken, meanwhile."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app import checkpoints
from app.cli import main
from app.control import MAIN, Control, note_ledger, place
from app.ledger import Ledger
from app.living import Living
from app.lock import LedgerInUse, hold
from app.server import create_app
from app.settings import Auth, Settings
from app.web.auth import OPEN_WARNING
from tests import marks
from tests.app.keyed import OTHER, Keyed, serving_directory
from tests.benchmarks.serving import Server, ready, serving, stop
from tests.house import ROOT
from tests.ports import free_port

PATIENCE_LOOKS = 600


def two_ledgers(data: Path) -> Settings:
    """A directory with two ledgers that keep the system's clock."""
    note_ledger(data, OTHER)
    for name in (MAIN, OTHER):
        Ledger(place(data, name), name=name).close()
    return Settings(data=data, auth=Auth.KEYS)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what must come."""
    for _ in range(PATIENCE_LOOKS):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


def test_what_goes_on_goes_on_for_each_ledger(tmp_path: Path) -> None:
    settings = two_ledgers(tmp_path)
    with serving_directory(settings) as served:
        app = create_app(served.served, settings)

        def noted() -> bool:
            return all(
                checkpoints.read(ledger.directory / checkpoints.FILE)
                for ledger in served.served.ledgers.values()
            )

        async def serve() -> None:
            async with app.router.lifespan_context(app):
                await until(noted)

        asyncio.run(serve())


def test_a_ledger_made_meanwhile_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.living.LOOK_AGAIN_SECONDS", 0.01)
    settings = two_ledgers(tmp_path)
    with serving_directory(settings) as served:
        app = create_app(served.served, settings)
        new = place(tmp_path, "new")

        async def serve() -> None:
            async with app.router.lifespan_context(app):
                await asyncio.to_thread(main, ["ledger", "create", "new", "--data", str(tmp_path)])
                await until(lambda: bool(checkpoints.read(new / checkpoints.FILE)))

        asyncio.run(serve())
        assert served.data(served.key(ledger="new"), "{ ledger { name } }") == {
            "ledger": {"name": "new"}
        }


def test_when_keys_were_used_is_kept_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    settings = two_ledgers(tmp_path)
    with serving_directory(settings) as served:
        living = Living(served.served, None, settings.between_checkpoints)

        async def serve() -> None:
            async with living.going_on():
                pass

        served.ask(served.key(), "{ ledger { id } }")
        asyncio.run(serve())
        assert served.served.keyring is not None
        assert [used is not None for used in last_used(served)] == [True]


def last_used(served: Keyed) -> list[int | None]:
    """When each key was last used."""
    with Control(served.settings.data) as control:
        return [key.last_used_at_us for key in control.every_key()]


@marks.HELD
def test_a_ledger_that_cannot_be_opened_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = two_ledgers(tmp_path)
    by_another = hold(place(tmp_path, OTHER) / "ledger.lock")
    with by_another, caplog.at_level(logging.ERROR), serving_directory(settings) as served:
        assert list(served.served.ledgers) == [MAIN]
        assert served.ask(served.key(), "{ ledger { id } }").status_code == 200
        assert served.ask(served.key(ledger=OTHER), "{ ledger { id } }").status_code == 404
        served.served.open_others()
    assert [one.getMessage() for one in caplog.records] == [
        "a ledger cannot be opened, and is not served"
    ]


@marks.HELD
def test_a_directory_is_served_once(tmp_path: Path) -> None:
    settings = two_ledgers(tmp_path)
    with serving_directory(settings), pytest.raises(LedgerInUse), serving_directory(settings):
        pass
    hold(tmp_path / "ledger.lock").close()


def asked(server: Server, key: str) -> int:
    """The status of a request with a key."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{server.url}/metrics", headers=headers, timeout=30).status_code


def test_the_first_key_closes_a_running_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 200
        assert main(["key", "create", "--data", str(tmp_path), "--scope", "admin"]) == 0
        key = capsys.readouterr().out.strip()
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        assert asked(server, key) == 200


@pytest.mark.parametrize("auth", [Auth.OPEN, Auth.KEYS])
def test_a_server_that_needs_no_key_says_so_loudly(tmp_path: Path, auth: Auth) -> None:
    log = tmp_path / "log"
    port = free_port()
    options = ["--data", str(tmp_path / "data"), "--port", str(port), "--auth", auth]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", *options],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        assert ready(process, f"http://127.0.0.1:{port}")
    finally:
        stop(process)
    said = log.read_text()
    assert ("NO KEY IS NEEDED" in said) == (auth is Auth.OPEN)
    assert (OPEN_WARNING in said) == (auth is Auth.OPEN)

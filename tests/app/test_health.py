"""Health: the process is alive, and its ledger is ready unless something that it needs is not."""

import asyncio
import errno
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from app import health
from app.jobs import BetweenJob, CommandJob
from app.ledger import Ledger
from app.server import create_app
from app.settings import Settings
from app.writer import Writer
from domain.products import CreateProduct
from tests import marks
from tests.app.http import Talking

JSON = {"accept": "application/json"}
FULL = OSError(errno.ENOSPC, "No space left on device")


def ready(ledger: Ledger) -> tuple[int, dict[str, Any]]:
    """The status and the content of the answer in JSON."""
    answer = Talking(ledger).request("GET", "/readyz", headers=JSON)
    return answer.status_code, answer.json()


def fail(*_: object, **__: object) -> NoReturn:
    """As on a disk that is full."""
    raise FULL


def add_product(ledger: Ledger) -> None:
    """Write something."""
    ledger.execute_now(CreateProduct(name="Tokens"))


def between(ledger: Ledger) -> None:
    """Wait until the writer has done what it was asked to."""
    ledger.writer.submit(BetweenJob(lambda: None)).result()


def test_all_is_well(ledger: Ledger) -> None:
    assert ready(ledger) == (200, {"status": "ready", "position": 1, "problems": {}})


def test_alive_means_that_the_process_answers_whatever_the_ledger_does(
    ledger: Ledger, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ledger.store, "_select", fail)
    monkeypatch.setattr(ledger.engine.database, "snapshot", fail)
    talking = Talking(ledger)
    assert talking.request("GET", "/livez").text == "alive\n"
    assert talking.request("GET", "/livez", headers=JSON).json() == {"status": "alive"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_not_ready_once_the_writer_died(ledger: Ledger) -> None:
    def die(_: object) -> NoReturn:
        raise SystemExit

    with pytest.raises(TimeoutError):
        ledger.writer.submit(CommandJob(die, None)).result(timeout=0.2)
    assert isinstance(ledger.writer, Writer)
    ledger.writer._thread.join()
    status, content = ready(ledger)
    assert (status, list(content["problems"])) == (503, ["writer"])


@marks.FAILED
def test_not_ready_while_the_disk_is_full(ledger: Ledger, monkeypatch: Any) -> None:
    with monkeypatch.context() as full:
        full.setattr(ledger.store, "append", fail)
        full.setattr(health, "_probe", fail)
        with pytest.raises(OSError, match="No space left"):
            add_product(ledger)
        status, content = ready(ledger)
        assert (status, list(content["problems"])) == (503, ["disk"])
        said = Talking(ledger).request("GET", "/readyz").text
        assert said.startswith("not ready: the ledger cannot be written: [Errno 28]")
    assert ready(ledger)[0] == 200  # nobody had to write for that
    assert not (ledger.directory / health.PROBE).exists()


@marks.FAILED
def test_ready_again_once_something_was_written(ledger: Ledger, monkeypatch: Any) -> None:
    with monkeypatch.context() as full:
        full.setattr(ledger.store, "append", fail)
        with pytest.raises(OSError, match="No space left"):
            add_product(ledger)
    monkeypatch.setattr(health, "_probe", fail)
    assert ready(ledger)[0] == 503
    add_product(ledger)
    assert ready(ledger)[0] == 200


def test_a_bug_in_a_command_is_no_reason_to_stop_serving(ledger: Ledger) -> None:
    def bug(_: object) -> NoReturn:
        raise AssertionError

    with pytest.raises(AssertionError):
        ledger.writer.submit(CommandJob(bug, None)).result()
    assert ready(ledger)[0] == 200


@marks.FAILED
def test_not_ready_while_the_views_lag_behind_and_then_they_are_folded(
    ledger: Ledger, monkeypatch: Any
) -> None:
    with monkeypatch.context() as lagging:
        lagging.setattr(ledger.engine.database, "commit", fail)
        lagging.setattr(ledger.engine, "catch_up", fail)
        add_product(ledger)
        status, content = ready(ledger)
        problems = {"views": "the views are at position 1 of 2"}
        assert (status, content["position"], content["problems"]) == (503, 1, problems)
        between(ledger)
    assert ready(ledger)[0] == 503  # and has the writer fold them
    between(ledger)
    assert ready(ledger) == (200, {"status": "ready", "position": 2, "problems": {}})


def test_not_ready_when_the_views_cannot_be_read(ledger: Ledger, monkeypatch: Any) -> None:
    monkeypatch.setattr(ledger.engine.database, "snapshot", fail)
    status, content = ready(ledger)
    assert (status, list(content["problems"])) == (503, ["views"])


def test_not_ready_while_the_server_stops(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        app = create_app(ledger, Settings())

        async def ask() -> httpx.Response:
            async with app.router.lifespan_context(app):
                pass
            transport, here = httpx.ASGITransport(app), "http://localhost"
            async with httpx.AsyncClient(transport=transport, base_url=here) as client:
                return await client.get("/readyz")

        assert asyncio.run(ask()).status_code == 503
    assert ready(ledger) == (
        503,
        {
            "status": "not ready",
            "position": None,
            "problems": {"serving": "the server is shutting down"},
        },
    )

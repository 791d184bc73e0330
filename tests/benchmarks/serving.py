"""A real server in a process of its own: started, waited for, stopped."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.settings import PREFIX
from tests.house import ROOT
from tests.places import address_of
from tests.ports import free_port

START_S = 60
STOP_S = 30
POLL_S = 0.05
TALLYBOOK = "app.cli"

Start = Callable[[Sequence[str], Mapping[str, str], IO[bytes]], "subprocess.Popen[bytes]"]
"""Starts a module with its arguments."""


class NotStarted(Exception):
    """The server ended, or was not ready in time; the message holds what it printed."""


@dataclass(frozen=True)
class Server:
    """A running server, the directory of its ledger, and its process."""

    url: str
    data: Path
    process: "subprocess.Popen[bytes]"


def _spawned(
    arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


class Starting:
    """How the processes of servers are started; tests know a quicker way."""

    tallybook: Start = _spawned


@contextmanager
def serving(data: Path, *options: str, **settings: object) -> Iterator[Server]:
    """Serve the ledger in a directory for as long as the block lasts. Raises `NotStarted`.

    Settings that have no option come by their names.
    """
    if "database" not in settings and (address := address_of(data)):
        settings["database"] = address
    arguments = [TALLYBOOK, "serve", "--data", str(data), *options]
    with _started(arguments, data, settings) as server:
        yield server


@contextmanager
def serving_nothing() -> Iterator[Server]:
    """Serve the bare application, which keeps nothing. Raises `NotStarted`."""
    arguments = ["uvicorn", "tests.benchmarks.bare:app", "--log-level", "warning"]
    with _started(arguments, ROOT, {}) as server:
        yield server


@contextmanager
def _started(
    arguments: Sequence[str], data: Path, settings: Mapping[str, object]
) -> Iterator[Server]:
    port = free_port()
    environment = os.environ | {PREFIX + name.upper(): str(of) for name, of in settings.items()}
    program, *options = arguments
    start = Starting.tallybook if program == TALLYBOOK else _spawned
    with tempfile.TemporaryFile() as log:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        process = start([program, *options, *where], environment, log)
        try:
            server = Server(f"http://127.0.0.1:{port}", data, process)
            if not ready(process, server.url):
                process.kill()
                process.wait()
                log.seek(0)
                raise NotStarted(log.read().decode(errors="replace"))
            yield server
        finally:
            stop(process)


def ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    """Wait until the server says that it is ready; False when it ends before, or takes too long."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=START_S) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, ConnectionError):
            time.sleep(POLL_S)
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server to stop, and make it if it does not."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

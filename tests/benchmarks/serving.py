"""A real server in a process of its own: started, waited for, stopped."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import PREFIX
from tests.house import ROOT

START_S = 60
STOP_S = 30
POLL_S = 0.05


class NotStarted(Exception):
    """The server ended, or was not ready in time; the message holds what it printed."""


@dataclass(frozen=True)
class Server:
    """A running server, the directory of its ledger, and its process."""

    url: str
    data: Path
    process: "subprocess.Popen[bytes]"


@contextmanager
def serving(data: Path, *options: str, **settings: object) -> Iterator[Server]:
    """Serve the ledger in a directory for as long as the block lasts. Raises `NotStarted`.

    Settings that have no option come by their names.
    """
    arguments = ["-m", "app.cli", "serve", "--data", str(data), *options]
    with _started(arguments, data, settings) as server:
        yield server


@contextmanager
def serving_nothing() -> Iterator[Server]:
    """Serve the bare application, which keeps nothing. Raises `NotStarted`."""
    arguments = ["-m", "uvicorn", "tests.benchmarks.bare:app", "--log-level", "warning"]
    with _started(arguments, ROOT, {}) as server:
        yield server


@contextmanager
def _started(
    arguments: Sequence[str], data: Path, settings: Mapping[str, object]
) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {PREFIX + name.upper(): str(of) for name, of in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
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


def free_port() -> int:
    """A port on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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

"""Processes that are forked when everything is imported, and not a second later.

Each is a process of its own, as `tallybook serve` is: only what Python and the imports of every one
would cost is paid once, by a process that has no thread and opens nothing.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any
from unittest import mock

from tests.house import ROOT

DESCRIPTORS = Path("/proc/self/fd")
"""Where the files are that a process has open: without it, servers are started as ever."""


class Begun(ForkServerProcess):
    """A process that is forked, and imports nothing of whatever runs the tests."""

    def start(self) -> None:
        """Let it run."""
        main = sys.modules["__main__"]
        with mock.patch.multiple(main, create=True, __spec__=None, __file__=None):
            super().start()


class Forking(ForkServerContext):
    """Makes such processes. There is one for all tests, for what is imported is said only once."""

    Process = Begun


PROCESSES = Forking()
PROCESSES.set_forkserver_preload(
    [
        *("tests.forked", "tests.app.killed", "app.cli", "app.served", "app.server"),
        *("app.web.serving", "uvicorn.lifespan.on"),
    ]
)


def context(method: str) -> BaseContext:
    """How processes begin; those that would begin with nothing are forked."""
    return PROCESSES if method == "spawn" else get_context(method)


class Forked:
    """A process, in the shape in which `subprocess` has it."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """What it ended with, as far as anybody has looked; negative for a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `TimeoutExpired`."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("a server", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, Signals(number))

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(SIGKILL)


def start(arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Any:
    """Run `tallybook` with these arguments; what it says to stderr goes to the log."""
    path = f"/proc/{os.getpid()}/fd/{log.fileno()}"
    _, *told = arguments
    process = PROCESSES.Process(target=_run, args=(told, dict(environment), path))
    process.start()
    return Forked(process)


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    said = os.open(log, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, instead in enumerate((nothing, nothing, said)):
        os.dup2(instead, number)
    from app.cli import main

    sys.argv = [str(Path("tallybook")), *arguments]
    sys.exit(main(arguments))

"""A PostgreSQL of our own for the tests: from the installed binaries, on a free port."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.ports import free_port

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian keeps the binaries of each version, which are on no path."""
MEMORY = Path("/dev/shm")
MISSING = "no PostgreSQL is installed here, so nothing is tried on it: apt-get install postgresql"
_ICU = ("--locale-provider=icu", "--icu-locale=en-US")
_OPTIONS = (
    *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"),
    *("-c", "shared_buffers=32MB", "-c", "jit=off"),
    *("-c", "hot_standby_feedback=on"),  # a replica lets nobody be cut off who reads for long
)


def binaries() -> Path | None:
    """Where the newest installed binaries of the server are; None when there are none."""
    versions = sorted(INSTALLED.glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *reversed(versions)]
    return next((path for path in folders if (path / "postgres").exists()), None)


class Server:
    """A running server; its databases are found by their address."""

    def __init__(self, folder: Path, programs: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._programs = programs
        self._data = folder / "data"

    @classmethod
    def at(cls, port: int) -> "Server":
        """One that another process started, and stops."""
        return cls(Path(), Path(), port)

    def address(self, schema: str, port: int | None = None) -> str:
        """The address of a ledger in a schema of its own; another port may lead there."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/postgres?schema={schema}"

    def create(self) -> None:
        """Make the files of a server that trusts whoever reaches it."""
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        # Where it can, texts do not sort by their bytes: nobody may rely on that.
        for locale in (["--locale=C.UTF-8", *_ICU], ["--locale=C"]):
            try:
                self._run("initdb", "--pgdata", str(self._data), *options, *locale)
                return
            except subprocess.CalledProcessError:
                shutil.rmtree(self._data, ignore_errors=True)
        raise AssertionError(f"initdb failed: {(self._folder / 'said').read_text()}")

    def follow(self, other: "Server") -> None:
        """Make the files of a replica of another server, which may only be read."""
        address = ["--host=127.0.0.1", f"--port={other.port}", "--username=postgres"]
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        self._run("pg_basebackup", f"--pgdata={self._data}", *address, *options)

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self.port} -k {self._folder} {' '.join(_OPTIONS)}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options)

    def stop(self) -> None:
        """Stop at once, whoever is connected."""
        self._run("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        # The server refuses to run as root; Debian makes a user for it.
        user = "postgres" if os.geteuid() == 0 else None
        with (self._folder / "said").open("ab") as said:
            subprocess.run(
                [self._programs / program, *arguments],
                check=True,
                stdout=said,
                stderr=said,
                cwd=self._folder,
                user=user,
                group=user,
            )


def numbers() -> Iterator[str]:
    """Numbers for names on a server that all workers share: no other one gives the same."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return (f"{worker}_{number}" for number in count(1))


@contextmanager
def running(follows: Server | None = None, *, on_disk: bool = False) -> Iterator[Server]:
    """A server for as long as the block lasts, perhaps a replica of another one.

    Skips the test when none is installed.
    """
    programs = binaries()
    if programs is None:
        pytest.skip(MISSING)
    memory = MEMORY if MEMORY.is_dir() and not on_disk else None
    with tempfile.TemporaryDirectory(prefix="tallybook-postgres-", dir=memory) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = Server(folder, programs, free_port())
        if follows is None:
            server.create()
        else:
            server.follow(follows)
        server.start()
        try:
            yield server
        finally:
            server.stop()

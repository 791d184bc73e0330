"""One process at a time: a ledger is held by whoever writes it."""

import fcntl
from pathlib import Path
from typing import IO


class LedgerInUse(Exception):
    """Another process holds this ledger."""


def hold(path: Path) -> IO[str]:
    """Hold the ledger for this process; the system lets go of it when the process ends."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        message = f"{path.parent} is in use by another tallybook process; stop that one first"
        raise LedgerInUse(message) from None
    return file

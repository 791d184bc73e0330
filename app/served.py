"""What one server serves: the ledgers of a data directory, and the keys that open them."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from app import server_secret
from app.control import MAIN, Control
from app.keyring import Keyring
from app.ledger import Ledger
from app.logs import fields
from app.opening import is_there
from app.settings import Settings

_log = logging.getLogger("tallybook.served")

Open = Callable[[Path, str], Ledger]
"""Opens the ledger that lies in a directory and has a name."""


class Served:
    """One open ledger, which the caller closes; there are no keys, so anybody may ask it."""

    keyring: Keyring | None = None

    def __init__(self, ledger: Ledger, default: str = MAIN) -> None:
        self.default = default
        self._ledgers = {default: ledger}

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """The ledgers that are open, by name."""
        return self._ledgers

    @property
    def ledger(self) -> Ledger:
        """The ledger of whoever names none."""
        return self._ledgers[self.default]

    def open_others(self) -> None:
        """Open the ledgers that were made since; it waits for the disk."""


class ServedDirectory(Served):
    """Every ledger of a data directory, also one that is made later, and the keys to them.

    Use it as a context: at the end everything is closed.
    """

    def __init__(self, settings: Settings, open: Open) -> None:
        self._open = open
        self._control = Control(settings.data)
        self._looked_at: object = None
        self._failed: set[str] = set()
        try:
            self.keyring = Keyring(self._control, server_secret.read(settings))
            directory = self._control.directory(settings.ledger)
            super().__init__(open(directory, settings.ledger), settings.ledger)
        except BaseException:
            self._control.close()
            raise
        self.open_others()

    def open_others(self) -> None:
        """Open what is not open yet. One that cannot be opened holds up none of the others."""
        version = self._control.version()
        if version == self._looked_at:
            return
        for row in self._control.ledgers():
            directory = self._control.data / row.address
            begun = is_there(directory)
            if begun and row.name not in self._ledgers and row.name not in self._failed:
                self._open_other(directory, row.name)
        self._looked_at = version

    def _open_other(self, directory: Path, name: str) -> None:
        try:
            self._ledgers[name] = self._open(directory, name)
        except Exception:  # noqa: BLE001 - whatever it is, the others are served
            _log.exception(
                "a ledger cannot be opened, and is not served", extra=fields(ledger=name)
            )
            self._failed.add(name)

    def close(self) -> None:
        """Answer what waits, then let go of everything."""
        for ledger in self._ledgers.values():
            ledger.close()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

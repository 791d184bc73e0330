"""What one server serves: the ledgers of a data directory, and the keys that open them.

Some may be in files and others in PostgreSQL, on as many servers as there are.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Self

from app import server_secret
from app.control import MAIN, Control
from app.keyring import Keyring
from app.ledger import Ledger
from app.lock import LedgerInUse
from app.logs import fields
from app.opening import Home, is_there
from app.settings import Settings

_log = logging.getLogger("tallybook.served")

TRY_AGAIN_LOOKS = 10
"""After so many looks a ledger is tried again whose database was away."""

Open = Callable[[Home, str], Ledger]
"""Opens the ledger that is somewhere and has a name."""


class Served:
    """One open ledger, which the caller closes; there are no keys, so anybody may ask it."""

    keyring: Keyring | None = None

    def __init__(self, ledger: Ledger, default: str = MAIN) -> None:
        self.ailing: Collection[str] = ()
        """The names of the ledgers, but for the first, that could not be served of late."""
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

    @property
    def closed_ones(self) -> Collection[str]:
        """The names of ledgers that should be served and could not be opened."""
        return ()

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
        self._looks = 0
        self._failed: dict[str, bool] = {}
        """Those that could not be opened, and whether that may pass by itself."""
        self._given = settings.place
        try:
            self.keyring = Keyring(self._control, server_secret.read(settings))
            home = self._control.home(settings.ledger, self._given)
            super().__init__(open(home, settings.ledger), settings.ledger)
        except BaseException:
            self._control.close()
            raise
        self.open_others()

    @property
    def closed_ones(self) -> Collection[str]:
        """The names of ledgers that should be served and could not be opened."""
        return tuple(self._failed)

    def open_others(self) -> None:
        """Open what is not open yet. One that cannot be opened holds up none of the others."""
        version = self._control.version()
        self._looks += 1
        again = self._looks % TRY_AGAIN_LOOKS == 0 and any(self._failed.values())
        if version == self._looked_at and not again:
            return
        for row in self._control.ledgers():
            if row.name not in self._ledgers and self._failed.get(row.name, True):
                self._open_other(row.name)
        self._looked_at = version

    def _open_other(self, name: str) -> None:
        try:
            home = self._control.home(name, self._given)
            if is_there(*home):
                self._ledgers[name] = self._open(home, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are served
            if name not in self._failed:
                _log.exception(
                    "a ledger cannot be opened, and is not served", extra=fields(ledger=name)
                )
            self._failed[name] = isinstance(error, OSError | LedgerInUse)
            return
        if self._failed.pop(name, None) is not None:
            _log.warning("a ledger could be opened, and is served now", extra=fields(ledger=name))

    def close(self) -> None:
        """Answer what waits, then let go of everything, also when a database has gone away."""
        for name, ledger in self._ledgers.items():
            try:
                ledger.close()
            except Exception:  # noqa: BLE001 - whatever it is, the others are closed
                _log.exception("a ledger could not be closed in order", extra=fields(ledger=name))
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Where tests keep their ledgers: in files, or each directory in a schema of its own.

While a test runs on PostgreSQL, whatever would keep a ledger in a directory is told of a place
there, as if somebody had named it. Nothing in `app` knows.
"""

import re
import sys
from collections.abc import Callable
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from app import opening, replay
from app.ledger import Ledger
from app.read_only import ReadOnlyLedger
from projections.places import Place
from tests.postgres import Server

PREFIX = "t_"
"""What the schemas of these tests are called, and no other ones."""

_numbers = count(1)


class Places:
    """The places that were given to directories while tests run on a server."""

    def __init__(self, server: Server, worker: str) -> None:
        self.server = server
        self._worker = worker
        self._given: dict[Path, Place] = {}

    def of(self, directory: Path) -> Place:
        """The place of a directory: the same one whenever it is asked for."""
        directory = directory.resolve()
        if directory not in self._given:
            name = re.sub(r"[^a-z0-9]", "", directory.name)[:12]
            schema = f"{PREFIX}{self._worker}_{next(_numbers)}_{name}"
            self._given[directory] = Place.of(self.server.address(schema))
        return self._given[directory]

    def taken_back(self, known: int = 0) -> list[Place]:
        """The places given since so many were known, which are forgotten."""
        late = list(self._given)[known:]
        return [self._given.pop(directory) for directory in late]

    @property
    def known(self) -> int:
        """How many were given."""
        return len(self._given)


class Asked:
    """Who asks for ledgers just now: where they are kept, and how often one was asked for."""

    places: Places | None = None
    times = 0


def place_of(directory: Path) -> Place | None:
    """Where a ledger that would be kept in a directory is; None in its files."""
    Asked.times += 1
    return None if Asked.places is None else Asked.places.of(directory)


def address_of(directory: Path) -> str | None:
    """The same as an address, for another process."""
    place = place_of(directory)
    if place is None or Asked.places is None:
        return None
    return Asked.places.server.address(place.schema)


def install() -> None:
    """Let everything that opens a ledger ask where it is, whoever has imported it before."""
    for name in ("open_store", "is_there", "views_of"):
        _instead(getattr(opening, name))
    _instead(replay.replay)
    for opened in (Ledger, ReadOnlyLedger):
        _begin_instead(opened)


def _begin_instead(opened: Any) -> None:
    begin = opened.__init__

    @wraps(begin)
    def asking(self: Any, directory: Path, *, place: Place | None = None, **more: Any) -> None:
        begin(self, directory, place=place or place_of(directory), **more)

    mock.patch.object(opened, "__init__", asking).start()


def _instead(ask: Any) -> None:
    asking = _asking(ask)
    for name, module in list(sys.modules.items()):
        if name.startswith(("app.", "tests.")):
            for known, value in list(vars(module).items()):
                if value is ask:
                    setattr(module, known, asking)


def _asking(ask: Callable[..., Any]) -> Any:
    """A function of a directory and what may be its place, which is asked for when not given."""

    @wraps(ask)
    def asking(directory: Path, *others: Any, **more: Any) -> Any:
        named = more.get("place") or next((one for one in others if isinstance(one, Place)), None)
        if named is None and (place := place_of(directory)) is not None:
            others = tuple(one for one in others if one is not None)
            more["place"] = place
        return ask(directory, *others, **more)

    return asking

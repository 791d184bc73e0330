"""How far delivery has come, in two small files beside the ledger.

One is written when the hook is first switched on, the other after each delivery. Where the second
is lost, delivery begins again where the hook was switched on: twice is better than never.
"""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from app.store import Store

if TYPE_CHECKING:
    from app.postgres_store import PostgresStore

BEGAN = "webhook-began.json"
DELIVERED = "webhook-delivered.json"

_log = logging.getLogger("tallybook.webhooks")


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A position up to which everything was delivered, and the chain's hash there.

    The hash shows whether it is still this ledger: one that was restored from an older copy may
    have other facts at the same positions. `failing_since` is when the next fact first failed.
    """

    position: int
    hash: str
    failing_since: datetime | None = None


class Marks:
    """The files of one ledger."""

    def __init__(self, directory: Path, store: Store) -> None:
        self._directory = directory
        self._store = store

    def resume(self) -> Mark:
        """Where delivery goes on; the first time that is behind the newest fact."""
        began, delivered = self._read(BEGAN), self._read(DELIVERED)
        if began is None:
            position, hash = self._store.head()
            began = delivered or Mark(position=position, hash=hash.hex())
            self._write(BEGAN, began)
        return delivered or began

    def at(self, position: int) -> Mark:
        """The mark of a position of the ledger."""
        return Mark(position=position, hash=self._store.hashes([position])[position].hex())

    def keep(self, mark: Mark) -> None:
        """Write down how far delivery has come; on return the disk has it."""
        self._write(DELIVERED, mark)

    def _read(self, name: str) -> Mark | None:
        """A mark that was kept, unless it is lost, damaged or of another ledger."""
        path = self._directory / name
        content = self._content(name)
        if content is None:
            return None
        try:
            mark = msgspec.json.decode(content, type=Mark)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            _log.warning("%s cannot be read, and is taken for lost", path)
            return None
        kept = self._store.hashes([mark.position]).get(mark.position)
        if kept is None or kept.hex() != mark.hash:
            _log.warning("%s is about another ledger than this, and is taken for lost", path)
            return None
        return mark

    def _content(self, name: str) -> bytes | None:
        """What a file says, if there is one."""
        path = self._directory / name
        return path.read_bytes() if path.exists() else None

    def _write(self, name: str, mark: Mark) -> None:
        """Put a file in place as a whole, or leave the one that is there."""
        path, aside = self._directory / name, self._directory / f"{name}.new"
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(mark) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class SharedMarks(Marks):
    """The same beside a log in PostgreSQL, for whichever process has the duty.

    A file is read where there is nothing yet: it may be older.
    """

    def __init__(self, directory: Path, store: "PostgresStore") -> None:
        super().__init__(directory, store)
        self._shared = store

    def _content(self, name: str) -> bytes | None:
        return self._shared.noted(name) or super()._content(name)

    def _write(self, name: str, mark: Mark) -> None:
        self._shared.note(name, msgspec.json.encode(mark))


def marks_of(directory: Path, store: Store) -> Marks:
    """The marks of a ledger, wherever it is."""
    if store.typed:
        return SharedMarks(directory, cast("PostgresStore", store))
    return Marks(directory, store)

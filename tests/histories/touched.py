"""A copy of a ledger in which one byte of an event was flipped, and what is said of it."""

import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from app.ledger import Ledger
from app.verification import verify
from tests.histories.sent import Broken


def check(ledger: Ledger, seed: int) -> None:
    """A copy of a ledger is verified; with one byte of it flipped, that is found where it is."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=ledger.directory.parent) as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ledger.directory, copy)
        found = verify(copy)
        if not found.ok:
            raise Broken(f"verify says {found.findings[:3]}")
        at = _flip(copy, chance)
        first = [(one.code, one.position) for one in verify(copy).findings[:1]]
        if first != [("CHAIN_BROKEN", at)]:
            raise Broken(f"a byte of event {at} was flipped, verify says {first}")


def _flip(directory: Path, chance: random.Random) -> int:
    """Flip one byte of one event; return where it stands."""
    with closing(sqlite3.connect(directory / "ledger.db")) as connection, connection:
        (head,) = connection.execute("SELECT MAX(rowid) FROM stored_events").fetchone()
        at = chance.randint(1, head)
        sql = "SELECT state FROM stored_events WHERE rowid=?"
        state = bytearray(connection.execute(sql, (at,)).fetchone()[0])
        state[chance.randrange(len(state))] ^= 1 << chance.randrange(8)
        connection.execute("UPDATE stored_events SET state=? WHERE rowid=?", (bytes(state), at))
    return at

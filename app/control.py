"""The control database: which ledgers a data directory has, and the keys that open them.

It is the directory of ledgers: of each it says the name and the address, a folder beside it or a
schema in a PostgreSQL anywhere. It says nothing of what is billed: who loses it makes new keys and
notes addresses again, and no number changes. It is a door to SQLite of its own, because a server
must know the keys before it opens any ledger.
"""

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from app.clock import SystemClock
from app.keys import ID, Key, Rates, Scope
from app.opening import Home
from domain.periods import to_us
from projections.places import LONGEST_SCHEMA, Place

FILE = "control.db"
MAIN = "main"
"""The ledger that lies in the data directory itself."""
OTHERS = "ledgers"
"""The folder of the data directory in which the other ledgers lie."""
PREFIX = "ledger_"
"""What the schema of another ledger begins with, so that none is called as somebody else's is."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_VERSION = 1
_WAIT_SECONDS = 30
_TABLES = (
    """CREATE TABLE ledgers (name TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE,
    created_at_us INTEGER) WITHOUT ROWID""",
    """CREATE TABLE keys (id TEXT PRIMARY KEY, ledger TEXT NOT NULL REFERENCES ledgers,
    name TEXT NOT NULL, scopes TEXT NOT NULL, digest BLOB NOT NULL, created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER, revoked_at_us INTEGER, last_used_at_us INTEGER,
    replaces TEXT REFERENCES keys, rates BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE secrets (mark BLOB NOT NULL)",
)


class LedgerRow(msgspec.Struct, frozen=True):
    """A ledger by its name, and where it is: a folder of the data directory, or a database."""

    name: str
    address: str
    created_at_us: int | None
    """None for the first one, which may be older than the control database."""

    def __repr__(self) -> str:
        # Its address may have a password.
        return f"LedgerRow({self.name!r})"

    def home(self, data: Path) -> Home:
        """Where it is. Raises `ValueError` when what was noted is no address."""
        if self.address.startswith("postgres"):
            return Home(place(data, self.name), Place.of(self.address))
        return Home(data / self.address)


class Control:
    """The control database of one data directory, also while other processes have it open."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        (data / FILE).touch(mode=0o600)  # SQLite gives its other files the same mode
        self._lock = threading.RLock()
        self._changes = 0
        self._connection = sqlite3.connect(
            data / FILE, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS
        )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ValueError(f"{data / FILE} cannot be read: {error}") from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> tuple[int, int]:
        """Another one as soon as anything was changed, by whichever process."""
        with self._lock:
            return self._rows("PRAGMA data_version")[0][0], self._changes

    # ------------------------------------------------------------------------------------ ledgers

    def ledgers(self) -> list[LedgerRow]:
        """Every ledger, by name; the first one is always there."""
        return [LedgerRow(*row) for row in self._rows("SELECT * FROM ledgers ORDER BY name")]

    def home(self, name: str, given: Place | None = None) -> Home:
        """Where a ledger is. Raises `ValueError` when there is none of this name.

        `given` is where somebody says that the first ledger is. Of another one it says nothing; the
        password by which it is reached may be a newer one than was noted.
        """
        rows = [row for row in self.ledgers() if row.name == name]
        if not rows:
            raise ValueError(f"there is no ledger {name} in {self.data}")
        noted = rows[0].home(self.data)
        if given is None or (name != MAIN and noted.place is None):
            return noted
        if noted.place is None or noted.place.same_as(given):
            return Home(noted.directory, given)
        if name == MAIN:
            raise ValueError(
                f"{self.data} has its ledger {name} in {noted.place}, and not in {given};"
                " leave the database out, or note the other one by `tallybook ledger place`"
            )
        return noted

    def add_ledger(self, name: str, at_us: int, in_database: Place | None = None) -> None:
        """Note a ledger that was made where `place` says, or in a database.

        Raises `ValueError` when it is known, or another one is there.
        """
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM ledgers WHERE name=?", (name,)).fetchone():
                raise ValueError(f"there is a ledger {name} in {self.data} already")
            self._check_alone(name, in_database)
            row = (name, _address(name, in_database), at_us)
            connection.execute("INSERT INTO ledgers VALUES (?,?,?)", row)

    def move_ledger(self, name: str, to: Place | None) -> None:
        """Note that a ledger is in a database, in another one than before, or in files again.

        Raises `ValueError` when it is not known, or another ledger is there.
        """
        with self._writing() as connection:
            self._check_alone(name, to)
            sql = "UPDATE ledgers SET address=? WHERE name=?"
            if not connection.execute(sql, (_address(name, to), name)).rowcount:
                raise ValueError(f"there is no ledger {name} in {self.data}")

    # --------------------------------------------------------------------------------------- keys

    def every_key(self) -> list[Key]:
        """Every key that was ever made, also the revoked ones, oldest first."""
        return [_key(row) for row in self._rows("SELECT * FROM keys ORDER BY id")]

    def key(self, id: str) -> Key:
        """One key. Raises `ValueError` when there is none."""
        rows = self._rows("SELECT * FROM keys WHERE id=?", (id,))
        if not rows:
            known = ID.fullmatch(id) is not None  # or it may be a key itself, which is not repeated
            raise ValueError(f"there is no key {id if known else 'of such an id'} in {self.data}")
        return _key(rows[0])

    def add_key(self, key: Key, mark: bytes, *, ends_us: int | None = None) -> None:
        """Keep a new key; the one that it replaces ends at an instant, if it does not before.

        `mark` tells one server's secret from another. Raises `ValueError` when the keys that are
        here were made under another secret, or when the key cannot replace that other one.
        """
        with self._writing() as connection:
            self._check_mark(connection, mark)
            if key.replaces is not None:
                self._end(connection, key, ends_us)
            scopes = " ".join(sorted(key.scopes))
            row = (
                *(key.id, key.ledger, key.name, scopes, key.digest, key.created_at_us),
                *(key.expires_at_us, None, None, key.replaces, msgspec.msgpack.encode(key.rates)),
            )
            connection.execute("INSERT INTO keys VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)

    def revoke(self, id: str, at_us: int) -> Key:
        """Let a key open nothing from now on; one that was revoked before stays as it is."""
        with self._writing() as connection:
            sql = "UPDATE keys SET revoked_at_us=? WHERE id=? AND revoked_at_us IS NULL"
            connection.execute(sql, (at_us, id))
        return self.key(id)

    def note_uses(self, used_at_us: Mapping[str, int]) -> None:
        """Keep when keys were last used."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE keys SET last_used_at_us=max(?, coalesce(last_used_at_us, 0)) WHERE id=?",
                [(at_us, id) for id, at_us in used_at_us.items()],
            )

    def check_mark(self, mark: bytes) -> None:
        """Raises `ValueError` when the keys that are here were made under another secret."""
        with self._lock:
            self._check_mark(self._connection, mark, keep=False)

    # ------------------------------------------------------------------------------------- inside

    def _check_alone(self, name: str, there: Place | None) -> None:
        """One place has one ledger."""
        for row in self.ledgers():
            noted = row.home(self.data).place
            if row.name != name and there is not None and noted and noted.same_as(there):
                raise ValueError(f"{there} has the ledger {row.name}")

    def _check_mark(
        self, connection: sqlite3.Connection, mark: bytes, *, keep: bool = True
    ) -> None:
        row = connection.execute("SELECT mark FROM secrets").fetchone()
        if row is None and keep:
            connection.execute("INSERT INTO secrets VALUES (?)", (mark,))
        elif row is not None and row[0] != mark:
            raise ValueError(f"the keys in {self.data} were made under another secret")

    def _end(self, connection: sqlite3.Connection, key: Key, ends_us: int | None) -> None:
        """Let the key that is replaced end soon, so that never more than two are live."""
        rows = connection.execute(
            "SELECT id FROM keys WHERE replaces=? AND revoked_at_us IS NULL"
            " AND coalesce(expires_at_us > ?, 1)",
            (key.replaces, key.created_at_us),
        ).fetchall()
        if rows:
            raise ValueError(f"{key.replaces} was replaced by {rows[0][0]}, which is live")
        if not self.key(str(key.replaces)).live(key.created_at_us):
            raise ValueError(f"{key.replaces} is not live any more; make a new key instead")
        connection.execute(
            "UPDATE keys SET expires_at_us=min(?, coalesce(expires_at_us, ?)) WHERE id=?",
            (ends_us, ends_us, key.replaces),
        )

    def _prepare(self) -> None:
        """Make the tables in a new database. Raises `ValueError` for one of a later version."""
        if self._stored_version() == 0:
            with self._writing() as connection:
                if self._stored_version() == 0:
                    for statement in _TABLES:
                        connection.execute(statement)
                    connection.execute("INSERT INTO ledgers VALUES (?,?,?)", (MAIN, ".", None))
                    connection.execute(f"PRAGMA user_version={_VERSION}")
        if self._stored_version() != _VERSION:
            raise ValueError(f"{self.data / FILE} was written by a later version of Tallybook")

    def _stored_version(self) -> int:
        version: int = self._rows("PRAGMA user_version")[0][0]
        return version

    def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, tuple(parameters)).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, whole or not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            self._changes += 1


def _address(name: str, in_database: Place | None) -> str:
    """What is noted of where a ledger is: its folder, or the address of its place."""
    if in_database is not None:
        return in_database.address
    return "." if name == MAIN else f"{OTHERS}/{name}"


def home_of(data: Path, name: str, given: Place | None = None) -> Home:
    """Where a ledger of a data directory is. Raises `ValueError` as `Control.home` does."""
    if (data / FILE).exists():
        with Control(data) as control:
            return control.home(name, given)
    if name != MAIN:
        raise ValueError(f"there is no ledger {name} in {data}")
    return Home(data, given)


def place(data: Path, name: str) -> Path:
    """Where a new ledger of this name lies. Raises `ValueError` for what can be no name."""
    if NAME.fullmatch(name) is None:
        raise ValueError("a ledger's name has a-z, 0-9 and -, at most 63 of them")
    return data if name == MAIN else data / OTHERS / name


def new_home(data: Path, name: str, database: Place | None, *, own: bool = False) -> Home:
    """Where a new ledger of this name is to be: in a database when one is named.

    The first ledger is in the schema that was named with it, and another one in a schema of its own
    name, unless the schema was named as its `own`. Raises `ValueError` for what can be no name.

    >>> new_home(Path("data"), "eu-shop", Place.of("postgresql://me@db/bills?schema=acme")).place
    the schema ledger_eu__shop of db/bills
    """
    directory = place(data, name)
    if database is None:
        return Home(directory)
    return Home(directory, database if name == MAIN or own else database.in_schema(schema_of(name)))


def schema_of(name: str) -> str:
    """The schema of a ledger by its name; no two come to the same, nor to that of another's views.

    Raises `ValueError` for a name that is too long.
    """
    schema = PREFIX + name.replace("-", "__")
    if len(schema) > LONGEST_SCHEMA:
        raise ValueError(f"{name} is too long for a schema; name one by --database ...?schema=")
    return schema


def note_ledger(data: Path, name: str, in_database: Place | None = None) -> None:
    """Note a ledger that was made in its place; the first one in files is known without that."""
    if name == MAIN and in_database is None:
        return
    with Control(data) as control:
        if in_database is not None and name == MAIN:
            control.move_ledger(name, in_database)
        else:
            control.add_ledger(name, to_us(SystemClock().now()), in_database)


def _key(row: tuple[Any, ...]) -> Key:
    """A key as its row has it."""
    id, ledger, name, scopes, digest, created, expires, revoked, used, replaces, rates = row
    return Key(
        id=id,
        ledger=ledger,
        name=name,
        scopes=frozenset(map(Scope, scopes.split())),
        digest=digest,
        created_at_us=created,
        expires_at_us=expires,
        revoked_at_us=revoked,
        last_used_at_us=used,
        replaces=replaces,
        rates=msgspec.msgpack.decode(rates, type=Rates),
    )

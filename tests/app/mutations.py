"""What somebody may do to a ledger in one place, each with what `verify` must say first of it."""

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.checkpoints import Checkpoint
from app.store import Pending
from tests.app.rewriting import rewrite

Found = tuple[str, int | None]
"""The code and the position of a finding."""
Mutation = Callable[["Case"], Found]


@dataclass(frozen=True)
class Book:
    """The ledger that is touched, and what one must know to touch it."""

    directory: Path
    signed: Checkpoint
    head: int
    invoices: list[int]
    identities: list[tuple[int, bytes | str, int]]
    keys: list[tuple[str, int]]
    tables: dict[str, int]


@dataclass(frozen=True)
class Case:
    """A copy of the ledger to be touched, and the chance that says where."""

    book: Book
    chance: random.Random
    ledger: sqlite3.Connection
    views: sqlite3.Connection

    def position(self, most: int = 0) -> int:
        """Some position, by default up to the newest."""
        return self.chance.randint(1, most or self.book.head)

    def some_bytes(self, length: int) -> bytes:
        """Some bytes."""
        return self.chance.randbytes(length)

    def change(self, sql: str, *parameters: Any) -> None:
        """Touch the log, or what stands beside it."""
        assert self.ledger.execute(sql, parameters).rowcount > 0, sql

    def state(self, position: int) -> bytes:
        """The stored bytes of an event."""
        sql = "SELECT state FROM stored_events WHERE rowid=?"
        state: bytes = self.ledger.execute(sql, (position,)).fetchone()[0]
        return state


MUTATIONS: dict[str, Mutation] = {}
"""Everything that is done to a ledger, by what it is called."""


def mutation(does: Mutation) -> Mutation:
    """One of the mutations."""
    MUTATIONS[does.__name__.replace("_", " ")] = does
    return does


# --------------------------------------------------------------------------------------- the log


@mutation
def flip_a_byte(case: Case) -> Found:
    """One byte of an event is another one."""
    at = case.position()
    state = bytearray(case.state(at))
    state[case.chance.randrange(len(state))] ^= case.chance.randint(1, 255)
    case.change("UPDATE stored_events SET state=? WHERE rowid=?", bytes(state), at)
    return "CHAIN_BROKEN", at


@mutation
def cut_or_lengthen_an_event(case: Case) -> Found:
    """An event ends elsewhere."""
    at = case.position()
    state = case.state(at)
    cut = case.chance.randrange(len(state))
    other = case.chance.choice([state[:cut], state + case.some_bytes(1 + cut % 8)])
    case.change("UPDATE stored_events SET state=? WHERE rowid=?", other, at)
    return "CHAIN_BROKEN", at


@mutation
def rename_an_event(case: Case) -> Found:
    """An event is of another type, stream or version."""
    at = case.position()
    column, value = case.chance.choice(
        [
            ("topic", "topic || '1'"),
            ("topic", "substr(topic, 2)"),
            ("originator_id", "originator_id || 'x'"),
            ("originator_id", "'cus_other'"),
            ("originator_version", "originator_version + 100"),
        ]
    )
    case.change(f"UPDATE stored_events SET {column}={value} WHERE rowid=?", at)
    return "CHAIN_BROKEN", at


@mutation
def change_the_type_of_a_column(case: Case) -> Found:
    """A column is of another type than was written."""
    at = case.position()
    change = case.chance.choice(
        [
            "state=CAST(state AS TEXT)",
            "state=NULL",
            "state=7",
            "topic=CAST(topic AS BLOB)",
            "topic=CAST(x'ff' AS TEXT)",
            "originator_id=CAST(originator_id AS BLOB)",
            "originator_version=1.5",
            "originator_version=-1",
        ]
    )
    case.change(f"UPDATE stored_events SET {change} WHERE rowid=?", at)
    return "EVENT_UNREADABLE", at


@mutation
def delete_an_event(case: Case) -> Found:
    """An event is gone."""
    at = case.position()
    case.change("DELETE FROM stored_events WHERE rowid=?", at)
    return "HEAD_DIFFERS" if at == case.book.head else "POSITION_MISSING", at


@mutation
def delete_the_end_of_the_log(case: Case) -> Found:
    """All events after one are gone; their hashes are still there."""
    at = case.position(case.book.head - 1)
    case.change("DELETE FROM stored_events WHERE rowid>?", at)
    return "HEAD_DIFFERS", at + 1


@mutation
def let_two_events_change_places(case: Case) -> Found:
    """Two events stand in the other order."""
    first, second = sorted(case.chance.sample(range(1, case.book.head + 1), 2))
    for before, after in ((first, 10**9), (second, first), (10**9, second)):
        case.change("UPDATE stored_events SET rowid=? WHERE rowid=?", after, before)
    return "CHAIN_BROKEN", first


@mutation
def move_an_event(case: Case) -> Found:
    """An event stands behind all others, or before them."""
    at, head = case.position(), case.book.head
    to = case.chance.choice([head + 1, head + 7, 0, -3])
    case.change("UPDATE stored_events SET rowid=? WHERE rowid=?", to, at)
    if to < 1:
        return "CHAIN_BROKEN", to
    return "HEAD_DIFFERS" if at == head else "POSITION_MISSING", at


@mutation
def add_an_event(case: Case) -> Found:
    """There is one more event, of which the chain knows nothing."""
    to = case.chance.choice([case.book.head + 1, 0, -1])
    sql = f"INSERT INTO stored_events (rowid, {_COLUMNS}) SELECT ?, ?, 1, topic, state"
    case.change(f"{sql} FROM stored_events WHERE rowid=?", to, "cus_new", case.position())
    return ("HEAD_DIFFERS", to) if to > 0 else ("CHAIN_BROKEN", to)


_COLUMNS = "originator_id, originator_version, topic, state"


@mutation
def change_a_hash(case: Case) -> Found:
    """A hash is another one, or none."""
    at = case.position()
    other = case.chance.choice([case.some_bytes(32), case.some_bytes(4), "text", 7])
    case.change("UPDATE event_hashes SET hash=? WHERE position=?", other, at)
    return "CHAIN_BROKEN", at


@mutation
def delete_a_hash(case: Case) -> Found:
    """A hash is gone."""
    at = case.position()
    case.change("DELETE FROM event_hashes WHERE position=?", at)
    return "HEAD_DIFFERS" if at == case.book.head else "CHAIN_BROKEN", at


@mutation
def add_a_hash(case: Case) -> Found:
    """There is one more hash."""
    to = case.chance.choice([case.book.head + 1, 0, -1])
    case.change("INSERT INTO event_hashes VALUES (?, ?)", to, case.some_bytes(32))
    return ("HEAD_DIFFERS", to) if to > 0 else ("CHAIN_BROKEN", to)


# ---------------------------------------------------------------------------- what stands beside


@mutation
def lose_an_identity(case: Case) -> Found:
    """A usage record's identity is gone, or has another name."""
    source, id, at = case.chance.choice(case.book.identities)
    sql = case.chance.choice(
        [
            "DELETE FROM usage_identities",
            "UPDATE usage_identities SET id='another'",
            "UPDATE usage_identities SET id=CAST(id AS BLOB) || x'00'",
            "UPDATE usage_identities SET source=99",
        ]
    )
    case.change(f"{sql} WHERE source=? AND id=?", source, id)
    return "IDENTITY_MISSING", at


@mutation
def rename_a_source(case: Case) -> Found:
    """All identities of a source belong to another one."""
    number = case.chance.choice(case.book.identities)[0]
    case.change("UPDATE usage_sources SET name='another' WHERE number=?", number)
    return "IDENTITY_MISSING", min(at for one, _, at in case.book.identities if one == number)


@mutation
def change_an_identity(case: Case) -> Found:
    """A usage record's identity leads elsewhere, or is kept for other content."""
    source, id, at = case.chance.choice(case.book.identities)
    change = case.chance.choice(
        ["position=position-1", "position='x'", "row=row+1", "row=NULL", "digest=zeroblob(16)"]
    )
    case.change(f"UPDATE usage_identities SET {change} WHERE source=? AND id=?", source, id)
    return "IDENTITY_DIFFERS", at


@mutation
def add_an_identity(case: Case) -> Found:
    """There is an identity of a record that was never sent."""
    at = case.chance.choice([case.position(), case.book.head + 5, -1, "x", None])
    row = (1, case.chance.choice(["never sent", case.some_bytes(16)]), at, 0, case.some_bytes(16))
    case.change("INSERT INTO usage_identities VALUES (?,?,?,?,?)", *row)
    return "IDENTITY_UNKNOWN", None


@mutation
def lose_a_key(case: Case) -> Found:
    """A command's idempotency key is gone, or is another one."""
    key, at = case.chance.choice(case.book.keys)
    sql = case.chance.choice(
        ["DELETE FROM idempotency_keys", "UPDATE idempotency_keys SET key=key || 'x'"]
    )
    case.change(f"{sql} WHERE key=?", key)
    return "KEY_MISSING", at


@mutation
def change_a_key(case: Case) -> Found:
    """A command's idempotency key leads elsewhere."""
    key, at = case.chance.choice(case.book.keys)
    change = case.chance.choice(["subject='cus_other'", "subject=NULL", "position=0"])
    case.change(f"UPDATE idempotency_keys SET {change} WHERE key=?", key)
    return "KEY_DIFFERS", at


# ------------------------------------------------------------------------------------- the views


def some_row(case: Case) -> tuple[str, dict[str, Any]]:
    """Some row of the views, with its table."""
    names, rows = zip(*case.book.tables.items(), strict=True)
    (table,) = case.chance.choices(names, rows)
    case.views.row_factory = sqlite3.Row
    number = case.chance.randrange(case.book.tables[table])
    row = case.views.execute(f"SELECT * FROM {table} LIMIT 1 OFFSET ?", (number,)).fetchone()
    return table, dict(row)


def where(row: dict[str, Any]) -> str:
    """The condition that holds for one row alone."""
    return " AND ".join(f"{column} IS ?" for column in row)


@mutation
def change_a_view(case: Case) -> Found:
    """One value in the views is another one."""
    while True:
        table, row = some_row(case)
        column = case.chance.choice(list(row))
        other = case.chance.choice([987_654_321, "other", case.some_bytes(5)])
        sql = f"UPDATE {table} SET {column}=? WHERE {where(row)}"
        try:
            assert case.views.execute(sql, (other, *row.values())).rowcount == 1
        except sqlite3.IntegrityError:
            continue  # it is a position, and nothing else can be one
        return "PROJECTION_DIFFERS", None


@mutation
def delete_from_a_view(case: Case) -> Found:
    """A row of the views is gone."""
    table, row = some_row(case)
    sql = f"DELETE FROM {table} WHERE {where(row)}"
    assert case.views.execute(sql, tuple(row.values())).rowcount == 1
    return "PROJECTION_DIFFERS", None


@mutation
def add_to_a_view(case: Case) -> Found:
    """There is one more row in the views."""
    while True:
        table, row = some_row(case)
        row[next(iter(row))] = case.chance.choice([987_654_321, "other"])
        marks = ",".join("?" * len(row))
        try:
            case.views.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row.values()))
        except sqlite3.IntegrityError:
            continue  # its first column is a position, and nothing else can be one
        return "PROJECTION_DIFFERS", None


# ----------------------------------------------------------------- by one who knows the chain


@mutation
def write_an_invoice_anew(case: Case) -> Found:
    """An invoice says something else, and every hash fits; the views are made anew."""
    at = case.chance.choice(case.book.invoices)
    rewrite(case.ledger, at, lambda pending: _other_invoice(pending, case.chance))
    case.views.execute("DROP TABLE meta")
    return "INVOICE_DIFFERS", at


def _other_invoice(pending: Pending, chance: random.Random) -> None:
    event: Any = pending.event
    line = event.lines[0]
    lines = chance.choice(
        [
            (),
            (*event.lines, line),
            (msgspec.structs.replace(line, amount=line.amount + 1), *event.lines[1:]),
            (msgspec.structs.replace(line, description="x"), *event.lines[1:]),
            (msgspec.structs.replace(line, steps=()), *event.lines[1:]),
        ]
    )
    changes: list[dict[str, object]] = [
        {"total": event.total + 1},
        {"position": event.position - 1},
        {"content_hash": "00" * 32},
        {"amount_due": event.amount_due + 5},
        {"currency": "EUR"},
        {"lines": lines},
    ]
    pending.event = msgspec.structs.replace(event, **chance.choice(changes))


@mutation
def write_the_ledger_anew(case: Case) -> Found:
    """An event names another actor, and every hash from there on fits; a checkpoint does not."""
    at = case.position(case.book.signed.position)

    def other(pending: Pending) -> None:
        pending.envelope = msgspec.structs.replace(pending.envelope, actor="somebody else")

    rewrite(case.ledger, at, other)
    return "CHECKPOINT_DIFFERS", case.book.signed.position


@mutation
def cut_the_ledger_short(case: Case) -> Found:
    """All that came after an event is gone, as if it had never been; a checkpoint was."""
    at = case.position(case.book.signed.position - 1)
    for table, column in (("stored_events", "rowid"), ("event_hashes", "position")):
        case.change(f"DELETE FROM {table} WHERE {column}>?", at)
    case.ledger.execute("DELETE FROM usage_identities WHERE position>?", (at,))
    case.ledger.execute("DELETE FROM idempotency_keys WHERE position>?", (at,))
    case.views.execute("DROP TABLE meta")
    # A key whose command wrote several events may be kept for the last, which is gone.
    lost = [position for key, position in case.book.keys if position <= at]
    kept = {key for (key,) in case.ledger.execute("SELECT key FROM idempotency_keys")}
    cut = [position for key, position in case.book.keys if key not in kept and position in lost]
    return ("KEY_MISSING", min(cut)) if cut else ("CHECKPOINT_DIFFERS", case.book.signed.position)

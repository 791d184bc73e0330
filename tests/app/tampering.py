"""Touch a ledger in one place at a time and see it found: `python -m tests.app.tampering`.

Each case is a copy of one ledger, touched by a seeded mutation that knows what `verify` must say
first: the code, and the position. What is touched lies in the log, in what stands beside it or in
the views; some mutations know the rule of the chain and have every hash fit again.
"""

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from app import checkpoints
from app.checkpoints import Checkpoint
from app.ledger import Ledger
from app.opening import VIEWS
from app.verification import verify
from domain.invoices import Invoice
from domain.settlements import RecordPayment
from domain.usage import RecordInput, UsageRecorded
from projections import current, engine
from tests.app.billed import END, PRICES, THREE
from tests.app.mutations import MUTATIONS, Book, Case, Found
from tests.conftest import CLOCK
from tests.scenarios.story import Story


class Missed(Exception):
    """Something was touched, and not found where it was; the message says what."""


def write_book(directory: Path) -> Book:
    """A ledger with usage from two sources, corrections, invoices and payments."""
    with Ledger(directory, test_clock_at=CLOCK) as ledger:
        story = Story(ledger)
        story.tell(PRICES)
        story.tell(THREE)
        story.tell("2026-01-11 use 5 tokens by stranger\n2026-01-11 amend use 1 to 2500")
        ids = [f"r{n}" for n in range(5)] + ["0192f0c1-0000-7000-8000-00000000abcd"]
        ledger.record_now(
            [
                RecordInput(id=id, source="gateway", event_name="tokens", customer="al", value="7")
                for id in ids
            ]
        )
        ledger.advance_now(END)
        with ledger.snapshot() as views:
            bills = [one.state for one in current.select(views, Invoice, {}, limit=4)]
        for bill in filter(lambda one: one.amount_due, bills):
            pay = RecordPayment(invoice_id=bill.id, amount=bill.amount_due)
            ledger.execute_now(pay, f"pay {bill.number}")
        signed = checkpoints.take(ledger.store, directory, CLOCK)
        story.tell("2026-03-04 use 90 tokens by al\n2026-04-03 time passes")
        return _known(ledger, signed)


def _known(ledger: Ledger, signed: Checkpoint) -> Book:
    events = list(ledger.store.read())
    path = ledger.directory / "ledger.db"
    with closing(sqlite3.connect(path)) as connection, ledger.snapshot() as views:
        rows = connection.execute("SELECT source, id, position FROM usage_identities").fetchall()
        tables = {
            table.name: views.rows(f"SELECT COUNT(*) FROM {table.name}")[0][0]
            for table in engine.TABLES
        }
    assert {at for _, _, at in rows} == {
        one.position for one in events if isinstance(one.event, UsageRecorded)
    }
    named = [(one.envelope.idempotency_key, one.position) for one in events]
    first: dict[str, int] = {}
    for key, position in named:
        if key is not None:
            first.setdefault(key, position)
    return Book(
        directory=ledger.directory,
        signed=signed,
        head=len(events),
        invoices=[one.position for one in events if one.event.topic == "invoice.finalized/1"],
        identities=rows,
        keys=list(first.items()),
        tables={name: count for name, count in tables.items() if count},
    )


def run(cases: int, seed: int, directory: Path) -> Counter[str]:
    """Touch that many copies and verify each; return how often each code was found.

    Raises `Missed` when anything was not found first, and where it was.
    """
    book = write_book(directory / "book")
    untouched = verify(book.directory, signed=[book.signed])
    if not untouched.ok:
        raise Missed(f"untouched, verify says {untouched.findings}")
    names = list(MUTATIONS)
    codes: Counter[str] = Counter()
    for number in range(cases):
        name = names[number % len(names)]
        copy = directory / "copy"
        shutil.copytree(book.directory, copy)
        expected = _touch(book, copy, name, random.Random(f"{seed} {number}"))
        found = verify(copy, signed=[book.signed])
        first = (found.findings[0].code, found.findings[0].position) if found.findings else None
        if first != expected:
            said = f"{name}: expected {expected} first, verify says {found.findings[:3]}"
            raise Missed(f"{said}; case {number} of --seed {seed}")
        codes[expected[0]] += 1
        shutil.rmtree(copy)
    return codes


def _touch(book: Book, copy: Path, name: str, chance: random.Random) -> Found:
    with (
        closing(sqlite3.connect(copy / "ledger.db")) as ledger,
        closing(sqlite3.connect(copy / VIEWS)) as views,
    ):
        expected = MUTATIONS[name](Case(book, chance, ledger, views))
        ledger.commit()
        views.commit()
    return expected


def main(arguments: Sequence[str] | None = None) -> None:
    """Touch, verify, and say what was found; a traceback when anything was missed."""
    parser = argparse.ArgumentParser(prog="tests.app.tampering", description=__doc__)
    parser.add_argument("--cases", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="which places to touch")
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tallybook-") as directory:
        codes = run(parsed.cases, parsed.seed, Path(directory))
    for code, count in sorted(codes.items()):
        sys.stdout.write(f"{count:>7,} {code}\n")
    sys.stdout.write(f"touched {parsed.cases:,} times, each found first and where it was\n")


if __name__ == "__main__":
    main()

"""What only reads a ledger reads it from a replica of its server, too."""

import time
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from app.cli import main
from app.jobs import ReadOnly
from app.ledger import Ledger
from app.read_only import ReadOnlyLedger
from app.web import positions
from domain.customers import CreateCustomer
from domain.invoices import Invoice
from projections import current
from projections.places import Place
from tests.app.http import Talking
from tests.app.rich import rich
from tests.conftest import CLOCK
from tests.postgres import Server, running

PATIENCE_S = 60


def wait_for(replica: Place, log_position: str) -> None:
    """Wait until a replica has what was written up to there."""
    sql = b"SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn"
    with psycopg.connect(replica.url, cursor_factory=psycopg.RawCursor) as connection:
        for _ in range(PATIENCE_S * 20):
            if connection.execute(sql, (log_position,)).fetchone() == (True,):
                return
            connection.rollback()
            time.sleep(0.05)
    raise AssertionError("the replica does not follow")


def follows(data: Path, primary: Place, asked: ReadOnlyLedger) -> None:
    """What is written is there, for who waits for it and for who wants to be told."""
    heard = Event()
    with Ledger(data, place=primary) as ledger, asked.writer.listening(heard.set):
        at = ledger.execute_now(CreateCustomer(name="Late")).position
        headers = {positions.HEADER: str(at)}
        query = {"query": "{ ledger { position } ledgerVerification { ok } }"}
        answer = Talking(asked).request("POST", "/graphql", json=query, headers=headers)
        seen = {"ledger": {"position": str(at)}, "ledgerVerification": {"ok": True}}
        assert answer.json()["data"] == seen
        assert heard.wait(PATIENCE_S)
        with pytest.raises(ReadOnly):
            asked.execute_now(CreateCustomer(name="Later"))


def test_what_reads_reads_from_a_replica(
    postgres: Server, tmp_path: Path, capfdbinary: Any
) -> None:
    primary = postgres.address("followed")
    with Ledger(tmp_path / "data", place=Place.of(primary), test_clock_at=CLOCK) as ledger:
        rich(ledger)
        with ledger.snapshot() as views:
            [invoice] = current.select(views, Invoice, {}, limit=1)
    with psycopg.connect(Place.of(primary).url) as connection:
        connection.execute(b"CREATE ROLE onlooker LOGIN; GRANT pg_read_all_data TO onlooker")
        connection.commit()
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    with running(follows=postgres) as server:
        replica = server.address("followed")
        wait_for(Place.of(replica), row[0])
        for command in (
            ["export"],
            ["export", "--csv", "usage"],
            ["export", "--journal", "hledger"],
            ["explain", invoice.state.id, "--records"],
        ):
            written = []
            for number, address in enumerate((primary, replica)):
                data = tmp_path / f"from-{number}"
                assert main([*command, "--data", str(data), "--database", address]) == 0
                written.append(capfdbinary.readouterr().out)
            assert written[0] == written[1] != b""
        place = Place.of(replica.replace("//postgres@", "//onlooker@"))
        with ReadOnlyLedger(tmp_path / "asked", place=place) as asked:
            follows(tmp_path / "data", Place.of(primary), asked)
        named = ["--data", str(tmp_path / "from-1"), "--database", replica]
        assert main(["demo", *named]) == 2
        assert b"is in a replica, which can only be read" in capfdbinary.readouterr().err

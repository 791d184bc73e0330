"""Verifying: nothing is found where nothing was touched, also while others write."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from app import verification
from app.ledger import Ledger
from app.lock import hold
from app.opening import VIEWS
from app.reading import FINDINGS_LIMIT
from app.verification import VerificationRunning, verify
from domain.customers import CreateCustomer
from domain.decider import Event
from domain.invoices import InvoiceFinalized
from domain.products import CreateProduct
from domain.usage import RecordInput, UsageRecorded
from projections import engine
from tests import marks
from tests.app.asking import Asking, client
from tests.app.billed import END, PRICES, THREE
from tests.app.rewriting import rewritten
from tests.scenarios.story import Story

__all__ = ["client"]

ASKED = """{ ledgerVerification {
    ok events headHash projectionsEqual findings { position code message }
} }"""


@pytest.fixture
def billed(ledger: Ledger) -> Ledger:
    """A ledger with two months of invoices."""
    story = Story(ledger)
    story.tell(PRICES)
    story.tell(THREE)
    ledger.advance_now(END)
    return ledger


def finalized(ledger: Ledger) -> list[tuple[int, InvoiceFinalized]]:
    """The events that issued the invoices, with their positions."""
    return [
        (recorded.position, recorded.event)
        for recorded in ledger.store.read()
        if isinstance(recorded.event, InvoiceFinalized)
    ]


def test_by_graphql(client: Asking) -> None:
    client.create("customer", name="Llama Ltd", externalId="llama")
    position, head = client.ledger.store.head()
    assert client.field(ASKED) == {
        "ok": True,
        "events": str(position),
        "headHash": head.hex(),
        "projectionsEqual": True,
        "findings": [],
    }


def test_by_graphql_findings_are_data(client: Asking) -> None:
    id = client.create("customer", name="Llama Ltd", externalId="llama", idempotencyKey="once")
    with client.ledger.engine.database.transaction() as views:
        views.execute("DELETE FROM objects WHERE id=?", (id,))
    found = client.field(ASKED)
    assert (found["ok"], found["projectionsEqual"]) == (False, False)
    [finding] = found["findings"]
    assert (finding["position"], finding["code"]) == (None, "PROJECTION_DIFFERS")
    assert id in finding["message"]


def test_a_second_one_is_told_that_one_runs(client: Asking) -> None:
    directory = client.ledger.directory
    with hold(directory / "verify.lock"):
        [error] = client.ask(ASKED)["errors"]
        assert error["extensions"]["code"] == "TOO_BUSY"
        with pytest.raises(VerificationRunning):
            verify(directory)
    assert client.field(ASKED)["ok"]


def test_each_invoice_is_derived_again(billed: Ledger) -> None:
    issued = finalized(billed)
    found = verification.verify_open(billed)
    assert (found.findings, found.invoices) == ((), len(issued))
    assert len(issued) > 10
    assert not list(billed.directory.glob("views.verify*"))


@marks.TOUCHED
@pytest.mark.parametrize("field", ["content_hash", "lines", "amount_due", "number", "billed_to"])
def test_an_invoice_that_was_written_anew_is_found(billed: Ledger, field: str) -> None:
    position, event = finalized(billed)[3]
    directory = billed.directory
    billed.close()
    rewritten(directory, position, lambda said: changed(said, field))
    engine.remove(directory / VIEWS)
    found = verify(directory).findings
    assert found[0].position == position
    # With a number that another one has, later invoices cannot even be folded.
    assert {one.code for one in found} - {"EVENT_UNREADABLE"} == {"INVOICE_DIFFERS"}
    assert f"{event.id}, derived again, has another {field}" in found[0].message


def changed(event: Any, field: str) -> Any:
    """The event with another value in one field."""
    value = getattr(event, field)
    match field:
        case "content_hash":
            other = value[::-1]
        case "lines":
            other = (msgspec.structs.replace(value[0], description="x"), *value[1:])
        case "billed_to":
            other = msgspec.structs.replace(value, name="x")
        case _:
            other = value + 1
    return msgspec.structs.replace(event, **{field: other})


class Anything(Event, frozen=True, kw_only=True):
    """Columns that nobody has looked at."""

    topic: ClassVar[str] = UsageRecorded.topic
    ids: object
    sources: object = (["default"], b"")
    event_names: object = (["tokens"], b"")
    customers: object = (["al"], b"")
    earliest_us: int = 0
    times: object = b""
    values: object = (["1"], b"")
    properties: object = ([{}], b"")


@marks.TOUCHED
@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (Anything(ids=bytes(15)), "hold no 0 ids"),
        (Anything(ids=bytes(32), times=b"\x00"), "hold no 2 numbers"),
        (Anything(ids=bytes(32), customers=(["al", "bo"], b"\x00\x02")), "that is not there"),
        (Anything(ids=bytes(32), values=(["1", "2", "3"], b"")), "3 values for 2 rows"),
        (Anything(ids=bytes(500_000), properties=([{"a": "x" * 70_000}], b"")), "too long"),
        (Anything(ids=10**12), "Expected"),
    ],
    ids=["cut-short", "times", "places", "values", "immense", "no-ids"],
)
def test_columns_that_do_not_fit_are_named(ledger: Ledger, columns: Anything, why: str) -> None:
    sent = RecordInput(id="r1", event_name="tokens", customer="al", value="1")
    [receipt] = ledger.record_now([sent])
    assert receipt.position
    directory = ledger.directory
    ledger.close()
    rewritten(directory, receipt.position, lambda _: columns)
    [found] = [one for one in verify(directory).findings if one.code == "EVENT_UNREADABLE"]
    assert found.position == receipt.position
    assert why in found.message


@marks.TOUCHED
def test_so_many_of_a_kind_are_enough(billed: Ledger) -> None:
    directory, head = billed.directory, billed.store.head()[0]
    billed.close()
    with closing(sqlite3.connect(directory / "ledger.db")) as connection, connection:
        connection.execute("UPDATE stored_events SET state = state || x'00' WHERE rowid > 2")
        connection.execute("DELETE FROM stored_events WHERE rowid = ?", (head,))
    found = verify(directory).findings
    limit = FINDINGS_LIMIT
    assert [one.position for one in found] == [*range(3, 3 + limit), head]
    assert [one.code for one in found[-2:]] == ["EVENT_UNREADABLE", "HEAD_DIFFERS"]


def test_it_holds_while_others_write(billed: Ledger) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            billed.execute_now(CreateProduct(name="another"))

    before = billed.store.head()[0]
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        found = [verification.verify_open(billed) for _ in range(3)]
        found.append(verify(billed.directory))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [one.findings for one in found] == [()] * 4
    events = [one.events for one in found]
    assert before < events[0] < events[-1] <= billed.store.head()[0]
    assert found[-1].head_hash == billed.store.hashes(events[-1:])[events[-1]].hex()


def test_views_that_fell_behind_are_caught_up_at_rest(billed: Ledger) -> None:
    directory = billed.directory
    billed.close()
    engine.remove(directory / VIEWS)
    with closing(engine.Engine(directory / VIEWS)):
        pass
    assert verify(directory).ok


@marks.VIEWS
@pytest.mark.parametrize("position", [3, 10_000])
def test_views_of_another_position_are_found(billed: Ledger, position: int) -> None:
    directory = billed.directory
    billed.close()
    with closing(engine.Engine(directory / VIEWS)) as views:
        views.database.writing.set_meta("position", position)
    [finding] = verify(directory).findings
    assert finding.code == "PROJECTION_DIFFERS"


@marks.HELD
def test_views_of_another_version_are_not_compared_while_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.execute_now(CreateCustomer(name="Al"))
        monkeypatch.setattr(engine, "CODE_VERSION", 10_000)
        [finding] = verify(tmp_path).findings
    assert finding.code == "PROJECTION_DIFFERS"
    assert "they are of another version than this program" in finding.message

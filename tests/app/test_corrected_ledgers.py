"""Corrections in the ledger: facts like all others, decided in turn, rebuilt, and verified."""

import sqlite3
from contextlib import closing

import pytest

from app import commands, verification
from app.commands import Command
from app.jobs import UsageJob
from app.ledger import Ledger
from domain.usage import RecordInput
from domain.usage_corrections import AmendUsage, VoidUsage
from projections import engine
from tests import marks
from tests.app.asking import NOW, Asking, Story, client, story, tokens
from tests.app.test_schema_corrections import amend, record, refusal, void
from tests.app.test_writer import PATIENCE_SECONDS, busy_writer

__all__ = ["client", "story"]


def test_corrections_are_facts_about_the_batch_the_customer_and_the_meter(
    client: Asking, story: Story
) -> None:
    sent = client.record(tokens(1), tokens(2, customer="nobody"))["position"]
    amend(client, value="2500", reason="Typo")
    void(client)
    void(client, "r2")
    facts = """query($subject: ID) { ledgerEvents(subjectId: $subject, last: 3) {
        nodes { position type subjectId actor data } } }"""
    amended, voided, other = client.field(facts)["nodes"]
    assert [one["type"] for one in (amended, voided, other)] == [
        "usage.amended",
        "usage.voided",
        "usage.voided",
    ]
    assert amended["actor"] == "tester"
    assert amended["data"] == {
        "source": "default",
        "id": "r1",
        "position": int(sent),
        "row": 0,
        "value": "2500",
        "properties": {},
        "reason": "Typo",
        "amendedAt": "2026-01-15T12:00:00Z",
    }
    assert (voided["data"]["id"], other["data"]["id"]) == ("r1", "r2")
    of_batch = client.field(facts, subject=amended["subjectId"])["nodes"]
    assert of_batch == [amended, voided, other]
    for subject in (story.customer, story.meter):
        assert client.field(facts, subject=subject)["nodes"][1:] == [amended, voided]


def test_what_came_earlier_in_the_same_commit_is_seen(client: Asking, story: Story) -> None:
    ledger = client.ledger
    offered = RecordInput(id="r1", event_name="tokens", customer="llama", value="1")
    corrections: list[Command] = [
        AmendUsage(id="r1", value="2"),
        AmendUsage(id="r1", value="3"),
        VoidUsage(id="r1"),
        AmendUsage(id="r1", value="4"),
        VoidUsage(id="r2"),
    ]
    before = client.position
    with busy_writer(ledger):
        sent = ledger.writer.submit(UsageJob([offered], None))
        asked = [
            ledger.writer.submit(commands.job(one, key=None, actor=None)) for one in corrections
        ]
    assert [one.status for one in sent.result(PATIENCE_SECONDS)] == ["ACCEPTED"]
    done, refused = asked[:3], asked[3:]
    assert [one.result(PATIENCE_SECONDS).position - before for one in done] == [2, 3, 4]
    codes = [getattr(one.exception(PATIENCE_SECONDS), "code", None) for one in refused]
    assert codes == ["WRONG_STATE", "NOT_FOUND"]
    assert client.position == before + 4
    versions = [one.stream_version for one in ledger.store.read(before)]
    assert versions == [1, 2, 3, 4]


def corrected(client: Asking) -> None:
    """A ledger with every kind of correction, with keys and without."""
    client.record(tokens(1), tokens(2, properties={"model": "large"}), tokens(3, customer="late"))
    amend(client, "r2", value="2500", idempotencyKey="amend")
    amend(client, "r2", value="2500", idempotencyKey="nothing changed")
    void(client, "r1", idempotencyKey="void")
    amend(client, "r3", value="7")
    client.create("customer", name="Late", externalId="late")
    void(client, "r3")


def test_a_corrected_ledger_verifies_and_rebuilds(client: Asking, story: Story) -> None:
    corrected(client)
    folder = client.ledger.directory
    aside = engine.rebuild(folder / "check.db", client.ledger.store.read)
    with closing(engine.Engine(aside)) as rebuilt:
        assert list(rebuilt.database.dump()) == list(client.ledger.engine.database.dump())
    client.ledger.close()
    verified = verification.verify(folder)
    assert (verified.ok, verified.projections_equal, verified.findings) == (True, True, ())
    with Ledger(folder) as again:
        assert again.clock.now() == NOW
        assert record(Asking(again), "r2")["corrections"][0]["value"] == "2500"
        assert refusal(amend(Asking(again), "r1", value="1")) == ("WRONG_STATE", "input.id")


@marks.TOUCHED
@pytest.mark.parametrize(
    ("file", "sql", "code"),
    [
        ("ledger", "DELETE FROM stored_events WHERE topic='usage.voided/1'", "POSITION_MISSING"),
        (
            "ledger",
            "UPDATE stored_events SET topic='usage.amended/1' WHERE topic='usage.voided/1'",
            "CHAIN_BROKEN",
        ),
        ("ledger", "DELETE FROM idempotency_keys WHERE key='amend'", "KEY_MISSING"),
        ("ledger", "DELETE FROM usage_identities WHERE id='r1'", "IDENTITY_MISSING"),
        ("views", "UPDATE usage_corrections SET reason='x'", "PROJECTION_DIFFERS"),
        ("views", "DELETE FROM usage_voided", "PROJECTION_DIFFERS"),
    ],
)
def test_whatever_was_touched_is_found(
    client: Asking, story: Story, file: str, sql: str, code: str
) -> None:
    corrected(client)
    folder = client.ledger.directory
    client.ledger.close()
    with closing(sqlite3.connect(folder / f"{file}.db")) as connection, connection:
        assert connection.execute(sql).rowcount >= 1
    found = {finding.code for finding in verification.verify(folder).findings}
    assert code in found <= {code, "HEAD_DIFFERS"}

"""A fork goes on from a ledger's past, to try anything; the ledger itself never hears of it."""

import asyncio
import io
import sqlite3
from contextlib import closing
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from app import checkpoints, verification, verifier
from app.backups import copied
from app.checkpoints import PRIVATE_KEY
from app.cli import main
from app.delivery_marks import BEGAN
from app.exports.log_import import imported
from app.exports.log_writing import log
from app.forks import forked
from app.ledger import Ledger
from app.server import create_app
from app.store import CorruptLedger
from domain.customers import CreateCustomer
from domain.decider import Rejected
from domain.periods import format_instant, from_us
from domain.products import CreateProduct
from domain.usage_corrections import VoidUsage
from tests import marks
from tests.app.asking import Asking
from tests.app.asking import Story as GraphQLStory
from tests.app.billed import END, FEBRUARY, PRICES, THREE, said
from tests.app.receiving import settings
from tests.app.rich import SENT, rich
from tests.app.test_exports_while_served import busy
from tests.benchmarks.serving import Server
from tests.conftest import CLOCK
from tests.scenarios.story import Story

pytestmark = marks.COMMANDS

Capture = pytest.CaptureFixture[str]
ORIGIN = "{ ledger { id forkedFrom { ledgerId position hash } } }"


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """Where a fork goes."""
    return tmp_path / "fork"


def told(ledger: Ledger) -> Ledger:
    """Three subscriptions, in the middle of January."""
    story = Story(ledger)
    story.tell(PRICES)
    story.tell(THREE)
    return ledger


@pytest.mark.parametrize(
    "part", [Fraction(0), Fraction(1, 3), Fraction(2, 3), Fraction(1)], ids=str
)
def test_a_fork_is_the_ledger_up_to_its_position_byte_for_byte(
    ledger: Ledger, sandbox: Path, part: Fraction
) -> None:
    rich(ledger)
    at = 1 + int(part * (ledger.store.head()[0] - 1))
    made, event = forked(ledger.directory, sandbox, as_of=at)
    kept = list(ledger.store.stored())[:at]
    assert made.position == at + 1
    with Ledger(sandbox) as fork:
        assert list(fork.store.stored())[:at] == kept
        assert fork.store.hash_at(at) == kept[-1][2]
        last = fork.store.at(at + 1)
        assert last is not None
        assert last.event == event
        assert fork.state.id == event.id != ledger.state.id
        assert fork.state.forked_from == event.origin
        told = Asking(fork).field(ORIGIN)
    assert told == {
        "id": event.id,
        "forkedFrom": {
            "ledgerId": ledger.state.id,
            "position": str(at),
            "hash": fork_hash(kept[-1][2]),
        },
    }
    assert Asking(ledger).field(ORIGIN) == {"id": ledger.state.id, "forkedFrom": None}
    assert verification.verify(sandbox).ok


def fork_hash(hash: bytes | None) -> str:
    """A hash as it is shown."""
    assert hash is not None
    return hash.hex()


def test_what_happens_in_a_fork_is_what_would_have_happened(ledger: Ledger, sandbox: Path) -> None:
    told(ledger)
    before = ledger.store.head()
    forked(ledger.directory, sandbox)
    with Ledger(sandbox) as fork:
        fork.advance_now(END)
        tried = said(fork)
        fork.execute_now(CreateCustomer(name="Only here"))
    assert ledger.store.head() == before
    ledger.advance_now(END)
    assert said(ledger) == tried
    assert len(tried) > 5
    assert verification.verify(sandbox).ok


def test_a_forks_clock_stands_where_the_ledger_stood(ledger: Ledger, sandbox: Path) -> None:
    told(ledger)
    ledger.advance_now(FEBRUARY)
    at = ledger.store.head()[0]
    ledger.advance_now(END)
    forked(ledger.directory, sandbox, as_of=at)
    with Ledger(sandbox) as fork:
        assert fork.clock.is_test
        assert fork.clock.now() == FEBRUARY
    with pytest.raises(Rejected, match="time never goes back"):
        forked(ledger.directory, sandbox / "b", as_of=at, at=FEBRUARY - timedelta(days=1))
    forked(ledger.directory, sandbox / "c", as_of=at, at=END)
    with Ledger(sandbox / "c") as fork:
        assert fork.clock.now() == END
        fork.advance_now(END)
        assert len(said(fork)) == len(said(ledger))


def test_a_ledger_with_the_systems_clock_has_forks_whose_clock_is_moved(
    tmp_path: Path, sandbox: Path
) -> None:
    with Ledger(tmp_path / "real") as real:
        real.execute_now(CreateProduct(name="a"))
        newest = real.store.at(2)
        assert newest is not None
        forked(real.directory, sandbox)
        assert not real.clock.is_test
    with Ledger(sandbox) as fork:
        stood = from_us(newest.envelope.recorded_at_us)
        assert (fork.clock.is_test, fork.clock.now()) == (True, stood)
        fork.advance_now(stood + timedelta(days=400))
        fork.execute_now(CreateProduct(name="b"))
        then = fork.store.at(fork.store.head()[0])
        assert then is not None
        assert from_us(then.envelope.recorded_at_us) == stood + timedelta(days=400)
    with Ledger(sandbox) as fork:
        assert fork.clock.now() == stood + timedelta(days=400)


def test_identities_and_keys_are_those_up_to_the_position(ledger: Ledger, sandbox: Path) -> None:
    rich(ledger)
    first = ledger.record_now(SENT[:1])[0].position
    void = ledger.store.key("void gone")
    assert void is not None
    assert first is not None
    forked(ledger.directory, sandbox, as_of=first)
    with Ledger(sandbox) as fork:
        known = fork.record_now(SENT)
        assert [one.position for one in known] == [first] * len(SENT)
        assert {str(one.status) for one in known} == {"DUPLICATE"}
        done = fork.execute_now(VoidUsage(id="gone", reason="A test"), "void gone")
        assert done.position == first + 2
    forked(ledger.directory, sandbox / "before", as_of=first - 1)
    with Ledger(sandbox / "before") as fork:
        assert "DUPLICATE" not in {str(one.status) for one in fork.record_now(SENT)}
    forked(ledger.directory, sandbox / "after", as_of=void.position)
    with Ledger(sandbox / "after") as fork:
        command = VoidUsage(id="gone", reason="A test")
        assert fork.execute_now(command, "void gone").position == void.position


def test_a_fork_may_cut_a_transaction_in_two(ledger: Ledger, sandbox: Path) -> None:
    """What a command made due stands behind it; its key answers for as much as the fork has."""
    client = Asking(ledger)
    story = GraphQLStory(client)
    start, first = {"startAt": "2026-01-01T00:00:00Z"}, ledger.store.head()[0] + 1
    items = [{"priceId": story.licence}]
    input = {"customerId": story.customer, "items": items, "idempotencyKey": "once", **start}
    subscription = client.create("subscription", **input)
    whole = ledger.store.key("once")
    assert whole is not None
    assert whole.position == ledger.store.head()[0] > first
    forked(ledger.directory, sandbox, as_of=first)
    assert verification.verify(sandbox).ok
    with Ledger(sandbox) as fork:
        assert said(fork) == said(ledger)[:-1]
        assert Asking(fork).create("subscription", **input) == subscription
        kept = fork.store.key("once")
        assert kept is not None
        assert kept.position == first
        fork.advance_now(fork.clock.now())
        assert len(said(fork)) == len(said(ledger))


def test_a_fork_of_a_fork(ledger: Ledger, tmp_path: Path, sandbox: Path) -> None:
    told(ledger)
    _, first = forked(ledger.directory, sandbox, at=FEBRUARY)
    with Ledger(sandbox) as fork:
        fork.execute_now(CreateProduct(name="only here"))
    made, second = forked(sandbox, tmp_path / "second")
    assert second.origin.ledger_id == first.id
    assert second.clock_at == FEBRUARY
    with Ledger(tmp_path / "second") as again:
        assert again.state.id == second.id
        again.advance_now(END)
    assert verification.verify(tmp_path / "second").ok
    assert made.position == second.origin.position + 1


# ------------------------------------------------------------------- it is nobody else's business


def test_nobody_is_told_of_what_happens_in_a_fork(ledger: Ledger, sandbox: Path) -> None:
    forked(ledger.directory, sandbox)

    async def serve(served: Ledger) -> None:
        app = create_app(served, settings("http://127.0.0.1:9/"))
        async with app.router.lifespan_context(app):
            pass

    with Ledger(sandbox) as fork:
        asyncio.run(serve(fork))
    assert not (sandbox / BEGAN).exists()
    asyncio.run(serve(ledger))
    assert (ledger.directory / BEGAN).exists()


def test_what_was_signed_for_the_ledger_is_not_signed_for_a_fork(
    ledger: Ledger, tmp_path: Path, sandbox: Path, capsys: Capture
) -> None:
    ledger.execute_now(CreateProduct(name="a"))
    of_ledger = checkpoints.take(ledger.store, ledger.directory, CLOCK)
    forked(ledger.directory, sandbox)
    assert not (sandbox / PRIVATE_KEY).exists()
    with Ledger(sandbox) as fork:
        of_fork = checkpoints.take(fork.store, fork.directory, CLOCK)
    assert of_fork.public_key != of_ledger.public_key
    assert verification.verify(sandbox, signed=[of_fork]).ok
    (sandbox / checkpoints.PUBLIC_KEY).unlink()
    [finding] = verification.verify(sandbox, signed=[of_ledger]).findings
    assert f"it is a checkpoint of {ledger.state.id}" in finding.message
    exported, signed = tmp_path / "log.jsonl", tmp_path / "signed"
    exported.write_bytes(b"".join(log(sandbox)))
    signed.write_bytes(of_fork.line())
    assert verifier.main([str(exported), str(signed)]) == 0
    signed.write_bytes(of_ledger.line())
    assert verifier.main([str(exported), str(signed)]) == 1
    assert f"position 3: this is {of_fork.ledger_id}, the checkpoint" in capsys.readouterr().out


def test_a_fork_is_backed_up_and_exported_like_any_ledger(
    ledger: Ledger, tmp_path: Path, sandbox: Path
) -> None:
    told(ledger)
    made, event = forked(ledger.directory, sandbox)
    assert copied(sandbox, tmp_path / "backup") == made
    assert imported(io.BytesIO(b"".join(log(sandbox))), tmp_path / "imported") == made
    for name in ("backup", "imported"):
        with Ledger(tmp_path / name) as copy:
            assert copy.state.forked_from == event.origin


# ------------------------------------------------------------------------------- the command line


def test_by_the_command_line_as_of_a_position_or_a_time(
    ledger: Ledger, tmp_path: Path, capsys: Capture
) -> None:
    told(ledger)
    ledger.advance_now(FEBRUARY)
    at = ledger.store.head()[0]
    ledger.advance_now(END)
    for name, as_of in (("one", str(at)), ("two", format_instant(FEBRUARY))):
        target = str(tmp_path / name)
        arguments = ["fork", target, "--as-of", as_of, "--data", str(ledger.directory)]
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert f"{target}: position {at + 1}, head " in printed
        assert f"a fork of {ledger.state.id} at position {at}" in printed
        assert "its clock is at 2026-02-01T00:00:00Z" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--as-of", "0"], "as-of: the ledger has the positions 1 to"),
        (["--as-of", "1000"], "as-of: the ledger has the positions 1 to"),
        (["--as-of", "2025-12-31T00:00:00Z"], "as-of: nothing was recorded by then"),
        (["--as-of", "yesterday"], "as-of: "),
        (["--at", "2025-12-31T00:00:00Z"], "at: the ledger stood at 2026-01-01T00:00:00Z"),
    ],
)
def test_a_fork_that_cannot_be_is_refused_and_leaves_nothing(
    alpaca: Ledger, sandbox: Path, options: list[str], message: str, capsys: Capture
) -> None:
    assert main(["fork", str(sandbox), "--data", str(alpaca.directory), *options]) == 2
    assert message in capsys.readouterr().err
    assert not sandbox.exists()


def test_a_fork_needs_an_empty_directory_and_a_ledger(
    alpaca: Ledger, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["fork", str(tmp_path), "--data", str(alpaca.directory)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["fork", str(tmp_path / "a"), "--data", str(tmp_path / "none")]) == 2
    assert "there is no ledger in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE stored_events SET topic='customer.archived/1' WHERE rowid=3",
        "UPDATE stored_events SET state=x'00' WHERE rowid=3",
        "UPDATE stored_events SET state=x'00' WHERE rowid=4",
        "DELETE FROM stored_events WHERE rowid=3",
        "DELETE FROM usage_identities",
        "UPDATE event_hashes SET hash=x'00' WHERE position=4",
    ],
)
def test_a_ledger_that_is_not_what_was_written_has_no_fork(
    alpaca: Ledger, sandbox: Path, sql: str
) -> None:
    alpaca.record_now(SENT[:1])
    alpaca.close()
    with closing(sqlite3.connect(alpaca.directory / "ledger.db")) as connection, connection:
        assert connection.execute(sql).rowcount == 1
    with pytest.raises(CorruptLedger):
        forked(alpaca.directory, sandbox)
    assert not sandbox.exists()


def test_a_ledger_is_forked_while_it_is_served(server: Server, sandbox: Path) -> None:
    with busy(server, "fork") as positions:
        answered = positions[-1]
        made, event = forked(server.data, sandbox)
    assert event.origin.position >= answered
    assert made.position == event.origin.position + 1
    assert verification.verify(sandbox).ok

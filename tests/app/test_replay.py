"""The views are made anew while others read and write, and nobody notices."""

import asyncio
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import sleep

import pytest

from app import following, replay, verification
from app.cli import main
from app.ledger import Ledger
from app.lock import LedgerInUse
from app.opening import VIEWS
from app.read_only import ReadOnlyLedger
from app.replay import HANDED_OVER, TAKEN, keep_taking_over, take_over
from domain.customers import CreateCustomer, Customer
from domain.usage import RecordInput
from projections import current, engine, tables
from projections.engine import Engine
from tests import marks
from tests.app.billed import END, PRICES, THREE
from tests.app.test_exports_while_served import busy, send_one
from tests.benchmarks.serving import Server
from tests.scenarios.story import Story

pytestmark = marks.VIEWS

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def billed(ledger: Ledger) -> Ledger:
    """A ledger with two months of invoices."""
    story = Story(ledger)
    story.tell(PRICES)
    story.tell(THREE)
    ledger.advance_now(END)
    return ledger


def rebuilt(ledger: Ledger, *, sealed: bool = True) -> Path:
    """Views that were folded from the ledger so far, as they are handed over."""
    aside = engine.rebuild(ledger.directory / VIEWS, ledger.store.read)
    if sealed:
        with closing(Engine(aside)) as made:
            made.seal(ledger.store.hash_at)
    return aside.replace(ledger.directory / HANDED_OVER)


def inode(directory: Path) -> int:
    """Which file the live views are."""
    return (directory / VIEWS).stat().st_ino


def dump(ledger: Ledger) -> list[str]:
    """Everything in the live views."""
    return list(ledger.engine.database.dump())


@contextmanager
def looking(ledger: Ledger) -> Iterator[None]:
    """Somebody takes over what is handed over, as a server does."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if (ledger.directory / HANDED_OVER).exists():
                take_over(ledger)
            sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# --------------------------------------------------------------------------------- taking over


def test_a_ledger_goes_on_with_rebuilt_views(billed: Ledger) -> None:
    before, was = dump(billed), inode(billed.directory)
    rebuilt(billed)
    take_over(billed)
    assert inode(billed.directory) != was
    assert dump(billed) == before
    billed.execute_now(CreateCustomer(name="Later"))
    assert verification.verify_open(billed).ok
    billed.close()
    names = {path.name for path in billed.directory.iterdir()}
    assert not {name for name in names if "rebuil" in name or "taken" in name or "-wal" in name}
    with Ledger(billed.directory) as again:
        assert verification.verify_open(again).ok


def test_what_was_written_meanwhile_is_in_them(billed: Ledger) -> None:
    rebuilt(billed)
    billed.execute_now(CreateCustomer(name="Late", external_id="late"))
    billed.record_now([RecordInput(id="x", event_name="tokens", customer="late", value="5")])
    before = dump(billed)
    take_over(billed)
    assert dump(billed) == before


def test_who_is_reading_goes_on_reading_the_old_ones(billed: Ledger) -> None:
    at = billed.store.head()[0]
    with billed.snapshot() as old:
        count = current.count(old, Customer, {})
        for number in range(3):
            rebuilt(billed)
            take_over(billed)
            billed.execute_now(CreateCustomer(name=f"Later {number}"))
        assert (old.checkpoint(), current.count(old, Customer, {})) == (at, count)
        with billed.snapshot() as new:
            assert (new.checkpoint(), current.count(new, Customer, {})) == (at + 3, count + 3)
    assert verification.verify_open(billed).ok


def test_who_opened_the_files_by_themselves_goes_on_too(billed: Ledger) -> None:
    """They hold a connection that writes, too, which must not touch the new files when it ends."""
    database = engine.of_same_version(billed.directory / VIEWS)
    with database, database.snapshot() as old:
        at = old.checkpoint()
        rebuilt(billed)
        take_over(billed)
        billed.execute_now(CreateCustomer(name="Later"))
        assert old.checkpoint() == at
    assert (billed.directory / f"{VIEWS}-wal").exists()
    billed.execute_now(CreateCustomer(name="Latest"))
    assert verification.verify(billed.directory).ok


def test_many_read_and_write_while_views_are_taken_over_again_and_again(alpaca: Ledger) -> None:
    """Everybody reads their own writes, also from who only answers; no position ever goes back."""
    stop, failed = threading.Event(), list[BaseException]()

    def work(name: str, asked: Ledger) -> None:
        last, number = 0, 0
        try:
            while not stop.is_set():
                number += 1
                record = RecordInput(
                    id=f"{name}-{number}", event_name="tokens", customer="alpaca-lover", value="1"
                )
                [receipt] = alpaca.record_now([record])
                assert receipt.position is not None
                with asked.snapshot() as views:
                    assert views.checkpoint() >= receipt.position > last
                    last = views.checkpoint()
        except BaseException as error:
            failed.append(error)
            raise

    with ReadOnlyLedger(alpaca.directory) as other:
        threads = [
            threading.Thread(target=work, args=(str(number), (alpaca, other)[number % 2]))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(12):
                rebuilt(alpaca)
                take_over(alpaca)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failed == []
    assert verification.verify_open(alpaca).ok


def test_views_that_are_just_being_opened_are_taken_over_later(billed: Ledger) -> None:
    was, aside = inode(billed.directory), rebuilt(billed)
    with tables.opening(billed.directory / VIEWS):
        with pytest.raises(BlockingIOError):
            billed.take_over(aside)
        assert inode(billed.directory) == was
        billed.execute_now(CreateCustomer(name="Meanwhile"))
    take_over(billed)
    assert inode(billed.directory) != was
    assert verification.verify_open(billed).ok


@pytest.mark.parametrize("wrong", ["another ledger", "unsealed", "another version", "no database"])
def test_views_that_are_not_this_ledgers_are_refused(
    billed: Ledger, tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = inode(billed.directory)
    handed = billed.directory / HANDED_OVER
    match wrong:
        case "another ledger":
            with Ledger(tmp_path / "other") as other:
                rebuilt(other).replace(handed)
        case "unsealed":
            rebuilt(billed, sealed=False)
        case "another version":
            with monkeypatch.context() as patch:
                patch.setattr(engine, "CODE_VERSION", engine.CODE_VERSION + 1)
                rebuilt(billed)
        case _:
            handed.write_bytes(b"no database")
    with pytest.raises(ValueError, match=r"another version|not folded from this"):
        take_over(billed)
    assert inode(billed.directory) == was
    assert not handed.exists()
    assert not (billed.directory / TAKEN).exists()
    billed.execute_now(CreateCustomer(name="Later"))
    assert verification.verify_open(billed).ok


def test_a_crash_while_the_files_change_places_costs_a_rebuild(billed: Ledger) -> None:
    before = dump(billed)
    billed.close()
    wal = billed.directory / f"{VIEWS}-wal"
    (billed.directory / VIEWS).unlink()
    wal.write_bytes(b"of views that are gone")
    with Ledger(billed.directory) as again:
        assert dump(again) == before


# ------------------------------------------------------------------------------- asking for it


def test_a_server_takes_over_what_the_command_line_rebuilt(server: Server, capsys: Capture) -> None:
    was = inode(server.data)
    with busy(server, "replay") as positions:
        assert main(["replay", "--data", str(server.data)]) == 0
        during = len(positions)
        send_one(server, "replay-after")
    assert "the server goes on with the new views" in capsys.readouterr().out
    assert inode(server.data) != was
    assert during > 1
    assert positions == sorted(set(positions))
    found = verification.verify(server.data)
    assert (found.ok, found.findings) == (True, ())


def test_with_nobody_serving_it_is_done_at_once(billed: Ledger, capsys: Capture) -> None:
    before = dump(billed)
    (billed.directory / HANDED_OVER).write_bytes(b"of a replay that was killed")
    billed.close()
    was = inode(billed.directory)
    assert main(["replay", "--data", str(billed.directory)]) == 0
    said = capsys.readouterr().out
    assert "server" not in said
    assert inode(billed.directory) != was
    assert not (billed.directory / HANDED_OVER).exists()
    with Ledger(billed.directory) as again:
        assert said.startswith(f"replayed {again.store.head()[0]} events in ")
        assert dump(again) == before


def test_whoever_never_looks_is_named_and_nothing_is_left(
    billed: Ledger, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PATIENCE_MS", 100)
    assert main(["replay", "--data", str(billed.directory)]) == 2
    assert "does not take the views over; stop it first" in capsys.readouterr().err
    assert not list(billed.directory.glob("views.re*"))


def test_a_refusal_is_told(
    billed: Ledger, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(views: Path) -> None:
        raise ValueError("no")

    monkeypatch.setattr(billed, "take_over", refuse)
    refused = threading.Thread(target=take_one_over, args=(billed,))
    refused.start()
    assert main(["replay", "--data", str(billed.directory)]) == 2
    refused.join()
    assert "did not take the views over; its log says why" in capsys.readouterr().err


def take_one_over(ledger: Ledger) -> None:
    """Take over the next views that are handed over."""
    while not (ledger.directory / HANDED_OVER).exists():
        sleep(0.01)
    with suppress(ValueError):
        take_over(ledger)


def test_a_server_that_stops_meanwhile_leaves_it_to_whoever_asked(
    billed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, was = dump(billed), inode(billed.directory)
    closing_soon = threading.Timer(0.3, billed.close)
    closing_soon.start()
    done = replay.replay(billed.directory)
    closing_soon.join()
    assert not done.served
    assert inode(billed.directory) != was
    with Ledger(billed.directory) as again:
        assert dump(again) == before


def test_one_replay_at_a_time(billed: Ledger) -> None:
    again = pytest.raises(LedgerInUse, match="is being replayed already")
    with looking(billed), replay._alone(billed.directory), again:
        replay.replay(billed.directory)
    with looking(billed):
        assert replay.replay(billed.directory).served


def test_what_a_killed_server_had_taken_is_thrown_away(billed: Ledger) -> None:
    (billed.directory / TAKEN).write_bytes(b"half")

    async def serve() -> None:
        task = asyncio.create_task(keep_taking_over(billed))
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(serve())
    assert not (billed.directory / TAKEN).exists()


# ---------------------------------------------------------------------------------- how far it is


class Terminal(io.StringIO):
    """Where somebody looks on."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_on_a_terminal_a_bar_says_how_far_it_is(
    billed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with looking(billed):
        assert main(["replay", "--data", str(billed.directory)]) == 0
    head = billed.store.head()[0]
    *_, last = terminal.getvalue().split("\r")
    assert last.startswith(f"[{'#' * 20}] {head:,} of {head:,} events, ")
    assert last.rstrip().endswith("0 s left")


def test_elsewhere_it_is_said_in_lines(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(following, "perf_counter", lambda: next(clock))
    meter = following.Meter(10, "", "\n")
    for position in (1, 2, 3, 4):
        meter(position, 4)
    lines = capsys.readouterr().err.splitlines()
    assert [line.rstrip() for line in lines] == [
        "[##########          ] 2 of 4 events, 0/s, 12 s left",
        "[####################] 4 of 4 events, 0/s, 0 s left",
    ]

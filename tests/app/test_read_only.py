"""A server that only answers questions sees all that is written, and writes nothing itself."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from app.cli import main
from app.jobs import ReadOnly
from app.ledger import Ledger
from app.living import Living
from app.read_only import ReadOnlyLedger
from app.replay import take_over
from app.schema import Context
from app.schema.streams import answers
from app.served import Served
from app.webhooks import read_hook
from domain.customers import CreateCustomer
from domain.periods import format_instant
from projections.places import Unreachable
from tests import marks
from tests.app.asking import Asking
from tests.app.billed import END, PRICES, THREE, invoices
from tests.app.http import Talking
from tests.app.receiving import settings
from tests.app.test_live_updates import PATIENCE_SECONDS, WATCH, told
from tests.app.test_replay import rebuilt
from tests.app.test_writer import tokens
from tests.benchmarks.serving import Server, serving
from tests.scenarios.story import Story

Capture = pytest.CaptureFixture[str]

EVERYTHING = """{ ledger { id position } customers(first: 9) { nodes { name } }
    subscriptions(first: 9) { nodes { id status } }
    invoices(first: 20) { nodes { number total { amount } lines { amount { amount } } } }
    ledgerEvents(first: 50) { nodes { position type data } } }"""
CUSTOMER = 'mutation { createCustomer(input: { name: "Late" }) { position } }'
ONE = {"id": "a", "eventName": "tokens", "customer": "nobody", "value": "1"}
LAGO = {"transaction_id": "a", "code": "tokens", "external_subscription_id": "nobody"}
CLOUD = {"specversion": "1.0", "id": "a", "source": "s", "type": "tokens", "subject": "nobody"}
METER_EVENT = "event_name=tokens&payload[stripe_customer_id]=nobody&payload[value]=1"


@contextmanager
def asking(ledger: Ledger) -> Iterator[ReadOnlyLedger]:
    """The same ledger as another process has it that only asks."""
    with ReadOnlyLedger(ledger.directory, place=ledger.place) as asked:
        yield asked


@pytest.fixture
def asked(ledger: Ledger) -> Iterator[ReadOnlyLedger]:
    """The ledger of these tests, asked and not written."""
    with asking(ledger) as opened:
        yield opened


@pytest.fixture
def billed(ledger: Ledger) -> Ledger:
    """The ledger of these tests with usage that is billed month after month."""
    bill(ledger)
    return ledger


def bill(ledger: Ledger) -> None:
    """Tell of usage, and let the months pass."""
    story = Story(ledger)
    story.tell(PRICES)
    story.tell(THREE)
    ledger.advance_now(END)


def data(ledger: Ledger, query: str = EVERYTHING) -> Any:
    """What a server answers to a query."""
    answer = Talking(ledger).request("POST", "/graphql", json={"query": query}).json()
    assert "errors" not in answer, answer
    return answer["data"]


# ------------------------------------------------------------------------------------ it is asked


def test_what_is_written_is_seen(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    assert data(asked) == data(ledger)
    bill(ledger)
    found = data(asked)
    assert found == data(ledger)
    assert len(found["invoices"]["nodes"]) == len(invoices(ledger)) == 15
    assert Talking(asked).request("GET", "/readyz").text == f"ready at {ledger.store.head()[0]}\n"


def test_who_subscribes_is_told(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    async def talk() -> None:
        after = str(ledger.store.head()[0])
        stream = answers(Context(asked, streams=True), WATCH, {"after": after}, None)
        async with aclosing(stream):
            first = asyncio.ensure_future(told(stream))
            await asyncio.sleep(0)
            done = await ledger.execute(CreateCustomer(name="Late"), key=None, actor=None)
            event = await asyncio.wait_for(first, PATIENCE_SECONDS)
            assert event["position"] == str(done.position)
            assert event["type"] == "customer.created"

    asyncio.run(talk())
    assert not asked.writer.heard


def test_it_is_as_late_as_where_it_is_written(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    clock = "{ ledger { clock { now } } }"
    for days in range(1, 6):  # faster than anybody looks by themselves
        then = ledger.clock.now() + timedelta(days=days)
        ledger.advance_now(then)
        assert data(asked, clock) == {"ledger": {"clock": {"now": format_instant(then)}}}


def test_a_position_is_waited_for_and_the_clock_is_as_it_was_there(
    ledger: Ledger, asked: ReadOnlyLedger
) -> None:
    then = ledger.clock.now() + timedelta(days=40)
    ledger.advance_now(then)
    [receipt] = ledger.record_now([tokens("a")])
    headers = {"x-tallybook-position": str(receipt.position)}
    query = {"query": "{ ledger { position clock { now } } }"}
    answer = Talking(asked).request("POST", "/graphql", json=query, headers=headers).json()
    clock = {"now": format_instant(then)}
    assert answer["data"]["ledger"] == {"position": str(receipt.position), "clock": clock}


# --------------------------------------------------------------------------------- and not written


def test_nothing_can_be_changed(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    before, talking = ledger.store.head(), Talking(asked)
    answer = talking.request("POST", "/graphql", json={"query": CUSTOMER})
    [error] = answer.json()["errors"]
    assert (error["path"], error["extensions"]) == (["createCustomer"], {"code": "READ_ONLY"})
    assert "send it to the one that writes" in error["message"]
    refused = talking.usage([ONE])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "READ_ONLY")
    with pytest.raises(ReadOnly):
        asked.execute_now(CreateCustomer(name="Late"))
    with pytest.raises(ReadOnly):
        asked.record_now([tokens("a")])
    assert ledger.store.head() == before


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/v1/usage", "application/json", json.dumps([ONE])),
        ("/v1/usage", "application/cloudevents+json", json.dumps(CLOUD)),
        ("/api/v1/events", "application/json", json.dumps({"event": LAGO})),
        ("/api/v1/events", "application/cloudevents+json", json.dumps(CLOUD)),
        ("/api/v1/events/batch", "application/json", json.dumps({"events": [LAGO]})),
        ("/v1/billing/meter_events", "application/x-www-form-urlencoded", METER_EVENT),
    ],
)
def test_a_sender_is_told_to_come_again_elsewhere(
    asked: ReadOnlyLedger, path: str, kind: str, content: str
) -> None:
    """A sender keeps what was answered by 503, and would throw away what was refused by 400."""
    headers = {"content-type": kind, "authorization": "Bearer any, as it is open"}
    answer = Talking(asked).request("POST", path, content=content, headers=headers)
    assert answer.status_code == 503
    assert "only answers questions" in answer.text


def test_what_falls_due_is_left_to_whoever_writes(billed: Ledger) -> None:
    with asking(billed) as asked:
        hook = read_hook(settings("https://receiver.example/hook"))
        living = Living(Served(asked), hook, timedelta(hours=1))
        before = sorted(path.name for path in asked.directory.iterdir())

        async def live() -> None:
            async with living.going_on():
                assert not living.deliveries

        asyncio.run(live())
        assert sorted(path.name for path in asked.directory.iterdir()) == before


# ---------------------------------------------------------------------------- views that change


@marks.VIEWS
def test_rebuilt_views_are_asked_once_they_stand_there(billed: Ledger) -> None:
    with asking(billed) as asked, asked.snapshot() as old:
        at = old.checkpoint()
        for number in range(3):
            rebuilt(billed)
            take_over(billed)
            billed.execute_now(CreateCustomer(name=f"Later {number}"))
            with asked.snapshot() as views:
                assert views.checkpoint() == at + number + 1
        assert old.checkpoint() == at


def test_views_of_another_version_answer_nothing(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    with ledger.engine.database.transaction() as views:
        ours = views.meta("stamp")
        views.set_meta("stamp", "of a later version")
    with pytest.raises(Unreachable, match="of another version than this program"), asked.snapshot():
        pass
    talking = Talking(asked)
    ready = talking.request("GET", "/readyz")
    assert (ready.status_code, "of another version" in ready.text) == (503, True)
    errors = Asking(asked).ask(EVERYTHING)["errors"]
    assert {error["extensions"]["code"] for error in errors} == {"UNAVAILABLE"}
    refused = talking.request("POST", "/graphql", json={"query": EVERYTHING})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UNAVAILABLE")
    message = "the views in .* cannot be asked: they are of another version"
    with pytest.raises(Unreachable, match=message):
        ReadOnlyLedger(ledger.directory, place=ledger.place)
    with ledger.engine.database.transaction() as views:
        views.set_meta("stamp", ours)
    assert data(asked) == data(ledger)


def test_views_that_are_folded_anew_answer_nothing_until_they_are_there(
    ledger: Ledger, asked: ReadOnlyLedger
) -> None:
    """What was seen once is never unseen: nobody is told that there is nothing."""
    bill(ledger)
    before = data(asked)
    ledger.engine.start_over()
    with pytest.raises(Unreachable, match=r"are at 0, and were at \d+"), asked.snapshot():
        pass
    ledger.engine.follow(lambda: ledger.store.head()[0], ledger.store.read, ledger.store.hash_at)
    assert data(asked) == before


def test_who_begins_waits_for_views_that_lag_behind(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.live_views._BEHIND_S", 0.02)
    bill(ledger)
    ledger.engine.start_over()
    with pytest.raises(Unreachable, match=r"the views in .* are at 0 of \d+"), asking(ledger):
        pass
    ledger.engine.follow(lambda: ledger.store.head()[0], ledger.store.read, ledger.store.hash_at)
    with asking(ledger) as asked:
        assert data(asked) == data(ledger)


@marks.VIEWS
def test_views_that_are_thrown_away_answer_nothing(ledger: Ledger, asked: ReadOnlyLedger) -> None:
    path = ledger.directory / "views.db"
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(Unreachable, match="there are no views"), asked.snapshot():
        pass
    with pytest.raises(Unreachable, match="there are no views"):
        ReadOnlyLedger(ledger.directory)
    path.with_name("elsewhere.db").rename(path)
    assert data(asked) == data(ledger)


# --------------------------------------------------------------------------------- as a process


def ask(server: Server, query: str) -> Any:
    """The data that a server answers."""
    body = json.dumps({"query": query}).encode()
    headers = {"content-type": "application/json"}
    with urlopen(Request(f"{server.url}/graphql", body, headers), timeout=60) as reply:
        return json.load(reply)["data"]


def test_it_answers_whatever_becomes_of_the_one_that_writes(tmp_path: Path) -> None:
    names = "{ customers(first: 9) { nodes { name } } }"
    with serving(tmp_path) as writer:
        ask(writer, CUSTOMER)
        with serving(tmp_path, "--read-only") as reader:
            seen = ask(reader, names)
            assert seen == {"customers": {"nodes": [{"name": "Late"}]}}
            writer.process.send_signal(signal.SIGKILL)
            writer.process.wait()
            assert ask(reader, names) == seen
            with serving(tmp_path) as again:
                ask(again, CUSTOMER)
                assert len(ask(reader, names)["customers"]["nodes"]) == 2


def test_there_must_be_a_ledger_to_ask(tmp_path: Path, capsys: Capture) -> None:
    assert main(["serve", "--read-only", "--data", str(tmp_path)]) == 2
    assert "there is no ledger in" in capsys.readouterr().err


def test_it_loads_no_demo(tmp_path: Path, capsys: Capture) -> None:
    assert main(["serve", "--read-only", "--demo", "--data", str(tmp_path)]) == 2
    assert "--demo changes a ledger" in capsys.readouterr().err

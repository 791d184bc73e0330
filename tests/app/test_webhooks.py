"""Whoever wants to be told is told every fact, in order, and holds up nobody."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app import receiver, webhooks
from app.cli import main
from app.clock import scattered
from app.receiver import NotTaken, Receiver, read_address
from app.schema import Context, schema
from app.server import create_app
from app.settings import Settings
from app.webhooks import message, read_hook
from domain.customers import CreateCustomer
from domain.usage import RecordInput, Status
from tests.app.billed import FEBRUARY, THREE, invoices, story
from tests.app.receiving import (
    KEY,
    PATIENCE_SECONDS,
    SECRET,
    TOKEN,
    Receiving,
    babble,
    drip,
    drop,
    hang,
    positions,
    receiving,
    redirect,
    settings,
    telling,
)
from tests.ports import free_port
from tests.scenarios.story import Story

__all__ = ["receiving", "story"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken is told again at once."""
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", timedelta(milliseconds=1))


def test_every_fact_about_invoices_is_told_in_order(story: Story, receiving: Receiving) -> None:
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        expected = positions(story.ledger)
        told = receiving.wait_for(len(expected))
    assert receiving.positions == expected
    assert len(expected) == 8
    ledger_id = story.ledger.state.id
    assert [one.headers["webhook-id"] for one in told] == [f"{ledger_id}.{at}" for at in expected]


def test_a_fact_is_told_as_the_api_shows_it(story: Story, receiving: Receiving) -> None:
    with telling(story.ledger, receiving.url, "invoice.finalized"):
        story.tell(THREE)
        said = receiving.wait_for(1)[0].said
    fields = "position type version subjectId recordedAt actor data"
    query = f'{{ ledgerEvents(types: ["invoice.finalized"], first: 1) {{ nodes {{ {fields} }} }} }}'
    shown = asyncio.run(schema.execute(query, context_value=Context(story.ledger, None)))
    assert shown.data is not None
    invoice = said.pop("invoice")
    assert [said] == shown.data["ledgerEvents"]["nodes"]
    issued = invoices(story.ledger)[0]
    assert invoice == {
        "id": issued.id,
        "number": "000001",
        "status": "OPEN",
        "amountDue": "100.00",
        "currency": "USD",
        "customerId": issued.customer_id,
        "subscriptionId": issued.subscription_id,
    }


def test_a_draft_has_no_number_and_nothing_due_yet(story: Story) -> None:
    story.tell(THREE)
    story.ledger.advance_now(FEBRUARY)
    at = positions(story.ledger, "invoice.drafted")[-1]
    recorded = story.ledger.store.at(at)
    assert recorded is not None
    said = message(story.ledger, recorded)
    assert b'"number":null,"status":"DRAFT","amountDue":null,"currency":"USD"' in said


def test_every_delivery_is_signed_for_the_present(story: Story, receiving: Receiving) -> None:
    """Also where the ledger's clock stands somewhere else."""
    before = int(datetime.now(UTC).timestamp())
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        told = receiving.wait_for(8)
    after = int(datetime.now(UTC).timestamp())
    assert all(one.is_signed for one in told)
    assert all(before <= int(one.headers["webhook-timestamp"]) <= after for one in told)
    assert {one.headers["content-type"] for one in told} == {"application/json"}
    assert {one.path for one in told} == {f"/{TOKEN}?key={TOKEN}"}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "it answered 500"),
        (404, "it answered 404"),
        (304, "it answered 304"),
        (redirect, "it answered 307"),
        (drop, "it gave no answer in HTTP (RemoteDisconnected)"),
        (babble, "it gave no answer in HTTP (BadStatusLine)"),
        (hang, "it did not answer within 1 s"),
        (drip, "it did not answer within 1 s"),
    ],
)
def test_what_is_not_taken_is_told_again_before_anything_else(
    story: Story,
    receiving: Receiving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: int | Callable[..., None],
    reason: str,
) -> None:
    if answer in (hang, drip):
        monkeypatch.setattr(receiver, "TIMEOUT", timedelta(seconds=1))
    receiving.answers.extend([204, answer, answer])
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        told = receiving.wait_for(10)
    first, second, *others = positions(story.ledger)
    assert receiving.positions == [first, second, second, second, *others]
    assert {one.path for one in told} == {f"/{TOKEN}?key={TOKEN}"}
    assert all(one.is_signed for one in told)
    assert caplog.text.count(f"did not take position {second}: {reason}") == 2
    counted = story.ledger.writer.measures.registry.get_sample_value
    assert counted("tallybook_webhook_failures_total") == 2
    assert (counted("tallybook_webhook_deliveries_total") or 0) >= len(told) - 3
    for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), str(KEY)):
        assert secret not in caplog.text


def test_nobody_listens_at_first(
    story: Story,
    receiving: Receiving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = threading.Event()

    def note(pause: timedelta) -> timedelta:
        failed.set()
        return pause

    monkeypatch.setattr(webhooks, "scattered", note)
    with telling(story.ledger, f"http://127.0.0.1:{free_port()}/"):
        story.tell(THREE)
        assert failed.wait(PATIENCE_SECONDS)
    assert "Connection refused" in caplog.text
    with telling(story.ledger, receiving.url):
        receiving.wait_for(8)
    assert receiving.positions == positions(story.ledger)


def test_a_receiver_without_tls_is_not_told_by_https(receiving: Receiving) -> None:
    address = read_address(receiving.url.replace("http:", "https:"))
    with pytest.raises(NotTaken, match="SSL"):
        Receiver(address, KEY).tell("1", b"{}")
    assert receiving.told == []


def test_pauses_grow_up_to_ten_minutes(
    story: Story, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[timedelta] = []

    def no_pause(pause: timedelta) -> timedelta:
        pauses.append(pause)
        return timedelta()

    monkeypatch.setattr(webhooks, "scattered", no_pause)
    receiving.answers.extend([503] * 12 + [204, 503])
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for(15)
    seconds = [int(pause.total_seconds()) for pause in pauses]
    assert seconds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 1]


def test_a_pause_is_shortened_by_chance() -> None:
    pause = timedelta(seconds=10)
    drawn = {scattered(pause) for _ in range(100)}
    assert len(drawn) > 1
    assert all(timedelta(seconds=8) < one <= pause for one in drawn)


def test_only_wanted_types_are_told(story: Story, receiving: Receiving) -> None:
    with telling(story.ledger, receiving.url, "invoice.finalized, customer.*"):
        story.tell(THREE)
        expected = sorted(
            positions(story.ledger, "invoice.finalized") + positions(story.ledger, "customer.")
        )
        told = receiving.wait_for(len(expected))
    assert receiving.positions == expected
    assert {one.said["type"] for one in told} == {"invoice.finalized", "customer.created"}
    assert all(("invoice" in one.said) == ("inv_" in one.said["subjectId"]) for one in told)


def test_usage_is_told_to_who_asks_for_it(story: Story, receiving: Receiving) -> None:
    with telling(story.ledger, receiving.url, "usage.recorded"):
        for number in range(3):
            story.ledger.record_now([record(number)])
            receiving.wait_for(number + 1)
    told = receiving.told
    assert [one.said["data"]["records"][0]["id"] for one in told] == ["r-0", "r-1", "r-2"]


def record(number: int) -> RecordInput:
    """A usage record."""
    return RecordInput(id=f"r-{number}", event_name="tokens", customer="al", value="1")


def test_writing_goes_on_while_the_receiver_hangs(story: Story, receiving: Receiving) -> None:
    receiving.answers.append(hang)
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for(1)
        for number in range(50):
            [receipt] = story.ledger.record_now([record(number)])
            assert receipt.status is Status.ACCEPTED
        story.ledger.execute_now(CreateCustomer(name="Dee"))
        assert not receiving.released.is_set()
        assert len(receiving.told) == 1
        receiving.released.set()
        receiving.wait_for(8)
    assert receiving.positions == positions(story.ledger)


@pytest.mark.usefixtures("soon")
def test_a_bug_is_logged_and_nothing_is_skipped(
    story: Story,
    receiving: Receiving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter(range(2))

    def broken(*args: object) -> bytes:
        if next(times, None) is not None:
            raise RuntimeError("a bug")
        return message(*args)  # type: ignore[arg-type]  # it is handed on as it came

    monkeypatch.setattr(webhooks, "message", broken)
    monkeypatch.setattr(webhooks, "LOOK_AGAIN", timedelta(milliseconds=1))
    with telling(story.ledger, receiving.url):
        story.tell(THREE)
        receiving.wait_for(8)
    assert receiving.positions == positions(story.ledger)
    assert caplog.text.count("could not tell what comes after position") == 2


def serve(story: Story, how: Settings, until: Callable[[], object]) -> list[str]:
    """Run the server of a ledger, tell a story to it, and wait; return the threads there were."""

    async def live() -> list[str]:
        app = create_app(story.ledger, how)
        async with app.router.lifespan_context(app):
            await asyncio.to_thread(story.tell, THREE)
            await asyncio.to_thread(until)
            return [thread.name for thread in threading.enumerate()]

    return asyncio.run(live())


def test_a_server_tells_for_as_long_as_it_runs(
    story: Story, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends in the middle of a delivery, which nothing else would end in time."""
    monkeypatch.setattr(receiver, "TIMEOUT", timedelta(hours=1))
    receiving.answers.extend([204, 204, hang])
    threads = serve(story, settings(receiving.url), lambda: receiving.wait_for(3))
    assert "tallybook-webhooks" in threads
    assert "tallybook-webhooks" not in [thread.name for thread in threading.enumerate()]
    assert receiving.positions == positions(story.ledger)[:3]


def test_without_a_url_nobody_is_told(story: Story, receiving: Receiving) -> None:
    secret_only = Settings(webhook_secret=SECRET)
    threads = serve(story, secret_only, lambda: positions(story.ledger)[7])
    assert "tallybook-webhooks" not in threads
    assert receiving.told == []
    assert not list(story.ledger.directory.glob("webhook*"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("URL", "ftp://example.com/hidden", "must begin with http:// or https://"),
        ("URL", "hidden", "must begin with http:// or https://"),
        ("URL", "http:///hidden", "names no host"),
        ("URL", "http://example.com:hidden/", "the host or the port is malformed"),
        ("URL", "http://example.com:0/hidden", "port 0"),
        ("URL", "http://example.com:99999/hidden", "the host or the port is malformed"),
        ("URL", "http://[hidden/", "the host or the port is malformed"),
        ("URL", "http://hidden..example.com/", "the host or the port is malformed"),
        ("URL", "https://me:hidden@example.com/", "no user and password in the URL"),
        ("URL", "https://hidden@example.com/", "no user and password in the URL"),
        ("URL", "https://example.com/hidden\r\nx: y", "only ASCII characters and no spaces"),
        ("URL", "https://example.com/hidden é", "only ASCII characters and no spaces"),
        ("SECRET", "", "must be whsec_ and 24 to 64 bytes in base64"),
        ("SECRET", SECRET.removeprefix("whsec_"), "must be whsec_"),
        ("SECRET", "whsec_hidden", "must be whsec_"),
        ("SECRET", f"{SECRET}*", "must be whsec_"),
        ("SECRET", f"whsec_{'hidden00' * 11}", "must be whsec_"),
        ("TYPES", "invoice.finalised", "there is no type 'invoice.finalised'; there are"),
        ("TYPES", "invoice.voided,", "there is no type ''"),
        ("TYPES", "*", "there is no type '*'"),
        ("TYPES", "inv.*", "there is no type 'inv.*'"),
    ],
)
def test_a_hook_that_cannot_be_is_refused_at_the_start(
    story: Story,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    reason: str,
) -> None:
    monkeypatch.setenv("TALLYBOOK_WEBHOOK_URL", "https://example.com/")
    monkeypatch.setenv("TALLYBOOK_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv(f"TALLYBOOK_WEBHOOK_{name}", text)
    # The process of these tests keeps its own way of logging and of being ended.
    monkeypatch.setattr("app.logs.set_up", lambda *_: None)
    monkeypatch.setattr("app.web.serving.end_on_signals", lambda: None)
    story.ledger.close()
    assert main(["serve", "--data", str(story.ledger.directory)]) == 2
    printed = capsys.readouterr()
    assert f"tallybook: TALLYBOOK_WEBHOOK_{name}: " in printed.err
    assert reason in printed.err
    for secret in ("hidden", SECRET.removeprefix("whsec_")):
        assert secret not in printed.err + printed.out


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://example.com", "http://example.com:80", "/"),
        ("HTTPS://Example.com?a=b#c", "https://example.com:443", "/?a=b"),
        ("http://[::1]:8080/a/b", "http://[::1]:8080", "/a/b"),
    ],
)
def test_an_address_is_read_off_a_url(url: str, origin: str, target: str) -> None:
    address = read_address(url)
    assert (address.origin, address.target) == (origin, target)


def test_what_is_secret_is_not_printed() -> None:
    how = settings(f"https://example.com/{TOKEN}")
    for shown in (repr(how), repr(read_hook(how))):
        assert "invoice." in shown
        for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), str(KEY)):
            assert secret not in shown

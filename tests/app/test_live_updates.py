"""What subscribers are told, without a socket: facts in pages, usage as it changes, few wakings."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from app import announcements, facts
from app.announcements import Board
from app.ledger import Ledger
from app.logs import TextLines
from app.schema import Context, live_updates
from app.schema.streams import Answer, answers
from app.store import Store
from tests.app.asking import Asking, Story, client, story, tokens

__all__ = ["client", "story"]

WATCH = "subscription($after: BigInt) { ledgerEventAdded(after: $after) { position type data } }"
USAGE = """subscription($meter: ID!, $customer: ID!, $period: PeriodInput) {
    usageChanged(meterId: $meter, customerId: $customer, period: $period) {
        value recordCount period { start end } group { name } } }"""
PATIENCE_SECONDS = 30

Stream = AsyncGenerator[Answer, None]


def following(ledger: Ledger, query: str, **variables: Any) -> Stream:
    """The answers of a subscription."""
    return answers(Context(ledger, streams=True), query, variables, None)


async def told(stream: Stream) -> Any:
    """What the next answer holds in its one field."""
    answer = await asyncio.wait_for(anext(stream), PATIENCE_SECONDS)
    assert answer.executed, answer
    assert "errors" not in answer.content, answer
    (value,) = answer.content["data"].values()
    return value


def run(client: Asking, talk: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have a conversation in an event loop of its own; at its end nobody follows any more."""
    asyncio.run(talk())
    assert client.ledger.writer._listeners == ()


async def record(client: Asking, *records: dict[str, Any]) -> None:
    """Send usage from another thread, as another client would."""
    payload = await asyncio.to_thread(client.record, *records)
    assert payload["accepted"] == len(records)


def test_every_fact_is_told_page_by_page(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_updates, "PAGE_EVENTS", 3)
    monkeypatch.setattr(live_updates, "PAGE_BYTES", 300)

    async def talk() -> None:
        async with aclosing(following(client.ledger, WATCH, after="0")) as stream:
            seen = [(await told(stream))["position"] for _ in range(client.position)]
            assert seen == [str(at + 1) for at in range(client.position)]
            for number in range(5):
                await record(client, tokens(number))
            assert {(await told(stream))["type"] for _ in range(5)} == {"usage.recorded"}

    run(client, talk)


def test_a_subscriber_reads_no_further_ahead_than_a_page(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_updates, "PAGE_EVENTS", 2)
    read: list[int] = []
    at = facts.at

    def noted(store: Store, positions: Sequence[int]) -> list[facts.Fact]:
        read.extend(positions)
        return at(store, positions)

    monkeypatch.setattr(facts, "at", noted)

    async def talk() -> None:
        async with aclosing(following(client.ledger, WATCH, after="0")) as stream:
            for position in range(1, 6):
                assert (await told(stream))["position"] == str(position)
                assert max(read) <= position + 1

    run(client, talk)


def usage_of(story: Story, **more: Any) -> dict[str, Any]:
    """The variables that ask for the usage of the story's customer."""
    return {"meter": story.meter, "customer": story.customer, **more}


def test_usage_is_told_at_once_and_when_it_changes(client: Asking, story: Story) -> None:
    async def talk() -> None:
        async with aclosing(following(client.ledger, USAGE, **usage_of(story))) as stream:
            first = await told(stream)
            assert (first["value"], first["recordCount"], first["group"]) == ("0", "0", [])
            await record(client, tokens(1))
            changed = await told(stream)
            assert (changed["value"], changed["recordCount"]) == ("3000", "1")
            assert changed["period"] == first["period"]

    run(client, talk)


def test_changes_that_nobody_read_become_one(client: Asking, story: Story) -> None:
    async def talk() -> None:
        async with aclosing(following(client.ledger, USAGE, **usage_of(story))) as stream:
            assert (await told(stream))["value"] == "0"
            for number in range(30):
                await record(client, tokens(number, "1"))
            assert (await told(stream))["value"] == "30"

    run(client, talk)


def test_what_does_not_change_the_usage_is_not_told(client: Asking, story: Story) -> None:
    async def talk() -> None:
        async with aclosing(following(client.ledger, USAGE, **usage_of(story))) as stream:
            assert (await told(stream))["value"] == "0"
            coming = asyncio.create_task(told(stream))
            await asyncio.to_thread(client.create, "customer", name="Another")
            await record(client, tokens(1, timestamp="2025-12-31T23:59:59Z"))
            await asyncio.sleep(announcements.PACE_SECONDS * 3)
            assert not coming.done()
            await record(client, tokens(2, "7"))
            assert (await coming)["value"] == "7"

    run(client, talk)


def test_the_next_billing_period_follows_by_itself(client: Asking, story: Story) -> None:
    async def talk() -> None:
        async with aclosing(following(client.ledger, USAGE, **usage_of(story))) as stream:
            assert (await told(stream))["period"] == {
                "start": "2026-01-01T00:00:00Z",
                "end": "2026-02-01T00:00:00Z",
            }
            await asyncio.to_thread(
                client.mutate, "advanceClock", "AdvanceClockInput", {"to": "2026-02-02T00:00:00Z"}
            )
            assert (await told(stream))["period"] == {
                "start": "2026-02-01T00:00:00Z",
                "end": "2026-03-01T00:00:00Z",
            }

    run(client, talk)


def test_without_a_subscription_it_is_the_month_where_the_customer_is(
    client: Asking, story: Story
) -> None:
    customer = client.create("customer", name="Far", timeZone="Asia/Tokyo")

    async def talk() -> None:
        variables = {"meter": story.meter, "customer": customer}
        async with aclosing(following(client.ledger, USAGE, **variables)) as stream:
            assert (await told(stream))["period"] == {
                "start": "2025-12-31T15:00:00Z",
                "end": "2026-01-31T15:00:00Z",
            }

    run(client, talk)


def test_any_other_time_may_be_asked_for(client: Asking, story: Story) -> None:
    period = {"start": "2026-01-10T00:00:00Z", "end": "2026-01-11T00:00:00Z"}

    async def talk() -> None:
        variables = usage_of(story, period=period)
        async with aclosing(following(client.ledger, USAGE, **variables)) as stream:
            assert (await told(stream))["period"] == period
            await record(client, tokens(1, timestamp=period["end"]), tokens(2, "5"))
            assert (await told(stream))["value"] == "5"

    run(client, talk)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"meter": "met_none"}, ["meterId"]),
        ({"meter": "\ud800"}, ["meterId"]),
        ({"customer": "cus_none"}, ["customerId"]),
        ({"period": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}}, ["period"]),
    ],
)
def test_usage_of_nobody_is_refused(
    client: Asking, story: Story, wrong: dict[str, Any], path: list[str]
) -> None:
    async def talk() -> None:
        async with aclosing(following(client.ledger, USAGE, **usage_of(story) | wrong)) as stream:
            answer = await anext(stream)
        assert not answer.executed
        (error,) = answer.content["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["extensions"]["path"][:1] == path

    run(client, talk)


def test_a_bug_ends_a_subscription_and_shows_nothing_of_itself(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_updates, "PAGE_EVENTS", 1)

    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    async def talk() -> None:
        async with aclosing(following(client.ledger, WATCH, after="0")) as stream:
            await told(stream)
            monkeypatch.setattr(facts, "at", broken)
            [last] = [answer async for answer in stream]
        (error,) = last.content["errors"]
        assert error["message"] == "internal error"
        assert error["extensions"]["code"] == "INTERNAL"
        [logged] = [one for one in caplog.records if one.message == "internal error"]
        assert f"id={error['extensions']['id']}" in TextLines().format(logged)

    run(client, talk)
    assert "a secret" in caplog.text


# ------------------------------------------------------------------------------------ wakings


def test_the_writer_calls_a_loop_once_however_often_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def talk() -> None:
        calls: list[object] = []
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def counted(*what: Any) -> asyncio.Handle:
            calls.append(what)
            return call(*what)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        board = Board(loop)
        moving = board.moving()
        for _ in range(100):
            board.tell()
        await moving.wait()
        assert len(calls) == 1
        assert board.moving() is not moving
        board.tell()
        board.tell()
        await board.moving().wait()  # not before its pace allows
        assert len(calls) == 2

    asyncio.run(talk())


def test_who_asks_the_same_at_once_shares_the_answer() -> None:
    async def talk() -> None:
        board = Board(asyncio.get_running_loop())
        read: list[str] = []

        def reading(name: str) -> Callable[[], str]:
            def look_up() -> str:
                read.append(name)
                return name

            return look_up

        asked = [board.read(name, reading(name)) for name in ("a", "b", "a", "a")]
        assert await asyncio.gather(*asked) == ["a", "b", "a", "a"]
        assert sorted(read) == ["a", "b"]
        assert await board.read("a", reading("a")) == "a"
        assert sorted(read) == ["a", "a", "b"]

    asyncio.run(talk())


def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    async def talk() -> None:
        board = Board(asyncio.get_running_loop())
        go_on = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow() -> str:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return "read"

        first, second = (asyncio.create_task(board.read("key", slow)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        go_on.set()
        assert await second == "read"
        assert first.cancelled()

    asyncio.run(talk())


def test_the_writer_tells_nobody_while_nobody_follows(client: Asking, story: Story) -> None:
    async def talk() -> None:
        followed = client.ledger.writer._listeners
        assert followed == ()
        streams = [following(client.ledger, WATCH, after="0") for _ in range(3)]
        for stream in streams:
            await told(stream)
        assert len(client.ledger.writer._listeners) == 1
        for stream in streams:
            await stream.aclose()

    run(client, talk)

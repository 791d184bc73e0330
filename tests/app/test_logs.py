"""What the server says of its running: one line for each request, which names nobody's data."""

import asyncio
import io
import json
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from app import logs
from app.ledger import Ledger
from app.logs import LogFormat
from app.settings import settings_from
from tests import marks
from tests.app.http import Talking

pytestmark = marks.HTTP

SECRET = "nobody-should-read-this"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to the log, as JSON; afterwards logging is as it was."""
    root = logging.getLogger()
    before, level, written = root.handlers, root.level, io.StringIO()
    logs.set_up(LogFormat.JSON, "info", written)
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", True)  # the client of these tests
    yield written
    root.handlers = before
    root.setLevel(level)


def told(lines: io.StringIO) -> list[dict[str, Any]]:
    """The lines of requests."""
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [one for one in said if one["logger"] == "tallybook.access"]


def test_a_request_is_one_line(alpaca: Ledger, lines: io.StringIO) -> None:
    record = {"id": SECRET, "eventName": "tokens", "customer": "alpaca-lover", "value": "3"}
    answer = Talking(alpaca).usage([record])
    (line,) = told(lines)
    assert line.pop("ms") > 0
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "tallybook.access",
        "message": "request",
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "route": "/v1/usage",
        "status": 200,
        "bytes": len(answer.content),
        "position": alpaca.store.head()[0],
    }


def test_a_graphql_request_says_what_it_does_and_costs(ledger: Ledger, lines: io.StringIO) -> None:
    talking = Talking(ledger)
    query = 'mutation Add { createProduct(input: {name: "' + SECRET + '"}) { position } }'
    talking.request("POST", "/graphql", json={"query": query})
    talking.request("POST", "/graphql", json={"query": "{ ledger { id } }"})
    first, second = told(lines)
    assert (first["operation"], first["cost"], first["position"]) == ("Add", 10, 2)
    assert "operation" not in second
    assert second["cost"] == 1


def test_nothing_of_what_was_sent_is_logged(ledger: Ledger, lines: io.StringIO) -> None:
    talking, headers = Talking(ledger), {"authorization": SECRET, "x-request-id": SECRET + "\n"}
    talking.request("GET", f"/{SECRET}", params={"key": SECRET}, headers={"cookie": SECRET})
    talking.request("GET", f"/invoices/{SECRET}")
    talking.usage([{"id": SECRET}])
    query = f'query A {{ node(id: "{SECRET}") {{ id }} }}'
    talking.request("POST", "/graphql", json={"query": query}, headers={"authorization": SECRET})
    talking.request("POST", "/v1/billing/meter_events", content=SECRET, headers=headers)
    assert [line["route"] for line in told(lines)] == [
        "none",
        "/invoices/{name}",
        "/v1/usage",
        "/graphql",
        "/v1/billing/meter_events",
    ]
    assert SECRET not in lines.getvalue()


@pytest.mark.parametrize("sane", ["a", "01HF-9.x_Y", "x" * 128])
def test_a_sane_request_id_is_kept(ledger: Ledger, lines: io.StringIO, sane: str) -> None:
    answer = Talking(ledger).request("GET", "/livez", headers={"x-request-id": sane})
    assert answer.headers.get_list("x-request-id") == [sane]
    assert [line["request_id"] for line in told(lines)] == [sane]


@pytest.mark.parametrize("odd", ["", "x" * 129, "a b", 'a"b', "a\tb", "é".encode("latin-1")])
def test_another_one_is_made_instead_of_an_odd_one(ledger: Ledger, odd: str | bytes) -> None:
    made = Talking(ledger).request("GET", "/livez", headers={"x-request-id": odd})
    (id,) = made.headers.get_list("x-request-id")
    assert id.startswith("req_")


def test_a_bug_is_logged_and_answered_under_the_id_of_the_request(
    ledger: Ledger, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"a bug \n {SECRET}")

    monkeypatch.setattr("app.graphiql.values", fail)
    monkeypatch.setattr("projections.current.select", fail)
    talking, headers = Talking(ledger), {"x-request-id": "mine"}
    plain = talking.request("GET", "/graphiql/tabs.json", headers=headers)
    assert (plain.status_code, plain.headers["x-request-id"]) == (500, "mine")
    assert plain.json()["error"]["message"] == "internal error mine"
    query = {"query": "{ meters { nodes { id } } }"}
    masked = talking.request("POST", "/graphql", json=query, headers=headers)
    assert masked.json()["errors"][0]["extensions"] == {"code": "INTERNAL", "id": "mine"}
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    bugs = [one for one in said if one["message"] == "internal error"]
    assert [one["request_id"] for one in bugs] == ["mine", "mine"]
    assert all("a bug" in one["exception"] for one in bugs)
    assert [one["status"] for one in told(lines)] == [500, 200]


def test_half_of_a_surrogate_pair_is_logged_like_anything_else() -> None:
    # Not by logging it: what captures logs here could not pass it on.
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "a bug \ud800"})
    assert json.loads(logs.JsonLines().format(record))["message"] == "a bug \\ud800"
    assert logs.TextLines().format(record).encode().endswith(b"a bug \\ud800")


def test_a_line_of_text_stays_one_line() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "one\ntwo"})
    record.__dict__.update(logs.fields(plain="/v1/{id}", odd='a "b"\nc', number=1.5, none=None))
    (line,) = logs.TextLines().format(record).splitlines()
    _, _, rest = line.partition(" ")
    assert rest == 'INFO x one two plain=/v1/{id} odd="a \\"b\\" c" number=1.5'


def test_the_level_is_one_of_those_there_are() -> None:
    assert settings_from({"TALLYBOOK_LOG_LEVEL": "WARNING"}).least_logged == "warning"
    with pytest.raises(ValueError, match="TALLYBOOK_LOG_LEVEL: loud: one of debug, info"):
        _ = settings_from({"TALLYBOOK_LOG_LEVEL": "loud"}).least_logged
    with pytest.raises(ValueError, match="TALLYBOOK_LOG_FORMAT"):
        settings_from({"TALLYBOOK_LOG_FORMAT": "xml"})


def test_ordinary_lines_of_one_round_are_written_together() -> None:
    written = Writes()
    log = _log(written)

    async def speak() -> int:
        logs.tell(log, "one", a=1)
        logs.tell(log, "two")
        before = len(written.pieces)
        await asyncio.sleep(0)
        return before

    assert asyncio.run(speak()) == 0
    (piece,) = written.pieces
    assert [line.partition(" ")[2] for line in piece.splitlines()] == [
        "INFO x one a=1",
        "INFO x two",
    ]


def test_a_warning_is_written_at_once_behind_what_was_said_before() -> None:
    written = Writes()
    log = _log(written)

    async def speak() -> int:
        logs.tell(log, "one")
        log.warning("two")
        return len(written.pieces)

    assert asyncio.run(speak()) == 1
    assert [line.split()[-1] for line in written.pieces[0].splitlines()] == ["one", "two"]


def test_without_an_event_loop_a_line_is_written_at_once() -> None:
    written = Writes()
    log = _log(written)
    logs.tell(log, "one")
    assert len(written.pieces) == 1


def test_a_line_that_an_event_loop_left_is_written_with_the_next_one() -> None:
    written = Writes()
    log = _log(written)
    gone = asyncio.new_event_loop()

    async def speak() -> None:
        logs.tell(log, "one")

    gone.run_until_complete(_stopping_at_once(gone, speak()))
    gone.close()
    asyncio.run(speak())
    assert "".join(written.pieces).count("one") == 2


async def _stopping_at_once(
    loop: asyncio.AbstractEventLoop, last: Coroutine[Any, Any, None]
) -> None:
    loop.stop()  # nothing that is called after this round is
    await last


class Writes(io.StringIO):
    """Each piece that was written, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, piece: str) -> int:
        self.pieces.append(piece)
        return len(piece)


def _log(to: io.StringIO) -> logging.Logger:
    """A log of its own, whose lines are text."""
    log, handler = logging.getLogger("x"), logs.Lines(to)
    handler.setFormatter(logs.TextLines())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    return log

"""Part h: what one small request of GraphQL costs, beside bare Starlette with the same bytes."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from app.server import create_app
from app.settings import Settings
from tests.benchmarks import report
from tests.benchmarks.workload import Records, Sizes, business

TITLE = "Small requests of GraphQL"
_REQUESTS = {"one object": 400, "100 objects of 8 fields": 40, "1,000 typed records": 4}
_FULL = 1_000_000
_BATCH = 1_000
_PAGE = 100

_ONE = "query One($id: ID!) { node(id: $id) { id } }"
_MANY = f"""query Many {{ customers(first: {_PAGE}) {{ nodes {{
  id name externalId email description timeZone createdAt archivedAt
}} }} }}"""
_RECORD = """mutation Record($input: RecordUsageInput!) {
  recordUsage(input: $input) { receipts { id status position } accepted position }
}"""


@dataclass
class Asker:
    """A client without a socket: one application, asked one thing after the other."""

    app: ASGIApp

    async def ask(self, body: bytes) -> bytes:
        """The body of an answer."""
        arriving: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        parts: list[bytes] = []

        async def receive() -> Message:
            return arriving.pop()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200
            else:
                parts.append(message["body"])

        await self.app(_scope(body), receive, send)
        return b"".join(parts)


def _scope(body: bytes) -> Scope:
    """A request as the server hands it over."""
    headers = {
        b"host": b"127.0.0.1:8000",
        b"accept": b"application/graphql-response+json, application/json;q=0.9",
        b"user-agent": b"benchmark",
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(body),
    }
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "headers": list(headers.items()),
        "state": {},
    }


def bare(answer: bytes) -> Starlette:
    """An application that reads the same body, and answers the same bytes without a thought."""

    async def answered(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/graphql-response+json")

    return Starlette(routes=[Route("/graphql", answered, methods=["POST"])])


def run(directory: Path, sizes: Sizes) -> None:
    """Ask each kind of request in slices, beside bare Starlette, and print the table."""
    with business(directory / "small-queries", sizes) as one:
        app = create_app(one.ledger, Settings())
        asker = Asker(app)
        rows = asyncio.run(_rows(asker, one.ledger.state.id, sizes))
    report.table(
        TITLE,
        "Timed: processor time of the process, with the writer's thread, for each request through\n"
        "the ASGI interface, without a socket. Floor: a bare Starlette application that\n"
        "reads the same body and answers the same bytes. Slices of both alternate.",
        ["request", "answer", "CPU", "bare Starlette", "ratio"],
        rows,
    )


async def _rows(asker: Asker, ledger_id: str, sizes: Sizes) -> list[list[str]]:
    rows: list[list[str]] = []
    for name, full in _REQUESTS.items():
        slices = sizes.slices
        each = max(1, full * sizes.records // _FULL)
        bodies = _bodies(name, ledger_id, sizes, each * slices + 1)
        answer = await asker.ask(next(bodies))  # and its document is known from here on
        floor = Asker(bare(answer))
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(slices):
            some = [next(bodies) for _ in range(each)]
            ours.append(await _timed(asker, some))
            theirs.append(await _timed(floor, some * 10) / 10)
        ratio = report.ratio(report.median_ratio(ours, theirs))
        spent = [report.millis(median(times) / each) for times in (ours, theirs)]
        rows.append([name, f"{len(answer):,} bytes", *spent, ratio])
    return rows


async def _timed(asker: Asker, bodies: Sequence[bytes]) -> float:
    """The processor time of asking all of them."""
    started = process_time()
    for body in bodies:
        await asker.ask(body)
    return process_time() - started


def _bodies(name: str, ledger_id: str, sizes: Sizes, count: int) -> Iterator[bytes]:
    """So many requests of one kind; no usage record is sent twice."""
    if name == "one object":
        content = {"query": _ONE, "variables": {"id": ledger_id}}
        yield from [msgspec.json.encode(content)] * count
    elif name == "100 objects of 8 fields":
        yield from [msgspec.json.encode({"query": _MANY})] * count
    else:
        records = Records("time-ordered", sizes.customers, count * _BATCH)
        for _ in range(count):
            variables = {"input": {"records": records.batch(_BATCH)}}
            yield msgspec.json.encode({"query": _RECORD, "variables": variables})

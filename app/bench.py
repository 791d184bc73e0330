"""`tallybook bench`: what this machine makes of Tallybook, beside what its database makes of it.

The ledger is a throw-away one on the disk that the real one is on, served by a real server in a
process of its own. Ratios say more than rates: both of a pair are measured within seconds.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter

import msgspec

from app import bench_floor, demo
from app.bench_floor import Timing
from app.clock import new_id
from app.ledger import Ledger
from app.opening import Home, drop
from app.settings import PREFIX
from domain.subscriptions import Subscription
from projections import current
from projections.places import Place

BATCH = 1_000
BATCH_CLIENTS = 2
"""How many clients send batches: one keeps the server waiting while it makes the next."""

_HERE = Path(__file__).parent.parent
_START_S = 60
_POLL_S = 0.05
_PREVIEW_EVERY_S = 0.02
_PREVIEW = "query($id: ID!) { invoicePreview(subscriptionId: $id) { amountDue { amount } } }"
_SLOW_FLUSH_S = 0.005


class NotMeasured(Exception):
    """The server did not start, or did not accept what it was sent; the text says what it said."""


class Loaded(msgspec.Struct, frozen=True):
    """What came of one load: records a second, and how long requests and previews took."""

    rate: float
    requests: Timing
    previews: Timing


class Found(msgspec.Struct, frozen=True):
    """Everything that was measured."""

    clients: int
    floor: bench_floor.Floor
    idle: Timing
    batches: Loaded
    single: Loaded


def measure(data: Path, seconds: float, clients: int, database: Place | None = None) -> Found:
    """Measure beside the ledger's directory, for so long in all. Raises `NotMeasured`.

    In a database it is a throw-away schema.
    """
    beside = data.resolve().parent
    beside.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=beside, prefix="tallybook-bench-") as name,
        _thrown_away(database) as place,
    ):
        directory, part = Path(name), seconds / 8
        floor = bench_floor.measure(directory, part, BATCH, place)
        with Ledger(directory / "ledger", place=place) as ledger:
            demo.load(ledger)
            with ledger.snapshot() as views:
                [first] = current.select(views, Subscription, {}, limit=1)
        home = Home(directory, place)
        return asyncio.run(_served(home, first.state.id, floor, part, clients))


@contextmanager
def _thrown_away(database: Place | None) -> Iterator[Place | None]:
    """A schema that nobody has used, and nobody sees again."""
    if database is None:
        yield None
        return
    place = database.in_schema(f"bench_{new_id('led').partition('_')[2]}")
    try:
        yield place
    finally:
        drop(place)


async def _served(
    home: Home, subscription: str, floor: bench_floor.Floor, part: float, clients: int
) -> Found:
    port = await _free_port()
    with _server(home, port) as ended:
        asking = Asking(port, subscription)
        await asking.until_ready(ended)
        _, idle = await asyncio.gather(asyncio.sleep(part), asking.previews(part))
        batches = await asking.load(BATCH_CLIENTS, BATCH, 2 * part)
        single = await asking.load(clients, 1, 2 * part)
    return Found(clients, floor, Timing.of(idle), batches, single)


async def _free_port() -> int:
    """A port on which nobody listens just now."""
    probe = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    return port


@contextmanager
def _server(home: Home, port: int) -> Iterator[Callable[[], str | None]]:
    """A server of the throw-away ledger, with none of the other settings of this process.

    The answer says what it printed once it has ended.
    """
    directory, place = home
    arguments = ["--data", str(directory / "ledger"), "--port", str(port), "--log-level", "warning"]
    log = directory / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", *arguments],
            cwd=_HERE,
            env={f"{PREFIX}DATABASE": place.address} if place else {},  # others see arguments
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )

    def ended() -> str | None:
        return None if process.poll() is None else log.read_text(errors="replace")

    try:
        yield ended
    finally:
        process.terminate()
        process.wait()


class Asking:
    """Clients of one server."""

    def __init__(self, port: int, subscription: str) -> None:
        self._port = port
        self._ids = bench_floor.ascending()
        variables = {"id": subscription}
        self._preview = msgspec.json.encode({"query": _PREVIEW, "variables": variables})

    async def until_ready(self, ended: Callable[[], str | None]) -> None:
        """Return once it can be asked. Raises `NotMeasured`."""
        deadline = perf_counter() + _START_S
        while perf_counter() < deadline:
            said = ended()
            if said is not None:
                raise NotMeasured(f"the server ended: {said}")
            try:
                async with self._line() as line:
                    await line.ask(b"GET", b"/readyz", b"")
                return
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(_POLL_S)
        raise NotMeasured(f"the server was not ready after {_START_S} s")

    async def load(self, clients: int, size: int, seconds: float) -> Loaded:
        """Have clients send records for so long, and somebody ask for previews meanwhile."""
        started = perf_counter()
        *sent, previews = await asyncio.gather(
            *(self._sending(size, started + seconds) for _ in range(clients)),
            self.previews(seconds),
        )
        took = perf_counter() - started
        requests = [one for some in sent for one in some]
        return Loaded(len(requests) * size / took, Timing.of(requests), Timing.of(previews))

    async def previews(self, seconds: float) -> list[float]:
        """Ask for a preview again and again; how long each took."""
        taken, end = list[float](), perf_counter() + seconds
        async with self._line() as line:
            while perf_counter() < end or not taken:
                started = perf_counter()
                answer = await line.ask(b"POST", b"/graphql", self._preview)
                taken.append(perf_counter() - started)
                if b'"amountDue"' not in answer or b'"errors"' in answer:
                    raise NotMeasured(answer.decode(errors="replace"))
                await asyncio.sleep(_PREVIEW_EVERY_S)
        return taken

    async def _sending(self, size: int, end: float) -> list[float]:
        """Send records over one connection, each request after the answer to the one before."""
        taken: list[float] = []
        async with self._line() as line:
            while perf_counter() < end or not taken:
                body = records(self._ids, size)
                started = perf_counter()
                answer = await line.ask(b"POST", b"/v1/usage", body)
                taken.append(perf_counter() - started)
                if b'"accepted":%d,' % size not in answer:
                    raise NotMeasured(answer.decode(errors="replace"))
        return taken

    @asynccontextmanager
    async def _line(self) -> AsyncIterator["_Line"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield _Line(reader, writer)
        finally:
            writer.close()


class _Line:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: bytes, path: bytes, body: bytes) -> bytes:
        """Send a request and read the body of its answer."""
        head = b"%s %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        self._writer.write(head % (method, path) + length + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        lines = answer.lower().split(b"\r\n")
        sizes = [line.partition(b":")[2] for line in lines if line.startswith(b"content-length:")]
        return await self._reader.readexactly(int(sizes[0]) if sizes else 0)


def records(ids: Iterator[str], size: int) -> bytes:
    """Usage of the demo's customers."""
    customers = [key for key, *_ in demo.CUSTOMERS]
    return msgspec.json.encode(
        [
            {
                "id": next(ids),
                "eventName": demo.EVENT_NAME,
                "customer": customers[number % len(customers)],
                "value": str(number),
                "properties": {"model": demo.MODELS[number % 2], "region": "eu-west"},
            }
            for number in range(size)
        ]
    )


# -------------------------------------------------------------------------------------- telling


def table(found: Found) -> Iterator[str]:
    """What was measured, one line for each thing, in columns."""
    floor, batches, single = found.floor, found.batches, found.single
    flush = f"p99 {_ms(floor.flush.p99)}"
    rows = [
        ("one flush to disk (fsync)", _ms(floor.flush.p50), flush, ""),
        (f"bare {floor.database}, batches of {BATCH:,}", _rate(floor.batched), "", ""),
        (f"bare {floor.database}, single records", _rate(floor.single), "", ""),
        (
            f"Tallybook, batches of {BATCH:,}, {BATCH_CLIENTS} clients",
            _rate(batches.rate),
            f"{_ms(batches.requests.p50)}, p99 {_ms(batches.requests.p99)}",
            _ratio(batches.rate, floor.batched),
        ),
        (
            f"Tallybook, single records, {found.clients} clients",
            _rate(single.rate),
            f"{_ms(single.requests.p50)}, p99 {_ms(single.requests.p99)}",
            _ratio(single.rate, floor.single),
        ),
        *(
            (f"invoice preview, {when}", _ms(timing.p50), f"p99 {_ms(timing.p99)}", ratio)
            for when, timing, ratio in (
                ("nothing else going on", found.idle, ""),
                ("during the batches", batches.previews, _times(batches.previews, found.idle)),
                ("during the single records", single.previews, _times(single.previews, found.idle)),
            )
        ),
    ]
    return _columns([("", "measured", "each", "ratio"), *rows])


def verdict(found: Found) -> str:
    """What it comes to, in a sentence."""
    floor, batches, single = found.floor, found.batches, found.single
    flush = floor.flush.p50
    limit = (
        f"the disk, which takes {_ms(flush)} for a flush"
        if flush > _SLOW_FLUSH_S
        else "the processors, not the disk"
    )
    return (
        f"This machine takes {batches.rate:,.0f} records a second in batches, "
        f"{_ratio(batches.rate, floor.batched)} of bare {floor.database}, and "
        f"{single.rate:,.0f} one by one, "
        f"{_ratio(single.rate, floor.single)}; what limits it is {limit}, and a preview takes "
        f"{_ms(batches.previews.p50)} under load."
    )


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.2f} ms"


def _ratio(above: float, below: float) -> str:
    return f"{above / below:.2f}"


def _times(timing: Timing, idle: Timing) -> str:
    return f"{timing.p50 / idle.p50:.1f} times"

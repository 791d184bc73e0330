"""Part s: a ledger that holds millions of records, written to by everybody: the writer at scale.

It takes long, so it is measured only when it is asked for: `make scale`.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import msgspec

from app.ledger import Ledger
from domain.usage import RecordInput, Status
from tests.benchmarks import report
from tests.benchmarks.floor import Floor, floor, rows_of
from tests.benchmarks.http_client import PATHS, Order
from tests.benchmarks.over_http import host_and_port, sent
from tests.benchmarks.previews import previewing
from tests.benchmarks.serving import Server, serving, serving_nothing
from tests.benchmarks.workload import Ids, Records, Sizes, business

TITLE = "The writer at scale"
_STRETCHES = 10
_BATCH = 1_000
_FULL = 10_000_000
_CACHE_KIB = 262_144

_WAYS = (
    ("bulk", 1_000, 0, 1, 200_000),
    ("bulk", 1_000, 0, 50, 200_000),
    ("bulk", 1_000, 1, 1, 100_000),
    ("bulk", 1, 0, 1, 2_000),
    ("bulk", 1, 0, 50, 30_000),
    ("bulk", 1, 0, 200, 30_000),
    ("graphql", 1_000, 0, 1, 100_000),
    ("graphql", 1, 0, 50, 15_000),
    ("graphql", 1, 0, 200, 15_000),
)
"""Endpoint, size of a batch, customers (0 is all), clients, and the records of a full run."""


@dataclass
class Filled:
    """Seconds and batches of each stretch of the filling, by the ledger and by the floor."""

    records: int
    ledger: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    batches: list[list[float]] = field(default_factory=list)


def run(directory: Path, sizes: Sizes) -> None:
    """Fill a ledger with each kind of ids, then write to it over HTTP; print what is known so far.

    It takes so long that it may be stopped before its end, and then what was measured stays.
    """
    kinds: tuple[Ids, ...] = ("time-ordered", "random")
    for ids in (sizes.ids,) if sizes.ids else sizes.some(kinds):
        data = directory / f"scale-{ids}"
        data.mkdir()
        with business(data, replace(sizes, customers=sizes.many)) as subject:
            _tell_filling(ids, sizes, _fill(subject.ledger, data, sizes, ids))
        with (
            serving(data) as server,
            serving(data, "--read-only") as asked,
            serving_nothing() as bare,
        ):
            servers = _Servers(server, asked, bare, subject.subscription_id)
            served = list(_served(servers, sizes, ids))
            _tell_serving(ids, sizes, served, _memory(server))
        shutil.rmtree(data)  # the next is as large


def _tell_filling(ids: Ids, sizes: Sizes, filled: Filled) -> None:
    report.table(
        f"{TITLE}: batches of 1,000, {ids} ids, while it is filled to {sizes.filled:,}",
        f"{sizes.many:,} customers. Timed: `ledger.record_now(batch)` until the answer. Floor: one "
        "table with a\nunique index on (source, id), WAL, synchronous=FULL, 256 MiB of cache, one "
        "transaction for\neach batch; it is filled alongside.",
        ["records", "ledger", "floor", "ratio to floor", "batch p50", "batch p99"],
        [_stretch(filled, number) for number in (0, _STRETCHES // 2 - 1, _STRETCHES - 1)],
    )


def _tell_serving(ids: Ids, sizes: Sizes, served: Sequence[list[str]], memory: str) -> None:
    report.table(
        f"{TITLE}: over HTTP, {ids} ids, with {sizes.filled:,} records in the ledger",
        "A client in another process; an invoice is previewed by GraphQL all the while, by this "
        "server and by one\nthat is read-only. Floor: the same requests to a bare Starlette that "
        "reads them and keeps nothing.\nThe most memory of the server that writes: "
        f"{memory}.",
        [
            "endpoint",
            "clients",
            "batch",
            "requests",
            "records",
            "ratio to floor",
            "p50",
            "p99",
            "preview p99",
            "read-only",
        ],
        served,
    )


def _fill(ledger: Ledger, directory: Path, sizes: Sizes, ids: Ids) -> Filled:
    size = min(_BATCH, sizes.filled // _STRETCHES)
    stretch = sizes.filled // _STRETCHES // size
    filled = Filled(stretch * size)
    records = Records(ids, sizes.many, sizes.filled)
    with floor(directory / "floor.db", cache_kib=_CACHE_KIB) as bare:
        for _ in range(_STRETCHES):
            seconds = [0.0, 0.0]
            batches: list[float] = []
            for _ in range(stretch):
                for place, one in enumerate(_both(ledger, bare, records.batch(size))):
                    seconds[place] += one
                    if place == 0:
                        batches.append(one)
            filled.ledger.append(seconds[0])
            filled.floor.append(seconds[1])
            filled.batches.append(batches)
            print(f"{ids} ids, {', '.join(_stretch(filled, len(filled.ledger) - 1))}", flush=True)
    return filled


def _both(ledger: Ledger, bare: Floor, batch: list[RecordInput]) -> Iterator[float]:
    """Seconds that a batch takes in the ledger, and then on the floor."""
    rows = rows_of(batch)
    started = perf_counter()
    receipts = ledger.record_now(batch)
    yield perf_counter() - started
    assert receipts[-1].status is Status.ACCEPTED, receipts[-1]
    started = perf_counter()
    bare.insert(rows)
    yield perf_counter() - started


def _stretch(filled: Filled, number: int) -> list[str]:
    return [
        f"up to {filled.records * (number + 1):,}",
        report.rate(filled.records / filled.ledger[number]),
        report.rate(filled.records / filled.floor[number]),
        report.ratio(filled.floor[number] / filled.ledger[number]),
        report.millis(report.percentile(filled.batches[number], 50)),
        report.millis(report.percentile(filled.batches[number], 99)),
    ]


class _Servers(NamedTuple):
    """Who writes a ledger, who only answers, who does nothing, and a subscription."""

    writes: Server
    asked: Server
    bare: Server
    subscription_id: str


def _served(servers: _Servers, sizes: Sizes, ids: Ids) -> Iterator[list[str]]:
    """One row for each way to write to a ledger that is served."""
    first = sizes.filled  # random ids are counted on from those of the filling
    for kind, size, customers, clients, full in sizes.some(_WAYS):
        requests = max(1, full * sizes.filled // _FULL // size // clients)
        order = Order(
            *host_and_port(servers.writes.url),
            kind,
            customers or sizes.many,
            clients,
            requests,
            size,
            ids=ids,
            first=first,
            among=sizes.filled,
        )
        first += clients * requests * size
        yield _row(order, servers)


def _row(order: Order, servers: _Servers) -> list[str]:
    with (
        previewing(servers.writes.url, servers.subscription_id) as here,
        previewing(servers.asked.url, servers.subscription_id) as there,
    ):
        done = sent(order)
    host, port = host_and_port(servers.bare.url)
    floor = sent(msgspec.structs.replace(order, host=host, port=port, checked=False))
    requests = order.clients * order.requests
    hot = ", one customer" if order.customers == 1 else ""
    return [
        f"{PATHS[order.kind]}{hot}",
        f"{order.clients}",
        f"{order.size:,}",
        report.rate(requests / done.seconds),
        report.rate(requests * order.size / done.seconds),
        report.ratio(floor.seconds / done.seconds),
        report.millis(report.percentile(done.latencies, 50)),
        report.millis(report.percentile(done.latencies, 99)),
        here.p99([done.span]),
        there.p99([done.span]),
    ]


def _memory(server: Server) -> str:
    """The most memory that the server has held; empty where the system does not say."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        return ""
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return f"{int(lines['VmHWM'].split()[0]) // 1024:,} MiB"

"""Part c: usage over HTTP, in bulk and by GraphQL, beside bare inserts of the same rows."""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

import msgspec

from tests.benchmarks import report
from tests.benchmarks.floor import NOTE, Floor, floor, rows_of
from tests.benchmarks.http_client import PATHS, Order, Sent
from tests.benchmarks.previews import previewing
from tests.benchmarks.serving import serving
from tests.benchmarks.workload import Records, Sizes, business
from tests.house import ROOT

TITLE = "Usage over HTTP"
_RECORDS = {1: 2_000, 100: 40_000, 1_000: 100_000}
"""How many records of each size of batch a full run sends."""
_FULL = 1_000_000
_MOST_TURNS = 3


def run(directory: Path, sizes: Sizes) -> None:
    """Send every size of batch by one client and by many, and print the table."""
    data = directory / "over-http"
    with business(data, sizes) as subject:
        previewed = subject.subscription_id  # the server opens what was prepared here
    turns = min(_MOST_TURNS, sizes.slices)
    rows: list[list[str]] = []
    with (
        serving(data) as server,
        serving(data, "--read-only") as asked,
        floor(directory / "over-http.floor.db") as bare,
    ):
        for kind in sizes.some(tuple(PATHS)):
            for size, full in sizes.some(tuple(_RECORDS.items())):
                wanted = full * sizes.records // _FULL // size // turns
                for clients in sizes.some((sizes.clients, 1)):
                    order = _order(server.url, kind, sizes, clients, wanted // clients or 1, size)
                    row = _row(order, bare, turns)
                    with (
                        previewing(server.url, previewed) as here,
                        previewing(asked.url, previewed) as there,
                    ):
                        done = sent(order)
                    rows.append([*row, here.p99([done.span]), there.p99([done.span])])
    report.table(
        TITLE,
        "Timed: a client in another process, from the first byte sent to the last answer read;\n"
        "its requests are made beforehand, connections are kept alive, ids are time-ordered.\n"
        f"Floor: {NOTE},\none transaction for each batch. Slices of both alternate. In one slice "
        "more an invoice is previewed,\nby this server and by one that is read-only.",
        [
            "endpoint",
            "clients",
            "batch",
            "records",
            "floor",
            "ratio to floor",
            "p50",
            "p99",
            "preview p99",
            "read-only",
        ],
        rows,
    )


def _order(url: str, kind: str, sizes: Sizes, clients: int, requests: int, size: int) -> Order:
    among = sizes.filled
    return Order(*host_and_port(url), kind, sizes.customers, clients, requests, size, among=among)


def host_and_port(url: str) -> tuple[str, int]:
    """Where a server listens."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    return address.hostname, address.port


def _row(order: Order, bare: Floor, turns: int) -> list[str]:
    served: list[report.PerSecond] = []
    inserted: list[report.PerSecond] = []
    latencies: list[float] = []
    count = order.clients * order.requests * order.size
    for _ in range(turns):
        done = sent(order)
        served.append(count / done.seconds)
        latencies += done.latencies
        inserted.append(_bare(order, bare))
    return [
        PATHS[order.kind],
        f"{order.clients}",
        f"{order.size:,}",
        report.rate(median(served)),
        report.rate(median(inserted)),
        report.ratio(report.median_ratio(served, inserted)),
        report.millis(report.percentile(latencies, 50)),
        report.millis(report.percentile(latencies, 99)),
    ]


def sent(order: Order) -> Sent:
    """Have the client in its own process send everything."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.http_client"],
        cwd=ROOT,
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Sent)


def _bare(order: Order, bare: Floor) -> report.PerSecond:
    """Rows a second of as many batches, inserted without anything around them."""
    batches = order.clients * order.requests
    records = Records("time-ordered", order.customers, batches * order.size)
    rows = [rows_of(records.batch(order.size)) for _ in range(batches)]
    started = perf_counter()
    for one in rows:
        bare.insert(one)
    return batches * order.size / (perf_counter() - started)

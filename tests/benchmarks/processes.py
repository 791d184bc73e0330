"""Part q: one process and several, one ledger and two, in one PostgreSQL server."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from projections.places import Place
from tests import postgres
from tests.benchmarks import report
from tests.benchmarks.http_client import PATHS, Order, Sent
from tests.benchmarks.over_http import host_and_port, sent
from tests.benchmarks.previews import Previews, previewing
from tests.benchmarks.serving import Server, serving
from tests.benchmarks.workload import Sizes, business

TITLE = "Processes and ledgers in PostgreSQL"
_SERVED = (("one process", 1, 1), ("four processes", 4, 1), ("two ledgers, a process each", 2, 2))
_WAYS = (("bulk", 1_000, 100_000), ("bulk", 1, 6_000), ("graphql", 1, 3_000))
"""Endpoint, size of a batch, and the records of a full run."""
_FULL = 1_000_000
_CLIENTS = 48


def run(directory: Path, sizes: Sizes) -> None:
    """Serve the same usage in each way, and print the table; say so where there is no server."""
    if report.lacks_postgres(TITLE):
        return
    first: dict[tuple[str, int], report.PerSecond] = {}
    rows: list[list[str]] = []
    with postgres.running(on_disk=True) as server:
        for label, processes, ledgers in sizes.some(_SERVED):
            addresses = [server.address(f"{label[:3]}_{one}") for one in range(ledgers)]
            data = directory / f"processes-{processes}-{ledgers}"
            previewed = [
                _made(data / str(at), sizes, place)
                for at, place in enumerate(map(Place.of, addresses))
            ]
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(
                        serving(data / str(one % ledgers), database=addresses[one % ledgers])
                    )
                    for one in range(processes)
                ]
                rows += _rows(label, servers, previewed, sizes, first)
    report.table(
        TITLE,
        f"{_CLIENTS} clients, in as many other processes as there are servers, all on this "
        "machine; an invoice is\npreviewed by GraphQL all the while. The ratio is to one process.",
        ["served by", "endpoint", "batch", "records", "ratio", "p50", "p99", "preview p99"],
        rows,
    )


def _made(directory: Path, sizes: Sizes, place: Place) -> str:
    """A ledger that is ready to be served; the id of a subscription in it."""
    with business(directory, sizes, place) as subject:
        return subject.subscription_id


def _rows(
    label: str,
    servers: Sequence[Server],
    previewed: Sequence[str],
    sizes: Sizes,
    first: dict[tuple[str, int], report.PerSecond],
) -> Iterator[list[str]]:
    clients = max(1, min(_CLIENTS, sizes.clients) // len(servers))
    for kind, size, full in sizes.some(_WAYS):
        wanted = full * sizes.records // _FULL // size // len(servers)
        requests = max(1, wanted // clients)
        orders = [
            Order(
                *host_and_port(server.url),
                kind,
                sizes.customers,
                clients,
                requests,
                size,
            )
            for server in servers
        ]
        with ExitStack() as stack:
            previews = [
                stack.enter_context(previewing(server.url, previewed[at % len(previewed)]))
                for at, server in enumerate(servers)
            ]
            done, seconds = _all_sent(orders)
        rate = sum(one.clients * one.requests * one.size for one in orders) / seconds
        latencies = [each for one in done for each in one.latencies]
        all_previews = Previews()
        all_previews.asked = [each for one in previews for each in one.asked]
        yield [
            label,
            PATHS[kind],
            f"{size:,}",
            report.rate(rate),
            report.ratio(rate / first.setdefault((kind, size), rate)),
            report.millis(report.percentile(latencies, 50)),
            report.millis(report.percentile(latencies, 99)),
            all_previews.p99([one.span for one in done]),
        ]


def _all_sent(orders: Sequence[Order]) -> tuple[list[Sent], float]:
    """Have every client process send its order beside the others; the seconds are the longest."""
    with ThreadPoolExecutor(len(orders)) as beside:
        done = list(beside.map(sent, orders))
    return done, max(one.seconds for one in done)

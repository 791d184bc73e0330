"""What is counted and timed while a ledger is served, for whoever watches over it.

One set for each ledger. The writer's part costs about ten microseconds for a group of requests, and
next to nothing for a record. What can be looked up when somebody asks is not kept here, but in
`app/web/metrics.py`.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from itertools import accumulate
from time import perf_counter
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.jobs import CommandJob, Job, UsageJob
from app.logs import fields
from app.receipts import statuses_of
from app.store import CorruptLedger
from domain.usage import Status

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""The bounds that durations are counted by."""
SIZES = (1, 2, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 20_000)
"""The bounds that the sizes of groups are counted by."""

TRANSPORTS = ("websocket", "event_stream")
"""How answers that come one after the other may be taken."""

_STATUSES = tuple(Status)
_WRITTEN = frozenset({Status.ACCEPTED, Status.UNMATCHED})
_STORAGE = ("sqlite3", "eventsourcing")
"""The libraries whose errors mean that a file could not be read or written."""
_log = logging.getLogger("tallybook.writer")

# Without a series more for each, which says when the process began.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types


class Measures:
    """What is counted of one ledger."""

    def __init__(self, queue: Sized) -> None:
        self.stopped = False
        """Whether the writer has ended: then nothing can be written any more."""
        self.trouble: str | None = None
        """Why the last transaction could not be written, if it could not."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._count_http()
        self._count_writing(queue)
        self._count_work()
        self._count_live()

    def _count_http(self) -> None:
        requests = Requests()
        self.registry.register(requests)
        self.answered = requests.answered
        self.graphql_errors = self._counter(
            "graphql_errors", "Top-level errors of GraphQL answers.", "code"
        )

    def _count_writing(self, queue: Sized) -> None:
        self._records = self._counter("usage_records", "Usage records judged.", "status")
        self._of_status = {one: self._records.labels(one.value.lower()) for one in _STATUSES}
        self.turned_away = self._counter(
            "writer_turned_away", "Requests refused because too many waited for the writer."
        )
        self._failures = self._counter(
            "writer_failures", "Transactions that could not be written, each try counted."
        )
        self._commit_seconds = self._histogram(
            "commit_seconds", "Deciding, writing and folding one group.", SECONDS
        )
        self._group_requests = self._histogram("group_requests", "Requests in a group.", SIZES)
        self._group_records = self._histogram("group_records", "Usage records in a group.", SIZES)
        waiting = Gauge(
            "tallybook_writer_queue", "Requests that wait for the writer.", registry=self.registry
        )
        waiting.set_function(lambda: len(queue))

    def _count_work(self) -> None:
        self.worker_runs = self._counter("worker_runs", "Portions of due work that were done.")
        self.worker_failures = self._counter(
            "worker_failures", "Things that were due and could not be done, each try counted."
        )
        self.webhook_deliveries = self._counter("webhook_deliveries", "Facts that were taken.")
        self.webhook_failures = self._counter("webhook_failures", "Deliveries that were not taken.")

    def _count_live(self) -> None:
        self._live_connections = Gauge(
            "tallybook_live_connections",
            "Websockets that were let in, and event streams, open now.",
            ("transport",),
            registry=self.registry,
        )
        self._live_events = self._counter(
            "live_events", "Answers sent over websockets and event streams.", "transport"
        )
        for transport in TRANSPORTS:
            self._live_connections.labels(transport)
            self._live_events.labels(transport)

    @contextmanager
    def live(self, transport: str) -> Iterator[Callable[[], None]]:
        """A connection is open for as long as the block lasts; what it gives counts an answer."""
        connections = self._live_connections.labels(transport)
        connections.inc()
        try:
            yield self._live_events.labels(transport).inc
        finally:
            connections.dec()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"tallybook_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, bounds: Sequence[float]) -> Histogram:
        return Histogram(f"tallybook_{name}", meaning, buckets=bounds, registry=self.registry)

    # ------------------------------------------------------------------------------- the writer

    def watched(self, run: Callable[[], None]) -> Callable[[], None]:
        """The writer's loop, so that it is known when it has ended, and why."""

        def watched() -> None:
            try:
                run()
            except BaseException:
                _log.critical("the writer died", exc_info=True)
                raise
            finally:
                self.stopped = True

        return watched

    @contextmanager
    def committing(self, jobs: Sequence[Job[Any]]) -> Iterator[None]:
        """Around one group: how long it took, what was in it, and what became of its records."""
        started = perf_counter()
        yield
        seconds = perf_counter() - started
        counts, worked = _judged(jobs)
        records = sum(counts.values())
        for status, count in counts.items():
            self._of_status[status].inc(count)
        self._commit_seconds.observe(seconds)
        self._group_requests.observe(len(jobs))
        if records:
            self._group_records.observe(records)
        if worked and self.trouble is not None:
            self.well()
        if _log.isEnabledFor(logging.DEBUG):
            took = _rounded(seconds)
            _log.debug("group", extra=fields(requests=len(jobs), records=records, ms=took))

    def failed(self, error: Exception) -> None:
        """A transaction could not be written. Once is said, and until it goes well again."""
        self._failures.inc()
        if not _of_storage(error):
            return
        if self.trouble is None:
            _log.error("the ledger cannot be written", extra=fields(why=str(error)))
        self.trouble = str(error)

    def well(self) -> None:
        """The ledger can be written again."""
        self.trouble = None
        _log.warning("the ledger can be written again")

    def unreadable(self, count: int) -> None:
        """So many records were refused before the writer saw them."""
        self._of_status[Status.REJECTED].inc(count)


class Requests(Collector):
    """HTTP requests by what was asked and what was answered, and how long that took.

    Kept as plain numbers, which are made figures when somebody asks: there is one for each request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, int], int] = {}
        self._durations: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        """How many requests fell below each bound and above the one before, and all seconds."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        counts, asked = self._counts, (method, route, status)
        with self._lock:
            counts[asked] = counts.get(asked, 0) + 1
            kept = self._durations.get((method, route))
            if kept is None:
                kept = self._durations[method, route] = [0] * (len(SECONDS) + 1), [0.0]
            found, total = kept
            found[bisect_left(SECONDS, seconds)] += 1
            total[0] += seconds

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        name, meaning = "tallybook_http_requests", "HTTP requests answered."
        requests = CounterMetricFamily(name, meaning, labels=("method", "route", "status"))
        name = "tallybook_http_request_seconds"
        meaning = "From the head of a request to the end of its answer."
        durations = HistogramMetricFamily(name, meaning, labels=("method", "route"))
        with self._lock:
            for (method, route, status), count in self._counts.items():
                requests.add_metric((method, route, str(status)), count)
            for labels, (found, total) in self._durations.items():
                bounds = map(floatToGoString, (*SECONDS, float("inf")))
                below = list(zip(bounds, accumulate(found), strict=True))
                durations.add_metric(labels, below, total[0])
        yield requests
        yield durations


def _judged(jobs: Sequence[Job[Any]]) -> tuple[dict[Status, int], bool]:
    """How many records got each verdict, and whether anything may have been written."""
    judged: list[Status] = []
    worked = False
    for job in jobs:
        held = job.held
        if held is None:
            continue
        if isinstance(job, UsageJob):
            judged += statuses_of(held)
        elif isinstance(job, CommandJob):
            worked = True
    counts, left = dict[Status, int](), len(judged)
    for status in _STATUSES:  # the first one is the usual one, and then nothing is left to count
        if left and (found := judged.count(status)):
            counts[status] = found
            left -= found
    return counts, worked or bool(_WRITTEN & counts.keys())


def _of_storage(error: Exception) -> bool:
    """Whether an error means that the files could not be read or written."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | CorruptLedger) or library in _STORAGE


def _rounded(seconds: float) -> float:
    """A duration in milliseconds, to the microsecond."""
    return int(seconds * 1_000_000) / 1_000

"""GET /metrics: what was counted, and where the ledger stands, in the format Prometheus reads."""

import logging
from collections.abc import Callable, Iterator

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from app.ledger import Ledger
from app.sizes import sizes
from app.webhooks import Delivery
from domain.subscriptions import Subscription, SubscriptionParked
from projections import current, history

_SIZE = "Size of the file and its -wal, or of the tables in its schema with their indexes."
_log = logging.getLogger("tallybook.metrics")


class Figures(Collector):
    """All figures of a ledger: where it stands is looked up when somebody asks."""

    def __init__(self, ledger: Ledger, undelivered: Callable[[], int] | None) -> None:
        self._ledger = ledger
        self._undelivered = undelivered

    def collect(self) -> Iterator[Metric]:
        """What was counted, then where the ledger stands, unless it cannot be read."""
        yield from self._ledger.writer.measures.registry.collect()
        try:
            found = list(self._gauges())
        except Exception:  # noqa: BLE001  # whatever it is, the other figures tell more
            _log.exception("the ledger cannot be read")
            return
        yield from found

    def _gauges(self) -> Iterator[Metric]:
        head, _ = self._ledger.store.head()
        folded, parked = self._views()
        yield _gauge("ledger_events", "Events in the ledger.", head)
        yield _gauge(
            "projection_lag", "Events that the views have not folded.", max(0, head - folded)
        )
        for name, size in sizes(self._ledger).items():
            yield _gauge(f"{name}_bytes", _SIZE, size)
        yield _gauge("parked_subscriptions", "Subscriptions whose bills are parked.", parked)
        if self._undelivered is not None:
            waiting = self._undelivered()
            yield _gauge("webhook_pending", "Facts to tell; 1000 stands for more, too.", waiting)

    def _views(self) -> tuple[int, int]:
        """How far the views are folded, and how many subscriptions are parked.

        Few ever were, so each of those is looked at.
        """
        type = SubscriptionParked.topic.partition("/")[0]
        with self._ledger.snapshot() as views:
            places = history.positions(views, None, [type], limit=-1)
            facts = filter(None, map(self._ledger.store.at, places))
            ever = {fact.stream_id for fact in facts}
            states = (current.get(views, Subscription, id) for id in sorted(ever))
            parked = sum(state is not None and state.parked is not None for state in states)
            return views.checkpoint(), parked


def _gauge(name: str, meaning: str, value: int) -> Metric:
    return GaugeMetricFamily(f"tallybook_{name}", meaning, value)


def get_metrics(request: Request) -> Response:
    """The figures, as OpenMetrics for who asks for that."""
    ledger: Ledger = request.state.ledger
    delivery: Delivery | None = request.app.state.living.deliveries.get(ledger)
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    content = encode(Figures(ledger, delivery.pending if delivery else None))
    return Response(content, headers={"content-type": kind, "cache-control": "no-store"})

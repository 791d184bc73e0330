"""GET /metrics: what was counted, in both formats, whatever state the ledger is in."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.jobs import Busy
from app.ledger import Ledger
from domain.subscription_holds import UnparkSubscription
from tests import marks
from tests.app.http import Talking
from tests.scenarios.story import Story

RECORD = {"id": "a", "eventName": "tokens", "customer": "alpaca-lover", "value": "3"}

PARKED = """
2026-01-01 customer alpaca-lover
2026-01-01 product "Alpaca.ai"
2026-01-01 price licence: 100 USD, per month, in advance
2026-01-01 subscribe alpaca-lover to licence, from 2020-01-01
"""
"""A subscription that begins years before it was known: more likely a mistake than a bill."""


def figures(talking: Talking) -> dict[str, float]:
    """Each sample by its name and labels."""
    text = talking.request("GET", "/metrics").text
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_records_are_counted_by_what_became_of_them(alpaca: Ledger) -> None:
    talking = Talking(alpaca)
    stranger = {**RECORD, "id": "b", "customer": "nobody"}
    other, bad = {**RECORD, "value": "4"}, {**RECORD, "id": "c", "value": 4}
    talking.usage([RECORD, stranger, {**RECORD, "id": "d", "value": "x"}, bad])
    talking.usage([RECORD, other])
    found = figures(talking)
    counted = {
        one: found[f"tallybook_usage_records_total {one}"]
        for one in ("accepted", "unmatched", "duplicate", "conflict", "rejected")
    }
    assert counted == {
        "accepted": 1,
        "unmatched": 1,
        "duplicate": 1,
        "conflict": 1,
        "rejected": 2,
    }
    assert found["tallybook_group_records_bucket 5.0"] == 2
    assert found["tallybook_group_records_sum"] == 5


def test_requests_are_counted_by_their_route(ledger: Ledger) -> None:
    talking = Talking(ledger)
    for path in ("/livez", "/livez", "/invoices/x", "/nothing/here"):
        talking.request("GET", path)
    talking.request("BREW", "/livez")
    found = figures(talking)
    assert found["tallybook_http_requests_total GET /livez 200"] == 2
    assert found["tallybook_http_requests_total GET /invoices/{name} 404"] == 1
    assert found["tallybook_http_requests_total GET none 404"] == 1
    assert found["tallybook_http_requests_total OTHER /livez 405"] == 1
    assert found["tallybook_http_request_seconds_count GET /livez"] == 2
    assert "/nothing/here" not in talking.request("GET", "/metrics").text


@marks.SIZES
def test_the_ledger_says_where_it_stands(alpaca: Ledger) -> None:
    talking = Talking(alpaca)
    found = figures(talking)
    head = alpaca.store.head()[0]
    assert found["tallybook_ledger_events"] == head
    assert found["tallybook_projection_lag"] == 0
    assert found["tallybook_ledger_bytes"] > 4_096
    assert found["tallybook_commit_seconds_count"] >= 2
    assert found["tallybook_group_requests_sum"] >= 2
    assert found["tallybook_writer_queue"] == 0
    assert found["tallybook_parked_subscriptions"] == 0
    assert found["process_cpu_seconds_total"] > 0


def test_a_parked_subscription_is_counted_until_somebody_has_looked(ledger: Ledger) -> None:
    story = Story(ledger)
    story.tell(PARKED)
    [subscription] = story.subscriptions.values()
    talking = Talking(ledger)
    assert figures(talking)["tallybook_parked_subscriptions"] == 1
    ledger.execute_now(UnparkSubscription(subscription_id=subscription))
    assert figures(talking)["tallybook_parked_subscriptions"] == 0


def test_errors_of_graphql_are_counted_by_code(ledger: Ledger) -> None:
    talking = Talking(ledger)
    for query in ("{", "{ nothing }", "{ nothing }"):
        talking.request("POST", "/graphql", json={"query": query})
    found = figures(talking)
    assert found["tallybook_graphql_errors_total GRAPHQL_PARSE_FAILED"] == 1
    assert found["tallybook_graphql_errors_total GRAPHQL_VALIDATION_FAILED"] == 2


def test_who_is_turned_away_is_counted(ledger: Ledger, monkeypatch: Any) -> None:
    monkeypatch.setattr(ledger.writer, "_queue_limit", 0)
    with pytest.raises(Busy):
        ledger.advance_now(ledger.clock.now())
    assert figures(Talking(ledger))["tallybook_writer_turned_away_total"] == 1


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", "# EOF\n"),
    ],
)
def test_the_format_is_the_one_asked_for(ledger: Ledger, accept: str, kind: str, end: str) -> None:
    answer = Talking(ledger).request("GET", "/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.text.endswith(end)
    assert ("# EOF" in answer.text) == bool(end)


def test_a_ledger_that_cannot_be_read_leaves_what_was_counted(
    ledger: Ledger, monkeypatch: Any
) -> None:
    def broken() -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(ledger.store, "head", broken)
    found = figures(Talking(ledger))
    assert "tallybook_ledger_events" not in found
    assert found["tallybook_writer_failures_total"] == 0

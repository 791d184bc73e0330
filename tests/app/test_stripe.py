"""Stripe's addresses: its own Python package sends meter events here, and reads summaries."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import stripe

from app.ledger import Ledger
from tests import marks
from tests.app.http import Talking
from tests.app.shapes import FORM, KEY, kept, metered, post
from tests.benchmarks.serving import serving

pytestmark = marks.HTTP

PATH = "/v1/billing/meter_events"
DAY = 86_400
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
HOURLY = {"value_grouping_window": "hour"}
CREATED = """mutation {
  createMeter(input: {name: "Calls", eventName: "calls", aggregation: SUM}) { meter { id } }
  createCustomer(input: {name: "Cy", externalId: "cus_Cy"}) { customer { id } }
}"""


@pytest.fixture
def talking(ledger: Ledger) -> Talking:
    """A client of a ledger that meters `tokens` of the customer `al`."""
    return metered(ledger)


def send(talking: Talking, body: str, headers: dict[str, str] = KEY, kind: str = FORM) -> Any:
    """The answer to a form."""
    return post(talking, PATH, body.encode(), kind, headers=headers)


GOOD = "event_name=tokens&payload[stripe_customer_id]=al&payload[value]=25"


def test_a_meter_event_is_a_record_and_is_answered_as_stripe_does(talking: Talking) -> None:
    answer = send(talking, f"{GOOD}&payload%5Bmodel%5D=opus&identifier=a&timestamp=1767261600")
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "billing.meter_event",
        "created": START,
        "event_name": "tokens",
        "identifier": "a",
        "livemode": False,
        "payload": {"stripe_customer_id": "al", "value": "25", "model": "opus"},
        "timestamp": 1_767_261_600,
    }
    [record] = kept(talking.ledger)
    assert (record.id, record.source, record.event_name) == ("a", "default", "tokens")
    assert (record.customer, record.value, record.properties) == ("al", "25", {"model": "opus"})
    assert record.timestamp_us == 1_767_261_600_000_000


@pytest.mark.parametrize("second", [GOOD, GOOD.replace("25", "26")])
def test_an_identifier_counts_once(talking: Talking, second: str) -> None:
    send(talking, f"{GOOD}&identifier=a")
    answer = send(talking, f"{second}&identifier=a")
    assert (answer.status_code, answer.headers["stripe-should-retry"]) == (400, "false")
    error = answer.json()["error"]
    assert error["message"] == "An event already exists with identifier a."
    assert (error["type"], error["param"]) == ("invalid_request_error", "identifier")
    assert [record.value for record in kept(talking.ledger)] == ["25"]


def test_without_an_identifier_the_key_of_the_request_is_one(talking: Talking) -> None:
    headers = {**KEY, "idempotency-key": "key-1"}
    first, again = (send(talking, GOOD, headers) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert send(talking, GOOD.replace("25", "26"), headers).status_code == 400
    assert [record.id for record in kept(talking.ledger)] == ["key-1"]


def test_without_either_each_event_is_another(talking: Talking) -> None:
    ids = {send(talking, GOOD).json()["identifier"] for _ in range(2)}
    assert {record.id for record in kept(talking.ledger)} == ids
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (GOOD.replace("event_name", "x"), "x", "parameter_invalid"),
        (GOOD.replace("event_name=tokens", ""), "event_name", "parameter_missing"),
        (GOOD.replace("tokens", "+"), "event_name", "parameter_missing"),
        (GOOD.replace("stripe_customer_id", "customer"), *("payload[stripe_customer_id]",
         "parameter_missing")),
        (GOOD.replace("=al", "="), "payload[stripe_customer_id]", "parameter_missing"),
        (GOOD.replace("=25", "=1e3"), "payload[value]", "parameter_invalid"),
        (GOOD.replace("[value]", "[other]"), "payload[value]", "parameter_missing"),
        (f"{GOOD}&payload[n]={'x' * 129}", "payload[n]", "parameter_invalid"),
        (f"{GOOD}&payload[n]=%FF", "payload[n]", "parameter_invalid"),
        (f"{GOOD}&timestamp=1.5", "timestamp", "parameter_invalid"),
        (f"{GOOD}&timestamp={10**11}", "timestamp", "parameter_invalid"),
        (f"{GOOD}&identifier={'x' * 256}", "identifier", "parameter_invalid"),
        (f"{GOOD}&event_name=more", "event_name", "parameter_invalid"),
    ],
)  # fmt: skip
def test_a_bad_event_names_the_parameter(
    talking: Talking, body: str, param: str, code: str
) -> None:
    answer = send(talking, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert kept(talking.ledger) == []


@pytest.mark.parametrize(
    ("body", "headers", "kind", "status"),
    [
        (GOOD, {}, FORM, 401),
        (GOOD, {**KEY, "origin": "https://elsewhere.example"}, FORM, 403),
        ("{}", KEY, "application/json", 415),
        ("&" * 100, KEY, FORM, 400),
        (" " * 5_242_881, KEY, FORM, 413),
    ],
)
def test_a_bad_request_is_refused_whole(
    talking: Talking, body: str, headers: dict[str, str], kind: str, status: int
) -> None:
    answer = send(talking, body, headers, kind)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert kept(talking.ledger) == []


# ----------------------------------------------------------------------- with Stripe's own package


class Served:
    """Stripe's client of a server, and the ids of a meter and a customer there."""

    def __init__(self, url: str) -> None:
        body = json.dumps({"query": CREATED}).encode()
        asked = Request(f"{url}/graphql", body, {"content-type": "application/json"})
        with urlopen(asked) as reply:
            data = json.load(reply)["data"]
        self.meter = data["createMeter"]["meter"]["id"]
        self.customer = data["createCustomer"]["customer"]["id"]
        self.client = stripe.StripeClient(
            "sk_test_1", base_addresses={"api": url}, http_client=stripe.UrllibClient()
        )

    def send(self, value: str, timestamp: int, **more: Any) -> Any:
        """Send a meter event."""
        payload = {"stripe_customer_id": "cus_Cy", "value": value}
        sent = {"event_name": "calls", "payload": payload, "timestamp": timestamp, **more}
        return self.client.v1.billing.meter_events.create(sent)

    def summaries(self, days: int, **more: Any) -> Any:
        """What the client is told of so many days."""
        asked = {"customer": "cus_Cy", "start_time": START, "end_time": START + days * DAY, **more}
        return self.client.v1.billing.meters.event_summaries.list(self.meter, asked)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Served]:
    """A server with usage on three days: 1 and 2, then 4, then 8.25 and a bit an hour later."""
    data: Path = tmp_path_factory.mktemp("stripe")
    with serving(data, "--test-clock", "2026-01-10T00:00:00Z") as server:
        found = Served(server.url)
        for value, timestamp in (
            ("1", START),
            ("2", START + DAY - 1),
            ("4", START + DAY),
            ("8.25", START + 3 * DAY),
            ("0.25", START + 3 * DAY + 3_600),
        ):
            found.send(value, timestamp)
        yield found


def test_the_package_reads_the_event_back(served: Served) -> None:
    event = served.send("0", START, identifier="one")
    assert (event.object, event.identifier, event.livemode) == ("billing.meter_event", "one", False)
    assert event.payload.to_dict() == {"stripe_customer_id": "cus_Cy", "value": "0"}


def test_the_package_raises_what_it_does_for_stripe(served: Served) -> None:
    served.send("0", START, identifier="twice")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        served.send("0", START, identifier="twice")
    assert refused.value.user_message == "An event already exists with identifier twice."
    with pytest.raises(stripe.InvalidRequestError) as refused:
        served.send("much", START)
    assert refused.value.param == "payload[value]"


def test_one_summary_of_the_whole_period(served: Served) -> None:
    [found] = served.summaries(4).data
    assert (found.aggregated_value, found.meter) == (15.5, served.meter)
    assert (found.start_time, found.end_time) == (START, START + 4 * DAY)
    [nothing] = served.summaries(1, start_time=START + 2 * DAY, end_time=START + 3 * DAY).data
    assert nothing.aggregated_value == 0


def test_summaries_by_day_and_hour_have_the_newest_first(served: Served) -> None:
    days = served.summaries(4, value_grouping_window="day").data
    values = [(one.start_time, one.aggregated_value) for one in days]
    assert values == [(START + 3 * DAY, 8.5), (START + DAY, 4), (START, 3)]
    hours = served.summaries(4, value_grouping_window="hour").data
    assert [one.aggregated_value for one in hours] == [0.25, 8.25, 4, 2, 1]


def test_the_package_turns_the_pages(served: Served) -> None:
    page = served.summaries(4, value_grouping_window="hour", limit=2)
    assert page.has_more
    assert [one.aggregated_value for one in page.auto_paging_iter()] == [0.25, 8.25, 4, 2, 1]
    last = page.data[-1].id
    before = served.summaries(4, value_grouping_window="hour", limit=1, ending_before=last)
    assert ([one.aggregated_value for one in before.data], before.has_more) == ([0.25], False)


def test_a_customer_is_also_known_by_our_id(served: Served) -> None:
    assert served.summaries(4, customer=served.customer).data[0].aggregated_value == 15.5


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"customer": "nobody"}, "customer"),
        ({"customer": ""}, "customer"),
        ({"start_time": START + 1}, "start_time"),
        ({"start_time": "soon"}, "start_time"),
        ({"end_time": START}, "end_time"),
        ({"end_time": START + 60, "value_grouping_window": "hour"}, "end_time"),
        ({"end_time": START + 3_600, "value_grouping_window": "day"}, "end_time"),
        ({"end_time": START + 9**4 * DAY, **HOURLY}, "value_grouping_window"),
        ({"value_grouping_window": "week"}, "value_grouping_window"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": 10**30}, "limit"),
        ({"starting_after": "mtrusg_0_0"}, "starting_after"),
    ],
)  # fmt: skip
def test_a_bad_question_names_the_parameter(
    served: Served, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        served.summaries(4, **asked)
    assert refused.value.param == param


def test_a_meter_that_is_not_there_is_not_found(served: Served) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        served.client.v1.billing.meters.event_summaries.list(
            "met_none", {"customer": "cus_Cy", "start_time": START, "end_time": START + DAY}
        )
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")

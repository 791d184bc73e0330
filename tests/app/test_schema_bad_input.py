"""Bad input through the schema: a typed answer that names the field, and nothing written."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.ledger import Ledger
from tests import marks
from tests.app.asking import CREATE, GRADUATED, NOW, Asking, Story

pytestmark = marks.HTTP

TIER = {"unitAmount": "1"}


def per_unit(amount: object) -> dict[str, Any]:
    """A pricing of one amount."""
    return {"perUnit": {"unitAmount": amount}}


def package(**more: str) -> dict[str, Any]:
    """A pricing of packages of one unit."""
    return {"package": {"size": "1", "amount": "1", **more}}


def tiers(*bounds: object, model: str = "graduated") -> dict[str, Any]:
    """A pricing with these bounds; ... leaves one out."""
    return {model: {"tiers": [TIER if to is ... else {**TIER, "upTo": to} for to in bounds]}}


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("meter", {"name": ""}, "REQUIRED", "name"),
    ("meter", {"name": " "}, "REQUIRED", "name"),
    ("meter", {"name": "a\x00b"}, "INVALID_VALUE", "name"),
    ("meter", {"name": "\ud800"}, "INVALID_VALUE", "name"),
    ("meter", {"eventName": "x" * 256}, "LIMIT_EXCEEDED", "eventName"),
    ("meter", {"valueProperty": ""}, "REQUIRED", "valueProperty"),
    ("meter", {"dimensions": ["a", "a"]}, "INVALID_VALUE", "dimensions.1"),
    ("meter", {"dimensions": ["value"]}, "INVALID_VALUE", "dimensions.0"),
    ("meter", {"dimensions": [str(n) for n in range(21)]}, "LIMIT_EXCEEDED", "dimensions"),
    ("meter", {"carriesOver": True}, "INVALID_VALUE", "carriesOver"),
    ("meter", {"idempotencyKey": ""}, "REQUIRED", "idempotencyKey"),
    ("meter", {"idempotencyKey": "\ud800"}, "INVALID_VALUE", "idempotencyKey"),
    ("product", {"name": "\x00"}, "INVALID_VALUE", "name"),
    ("product", {"description": "x" * 4_097}, "LIMIT_EXCEEDED", "description"),
    ("product", {"unitLabel": "\ud800"}, "INVALID_VALUE", "unitLabel"),
    ("customer", {"email": "nobody"}, "INVALID_VALUE", "email"),
    ("customer", {"externalId": f"cus_{'0' * 26}"}, "INVALID_VALUE", "externalId"),
    ("customer", {"externalId": "llama"}, "ALREADY_EXISTS", "externalId"),
    ("customer", {"externalId": "\ud800"}, "INVALID_VALUE", "externalId"),
    ("customer", {"timeZone": "Mars/Olympus"}, "INVALID_VALUE", "timeZone"),
    ("customer", {"timeZone": "../../etc/passwd"}, "INVALID_VALUE", "timeZone"),
    ("price", {"productId": "prod_nothing"}, "NOT_FOUND", "productId"),
    ("price", {"productId": "\ud800"}, "NOT_FOUND", "productId"),
    ("price", {"meterId": "met_nothing"}, "NOT_FOUND", "meterId"),
    (
        "price",
        {"meterFilter": [{"name": "model", "values": ["x"]}]},
        "INVALID_VALUE",
        "meterFilter",
    ),
    ("price", {"lookupKey": "licence"}, "ALREADY_EXISTS", "lookupKey"),
    ("price", {"lookupKey": "\ud800"}, "INVALID_VALUE", "lookupKey"),
    ("price", {"currency": "usd"}, "INVALID_VALUE", "currency"),
    ("price", {"currency": "XXX"}, "INVALID_VALUE", "currency"),
    ("price", {"interval": {"unit": "MONTH", "count": 0}}, "INVALID_VALUE", "interval.count"),
    ("price", {"interval": {"unit": "YEAR", "count": 4}}, "INVALID_VALUE", "interval.count"),
    *(
        ("price", {"pricing": per_unit(amount)}, "INVALID_VALUE", "pricing.perUnit.unitAmount")
        for amount in ("-1", "NaN", "Infinity", "1e3", "1_0", "01", ".5", "", " 1", "+1", "٣")
    ),
    ("price", {"pricing": per_unit("9" * 19)}, "INVALID_VALUE", "pricing.perUnit.unitAmount"),
    ("price", {"pricing": per_unit("1e999999999")}, "INVALID_VALUE", "pricing.perUnit.unitAmount"),
    (
        "price",
        {"pricing": tiers("10", "5", ...)},
        "INVALID_VALUE",
        "pricing.graduated.tiers.1.upTo",
    ),
    ("price", {"pricing": tiers("10", "20")}, "INVALID_VALUE", "pricing.graduated.tiers.1.upTo"),
    ("price", {"pricing": tiers(..., ...)}, "INVALID_VALUE", "pricing.graduated.tiers.0.upTo"),
    ("price", {"pricing": tiers("0", ...)}, "INVALID_VALUE", "pricing.graduated.tiers.0.upTo"),
    ("price", {"pricing": tiers("x", ...)}, "INVALID_VALUE", "pricing.graduated.tiers.0.upTo"),
    ("price", {"pricing": tiers(model="volume")}, "INVALID_VALUE", "pricing.volume.tiers"),
    (
        "price",
        {"pricing": {"graduated": {"tiers": [{}]}}},
        "INVALID_VALUE",
        "pricing.graduated.tiers.0",
    ),
    (
        "price",
        {"pricing": tiers(*map(str, range(1, 101)), ...)},
        "LIMIT_EXCEEDED",
        "pricing.graduated.tiers",
    ),
    ("price", {"pricing": package(size="0")}, "INVALID_VALUE", "pricing.package.size"),
    ("price", {"pricing": package(freeUnits="-1")}, "INVALID_VALUE", "pricing.package.freeUnits"),
    ("subscription", {"customerId": "cus_nobody"}, "NOT_FOUND", "customerId"),
    ("subscription", {"customerId": "\ud800"}, "NOT_FOUND", "customerId"),
    ("subscription", {"items": []}, "REQUIRED", "items"),
    ("subscription", {"items": [{"priceId": "price_0"}]}, "NOT_FOUND", "items.0.priceId"),
    (
        "subscription",
        {"items": [{"priceId": "{licence}", "quantity": "-1"}]},
        "INVALID_VALUE",
        "items.0.quantity",
    ),
    (
        "subscription",
        {"items": [{"priceId": "{usage}", "quantity": "1"}]},
        "INVALID_VALUE",
        "items.0.quantity",
    ),
    (
        "subscription",
        {"items": [{"priceId": "{licence}"}, {"priceId": "{euro}"}]},
        "WRONG_CURRENCY",
        "items.1.priceId",
    ),
    ("subscription", {"startAt": "2026-01-01T00:00:00"}, "INVALID_VALUE", "startAt"),
    ("subscription", {"startAt": "2026-01-01"}, "INVALID_VALUE", "startAt"),
    ("subscription", {"startAt": "9999-12-31T23:59:59Z"}, "INVALID_VALUE", "startAt"),
    ("subscription", {"billingAnchor": "2026-02-30T00:00:00Z"}, "INVALID_VALUE", "billingAnchor"),
    ("subscription", {"daysUntilDue": 3}, "INVALID_VALUE", "daysUntilDue"),
    ("subscription", {"timeZone": "\x00"}, "INVALID_VALUE", "timeZone"),
]
"""What a mutation refuses: the kind to create, what is wrong, the code and the path."""


def filled(value: Any, names: dict[str, str]) -> Any:
    """The value with the story's ids in the place of their names."""
    if isinstance(value, dict):
        return {key: filled(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, names) for part in value]
    return names.get(value[1:-1], value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Asking]:
    """A client of one ledger for all of this, for each test sees that nothing was written."""
    with Ledger(tmp_path_factory.mktemp(kept_in), test_clock_at=NOW) as ledger:
        yield Asking(ledger)


@pytest.fixture(scope="module")
def story(client: Asking) -> Story:
    """The reference story up to its subscription."""
    return Story(client)


@pytest.fixture(scope="module")
def euro(client: Asking, inputs: dict[str, dict[str, Any]]) -> str:
    """A price in another currency."""
    return client.create("price", **{**inputs["price"], "currency": "EUR"})


@pytest.fixture(scope="module")
def inputs(story: Story) -> dict[str, dict[str, Any]]:
    """An input for each kind of object that would be accepted."""
    return {
        "meter": {"name": "Calls", "eventName": "calls", "aggregation": "COUNT"},
        "product": {"name": "Calls"},
        "customer": {"name": "Somebody"},
        "price": {
            "productId": story.usage_product,
            "currency": "USD",
            "interval": {"unit": "MONTH"},
            "pricing": GRADUATED,
        },
        "subscription": {"customerId": story.customer, "items": [{"priceId": story.licence}]},
    }


@pytest.mark.parametrize(
    ("kind", "change", "code", "path"),
    [pytest.param(*row, id=f"{row[0]}-{n}-{row[3]}") for n, row in enumerate(REFUSED)],
)
def test_a_mutation_refuses(
    client: Asking,
    story: Story,
    inputs: dict[str, dict[str, Any]],
    euro: str,
    kind: str,
    change: dict[str, Any],
    code: str,
    path: str,
) -> None:
    position = client.position
    mutation, input_type = CREATE[kind]
    input = {**inputs[kind], **filled(change, {**vars(story), "euro": euro})}
    payload = client.mutate(mutation, input_type, input, f"{kind} {{ id }}")
    assert payload[kind] is None
    (error,) = payload["userErrors"]
    assert (error["code"], error["path"]) == (code, ["input", *path.split(".")])
    assert payload["position"] == str(position) == str(client.position)


WRONG_TYPE: list[tuple[str, dict[str, Any], str]] = [
    ("price", {"pricing": per_unit(0.04)}, "pricing.perUnit.unitAmount"),
    ("price", {"pricing": per_unit(5)}, "pricing.perUnit.unitAmount"),
    ("price", {"pricing": per_unit(True)}, "pricing.perUnit.unitAmount"),
    ("price", {"pricing": per_unit(None)}, "pricing.perUnit.unitAmount"),
    ("price", {"pricing": per_unit(["1"])}, "pricing.perUnit.unitAmount"),
    ("price", {"pricing": tiers("1", 2, ...)}, "pricing.graduated.tiers.1.upTo"),
    ("price", {"pricing": {}}, "pricing"),
    ("price", {"pricing": {**per_unit("1"), **GRADUATED}}, "pricing"),
    ("price", {"pricing": {"matrix": {}}}, "pricing.matrix"),
    ("price", {"pricing": None}, "pricing"),
    ("price", {"interval": {"unit": "FORTNIGHT"}}, "interval.unit"),
    ("price", {"interval": {}}, "interval.unit"),
    ("price", {"interval": {"unit": "MONTH", "count": 1.5}}, "interval.count"),
    ("price", {"interval": {"unit": "MONTH", "count": 2**31}}, "interval.count"),
    ("price", {"currency": 840}, "currency"),
    ("price", {"modifiers": {"divideBy": 2}}, "modifiers.divideBy"),
    ("meter", {"aggregation": "MEDIAN"}, "aggregation"),
    ("meter", {"carriesOver": "yes"}, "carriesOver"),
    ("meter", {"dimensions": [None]}, "dimensions.0"),
    ("meter", {"name": 5}, "name"),
    ("subscription", {"startAt": 1_767_225_600}, "startAt"),
    ("subscription", {"items": [{"priceId": "x", "quantity": 3}]}, "items.0.quantity"),
    ("subscription", {"items": [{}]}, "items.0.priceId"),
]
"""What is no value of its type: the kind to create, what is wrong, the path."""


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [pytest.param(*row, id=f"{row[0]}-{n}-{row[2]}") for n, row in enumerate(WRONG_TYPE)],
)
def test_a_variable_of_the_wrong_type_is_named(
    client: Asking, inputs: dict[str, dict[str, Any]], kind: str, change: dict[str, Any], path: str
) -> None:
    position = client.position
    mutation, input_type = CREATE[kind]
    query = f"mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ position }} }}"
    answer = client.ask(query, input={**inputs[kind], **change})
    assert answer["data"] is None
    named = {"code": "BAD_USER_INPUT", "path": ["input", *path.split(".")]}
    assert answer["errors"][0]["extensions"] == named
    assert client.position == position


QUERIES: list[tuple[str, str]] = [
    ("meters(first: 0) { totalCount }", "first"),
    ("meters(first: 101) { totalCount }", "first"),
    ("meters(last: 0) { totalCount }", "last"),
    ("meters(first: -1) { totalCount }", "first"),
    ("meters(first: 1, last: 1) { totalCount }", "last"),
    ("meters(first: 99999999999) { totalCount }", "first"),
    (f"meters(first: {'9' * 5_000}) {{ totalCount }}", "first"),
    ('meters(after: "x") { totalCount }', "after"),
    ('meters(before: "p-1") { totalCount }', "before"),
    ('meters(after: "p9999999999999999999") { totalCount }', "after"),
    ('meters(name: "") { totalCount }', "name"),
    ('customers(externalId: "\\u0000") { totalCount }', "externalId"),
    ('ledgerEvents(subjectId: "") { totalCount }', "subjectId"),
    ('ledgerEvents(types: ["", "x"]) { totalCount }', "types.0"),
    ('usageRecords(after: "p1") { totalCount }', "after"),
    ("usageRecords(first: 1000) { totalCount }", "first"),
    ('usageRecords(meterId: "met_0") { totalCount }', "meterId"),
    ('usageRecords(customerId: "cus_0") { totalCount }', "customerId"),
    ("usageRecords(state: LOST) { totalCount }", "state"),
    (
        (
            'usageRecords(period: {start: "2026-01-02T00:00:00Z", end: "2026-01-02T00:00:00Z"})'
            " { totalCount }"
        ),
        "period.end",
    ),
    ('invoicePreview(subscriptionId: "sub_0") { id }', "subscriptionId"),
    ('invoicePreview(subscriptionId: "{subscription}", at: "2026-01-01") { id }', "at"),
    ('invoicePreview(subscriptionId: "{subscription}", at: 5) { id }', "at"),
    (
        (
            'invoicePreview(subscriptionId: "{subscription}",'
            ' extraUsage: [{eventName: "tokens", value: "x"}]) { id }'
        ),
        "extraUsage.0.value",
    ),
    (
        (
            'invoicePreview(subscriptionId: "{subscription}",'
            ' extraUsage: [{eventName: "tokens", value: "1", properties: {model: 4}}]) { id }'
        ),
        "extraUsage.0.properties.model",
    ),
    ("priceQuote(pricing: {perUnit: {unitAmount: 0.04}}, {quote}", "pricing.perUnit.unitAmount"),
    ('priceQuote(pricing: {perUnit: {unitAmount: "-1"}}, {quote}', "pricing.perUnit.unitAmount"),
    (
        (
            'priceQuote(pricing: {graduated: {tiers: [{upTo: "9", unitAmount: "1"}, {upTo: "5"}]}},'
            " {quote}"
        ),
        "pricing.graduated.tiers.1.upTo",
    ),
    (
        "priceQuote(pricing: {graduated: {tiers: [{unitAmount: 4}]}}, {quote}",
        "pricing.graduated.tiers.0.unitAmount",
    ),
    (
        (
            'priceQuote(pricing: {perUnit: {unitAmount: "1"}}, currency: "USD", quantity: "-1")'
            " { exactAmount }"
        ),
        "quantity",
    ),
    (
        (
            'priceQuote(pricing: {perUnit: {unitAmount: "1"}}, currency: "U", quantity: "1")'
            " { exactAmount }"
        ),
        "currency",
    ),
    ("aggregationPreview(aggregation: MEDIAN, records: []) { value }", "aggregation"),
    (
        (
            'aggregationPreview(aggregation: SUM, records: [{timestamp: "2026-01-01", value: "1"}])'
            " { value }"
        ),
        "records.0.timestamp",
    ),
    ("aggregationPreview(aggregation: WEIGHTED_SUM, records: []) { value }", "period"),
    ("aggregationPreview(aggregation: SUM, carriesOver: true, {sample}", "carriesOver"),
    ("aggregationPreview(aggregation: WEIGHTED_SUM, {sample}", "records.0.value"),
    ('unratedUsage(after: "p1", {when}', "after"),
    ("unratedUsage(first: 0, {when}", "first"),
    ('unratedUsage(customerId: "cus_0", {when}', "customerId"),
    (
        (
            'unratedUsage(period: {start: "1970-01-01T00:00:00Z", end: "2900-01-01T00:00:00Z"})'
            " { nodes { value } }"
        ),
        "period",
    ),
    ('usageSummary(meterId: "met_0", customerId: "{customer}", {time}', "meterId"),
    ('usageSummary(meterId: "{meter}", customerId: "cus_0", {time}', "customerId"),
    ('usageSummary({ids}, groupBy: ["region"], {time}', "groupBy.0"),
    ('usageSummary({ids}, filter: [{name: "region", values: ["x"]}], {time}', "filter.0.name"),
    ('usageSummary({ids}, filter: [{name: "model", values: []}], {time}', "filter.0.values"),
    ('usageSummary({ids}, timeZone: "x", {time}', "timeZone"),
    ('usageSummary({ids}, groupBy: ["model"], includeEmpty: true, {time}', "includeEmpty"),
    ("usageSummary({ids}, window: MINUTE, {time}", "window"),
]
"""Queries that cannot be answered, and the argument that is the reason."""

WORDS = {
    "quote": 'currency: "USD", quantity: "5") { exactAmount }',
    "sample": 'records: [{timestamp: "2026-01-01T00:00:00Z", value: "ann"}], {time}',
    "ids": 'meterId: "{meter}", customerId: "{customer}"',
    "when": (
        'period: {start: "2026-01-01T00:00:00Z", end: "2026-02-01T00:00:00Z"}) { nodes { value } }'
    ),
    "time": 'period: {start: "2026-01-01T00:00:00Z", end: "2026-02-01T00:00:00Z"}) { value }',
}


@pytest.mark.parametrize(
    ("query", "path"), [pytest.param(*row, id=f"{n}-{row[1]}") for n, row in enumerate(QUERIES)]
)
def test_a_query_names_the_argument(client: Asking, story: Story, query: str, path: str) -> None:
    for name, word in {**WORDS, **vars(story)}.items():
        query = query.replace(f"{{{name}}}", word)
    (error,) = client.ask(f"{{ {query} }}")["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["path"] == path.split(".")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("query($x: String) { meters(name: $x) { totalCount } }", "name"),
        ("query($x: String) { meters(after: $x) { totalCount } }", "after"),
        ("query($x: ID) { ledgerEvents(subjectId: $x) { totalCount } }", "subjectId"),
        ("query($x: ID) { usageRecords(meterId: $x) { totalCount } }", "meterId"),
        ("query($x: ID!) { invoicePreview(subscriptionId: $x) { id } }", "subscriptionId"),
        ("query($x: ID) { subscriptions(customerId: $x) { totalCount } }", "customerId"),
    ],
)
def test_half_of_a_surrogate_pair_reaches_no_database(
    client: Asking, query: str, path: str
) -> None:
    (error,) = client.ask(query, x="cus_\ud800")["errors"]
    assert error["extensions"]["path"] == [path]


def test_too_many_records_at_a_time(client: Asking, story: Story) -> None:
    record = {"eventName": "tokens", "customer": "llama", "value": "1"}
    position = client.position
    payload = client.record(*({**record, "id": str(n)} for n in range(1_001)))
    (error,) = payload["userErrors"]
    assert (error["code"], error["path"]) == ("LIMIT_EXCEEDED", ["input", "records"])
    assert payload["receipts"] == []
    (error,) = client.record()["userErrors"]
    assert (error["code"], error["path"]) == ("REQUIRED", ["input", "records"])
    assert client.position == position
    assert client.record(*({**record, "id": str(n)} for n in range(1_000)))["accepted"] == 1_000

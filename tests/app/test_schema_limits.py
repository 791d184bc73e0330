"""What an operation costs is told with its answer, and neither that nor its time is endless."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse

from app.graphiql import tabs
from app.jobs import BetweenJob
from app.schema import Context, limits, schema
from app.schema.as_of import Then
from app.schema.cost import COST_LIMIT, cost_of
from projections import current
from tests import marks
from tests.app.asking import Asking, Story, client, story, tokens

pytestmark = marks.HTTP

__all__ = ["client", "story"]


def extensions(client: Asking, document: str, **variables: Any) -> Any:
    """What an answer says beside its data and errors."""
    context = Context(client.ledger, "tester")
    return asyncio.run(schema.execute(document, variables, context_value=context)).extensions


RECORDS = [{"id": str(n), "eventName": "x", "customer": "y"} for n in range(7)]
RECORD = "mutation($input: RecordUsageInput!) { recordUsage(input: $input) { %s } }"
SAMPLES = [{"timestamp": "2026-01-01T00:00:00Z"}] * 3

COSTS: list[tuple[str, dict[str, Any], int]] = [
    ("{ ledger { name id } }", {}, 1),
    ("{ ledger { clock { now } } }", {}, 2),
    ("{ __typename }", {}, 0),
    ("{ a: ledger { id } b: ledger { id } }", {}, 2),
    ("{ meters { totalCount } }", {}, 20),
    ("{ meters(first: 5) { nodes { id } } }", {}, 5),
    ("{ meters(last: 7) { nodes { id } } }", {}, 7),
    ("{ meters(first: null, last: 7) { nodes { id } } }", {}, 7),
    ("{ meters(first: 5) { edges { cursor node { id } } pageInfo { endCursor } } }", {}, 6),
    ("{ meters(first: 100000) { nodes { id } } }", {}, 100),
    ("{ meters(first: -1) { nodes { id } } }", {}, 0),
    ("query($n: Int) { meters(first: $n) { nodes { id } } }", {"n": 9}, 9),
    ("query($n: Int) { meters(first: $n) { nodes { id } } }", {}, 20),
    ("query($n: Int = 8) { meters(first: $n) { nodes { id } } }", {}, 8),
    ("query($n: Int = 8) { meters(first: $n) { nodes { id } } }", {"n": None}, 20),
    ('{ ledgerEvents(first: 5, types: ["a", "b"]) { nodes { type } } }', {}, 7),
    ("{ customers(first: 5) { nodes { history(first: 4) { nodes { type } } } } }", {}, 25),
    ("{ customers(first: 5) { nodes { history(first: 4) { nodes { data } } } } }", {}, 2_025),
    ("{ customers(first: 5) { edges { node { history(first: 4) { totalCount } } } } }", {}, 25),
    (
        (
            "{ customers(first: 5) { ...P } } fragment P on CustomerConnection { nodes { ...H } }"
            " fragment H on Customer { history(first: 4) { nodes { type } } }"
        ),
        {},
        25,
    ),
    (
        (
            "{ a: customers(first: 5) { ...P } b: customers(first: 2) { ...P } }"
            " fragment P on CustomerConnection { nodes { history(first: 4) { totalCount } } }"
        ),
        {},
        35,
    ),
    ('{ node(id: "cus_1") { ... on Customer { history { totalCount } } } }', {}, 21),
    (
        (
            '{ node(id: "cus_1") { ... on Customer { history { totalCount } } ...L'
            " h: history(last: 2) { totalCount } ... { ... on Ledger { clock { now } } } } }"
            " fragment L on Ledger { clock { now } history { totalCount } }"
        ),
        {},
        25,
    ),
    ('{ invoice(id: "inv_1") { lines { amount { amount } } total { amount } } }', {}, 12),
    ('{ invoice(id: "inv_1") { lines { explanation { check { holds } } } } }', {}, 516),
    (
        (
            "query($r: [SampleRecordInput!]!) { aggregationPreview(aggregation: COUNT, records: $r)"
            " { value } }"
        ),
        {"r": SAMPLES},
        4,
    ),
    (
        (
            "{ aggregationPreview(aggregation: COUNT, records:"
            ' [{timestamp: "2026-01-01T00:00:00Z"}, {timestamp: "2026-01-01T00:00:00Z"}])'
            " { value } }"
        ),
        {},
        3,
    ),
    ('mutation { createProduct(input: {name: "x"}) { product { id } } }', {}, 11),
    (RECORD % "accepted", {"input": {"records": RECORDS}}, 17),
    (RECORD % "receipts { error { code } }", {"input": {"records": RECORDS}}, 24),
]
"""Operations with their variables, and what they cost."""


@pytest.mark.parametrize(("document", "variables", "cost"), COSTS)
def test_what_an_operation_costs(
    client: Asking, document: str, variables: dict[str, Any], cost: int
) -> None:
    told = extensions(client, document, **variables)
    assert told == {"cost": {"requested": cost, "limit": COST_LIMIT}}


DEAREST = (
    "query($first: Int) { customers(first: 100) { nodes { subscriptions(first: 100) { nodes {"
    " customer { id } customer { name } customer { email } } } } }"
    " meters(first: $first) { nodes { history(first: 99) { totalCount } } } }"
)
"""40,100, and 100 for each meter."""


def test_an_operation_may_cost_just_the_limit(client: Asking, story: Story) -> None:
    assert client.ask(DEAREST, first=99)["errors"] == []
    (error,) = client.ask(DEAREST, first=100)["errors"]
    assert error["message"] == "the operation would cost 50,100; at most 50,000 is allowed"
    assert error["extensions"] == {
        "code": "LIMIT_EXCEEDED",
        "limit": "cost",
        "allowed": 50_000,
        "found": 50_100,
    }
    told = extensions(client, DEAREST, first=100)
    assert told == {"cost": {"requested": 50_100, "limit": 50_000}}


def test_what_costs_too_much_is_not_begun(client: Asking, story: Story) -> None:
    position = client.position
    many = [tokens(n) for n in range(10_000)]
    asked = "mutation($input: RecordUsageInput!) { recordUsage(input: $input) { %s } }"
    dear = asked % "receipts { error { code } error { code } error { code } error { code } }"
    (error,) = client.ask(dear, input={"records": many})["errors"]
    assert error["extensions"]["limit"] == "cost"
    assert client.position == position


def test_the_operation_that_is_named_is_reckoned(client: Asking) -> None:
    document = "query A { ledger { id } } query B { meters { totalCount } }"
    asked = schema.execute(
        document, operation_name="B", context_value=Context(client.ledger, "tester")
    )
    told = asyncio.run(asked).extensions
    assert told is not None
    assert told["cost"]["requested"] == 20


def test_every_request_of_the_explorer_costs_little() -> None:
    for tab in tabs({}):
        document = parse(tab["query"])
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        cost = cost_of(schema._schema, document, operation, {})
        assert 0 < cost * 20 < COST_LIMIT, tab["title"]


def test_what_is_remembered_of_a_cost_is_of_its_variables_alone() -> None:
    document = parse(
        "query Q($first: Int = 7, $last: Int, $ids: [ID!]!) {"
        " meters(first: $first, last: $last) { nodes { id } } nodes(ids: $ids) { id } }"
    )
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)

    def cost(**variables: object) -> int:
        return cost_of(schema._schema, document, operation, variables)

    plain = cost(ids=["a"])
    assert cost(ids=["a"], first=7) == plain
    assert cost(ids=["a"], first=9) == plain + 2
    assert cost(ids=["a"], first=None, last=9) == plain + 2
    assert cost(ids=["a", "b"]) > plain
    assert cost(ids=["a"], other=[1] * 9) == plain


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Operations have next to no time; whatever waits for the event waits to the end of them."""
    monkeypatch.setattr(limits, "DEADLINE_SECONDS", 0.2)
    released = threading.Event()
    yield released
    released.set()


def test_an_operation_that_takes_too_long_is_ended_and_holds_up_nobody(
    client: Asking, monkeypatch: pytest.MonkeyPatch, short: threading.Event
) -> None:
    def wait(*_: object, **__: object) -> None:
        short.wait()

    monkeypatch.setattr(current, "select", wait)
    context = Context(client.ledger, "tester")

    async def go() -> tuple[Any, Any, bool]:
        slow = asyncio.create_task(schema.execute("{ meters { nodes { id } } }", None, context))
        await asyncio.sleep(0)
        other = await schema.execute("{ ledger { name } }", None, context)
        waited = not slow.done()
        ended = await slow
        short.set()
        return ended, other, waited

    ended, other, waited = asyncio.run(go())
    assert (other.data, other.errors, waited) == ({"ledger": {"name": "main"}}, None, True)
    assert ended.data is None
    (error,) = ended.errors
    assert error.extensions == {"code": "TIMED_OUT", "allowed": 0.2}
    assert ended.extensions == {"cost": {"requested": 20, "limit": COST_LIMIT}}


def test_what_was_asked_as_of_a_moment_is_let_go_of_when_nobody_reads_there(
    client: Asking, story: Story, monkeypatch: pytest.MonkeyPatch, short: threading.Event
) -> None:
    order: list[str] = []
    close = Then.close

    def wait(*_: object, **__: object) -> None:
        short.wait(5)
        order.append("read")

    def noted(self: Then) -> None:
        close(self)
        order.append("closed")

    monkeypatch.setattr(current, "select", wait)
    monkeypatch.setattr(Then, "close", noted)
    document = f"""{{ customer(id: "{story.customer}", asOf: {{position: "{client.position}"}}) {{
        subscriptions {{ nodes {{ id }} }} }} }}"""

    async def go() -> Any:
        ended = await schema.execute(document, None, Context(client.ledger, "tester"))
        order.append("answered")
        short.set()
        return ended

    (error,) = asyncio.run(go()).errors
    assert error.extensions["code"] == "TIMED_OUT"
    assert order == ["answered", "read", "closed"]


def test_a_mutation_past_its_deadline_is_done_exactly_once(
    client: Asking, short: threading.Event
) -> None:
    ledger = client.ledger
    held = ledger.writer.submit(BetweenJob(short.wait))
    position = client.position
    document = """mutation { createProduct(input: {name: "x", idempotencyKey: "once"}) {
        product { id } position } }"""
    (error,) = client.ask(document)["errors"]
    assert error["extensions"]["code"] == "TIMED_OUT"
    assert "idempotency key" in error["message"]
    short.set()
    held.result()
    ledger.writer.submit(BetweenJob(lambda: None)).result()
    assert client.position == position + 1
    again = client.field(document)
    assert client.position == position + 1
    (made,) = client.field("{ products { nodes { id } } }")["nodes"]
    assert again["product"] == made


@pytest.mark.parametrize(
    ("document", "bounded"),
    [
        ("{ ledgerVerification { ok } }", False),
        ("{ ...F } fragment F on Query { ... { a: ledgerVerification { ok } } }", False),
        ('mutation { advanceClock(input: {to: "2026-01-16T00:00:00Z"}) { position } }', False),
        ("{ ledgerVerification: ledger { id } }", True),
        ("{ ledger { id } }", True),
    ],
)
def test_what_works_through_the_ledger_may_take_its_time(
    client: Asking, monkeypatch: pytest.MonkeyPatch, document: str, bounded: bool
) -> None:
    allowed: list[object] = []

    def timeout(seconds: object) -> Any:
        allowed.append(seconds)
        return nullcontext()

    monkeypatch.setattr(asyncio, "timeout", timeout)
    client.ask(document)
    assert allowed == [limits.DEADLINE_SECONDS if bounded else None]

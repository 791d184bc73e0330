"""What was asked before is carried out at once, and yet answered as the library would answer it."""

import asyncio
from collections.abc import Callable, Generator
from typing import Annotated, Any, cast

import pytest
import strawberry
from graphql import GraphQLError
from hypothesis import example, given
from hypothesis import strategies as st
from strawberry.extensions import ParserCache

from app.callers import Caller
from app.jobs import Busy
from app.ledger import Ledger
from app.rates import Bucket
from app.schema import Context, limits, schema
from app.schema.asked_again import AskedAgain
from app.schema.context import Closing
from app.schema.execution import Execution
from app.schema.limits import Limits
from app.schema.live_updates import Streamed
from app.schema.ready import ready
from app.schema.remembered import REMEMBERED
from domain.decider import Code, Rejected
from projections import current
from tests import marks
from tests.app.library import library_alone
from tests.app.rich import rich

pytestmark = marks.HTTP

CUSTOMER = "query One($id: ID!, $asOf: AsOf) { customer(id: $id, asOf: $asOf) { id name email } }"
PAGE = """query($first: Int, $after: String, $name: String) {
    all: customers(first: $first, after: $after, name: $name) { totalCount nodes { ...C } } }
    fragment C on Customer { id called: name __typename
    subscriptions(first: 2) { nodes { id } } }"""
NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { id __typename ... on Customer { name } } }"
QUOTE = """query($pricing: PricingInput!, $quantity: Decimal!) {
    priceQuote(pricing: $pricing, currency: "USD", quantity: $quantity) {
    exactAmount steps { description } } }"""
CREATE = """mutation($input: CreateCustomerInput!) { createCustomer(input: $input) {
    customer { id name } userErrors { code message path } position } }"""
ARCHIVE = """mutation($id: ID!) { archiveCustomer(input: {customerId: $id, idempotencyKey: "a"}) {
    customer { id archivedAt } userErrors { code path } position } }"""
FACTS = """query($types: [String!], $first: Int = 3) {
    ledgerEvents(first: $first, types: $types) { nodes { position type data } } }"""
DOCUMENTS = (CUSTOMER, PAGE, NODES, QUOTE, CREATE, ARCHIVE, FACTS, "{ ledger { id name } }")

NOT_READY = (
    "{ __schema { queryType { name } } }",
    "{ ledger { id } again: ledger { id } }",
    "{ ...L } fragment L on Query { ledger { id } }",
    "query($no: Boolean = true) { ledger { id name @skip(if: $no) } }",
    "query A { ledger { id } } query B { ledger { name } }",
    "subscription { ledgerEventAdded { position } }",
    "{ nothing }",
    "{ ledger { id }",
    "{ ledger { id } }" + " " * 100_000,
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Generator[Ledger]:
    from tests.conftest import CLOCK

    with Ledger(tmp_path_factory.mktemp("told") / "ledger", test_clock_at=CLOCK) as opened:
        yield rich(opened)


def asked(
    schema: AskedAgain,
    document: str,
    given: dict[str, Any] | None,
    context: Context,
    name: str | None = None,
) -> tuple[Any, ...]:
    """What is answered in full, to who asks again."""
    schema.was_asked(document, name)
    result = asyncio.run(
        schema.execute(document, given, context_value=context, operation_name=name)
    )
    errors: list[Any] = [dict(error.formatted) for error in result.errors or ()]
    for error in errors:  # each bug has an id of its own
        if error["extensions"]["code"] == "INTERNAL":
            error["extensions"].pop("id")
    return type(result).__name__, result.data, errors, result.extensions


def both(
    schema: AskedAgain,
    document: str,
    given: dict[str, Any] | None,
    context: Callable[[], Context],
    name: str | None = None,
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is answered by us, and by the library in all its phases."""
    ours = asked(schema, document, given, context(), name)
    with library_alone(schema):
        return ours, asked(schema, document, given, context(), name)


texts = st.one_of(st.text(max_size=4), st.sampled_from(["", "\0", "\ud800", "cus_1", "1e3", "7"]))
hostile = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=2),
    st.dictionaries(texts, st.one_of(texts, st.none()), max_size=2),
)
GOOD: dict[str, list[Any]] = {
    "id": ["cus_none"],
    "asOf": [{"position": "3"}, {"position": "9999"}, {"time": "2026-01-01T00:00:00Z"}, None],
    "first": [1, 3, 100, 0, 101],
    "after": ["x", None],
    "name": ["Acme", None],
    "ids": [["cus_none"], "cus_none", []],
    "pricing": [{"perUnit": {"unitAmount": "2"}}, {"perUnit": {}}, {}],
    "quantity": ["7", "-1", 7],
    "types": [["meter.created"], ["none"], []],
    "input": [{"name": "A", "idempotencyKey": "one"}, {"name": "", "idempotencyKey": "two"}],
}
variables = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(st.sampled_from(some), hostile) for name, some in GOOD.items()},
        "extra": hostile,
    },
)


@given(st.sampled_from(DOCUMENTS), variables, st.booleans())
@example(CUSTOMER, {"id": None}, False)
@example(CUSTOMER, {"id": 7}, True)
@example(FACTS, {"types": None}, False)
@example(PAGE, {"first": 2**31}, False)
@example(CREATE, {"input": {"name": "A", "extra": 1}}, False)
def test_whatever_is_sent_is_answered_as_by_the_library(
    told: Ledger, document: str, sent: dict[str, Any], real: bool
) -> None:
    if real and "id" in sent:
        with told.snapshot() as views:
            found = current.select(views, current.KINDS["cus"].state, {}, limit=1)
        sent = {**sent, "id": found[0].state.id, "ids": [found[0].state.id] * 2}
    if document is CREATE and isinstance(sent.get("input"), dict):
        sent = {**sent, "input": {**sent["input"], "idempotencyKey": repr(sent["input"])[:40]}}
    ours, theirs = both(schema, document, sent, lambda: Context(told, "tester"))
    assert ours == theirs


@pytest.mark.parametrize("document", DOCUMENTS)
def test_these_are_ready(document: str) -> None:
    assert ready(schema, document, None) is not None


@pytest.mark.parametrize("document", NOT_READY)
def test_these_are_not_and_are_answered_all_the_same(told: Ledger, document: str) -> None:
    assert ready(schema, document, None) is None
    ours, theirs = both(schema, document, None, lambda: Context(told, "tester"))
    assert ours == theirs


@pytest.mark.parametrize("name", [None, "One", "Other", ""])
def test_the_operation_that_is_named_is_meant(told: Ledger, name: str | None) -> None:
    def outcome() -> object:
        try:
            return asked(schema, CUSTOMER, {"id": "cus_1"}, Context(told), name)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be the same
            return repr(error)

    ours = outcome()
    with library_alone(schema):
        assert ours == outcome()
    assert (ready(schema, CUSTOMER, name) is not None) is (name in {None, "One"})


def test_what_was_asked_before_needs_nothing_of_the_library(
    told: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it is asked again")

    monkeypatch.setattr(strawberry.Schema, "execute", refuse)
    _, data, errors, _ = asked(schema, "{ ledger { name } }", None, Context(told))
    assert (data, errors) == ({"ledger": {"name": "main"}}, [])


def test_what_is_asked_once_is_not_kept() -> None:
    again = AskedAgain(Odd)
    documents = ["{ __typename }", *(f"{{ a{n}: __typename }}" for n in range(REMEMBERED))]
    assert [again.was_asked(one, None) for one in documents] == [False] * len(documents)
    assert again.was_asked(documents[-1], None)
    assert not again.was_asked(documents[-1], "Name")
    assert not again.was_asked(documents[0], None)  # it was forgotten


def test_what_is_done_around_an_operation_is_known() -> None:
    # Each of them is done by `AskedAgain` itself; whoever adds another must see to it there.
    assert list(schema.extensions) == [Closing, Streamed, Limits, ParserCache]
    assert schema.execution_context_class is Execution


# ----------------------------------------------------------------------------------- the limits


def test_who_asks_too_much_pays_and_is_refused_as_by_the_library(told: Ledger) -> None:
    def poor() -> Context:
        return Context(told, "tester", Caller("key_1", cost=Bucket(30, 1, filled_at=1e12)))

    for first, refused in ((1, False), (100, True)):
        ours, theirs = both(schema, PAGE, {"first": first}, poor)
        assert ours == theirs
        assert bool(ours[2]) is refused


def test_a_cost_above_the_limit_is_refused(told: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COST_LIMIT", 10)
    ours, theirs = both(schema, PAGE, {"first": 50}, lambda: Context(told, "tester"))
    assert ours == theirs
    assert ours[2][0]["extensions"]["limit"] == "cost"


# ---------------------------------------------------------------------------------- odd answers


@strawberry.type
class Thing:
    name: str
    size: int | None

    @strawberry.field
    async def late(self) -> str:
        await asyncio.sleep(0)
        return cast("str", FOUND["late"]())


@strawberry.input
class Wish:
    name: str = "none"
    sizes: list[int] | None = None
    more: Annotated["Wish", strawberry.lazy("tests.app.test_ready")] | None = None


FOUND: dict[str, Callable[[], Any]] = {}


@strawberry.type
class Odd:
    @strawberry.field
    async def sure(self, info: strawberry.Info, size: int = 3) -> Thing:
        assert isinstance(info.context, Context)
        return cast("Thing", FOUND["thing"]())

    @strawberry.field
    def perhaps(self, wish: Wish | None = None) -> Thing | None:
        thing = FOUND["thing"]()
        if isinstance(thing, Thing) and wish is not None:
            thing.name = repr(wish)
        return cast("Thing | None", thing)

    @strawberry.field
    def several(
        self,
        size: Annotated[int, strawberry.argument(name="howMany")] = 2,
        names: list[str | None] | None = None,
    ) -> list[Thing | None]:
        thing = FOUND["thing"]()
        return [thing, Thing(name=str(names), size=size)]


odd = AskedAgain(Odd, extensions=[Closing, Limits, ParserCache], execution_context_class=Execution)


def failing(error: Exception) -> Callable[[], Any]:
    """Something that raises."""

    def fail() -> Any:
        raise error

    return fail


THINGS: list[Callable[[], Any]] = [
    lambda: Thing(name="a", size=1),
    lambda: Thing(name="a", size=None),
    lambda: Thing(name=cast("str", None), size=1),
    lambda: Thing(name="a", size=2**40),
    lambda: Thing(name="a", size=cast("int", "x")),
    lambda: None,
    lambda: "no thing",
    lambda: GraphQLError("it is returned"),
    failing(GraphQLError("it is raised")),
    failing(Rejected(Code.INVALID_VALUE, ("size",), "it is refused")),
    failing(Busy("too many")),
    failing(TimeoutError()),
]
LATE: list[Callable[[], Any]] = [
    lambda: "late",
    lambda: None,
    failing(Rejected(Code.NOT_FOUND, (), "it is not there")),
]
WISHES: list[Any] = [None, {}, {"name": "n", "sizes": 1}, {"sizes": [None]}, 1, {"more": {}}]
ODD = (
    "query($size: Int) { sure(size: $size) { name size } }",
    "query($size: Int! = 4) { it: sure(size: $size) { name late } }",
    "{ sure { name late size } }",
    "query($wish: Wish) { perhaps(wish: $wish) { name size } }",
    "query($name: String!) { perhaps(wish: {name: $name}) { name late } }",
    "query($size: Int, $names: [String]) { several(howMany: $size, names: $names) { name } }",
    "query($size: Int) { several(howMany: $size, names: null) { name size late } }",
)


@given(
    st.sampled_from(ODD),
    st.sampled_from(THINGS),
    st.sampled_from(LATE),
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.sampled_from([1, None, "x", 2**31]),
            "wish": st.sampled_from(WISHES),
            "name": st.sampled_from(["n", None]),
            "names": st.sampled_from([None, ["a", None], "a", [1]]),
        },
    ),
)
def test_whatever_a_resolver_does_is_answered_as_by_the_library(
    told: Ledger,
    document: str,
    thing: Callable[[], Any],
    late: Callable[[], Any],
    sent: dict[str, Any],
) -> None:
    assert ready(odd, document, None) is not None
    FOUND.update(thing=thing, late=late)
    ours, theirs = both(odd, document, sent, lambda: Context(told, "tester"))
    assert ours == theirs


def test_what_is_nested_too_deeply_is_refused_as_by_the_library(told: Ledger) -> None:
    FOUND.update(thing=THINGS[0])
    for levels in (50, 5_000):
        wish: dict[str, Any] = {}
        for _ in range(levels):
            wish = {"more": wish}
        ours, theirs = both(odd, ODD[3], {"wish": wish}, lambda: Context(told, "tester"))
        assert ours == theirs
        assert bool(ours[2]) is (levels > 1_000)


def test_a_bug_is_told_by_its_id_alone(told: Ledger) -> None:
    FOUND.update(thing=failing(ValueError("our secret")))
    _, data, (error,), _ = asked(odd, ODD[3], {}, Context(told, "tester"))
    assert (data, error["message"], error["path"]) == (
        {"perhaps": None},
        "internal error",
        ["perhaps"],
    )
    assert error["extensions"]["code"] == "INTERNAL"


@pytest.mark.parametrize("thing", THINGS, ids=range(len(THINGS)))
def test_a_context_is_closed_when_it_is_answered(told: Ledger, thing: Callable[[], Any]) -> None:
    closed: list[str] = []

    class Told(Context):
        def close(self) -> None:
            closed.append("now")

    FOUND.update(thing=thing)
    asked(odd, ODD[0], {"size": 1}, Told(told, "tester"))
    assert closed == ["now"]

"""What is plain is written at once, and yet answered as the GraphQL library would answer it."""

import asyncio
from collections.abc import AsyncIterator, Generator
from copy import copy
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import Any, NewType

import pytest
import strawberry
from graphql import Undefined, get_introspection_query
from hypothesis import given
from hypothesis import strategies as st
from strawberry.extensions import SchemaExtension

from app.ledger import Ledger
from app.schema import Context, schema
from app.schema.execution import Execution
from app.schema.scalars import SCALARS, BigIntText, Json
from projections import current
from tests import marks
from tests.app.everything import EVERYTHING
from tests.app.library import answer, both, library_alone
from tests.app.rich import rich

pytestmark = marks.HTTP


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Generator[Ledger]:
    from tests.conftest import CLOCK

    with Ledger(tmp_path_factory.mktemp("told") / "ledger", test_clock_at=CLOCK) as opened:
        yield rich(opened)


def ids(ledger: Ledger) -> list[str]:
    """Every object of a ledger."""
    with ledger.snapshot() as views:
        found = [
            one.state.id
            for kind in current.KINDS.values()
            for one in current.select(views, kind.state, {}, limit=1_000)
        ]
    return [ledger.state.id, *found]


def test_everything_is_answered_as_by_the_library(told: Ledger) -> None:
    for id in ids(told):
        ours, theirs = both(schema, EVERYTHING, {"id": id}, lambda: Context(told, "tester"))
        assert ours == theirs
        assert ours[1] == []


@pytest.mark.parametrize(
    "document",
    [
        get_introspection_query(),
        """{ customers { nodes { ...N } } }
        fragment N on Node { id __typename ... on Customer { name } }""",
        """query($no: Boolean = false) { customers { edges { cursor node {
          id @include(if: $no) name @skip(if: $no) called: name } } pageInfo { hasNextPage } } }""",
        "{ customers { totalCount nodes { name balances { amount } } } }",
        "{ customers { nodes { id id name ... { name email } } } __typename }",
        """{ priceQuote(pricing: {perUnit: {unitAmount: "1"}}, currency: "USD", quantity: "7") {
          exactAmount steps { description } } }""",
    ],
)
def test_any_selection_is_answered_as_by_the_library(told: Ledger, document: str) -> None:
    ours, theirs = both(schema, document, {}, lambda: Context(told, "tester"))
    assert ours == theirs
    assert ours[1] == []
    assert list(ours[0]) == list(theirs[0])


def test_what_depends_on_variables_is_looked_at_each_time(told: Ledger) -> None:
    document = "query($no: Boolean!) { customers { nodes { name ... @skip(if: $no) { email } } } }"
    for no in (True, False, True):
        ours, theirs = both(schema, document, {"no": no}, lambda: Context(told, "tester"))
        assert ours == theirs
        assert all(("email" in node) is not no for node in ours[0]["customers"]["nodes"])


def test_what_does_not_is_looked_at_once(told: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    look = Execution._value

    def noted(self: Execution, type: Any, *args: Any, **kwargs: Any) -> Any:
        looked.append(str(type))
        return look(self, type, *args, **kwargs)

    noted.__name__ = look.__name__
    monkeypatch.setattr(Execution, "_value", noted)
    document = "{ customers { edges { node { onlyHere: name } } } }"
    for _ in range(3):
        answer(schema, document, {}, Context(told, "tester"))
    assert looked.count("Customer") == 1


# ------------------------------------------------------------------------------- odd values


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = 2


Blank = NewType("Blank", object)
"""A scalar of which nothing is left when there is nothing in it."""


@strawberry.interface
class Thing:
    name: str


@strawberry.type
class Leaf(Thing):
    name: str
    note: str | None
    number: int
    size: BigIntText | None
    colour: Colour | None
    data: Json | None
    blank: Blank | None


@strawberry.type
class Tree:
    name: str
    leaf: Leaf
    perhaps: Leaf | None
    leaves: list[Leaf]
    holes: list[Leaf | None] | None
    notes: list[str | None]

    @strawberry.field
    async def late(self) -> Leaf | None:
        await asyncio.sleep(0)
        return self.perhaps

    @strawberry.field
    def soon(self) -> list[Leaf | None]:
        return [self.leaf, *self.leaves]

    @strawberry.field
    def thing(self) -> Thing | None:
        return self.perhaps


@strawberry.type
class Forest:
    @strawberry.field
    def tree(self, info: strawberry.Info) -> Tree | None:
        tree: Tree = info.context
        return tree


@strawberry.type
class Falling:
    @strawberry.subscription
    async def leaves(self) -> AsyncIterator[Leaf]:
        for number in range(20):
            yield leaf(number=number)


config = strawberry.schema.config.StrawberryConfig(
    scalar_map={
        **SCALARS,
        Blank: strawberry.scalar(name="Blank", serialize=lambda one: one or None),
    }
)


class Quiet(strawberry.Schema):
    """A schema that logs no errors: there are very many."""

    def process_errors(self, *_: object) -> None:
        """Leave them as they are."""


odd = Quiet(Forest, subscription=Falling, execution_context_class=Execution, config=config)


class Later:
    """A value that must be waited for."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, object]:
        yield
        return self.value

    def __repr__(self) -> str:
        return "later"


def leaf(**given: Any) -> Leaf:
    """A leaf as it should be but for what is given."""
    usual: dict[str, Any] = {
        "name": "leaf",
        "note": None,
        "number": 3,
        "size": 12,
        "colour": Colour.RED,
        "data": {"a": [1, None]},
        "blank": "x",
    }
    return Leaf(**{**usual, **given})


ODD: list[Any] = [
    *(None, Undefined, "", 2**40, 1.5, True, [], {}, (1,), Colour.RED, Colour.BLUE, "RED"),
    *(ValueError("no"), Later("x"), Later(None), Later(ValueError("no"))),
]
oddities = st.one_of(
    st.sampled_from(ODD), st.text(max_size=3), st.integers(), st.floats(allow_nan=False)
)
LEAF = ["name", "note", "number", "size", "colour", "data", "blank"]
changes = st.dictionaries(st.sampled_from(LEAF), oddities, max_size=2)
alike = st.just(SimpleNamespace(**vars(leaf())))  # all that a leaf has, and yet none
leaves = st.one_of(changes.map(lambda given: leaf(**given)), st.just(leaf()), alike, oddities)
several = st.one_of(st.lists(leaves, max_size=4), st.lists(leaves, max_size=2).map(tuple), oddities)
trees = st.builds(
    Tree,
    name=st.one_of(st.just("tree"), oddities),
    leaf=leaves,
    perhaps=leaves,
    leaves=several,
    holes=several,
    notes=st.one_of(st.lists(oddities, max_size=3), oddities),
)
ALL = "{ name note number size colour data blank __typename }"
FIELDS = {
    "name": "name",
    "leaf": f"leaf {ALL}",
    "perhaps": "perhaps { name colour }",
    "leaves": f"leaves {ALL}",
    "holes": "holes { number size }",
    "notes": "notes",
    "late": f"late {ALL}",
    "soon": "soon { name data }",
    "thing": "thing { name __typename ... on Leaf { note } }",
    "__typename": "__typename",
}


@given(trees, st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, unique=True))
def test_odd_values_are_answered_as_by_the_library(tree: Tree, asked: list[str]) -> None:
    document = f"{{ tree {{ {' '.join(FIELDS[name] for name in asked)} }} }}"
    ours, theirs = both(odd, document, {}, lambda: tree)
    assert ours == theirs


@pytest.mark.parametrize("name", LEAF)
def test_each_odd_value_is_answered_as_by_the_library(name: str) -> None:
    for value in ODD:
        odd_leaf = leaf(**{name: value})
        tree = Tree(
            name="x", leaf=leaf(), perhaps=odd_leaf, leaves=[odd_leaf], holes=[odd_leaf], notes=[]
        )
        for field in ("perhaps", "leaves", "holes", "late", "soon", "thing"):
            selection = "{ name }" if field == "thing" else ALL
            ours, theirs = both(
                odd, f"{{ tree {{ {field} {selection} }} }}", {}, partial(copy, tree)
            )
            assert ours == theirs, (field, value)


def test_what_is_plain_is_not_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    info = Execution.build_resolve_info

    def noted(self: Execution, field_def: Any, nodes: Any, *rest: Any) -> Any:
        built.append(nodes[0].name.value)
        return info(self, field_def, nodes, *rest)

    monkeypatch.setattr(Execution, "build_resolve_info", noted)
    tree = Tree(
        name="x", leaf=leaf(), perhaps=None, leaves=[leaf()] * 50, holes=[None], notes=["x"]
    )
    everything = f"{{ tree {{ {' '.join(FIELDS.values())} }} }}"
    data, errors = answer(odd, everything, {}, tree)
    assert errors == []
    assert len(data["tree"]["leaves"]) == 50
    assert sorted(built) == ["late", "soon", "thing", "tree"]


def test_an_extension_that_looks_at_every_field_sees_every_field() -> None:
    seen: list[str] = []

    class Looking(SchemaExtension):
        def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(info.field_name)
            return _next(root, info, *args, **kwargs)

    looking = strawberry.Schema(
        Forest, extensions=[Looking], execution_context_class=Execution, config=config
    )
    tree = Tree(name="x", leaf=leaf(), perhaps=None, leaves=[], holes=None, notes=[])
    answer(looking, "{ tree { name leaf { number } } }", {}, tree)
    assert seen == ["tree", "name", "leaf", "number"]


def test_a_subscription_keeps_nothing_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    per_event = Execution.build_per_event_executor

    def noted(self: Execution, payload: Any) -> Any:
        sizes.append(len(self._relevant_sub_fields))
        return per_event(self, payload)

    monkeypatch.setattr(Execution, "build_per_event_executor", noted)

    async def listen() -> list[Any]:
        events: Any = await odd.subscribe("subscription { leaves { number name } }")
        return [event.data["leaves"]["number"] async for event in events]

    assert asyncio.run(listen()) == list(range(20))
    assert sizes == [0] * 20
    with library_alone(odd):
        assert asyncio.run(listen()) == list(range(20))

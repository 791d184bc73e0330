"""The schema as a whole: as committed, as promised to clients, described throughout."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_introspection_query,
    is_specified_directive,
    lexicographic_sort_schema,
    print_ast,
    print_schema,
)

from app.schema import SHOWN, sdl
from projections.current import KINDS
from tests.app.asking import Asking, client

__all__ = ["client"]

ROOT = Path(__file__).parents[2]
PROMISED = build_schema((ROOT / "tests/golden/promised.graphql").read_text(encoding="utf-8"))
PRINTED = build_schema(sdl())


def own_types(schema: GraphQLSchema) -> dict[str, GraphQLNamedType]:
    """The types that are not GraphQL's own."""
    standard = {"Boolean", "Int", "Float", "String", "ID"}
    return {
        name: type
        for name, type in schema.type_map.items()
        if not name.startswith("__") and name not in standard
    }


def test_the_committed_schema_is_this_one() -> None:
    committed = (ROOT / "schema.graphql").read_text(encoding="utf-8")
    assert committed == sdl(), "run `tallybook schema > schema.graphql` and look at the difference"


def test_the_root_types_are_named() -> None:
    # Without the block every tool takes the type named Subscription for a root type.
    block = "schema {\n  query: Query\n  mutation: Mutation\n  subscription: LiveUpdates\n}\n"
    assert sdl().count("schema {") == sdl().count(block) == 1
    assert sdl().endswith("}\n")
    assert PRINTED.subscription_type is PRINTED.type_map["LiveUpdates"]


def places(type: GraphQLNamedType) -> Iterator[tuple[str, str]]:
    """Every place in a type with its signature: fields, arguments, input fields, enum values."""
    match type:
        case GraphQLObjectType() | GraphQLInterfaceType():
            yield from (("implements", interface.name) for interface in type.interfaces)
            for name, field in type.fields.items():
                yield name, str(field.type)
                for argument, given in field.args.items():
                    yield f"{name}({argument})", f"{given.type} = {default_of(given)}"
        case GraphQLInputObjectType():
            yield "oneOf", str(type.is_one_of)
            for name, input in type.fields.items():
                yield name, f"{input.type} = {default_of(input)}"
        case GraphQLEnumType():
            yield from ((name, "") for name in type.values)


def default_of(input: GraphQLArgument | GraphQLInputField) -> str:
    """The default as it is printed; a default of null is none."""
    literal = input.default.literal if input.default else None
    return print_ast(literal) if literal else "null"


@pytest.mark.parametrize("name", own_types(PROMISED))
def test_what_clients_rely_on_is_there(name: str) -> None:
    there = set(places(PRINTED.type_map[name]))
    missing = [place for place in places(PROMISED.type_map[name]) if place not in there]
    assert not missing


@pytest.mark.parametrize("name", own_types(PROMISED))
def test_no_input_asks_for_more_than_promised(name: str) -> None:
    promised, printed = PROMISED.type_map[name], PRINTED.type_map[name]
    if isinstance(promised, GraphQLInputObjectType):
        assert isinstance(printed, GraphQLInputObjectType)
        more = printed.fields.keys() - promised.fields.keys()
        assert not [name for name in more if str(printed.fields[name].type).endswith("!")]


def undescribed(type: GraphQLNamedType) -> Iterator[str]:
    """Every place in a type that says nothing of itself."""
    if not type.description:
        yield type.name
    if isinstance(type, GraphQLEnumType):
        yield from (f"{type.name}.{name}" for name, v in type.values.items() if not v.description)
    if isinstance(type, GraphQLInputObjectType):
        yield from (f"{type.name}.{name}" for name, f in type.fields.items() if not f.description)
    if isinstance(type, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in type.fields.items():
            if not field.description:
                yield f"{type.name}.{name}"
            for argument, given in field.args.items():
                if not given.description:
                    yield f"{type.name}.{name}({argument})"


def undescribed_directives(schema: GraphQLSchema) -> Iterator[str]:
    """Every directive of our own, and every argument of one, that says nothing of itself."""
    for directive in schema.directives:
        if not is_specified_directive(directive):
            if not directive.description:
                yield f"@{directive.name}"
            for argument, given in directive.args.items():
                if not given.description:
                    yield f"@{directive.name}({argument})"


def test_everything_is_described() -> None:
    assert [place for type in own_types(PRINTED).values() for place in undescribed(type)] == []
    assert [*undescribed_directives(PRINTED)] == []


def test_what_is_not_described_is_found() -> None:
    silent = build_schema("""
        directive @of(what: Int) on OBJECT
        "a" type Query { "b" a(b: Int): E "c" d("e" e: I): Int }
        "f" enum E { G } "h" input I { j: Int } interface N { id: ID }""")
    found = [place for type in own_types(silent).values() for place in undescribed(type)]
    assert sorted(found) == ["E.G", "I.j", "N", "N.id", "Query.a(b)"]
    assert [*undescribed_directives(silent)] == ["@of", "@of(what)"]


def test_the_schema_is_sorted() -> None:
    assert sdl() == print_schema(lexicographic_sort_schema(PRINTED)) + "\n"


def test_every_kind_of_object_can_be_asked_for_by_its_id() -> None:
    assert SHOWN.keys() == KINDS.keys()


def test_introspection_answers(client: Asking) -> None:
    described = client.field(get_introspection_query(input_value_deprecation=True))
    assert described["subscriptionType"]["name"] == "LiveUpdates"
    assert "PricingInput" in {type["name"] for type in described["types"]}

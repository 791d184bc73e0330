"""Operations made from the schema that together ask for every field of every type there is."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_interface_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
    is_required_input_field,
)

KINDS = {
    "customer": "cus", "subscription": "sub", "price": "price", "product": "prod",
    "meter": "met", "invoice": "inv", "node": "inv", "subject": "inv",
}  # fmt: skip
"""Which object is meant by what an argument or the field with it is called."""
TEXTS = {"id": "gone", "customer": "bo", "eventName": "tokens", "unit": "MONTH"}
SCALARS = {
    "Decimal": '"1"', "BigInt": '"3"', "Int": "1", "Boolean": "true", "JSON": "{}",
    "CurrencyCode": '"USD"', "DateTime": '"2026-02-01T00:00:00Z"',
}  # fmt: skip


class Way(NamedTuple):
    """How a type is reached: the kind of operation, what comes before it, and what closes it."""

    operation: str
    before: str
    after: str

    def asking(self, selection: str) -> str:
        """The operation that asks for something of the type."""
        return f"{self.operation} {self.before}{selection}{self.after}"


class Matrix:
    """The fields of a schema, and for each an operation that asks for it about certain objects."""

    def __init__(self, schema: GraphQLSchema, ids: Mapping[str, str]) -> None:
        self._schema = schema
        self._ids = ids
        self.ways = self._ways()

    def fields(self, type: str) -> dict[str, str]:
        """The fields of a type, each as a selection."""
        found = self._schema.type_map[type]
        assert isinstance(found, GraphQLObjectType)
        return {name: self._selected(name, field) for name, field in found.fields.items()}

    def _ways(self) -> dict[str, Way]:
        """The shortest way to each type, by a query if there is one."""
        found: dict[str, Way] = {}
        for operation, root in (
            ("query", self._schema.query_type),
            ("mutation", self._schema.mutation_type),
        ):
            assert root is not None
            found[root.name] = Way(operation, "{ ", " }")
            waiting = deque([root])
            while waiting:
                parent = waiting.popleft()
                for name, field in parent.fields.items():
                    for type, way in self._beneath(found[parent.name], name, field):
                        if type.name not in found:
                            found[type.name] = way
                            waiting.append(type)
        return found

    def _beneath(
        self, way: Way, name: str, field: GraphQLField
    ) -> list[tuple[GraphQLObjectType, Way]]:
        """The types that a field leads to."""
        type = get_named_type(field.type)
        before = f"{way.before}{name}{self._given(name, field)} {{ "
        if is_object_type(type):
            return [(type, Way(way.operation, before, f" }}{way.after}"))]
        if not is_interface_type(type):
            return []
        return [
            (one, Way(way.operation, f"{before}... on {one.name} {{ ", f" }} }}{way.after}"))
            for one in self._schema.get_possible_types(type)
        ]

    def _selected(self, name: str, field: GraphQLField) -> str:
        beneath = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
        return f"{name}{self._given(name, field)}{beneath}"

    def _given(self, field: str, definition: GraphQLField) -> str:
        """The arguments that must be given, and those that name objects."""
        given = {
            name: "2" if name == "first" else self._value(field, name, argument.type)
            for name, argument in definition.args.items()
            if name == "first" or _is_given(argument)
        }
        written = ", ".join(f"{name}: {value}" for name, value in given.items())
        return f"({written})" if written else ""

    def _value(self, parent: str, name: str, type: GraphQLInputType) -> str:
        """A value for an argument, or for a field of an input."""
        if isinstance(type, GraphQLNonNull):
            return self._value(parent, name, type.of_type)
        if isinstance(type, GraphQLList):
            return f"[{self._value(parent, name, type.of_type)}]"
        if isinstance(type, GraphQLEnumType):
            return str(next(iter(type.values)))
        if isinstance(type, GraphQLInputObjectType):
            return self._object(parent, type)
        if type.name == "ID":
            what = name.removesuffix("Id") if name not in ("id", "ids") else parent
            return f'"{self._ids.get(KINDS.get(what, what)) or self._ids["inv"]}"'
        if name in ("end", "to"):
            return '"2026-04-01T00:00:00Z"'
        if type.name == "String":
            return f'"{self._ids.get(name) or TEXTS.get(name, "x")}"'
        return SCALARS[type.name]

    def _object(self, parent: str, type: GraphQLInputObjectType) -> str:
        if type.is_one_of:
            name, field = next(iter(type.fields.items()))
            return f"{{{name}: {self._value(parent, name, field.type)}}}"
        given = {
            name: self._value(parent, name, field.type)
            for name, field in type.fields.items()
            if _is_given(field)
        }
        return "{" + ", ".join(f"{name}: {value}" for name, value in given.items()) + "}"


def _is_given(one: GraphQLArgument | GraphQLInputField) -> bool:
    if isinstance(one, GraphQLArgument):
        required = is_required_argument(one)
    else:
        required = is_required_input_field(one)
    return required or get_named_type(one.type).name == "ID"

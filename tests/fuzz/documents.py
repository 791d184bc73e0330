"""GraphQL documents made from the schema, with variables that are mostly what no client sends."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from urllib.parse import quote_from_bytes

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from tests.fuzz import hostile
from tests.fuzz.wire import Asked

UNASKED = {"ledgerVerification"}
"""Fields that read the whole ledger each time; it is verified once, at the end."""
_MOST_IDS = 50
_GIVEN = {"after": 0.05, "before": 0.05, "last": 0.1, "asOf": 0.2}
"""How often an argument is given that is mostly refused, if not half of the time."""

_SANE: Mapping[str, Sequence[str]] = {
    "Int": ("0", "1", "5", "100", "101", "-1", "2147483647"),
    "Boolean": ("true", "false"),
    "Float": ("0.5",),
    "String": ('"alpaca"', '"tokens"', '"x"'),
    "ID": ('"x"',),
    "Decimal": ('"1"', '"0.04"', '"-1"', '"1000"'),
    "DateTime": (
        *('"2026-12-01T00:00:00Z"', '"2026-10-15T06:30:00Z"', '"2026-09-01T00:00:00-05:00"'),
        *('"2026-01-01T00:00:00Z"', '"2026-11-01T00:00:00Z"', '"2027-01-01T00:00:00+02:00"'),
        *('"2999-12-31T23:59:59Z"', '"1970-01-01T00:00:00Z"', '"0001-01-01T00:00:00Z"'),
    ),
    "BigInt": ('"1"', '"30"', '"9223372036854775807"'),
    "JSON": ('{"model":"x"}', "{}"),
}
"""Values of scalars that some client may well send, as JSON."""


class Documents:
    """Makes requests from a schema, with ids that the server has told."""

    def __init__(self, sdl: str) -> None:
        self._schema: GraphQLSchema = build_schema(sdl)
        self._ids: dict[str, list[str]] = defaultdict(list)

    def learn(self, id: str) -> None:
        """An id that was told."""
        known = self._ids[id.partition("_")[0]]
        if id not in known and len(known) < _MOST_IDS:
            known.append(id)

    def ask(self, random: Random) -> Asked:
        """A request to `/graphql`."""
        kind = "mutation" if random.random() < 0.4 else "query"
        document = _Document(self._schema, random, self._ids, kind)
        query, variables = document.written()
        if random.random() < 0.1:
            query = hostile.damaged(random, query.encode()).decode("latin-1")
        name = '"A"' if random.random() < 0.9 else hostile.value(random)
        fields = {"query": _json(query, random), "variables": variables, "operationName": name}
        if random.random() < 0.1:
            fields[random.choice((*fields, "extensions"))] = hostile.value(random)
        if random.random() < 0.1:
            asked = "&".join(
                f"{name}={quote_from_bytes(text.encode('utf-8', 'surrogatepass'))}"
                for name, text in {**fields, "query": query, "operationName": "A"}.items()
            )
            return Asked("GET", f"/graphql?{asked[:12_000]}", {}, b"")
        body = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
        content = body.encode("utf-8", "surrogatepass")
        if random.random() < 0.05:
            content = hostile.damaged(random, content)
        return Asked("POST", "/graphql", {"content-type": "application/json"}, content)


def _json(text: str, random: Random) -> str:
    return json.dumps(text, ensure_ascii=random.random() < 0.9)


class _Document:
    """One document in the making."""

    def __init__(
        self,
        schema: GraphQLSchema,
        random: Random,
        ids: Mapping[str, Sequence[str]],
        operation: str,
    ) -> None:
        self._schema = schema
        self._random = random
        self._ids = ids
        self._operation = operation
        self._declared: list[str] = []
        self._variables: dict[str, str] = {}
        self._fields = random.choice((5, 20, 60))
        self._wrong = random.choice((0.0, 0.05, 0.3))

    def written(self) -> tuple[str, str]:
        """The document, and its variables as JSON."""
        mutating = self._operation == "mutation"
        root = self._schema.mutation_type if mutating else self._schema.query_type
        assert root is not None
        times = self._random.choice((1, 1, 3))
        selected = " ".join(self._field(root, depth=0) for _ in range(times))
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        values = ",".join(f'"{name}":{value}' for name, value in self._variables.items())
        return f"{self._operation} A{declared} {{ {selected} }}", f"{{{values}}}"

    def _field(self, parent: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        """One field of a type, renamed, with its arguments and what is asked beneath it."""
        names = [name for name in parent.fields if name not in UNASKED]
        name = self._random.choice(names)
        field: GraphQLField = parent.fields[name]
        self._fields -= 1
        given = [
            f"{one}: {self._argument(one, argument)}"
            for one, argument in field.args.items()
            if is_required_argument(argument) or self._random.random() < _GIVEN.get(one, 0.5)
        ]
        arguments = f"({', '.join(given)})" if given else ""
        alias = f"a{-self._fields % 100}: " if given or self._random.random() < 0.2 else ""
        return f"{alias}{name}{arguments}{self._beneath(get_named_type(field.type), depth + 1)}"

    def _beneath(self, type: object, depth: int) -> str:
        """What is asked of an object; nothing of a scalar."""
        if isinstance(type, GraphQLUnionType):
            return " { __typename }"
        if not isinstance(type, GraphQLObjectType | GraphQLInterfaceType):
            return ""
        if depth > 12 or self._fields <= 0:
            return " { __typename }"
        wanted = [self._field(type, depth) for _ in range(self._random.choice((1, 2, 4)))]
        if isinstance(type, GraphQLInterfaceType):
            one = self._random.choice(self._schema.get_possible_types(type))
            wanted.append(f"... on {one.name} {{ {self._field(one, depth)} }}")
        return f" {{ {' '.join(wanted)} }}"

    def _argument(self, name: str, argument: GraphQLArgument) -> str:
        """A variable with a value of about the right type."""
        variable = f"v{len(self._declared)}"
        self._declared.append(f"${variable}: {argument.type}")
        self._variables[variable] = self._value(name, argument.type, 0)
        return f"${variable}"

    def _value(self, name: str, type: GraphQLInputType, depth: int) -> str:
        """A value as JSON, sometimes a hostile one instead."""
        random = self._random
        if random.random() < self._wrong / (1 if depth else 2):
            return hostile.value(random) if random.random() < 0.05 else hostile.sound(random)
        if isinstance(type, GraphQLNonNull):
            return self._value(name, type.of_type, depth)
        if isinstance(type, GraphQLList):
            size = random.choice((0, 1, 1, 2, 5)) if random.random() < 0.97 else 1_100
            values = [self._value(name, type.of_type, depth + 1) for _ in range(min(size, 5))]
            return f"[{','.join(values * (size // 5 or 1) if values else values)}]"
        if isinstance(type, GraphQLInputObjectType):
            return self._input(type, depth)
        if isinstance(type, GraphQLEnumType):
            return json.dumps(random.choice(list(type.values)))
        if type.name == "ID" and self._ids:
            return json.dumps(self._id(name))
        return random.choice(_SANE.get(type.name, ('"x"',)))

    def _input(self, type: GraphQLInputObjectType, depth: int) -> str:
        """An input object, with some of what may be left out."""
        names = list(type.fields)
        if type.is_one_of:
            names = [self._random.choice(names)]
        else:
            chance = 0.4 if depth < 6 else 0.0
            names = [
                name
                for name in names
                if is_required_input_field(type.fields[name]) or self._random.random() < chance
            ]
        pairs = [f'"{n}":{self._value(n, type.fields[n].type, depth + 1)}' for n in names]
        return f"{{{','.join(pairs)}}}"

    def _id(self, name: str) -> str:
        """An id that is there, most often one of the kind that the name asks for."""
        kind = name.removesuffix("Id")
        fitting = [prefix for prefix in self._ids if kind.lower().startswith(prefix[:3])]
        wanted = fitting or list(self._ids)
        if self._random.random() < 0.1:
            wanted = list(self._ids)
        return self._random.choice(self._ids[self._random.choice(wanted)])

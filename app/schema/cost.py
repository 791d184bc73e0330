"""What an operation would cost, reckoned from its document and variables before it is carried out.

An object is 1, a page as many as it may hold, a mutation 10 and 1 for each entry of its lists. What
stands beneath a page or a list counts for each of its entries, so that pages in pages multiply. A
field that is asked for twice counts twice.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_interface_type,
    is_list_type,
    is_object_type,
)

from app.schema.connections import PAGE_DEFAULT, PAGE_LIMIT
from app.schema.remembered import REMEMBERED, Same

COST_LIMIT = 50_000
"""The most that one operation may cost: about as many objects as a second or two can answer."""
MUTATION_COST = 10
LIST_ENTRIES = 5
"""How many entries a list is taken to have that says nothing of its length, such as lines."""

HEAVY: Mapping[tuple[str, str], int] = {
    ("LedgerEvent", "data"): 100,  # it may be a batch of 1,000 usage records
    ("LineExplanation", "check"): 100,  # every usage record behind the line is read
}
"""What certain fields cost because of what is read for them."""

_PER_ENTRY = {"nodes", "edges", "receipts"}
_WRAPPED = "ofType"  # never more than three deep, whatever the document says

_HOLDING = {dict, list}  # as JSON is read; this looks at every record of a mutation

Sum = tuple[int, int]
"""What is there once, and what is there for each entry of the page that it belongs to."""


Given = tuple[str, int, int | None]
"""What matters of a variable: its name, how many entries its lists have, and what number it is."""


def cost_of(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> int:
    """What an operation of a valid document costs; remembered for who asks the like again."""
    given: list[Given] = []
    for one in operation.variable_definitions or ():
        name = one.variable.name.value
        if name in variables:
            value = variables[name]
            number = value if isinstance(value, int) else None
            given.append((name, entries(value), number))
    place = document.definitions.index(operation)
    return _cost_of(schema, Same(document), place, tuple(given))


@lru_cache(maxsize=8 * REMEMBERED)
def _cost_of(schema: GraphQLSchema, same: Same, place: int, given: tuple[Given, ...]) -> int:
    operation = same.document.definitions[place]
    assert isinstance(operation, OperationDefinitionNode), "it is carried out"
    return _Cost(schema, same.document, given).of(operation)


class _Cost:
    """Reckons operations of one document with certain variables, each fragment once."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, given: Sequence[Given]
    ) -> None:
        self._schema = schema
        self._fragments = {
            one.name.value: one
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        self._lengths = {name: length for name, length, _ in given}
        self._numbers: dict[str, Any] = {name: number for name, _, number in given}
        self._sums: dict[str, Sum] = {}

    def of(self, operation: OperationDefinitionNode) -> int:
        """What an operation costs. The document must be a valid one."""
        for one in operation.variable_definitions or ():
            name = one.variable.name.value
            if one.default_value is not None and name not in self._lengths:
                self._lengths[name] = self._length(one.default_value)
                self._numbers[name] = one.default_value
        root = self._schema.get_root_type(operation.operation)
        return sum(self._selected(operation.selection_set, root))

    def _selected(self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None) -> Sum:
        """What the fields in here cost. One call for each level, for levels may be many."""
        once = each = 0
        found: Sum = (0, 0)
        apart: dict[str, int] = {}  # an object is of one type only: the dearest one counts
        for node in selection_set.selections:
            if isinstance(node, FragmentSpreadNode):
                name = node.name.value
                found = self._fragment(name)
                type = self._schema.get_type(self._fragments[name].type_condition.name.value)
                found = self._apart(found, type, parent, apart)
            elif isinstance(node, FieldNode):
                field = self._schema.get_field(
                    cast("GraphQLCompositeType", parent), node.name.value
                )
                assert parent is not None, "a valid document has its types"
                assert field is not None, f"{parent.name} has no {node.name.value}"
                beneath = (0, 0)
                if node.selection_set is not None:
                    beneath = self._selected(node.selection_set, get_named_type(field.type))
                found = self._field(node, field, parent.name, beneath)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                type = self._schema.get_type(condition.name.value) if condition else parent
                found = self._selected(node.selection_set, type)
                found = self._apart(found, type, parent, apart)
            once, each = once + found[0], each + found[1]
        return once + max(apart.values(), default=0), each

    def _apart(
        self,
        found: Sum,
        type: GraphQLNamedType | None,
        parent: GraphQLNamedType | None,
        apart: dict[str, int],
    ) -> Sum:
        """Put aside what is asked of one of the types that an object may be of."""
        if type is None or not (is_interface_type(parent) and is_object_type(type)):
            return found
        apart[type.name] = apart.get(type.name, 0) + found[0]
        return 0, 0

    def _fragment(self, name: str) -> Sum:
        """A fragment has the same sum wherever it is spread: its type is its own."""
        if name not in self._sums:
            fragment = self._fragments[name]
            type = self._schema.get_type(fragment.type_condition.name.value)
            self._sums[name] = self._selected(fragment.selection_set, type)
        return self._sums[name]

    def _field(self, node: FieldNode, field: GraphQLField, parent: str, beneath: Sum) -> Sum:
        """A field with what is beneath it."""
        name = node.name.value
        heavy = HEAVY.get((parent, name), 0)
        type = get_named_type(field.type)
        given = sum(self._length(one.value) for one in node.arguments or ())
        if not (is_object_type(type) or is_interface_type(type)):
            return heavy + given, 0
        if parent.startswith("__") and name == _WRAPPED:
            return 0, 0
        once, each = beneath
        if name in _PER_ENTRY and parent != "Query":  # its entries are counted with their page
            return heavy, once + each
        if parent.endswith("Edge") and name == "node":
            return heavy + once + each, 0
        size = given
        whole = heavy + once + 1
        if type.name.endswith("Connection"):
            size = self._page(node, field)
            whole += size - 1
        elif parent == "Mutation":
            whole += MUTATION_COST - 1
        elif is_list_type(get_nullable_type(field.type)):
            return given + self._entries(node, field, parent) * (whole + each), 0
        return whole + given + size * each, 0

    def _entries(self, node: FieldNode, field: GraphQLField, parent: str) -> int:
        """How many entries a list is taken to have."""
        if "first" in field.args:
            return self._page(node, field)
        if "ids" in field.args:
            arguments = {one.name.value: one.value for one in node.arguments or ()}
            return max(1, self._length(arguments["ids"]))  # one id may stand without a list
        if parent.startswith("__"):
            return _introspected(self._schema).get(node.name.value, LIST_ENTRIES)
        return LIST_ENTRIES

    def _page(self, node: FieldNode, field: GraphQLField) -> int:
        """How many entries a page may hold; a size that is refused later is the nearest allowed."""
        for one in node.arguments or ():
            if one.name.value in {"first", "last"}:
                size = self._number(one.value)
                if size is not None:
                    return max(0, min(size, PAGE_LIMIT))
        default = getattr(field.args.get("first"), "default_value", None)
        return default if isinstance(default, int) else PAGE_DEFAULT

    def _number(self, value: Any) -> int | None:
        """A number of the document or of a variable."""
        if isinstance(value, VariableNode):
            value = self._numbers.get(value.name.value)
        if isinstance(value, IntValueNode):
            return int(value.value)
        return value if isinstance(value, int) else None

    def _length(self, value: ValueNode) -> int:
        """How many entries the lists of an argument have in all."""
        if isinstance(value, VariableNode):
            return self._lengths.get(value.name.value, 0)
        if isinstance(value, ListValueNode):
            return len(value.values) + sum(map(self._length, value.values))
        if isinstance(value, ObjectValueNode):
            return sum(self._length(one.value) for one in value.fields)
        return 0


def entries(value: object) -> int:
    """How many entries the lists in a JSON value have in all.

    >>> entries({"records": [{"id": "a"}, {"id": "b", "tags": ["x"]}]})
    3
    """
    found, waiting = 0, [value]
    for one in waiting:
        if one.__class__ is dict:
            waiting += [inner for inner in one.values() if inner.__class__ in _HOLDING]
        elif one.__class__ is list:
            found += len(one)
            waiting += one
    return found


@cache
def _introspected(schema: GraphQLSchema) -> Mapping[str, int]:
    """How many entries the lists of an introspection have: those of an average type, rounded up."""
    types = [type for type in schema.type_map.values() if not type.name.startswith("__")]
    fields = [one for type in types for one in getattr(type, "fields", {}).values()]
    arguments = sum(len(getattr(one, "args", ())) for one in fields)
    values = sum(len(getattr(type, "values", ())) for type in types)
    per_type = {
        "fields": len(fields),
        "inputFields": len(fields),
        "enumValues": values,
        "interfaces": len(types),
        "possibleTypes": len(types),
    }
    return {
        "types": len(types),
        "directives": len(schema.directives),
        "args": -(-arguments // len(fields)),
        **{name: -(-total // len(types)) for name, total in per_type.items()},
    }

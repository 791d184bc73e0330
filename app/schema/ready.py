"""Operations that were asked before, and are carried out without looking at them anew.

Most clients ask the same few documents again and again, each of a single field. What Strawberry and
the GraphQL library find out about one each time is found out once here: that it is valid, which
operation of it is meant, which field that asks for, and what of its arguments is a variable. All
limits hold as for any other request. Whatever is not as it should be is left to the library.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    get_nullable_type,
    is_leaf_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import (
    VariableValues,
    VariableValueSource,
    get_argument_values,
    input_is_nested_too_deeply,
)
from graphql.pyutils import Path
from graphql.type import is_required_argument
from graphql.utilities import coerce_input_value
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.extensions import ParserCache
from strawberry.types.arguments import convert_argument
from strawberry.types.graphql import OperationType

from app.schema.context import Context
from app.schema.errors import Schema
from app.schema.execution import UNUSUAL, Execution, definition_of, has_directives, tried
from app.schema.fast_inputs import holding, read_records, with_records
from app.schema.guard import DOCUMENT_BYTES, TOKENS_LIMIT
from app.schema.limits import is_bounded, validated
from app.schema.remembered import REMEMBERED, Same

_LEFT_OUT = object()


class Variable(NamedTuple):
    """A variable of an operation."""

    signature: GraphQLVariableSignature
    needed: bool
    """Whether the library must look when it is left out."""
    leaf: bool
    kinds: Sequence[Any]
    """What records in it are read as, if it may hold any."""


class Argument(NamedTuple):
    """What a resolver is given for an argument that is a variable."""

    name: str
    variable: str
    needed: bool
    never_null: bool
    convert: Callable[[Any, Any], Any] | None
    """How Strawberry makes of the value what a resolver is given; None for as it is."""


class Ready:
    """An operation that asks for a single field, of a document that is valid."""

    def __init__(
        self, schema: Schema, document: DocumentNode, operation: OperationDefinitionNode
    ) -> None:
        self.document = document
        self.operation = operation
        self.kind = OperationType(operation.operation.value)
        self.bounded = is_bounded(document, operation)
        (node,) = operation.selection_set.selections
        assert isinstance(node, FieldNode), "it is looked at before"
        core = schema._schema
        parent = core.get_root_type(operation.operation)
        assert isinstance(parent, GraphQLObjectType), "a valid document has its types"
        field = core.get_field(parent, node.name.value)
        assert field is not None, f"{parent.name} has no {node.name.value}"
        self.name = (node.alias or node.name).value
        self._field, self._parent, self._node = field, parent, node
        self._path = Path(None, self.name, parent.name)
        self._details = [FieldDetails(node, None)]
        self._template = Execution.alone(core, document, operation)
        shown: Any = get_nullable_type(field.type)
        self._write = self._template.known_value(shown, self._details)
        self._variables = _variables(schema, document, operation)
        self._arguments = _arguments(schema, self._field, node)

    def read(self, given: Mapping[str, Any]) -> VariableValues | None:
        """The variables as they are sent; None when the library must read them."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, needed, leaf, kinds in self._variables:
            name = signature.name
            if name not in given:
                if needed:
                    return None
                sources[name] = VariableValueSource(signature)
                continue
            value = given[name]
            records = read_records(value, kinds) if kinds else None
            if records is not None:
                coerced[name] = with_records(value, records)
            elif not leaf and input_is_nested_too_deeply(value, signature.type):
                return None
            else:
                coerced[name] = coerce_input_value(value, signature.type)
                if coerced[name] is Undefined:
                    return None
            sources[name] = VariableValueSource(signature, value)
        return VariableValues(sources, coerced)

    async def carry_out(
        self, values: VariableValues, context: Context, extensions: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """The data of the answer and its errors, as the library would have them."""
        executor = self._template.anew(values, context, extensions)
        try:
            data = {self.name: await self._answer(executor, values)}
        except GraphQLError as error:  # of a field that is never null
            executor.collected_errors.add(error, None)
            return None, executor.collected_errors.errors
        return data, executor.collected_errors.errors

    async def _answer(self, executor: Execution, values: VariableValues) -> Any:
        """What the answer says of the field."""
        field, details, path = self._field, self._details, self._path
        info = executor.build_resolve_info(field, [self._node], self._parent, path)
        try:
            found = self._resolve(info, values)
            if executor.is_awaitable(found):
                found = await found
            done = UNUSUAL if found is None else tried(self._write, found)
            if done is UNUSUAL:
                done = executor.complete_value(field.type, details, info, path, found, None)
                if executor.is_awaitable(done):
                    done = await done
        except Exception as error:  # noqa: BLE001  # whatever it is, the answer tells where
            executor.handle_field_error(error, field.type, details, path)
            return None
        return done

    def _resolve(self, info: "GraphQLResolveInfo[Any]", values: VariableValues) -> Any:
        """Call the resolver of the field with its arguments."""
        if self._arguments is not None:
            call, told, arguments = self._arguments
            found: dict[str, Any] = {}
            coerced: dict[Any, Any] = values.coerced
            own_info = told(info)
            for name, variable, needed, never_null, convert in arguments:
                value = coerced.get(variable, _LEFT_OUT)
                if value is None and never_null:
                    break
                if value is not _LEFT_OUT:
                    found[name] = value if convert is None else convert(value, own_info)
                elif needed:
                    break
            else:
                return call(own_info, found)
        read = get_argument_values(self._field, self._node, values) if self._field.args else {}
        assert self._field.resolve is not None, "a root field has a resolver"
        return self._field.resolve(None, info, **read)


@lru_cache(maxsize=REMEMBERED)
def ready(schema: Schema, query: str, operation_name: str | None) -> Ready | None:
    """An operation by the text of its document; None for what is not asked so simply."""
    try:
        if len(query.encode("utf-8", "surrogatepass")) > DOCUMENT_BYTES:
            return None
        # The documents that the library knows, which are the same as only themselves.
        document = ParserCache().cached_parse_document(query, max_tokens=TOKENS_LIMIT)
        if validated(schema._schema, Same(document)) or has_directives(document):
            return None
        operation = _sole(document, operation_name)
        return None if operation is None else Ready(schema, document, operation)
    except Exception:  # noqa: BLE001  # whatever it is, the library comes upon it too, and says so
        return None


def _sole(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    """The only operation of a document, if it asks for a single field that has a resolver."""
    found: OperationDefinitionNode | None = None
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode):
            if found is not None:
                return None
            found = one
    if found is None or found.operation.value == "subscription":
        return None
    if name is not None and (found.name is None or found.name.value != name):
        return None
    fields = found.selection_set.selections
    if len(fields) != 1 or not isinstance(fields[0], FieldNode):
        return None
    return None if fields[0].name.value.startswith("__") else found


def _variables(
    schema: Schema, document: DocumentNode, operation: OperationDefinitionNode
) -> list[Variable]:
    """The variables of an operation."""
    kinds = holding(Same(document), None)
    found: list[Variable] = []
    for one in operation.variable_definitions or ():
        signature = get_variable_signature(schema._schema, one)
        assert isinstance(signature, GraphQLVariableSignature), "the document is valid"
        needed = one.default_value is not None or is_non_null_type(signature.type)
        leaf = is_leaf_type(get_nullable_type(signature.type))
        found.append(Variable(signature, needed, leaf, kinds.get(signature.name, ())))
    return found


_Call = tuple[Callable[[Any, dict[str, Any]], Any], Callable[[Any], Any], list[Argument]]
"""How a resolver is called, what it is told, and its arguments."""


def _arguments(schema: Schema, field: Any, node: FieldNode) -> _Call | None:
    """How a field's resolver is called when each argument is left out or a variable; else None."""
    definition = definition_of(field)
    resolver = definition.base_resolver
    if definition.extensions or resolver is None or schema.schema_converter.exception_handlers:
        return None
    if resolver.parent_parameter or resolver.root_parameter or not callable(resolver.wrapped_func):
        return None
    given = {one.name.value: one.value for one in node.arguments or ()}
    name_of = schema.config.name_converter.from_argument
    found: list[Argument] = []
    for one in definition.arguments:
        name = name_of(one)
        taken, value = field.args[name], given.get(name)
        default = coerce_default_value(taken)
        if default is not None and default is not Undefined and default != one.default:
            return None  # what is left out is as the resolver itself has it
        if isinstance(default, list | dict) or one.is_maybe:
            return None  # of what may be changed each resolver is given its own
        if isinstance(value, VariableNode):
            needed, never_null = is_required_argument(taken), is_non_null_type(taken.type)
            convert = _convert(schema, taken.type, one.type, name)
            found.append(Argument(one.python_name, value.name.value, needed, never_null, convert))
        elif value is not None:
            return None
    return _call(definition), _told(schema, definition), found


def _convert(
    schema: Schema, type: GraphQLInputType, ours: Any, name: str
) -> Callable[[Any, Any], Any] | None:
    """How Strawberry makes of a value what a resolver is given; None for as it is."""
    if is_leaf_type(get_nullable_type(type)):
        return None
    known, config = schema.schema_converter.scalar_registry, schema.config

    def convert(value: Any, info: Any) -> Any:
        return convert_argument(value, ours, known, config, info, path=(name,))

    return convert


def _call(definition: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Calls a resolver, with itself and with what it is told if it asks for that."""
    resolver = definition.base_resolver
    function, asks, itself = resolver.wrapped_func, resolver.info_parameter, resolver.self_parameter

    def call(info: Any, arguments: dict[str, Any]) -> Any:
        if asks:
            arguments[asks.name] = info
        return function(None, **arguments) if itself else function(**arguments)

    return call


def _told(schema: Schema, definition: Any) -> Callable[[Any], Any]:
    """What a resolver is told."""
    kind = schema.config.info_class
    return lambda info: kind(_raw_info=info, _field=definition)

"""How an operation is carried out: by the GraphQL library, but for what is plain.

Plain is a field that only shows an attribute of its object, with everything beneath it. The library
asks of each value of each field what its resolver is told, where in the answer it stands, and
whether it must be waited for; of an attribute none of that matters. So a selection is looked at
once, and then a value of it is written by a few calls. Wherever anything is not as it should be,
the library does it all over again: it knows how to say what is wrong.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLID,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
    Undefined,
    default_field_resolver,
    default_type_resolver,
    get_nullable_type,
    is_leaf_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.executor import CollectedErrors
from graphql.execution.values import VariableValues
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

from app.schema.fast_inputs import read_ahead
from app.schema.remembered import REMEMBERED, Same

Write = Callable[[Any], Any]
"""Turns a value into what the answer says of it. Raises when the library must do it."""

Writes = dict[tuple[str, int, tuple[int, ...]], tuple[Any, Write | None]]
"""How fields and values of a type are written, by what is asked of them: nodes of a document."""

UNUSUAL = object()
_DEFINITION = GraphQLCoreConverter.DEFINITION_BACKREF


class Unusual(Exception):
    """A value that the library must look at."""


class Shown(NamedTuple):
    """A field of a selection: its name in the answer, and what the answer says of an object."""

    name: str
    of: Write


class Attribute(NamedTuple):
    """A field that shows an attribute of its object."""

    name: str
    type: GraphQLOutputType
    leaf: Write | None
    """How the field is written when nothing is asked beneath it."""


class Execution(StrawberryGraphQLCoreExecutionContext):
    """Carries out one operation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        manager = self.middleware_manager
        self._plain = manager is None or not manager.middlewares
        self._writes: Writes = {}

    @classmethod
    def build(
        cls,
        schema: GraphQLSchema,
        document: DocumentNode,
        root_value: Any = None,
        context_value: Any = None,
        raw_variable_values: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Prepare to carry out an operation; a list of errors when it cannot be."""
        ahead = read_ahead(document, operation_name, raw_variable_values)
        variables = ahead.left() if ahead.records else raw_variable_values
        built: Any = super().build(
            schema, document, root_value, context_value, variables, operation_name, *args, **kwargs
        )
        if isinstance(built, Execution):
            ahead.put_back(built.variable_values)
            if not has_directives(document):
                built._writes = _remembered(Same(document))
        return built

    @classmethod
    def alone(
        cls, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
    ) -> "Execution":
        """What carries out an operation without directives, but for what differs by request."""
        parts = {
            one.name.value: one
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        details = {name: FragmentDetails(one) for name, one in parts.items()}
        nothing = VariableValues({}, {})
        resolve = default_field_resolver
        found = cls(
            *(schema, parts, details, None, None, operation, nothing),
            *(resolve, default_type_resolver, resolve),
            is_awaitable=optimized_is_awaitable,
        )
        found._writes = _remembered(Same(document))
        return found

    def anew(
        self, values: VariableValues, context: Any, extensions: dict[str, Any] | None
    ) -> "Execution":
        """The same for one request. What is asked beneath a field depends on no request."""
        found = object.__new__(Execution)
        own = found.__dict__
        own.update(self.__dict__)
        own["variable_values"] = values
        own["context_value"] = context
        own["operation_extensions"] = extensions
        own["collected_errors"] = CollectedErrors()
        own["pending_incremental_futures"] = set()
        own["background_futures"] = set()
        return found

    def known_value(self, type: GraphQLOutputType, details: Any) -> Write | None:
        """How values of a field are written; None when that is not plain."""
        return self._known(type, details, self._value)

    def build_per_event_executor(self, payload: Any) -> Any:
        """Prepare to carry out a subscription for one event more."""
        executor: Any = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}  # the library would keep those of all events
        return executor

    # --------------------------------------------------------------------------- what is plain

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, field_details_list: Any, *rest: Any
    ) -> Any:
        """What the answer says of a field of an object."""
        done = tried(self._known(parent_type, field_details_list, self._field), source)
        if done is UNUSUAL:
            return super().execute_field(parent_type, source, field_details_list, *rest)
        return done

    def complete_list_value(
        self,
        return_type: GraphQLList[Any],
        field_details_list: Any,
        info: Any,
        path: Any,
        result: Any,
        *rest: Any,
    ) -> Any:
        """What the answer says of a list that a resolver gave."""
        done = tried(self._known(return_type, field_details_list, self._value), result)
        if done is UNUSUAL:
            return super().complete_list_value(
                return_type, field_details_list, info, path, result, *rest
            )
        return done

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: Any,
        info: Any,
        path: Any,
        result: Any,
        *rest: Any,
    ) -> Any:
        """What the answer says of an object that a resolver gave."""
        done = tried(self._known(return_type, field_details_list, self._value), result)
        if done is UNUSUAL:
            return super().complete_object_value(
                return_type, field_details_list, info, path, result, *rest
            )
        return done

    def _known(
        self, type: Any, details: Any, look: Callable[[Any, Any], Write | None]
    ) -> Write | None:
        """How fields or values of a type are written, looked at once for each selection."""
        nodes = tuple([id(one.node) for one in details])
        key = (look.__name__, id(type), nodes)
        known = self._writes.get(key)
        if known is None or known[0] is not type:
            try:
                known = type, look(type, details)
            except Exception:  # noqa: BLE001  # what cannot even be looked at is not plain
                known = type, None
            self._writes[key] = known
        return known[1]

    def _field(self, parent: GraphQLObjectType, details: Any) -> Write | None:
        """How a field is written; None when it does more than show an attribute."""
        attribute = _attribute(self.schema, parent, details[0].node.name.value)
        if attribute is None or not self._plain:
            return None
        return attribute.leaf or _shown(attribute.name, self._value(attribute.type, details))

    def _value(
        self, type: GraphQLOutputType, details: Any, *, nullable: bool = True
    ) -> Write | None:
        """How values of a type are written; None when something beneath them is not plain."""
        if isinstance(type, GraphQLNonNull):
            return self._value(type.of_type, details, nullable=False)
        write: Write | None = None
        if isinstance(type, GraphQLList):
            write = _list(self._value(type.of_type, details))
        elif isinstance(type, GraphQLObjectType):
            write = self._object(type, details)
        elif is_leaf_type(type):
            write = _leaf(type)
        return _checked(write, nullable=nullable)

    def _object(self, type: GraphQLObjectType, details: Any) -> Write | None:
        """How objects of a type are written, if all that is asked of them is plain."""
        selection = self.collect_subfields(type, details)
        definition = type.extensions.get(_DEFINITION)
        if definition is None or selection.new_defer_usages:
            return None
        fields: list[Shown] = []
        for name, inner in selection.grouped_field_set.items():
            of = self._field(type, inner)
            if of is None:
                return None
            fields.append(Shown(name, of))
        origin = (definition.concrete_of or definition).origin

        def write(value: Any) -> Any:
            if not isinstance(value, origin):
                raise Unusual
            return {name: of(value) for name, of in fields}

        return write


@lru_cache(maxsize=REMEMBERED)
def _remembered(same: Same) -> Writes:
    """How what one document asks is written, from one request to the next."""
    return {}


def definition_of(field: GraphQLField) -> Any:
    """What Strawberry knows of a field."""
    return field.extensions[_DEFINITION]


def has_directives(document: DocumentNode) -> bool:
    """Whether what a document asks may depend on its variables."""
    return document.loc is None or "@" in document.loc.source.body


@cache
def _attribute(schema: GraphQLSchema, parent: GraphQLObjectType, name: str) -> Attribute | None:
    """The attribute that a field shows; None when it does more than that."""
    field = schema.get_field(parent, name)
    if field is TypeNameMetaFieldDef:
        return Attribute(name, field.type, lambda _: parent.name)
    definition = field.extensions.get(_DEFINITION) if field else None
    if field is None or definition is None or field.args or not definition.is_basic_field:
        return None
    type, leaf = get_nullable_type(field.type), None
    if is_leaf_type(type):
        leaf = _checked(_leaf(type), nullable=not is_non_null_type(field.type))
    name = definition.python_name
    return Attribute(name, field.type, _shown(name, leaf))


def tried(write: Write | None, value: Any) -> Any:
    """What the answer says of a value; `UNUSUAL` when the library must find that out."""
    if write is None:
        return UNUSUAL
    try:
        return write(value)
    except Exception:  # noqa: BLE001  # whatever it is, the library comes upon it too, and names it
        return UNUSUAL


def _leaf(type: GraphQLLeafType) -> Write:
    """How a scalar or an enum value is written."""
    serialize = type.coerce_output_value
    as_it_is = type is GraphQLString or type is GraphQLID or serialize is str

    def write(value: Any) -> Any:
        if value.__class__ is str and as_it_is:
            return value
        if value is Undefined or isinstance(value, Exception) or optimized_is_awaitable(value):
            raise Unusual
        written = serialize(value)
        if written is None or written is Undefined:
            raise Unusual
        return written

    return write


def _list(write: Write | None) -> Write | None:
    """How a list is written, by how its entries are."""

    def write_all(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Unusual
        return [write(one) for one in value]  # type: ignore[misc]  # it is there

    return write_all if write else None


def _checked(write: Write | None, *, nullable: bool) -> Write | None:
    """How a value is written, when it may be null or must not be."""

    def write_any(value: Any) -> Any:
        if value is not None:
            return write(value)  # type: ignore[misc]  # it is there
        if not nullable:
            raise Unusual
        return None

    return write_any if write else None


def _shown(attribute: str, write: Write | None) -> Write | None:
    """How an attribute of an object is written, by how its value is."""
    return (lambda source: write(getattr(source, attribute))) if write else None

"""Usage records of a mutation read straight from the JSON they were sent in.

The GraphQL library looks at every value of every record, and Strawberry at each once more: 50 ms
for 1,000 records that msgspec reads in half of one. So a variable that is a list of records, or the
input that holds the list, is read in one go before the library sees it, and the library is given an
empty list in its place. Whatever is not exactly as it should be is left to the library: so every
refusal is its own, message and path, and what only it allows (one record in place of a list) is
still allowed. So are records that are written out in the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from graphql import (
    ArgumentNode,
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    VariableNode,
    print_ast,
)
from graphql.execution.values import VariableValues

from app.schema.remembered import REMEMBERED, Same
from domain.usage import RecordInput


class _Record(
    RecordInput, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False
):
    """A record in which there is nothing but what a record has."""


class _Sent(
    _Record, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False
):
    """The same, where null stands for the source, as the schema allows."""

    source: str | None = "default"  # type: ignore[assignment]  # until it is made a record


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The input that holds the records."""

    records: list[_Record]


_LIST = "records"
_MUTATION = "recordUsage"


class _SentInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The input that holds such records."""

    records: list[_Sent]


_HOLDING: Mapping[str, tuple[Any, Any]] = {
    "RecordUsageInput": (_Input, _SentInput),
    "[UsageRecordInput]": (list[_Record], list[_Sent]),
}
"""The types of variables that hold records, and what they are read as: usually, or else."""


class Ahead(NamedTuple):
    """The variables of a request, of which some were read ahead of the library."""

    given: Mapping[str, Any]
    """As they came."""
    records: Mapping[str, list[_Record]]
    """The records that were read, by the variables that hold them."""

    def left(self) -> dict[str, Any]:
        """What is left for the library to read."""
        empty = {name: with_records(self.given[name], []) for name in self.records}
        return {**self.given, **empty}

    def put_back(self, values: VariableValues) -> None:
        """Put the records where the library would have put its own."""
        for name, records in self.records.items():
            values.coerced[name] = with_records(values.coerced[name], records)
            values.sources[name] = values.sources[name]._replace(value=self.given[name])


def read_ahead(
    document: DocumentNode, operation_name: str | None, given: Mapping[str, Any] | None
) -> Ahead:
    """Read what variables hold nothing but usage records. The document must be a valid one."""
    given = given or {}
    records: dict[str, list[_Record]] = {}
    for name, kinds in holding(Same(document), operation_name).items():
        found = read_records(given.get(name), kinds)
        if found is not None:
            records[name] = found
    return Ahead(given, records)


def read_records(value: object, kinds: Sequence[Any]) -> list[_Record] | None:
    """The records in the value of a variable; None when there is anything else in it."""
    for kind in kinds:
        try:
            read = msgspec.convert(value, kind)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue  # not as it should be, or half of a surrogate pair where none may be
        found: list[Any] = read.records if isinstance(read, _Input | _SentInput) else read
        return found if kind is kinds[0] else list(map(_sourced, found))
    return None


def _sourced(sent: _Sent) -> _Sent:
    """The record with the source that null stands for."""
    return msgspec.structs.replace(sent, source="default") if sent.source is None else sent


def offered(sent: Sequence[Any]) -> list[RecordInput]:
    """The records of a mutation, whether they were read ahead or by the library."""
    return [one if isinstance(one, RecordInput) else _from_library(one) for one in sent]


def _from_library(record: Mapping[str, Any]) -> RecordInput:
    """A record of which the library has seen that its fields are of their types."""
    source = record["source"]
    return RecordInput(
        id=record["id"],
        source="default" if source is None else source,
        event_name=record["eventName"],
        customer=record["customer"],
        timestamp=record["timestamp"],
        value=record["value"],
        properties=record["properties"],
    )


def with_records(value: object, records: list[Any]) -> Any:
    """A variable's value with these records in place of its own."""
    return {_LIST: records} if isinstance(value, dict) else records


@lru_cache(maxsize=REMEMBERED)
def holding(same: Same, operation_name: str | None) -> Mapping[str, tuple[Any, Any]]:
    """The variables of an operation that hold usage records, and what each may be read as.

    Not those that stand somewhere in a literal: a literal may be any JSON, and then so is what
    stands in it.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for one in same.document.definitions:
        if isinstance(one, OperationDefinitionNode) and (
            operation_name is None or (one.name and one.name.value == operation_name)
        ):
            for variable in one.variable_definitions or ():
                type = print_ast(variable.type).replace("!", "")
                if type in _HOLDING:
                    found[variable.variable.name.value] = _HOLDING[type]
    in_literals = _in_literals(same.document) if found else set[str]()
    return {name: kind for name, kind in found.items() if name not in in_literals}


def _in_literals(document: DocumentNode) -> set[str]:
    """The variables that stand in a literal, but for `{records: $records}` as our input."""
    found: set[str] = set()
    waiting: list[Node] = [
        one.selection_set
        for one in document.definitions
        if isinstance(one, ExecutableDefinitionNode)
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, VariableNode):
            found.add(node.name.value)
        elif isinstance(node, FieldNode):
            ours = node.name.value == _MUTATION
            for argument in node.arguments or ():
                waiting += _beneath(argument, ours=ours)
            if node.selection_set is not None:
                waiting.append(node.selection_set)
        else:
            waiting += _children(node)
    return found


def _beneath(argument: ArgumentNode, *, ours: bool) -> Iterator[Node]:
    """What stands in the literal of an argument, but for a variable where a type is asked for."""
    value = argument.value
    if isinstance(value, ObjectValueNode) and ours:
        for field in value.fields:
            if not (field.name.value == _LIST and isinstance(field.value, VariableNode)):
                yield field.value
    elif not isinstance(value, VariableNode):
        yield value


def _children(node: Node) -> Iterator[Node]:
    for key in node.keys:
        value = getattr(node, key)
        for child in value if isinstance(value, list | tuple) else (value,):
            if isinstance(child, Node):
                yield child

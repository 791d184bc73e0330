"""The limits of one GraphQL request, in the order in which they cost anything to look at.

The document's bytes, then its tokens, then what it comes to, then whether it is valid, then what it
would cost, and at last how long it takes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from math import ceil
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types.execution import ExecutionContext

from app.callers import ANYBODY, EVERYTHING, Caller
from app.logs import OPERATION_LIMIT, note
from app.schema.context import Context
from app.schema.cost import COST_LIMIT, cost_of
from app.schema.errors import ERRORS_LIMIT
from app.schema.guard import DOCUMENT_BYTES, TOKENS_LIMIT, Guard, too_much
from app.schema.remembered import REMEMBERED, Same
from app.schema.scopes import forbidden

DEADLINE_SECONDS = 10
"""How long an operation may take; whoever asks for more has stopped waiting for the answer."""
WITHOUT_DEADLINE = {"ledgerVerification", "advanceClock"}
"""The root fields that work through the ledger however long it is, one at a time."""
RULES: tuple[type[ASTValidationRule], ...] = (
    Guard,
    *specified_rules,
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
"""What a document is held to. The first one ends the validation before the others begin."""


@lru_cache(maxsize=REMEMBERED)
def validated(schema: GraphQLSchema, same: Same) -> tuple[GraphQLError, ...]:
    """What is wrong with a document; looked at once, however often it is asked."""
    return tuple(validate(schema, same.document, RULES, max_errors=ERRORS_LIMIT))


class Limits(SchemaExtension):
    """Holds a request to the limits, and tells what it costs."""

    def __init__(self) -> None:
        self._bill: Bill | None = None

    def on_parse(self) -> Iterator[None]:
        """Before the document is read. Raises a `GraphQLError` when it is too long."""
        document = self.execution_context.query or ""
        found = len(document.encode("utf-8", "surrogatepass"))
        if found > DOCUMENT_BYTES:
            raise too_much("bytes", DOCUMENT_BYTES, found)
        self.execution_context.parse_options["max_tokens"] = TOKENS_LIMIT
        yield

    def on_validate(self) -> Iterator[None]:
        """Instead of Strawberry's own validation, which knows neither the order nor a limit."""
        context = self.execution_context
        assert context.graphql_document is not None, "it was parsed"
        errors = validated(context.schema._schema, Same(context.graphql_document))
        context.pre_execution_errors = list(errors) or _unnamed(context)
        yield

    async def on_execute(self) -> AsyncIterator[None]:
        """Around the execution. Raises a `GraphQLError` when it costs or takes too much."""
        context = self.execution_context
        document = context.graphql_document
        assert document is not None, "it was parsed"
        operation = _chosen(document, context.operation_name)
        asked = context.context
        self._bill = Bill(asked.caller if isinstance(asked, Context) else ANYBODY)
        self._bill.charge(context.schema._schema, document, operation, context.variables or {})
        async with within(bounded=is_bounded(document, operation)):
            yield

    def get_results(self) -> dict[str, Any]:
        """What the answer says beside its data, once the cost is known."""
        return self._bill.told() if self._bill is not None else {}


class Bill:
    """What one operation costs, and who pays for it."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._cost: int | None = None

    def charge(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        """Raises a `GraphQLError` when it costs too much, or the caller may not ask for it."""
        cost = self._cost = cost_of(schema, document, operation, variables)
        name = operation.name.value[:OPERATION_LIMIT] if operation.name else None
        note(operation=name, cost=cost)
        if cost > COST_LIMIT:
            raise too_much("cost", COST_LIMIT, cost)
        _let_in(self._caller, schema, document, operation)
        _pay(self._caller, cost)

    def told(self) -> dict[str, Any]:
        """What the answer says beside its data, once the cost is known."""
        if self._cost is None:
            return {}
        cost: dict[str, Any] = {"requested": self._cost, "limit": COST_LIMIT}
        bucket = self._caller.cost
        if bucket is not None:
            cost["throttle"] = {
                "maximum": bucket.maximum,
                "available": bucket.available(),
                "restoreRate": bucket.rate,
            }
        return {"cost": cost}


class within:  # noqa: N801  # it is only ever written behind `async with`
    """So long an operation may take. Raises a `GraphQLError` when it takes longer."""

    __slots__ = ("_timeout",)

    def __init__(self, *, bounded: bool) -> None:
        self._timeout = asyncio.timeout(DEADLINE_SECONDS if bounded else None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *told: Any) -> None:
        error = told[1]
        try:
            await self._timeout.__aexit__(*told)
        except TimeoutError as late:
            error = late
        if isinstance(error, TimeoutError):
            raise _timed_out() from error


def _let_in(
    caller: Caller,
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
) -> None:
    """Raise a `GraphQLError` when the operation asks for more than the caller's key allows."""
    if caller.scopes != EVERYTHING:
        refused = forbidden(schema, document, operation, caller.scopes)
        if refused is not None:
            raise refused


def _pay(caller: Caller, cost: int) -> None:
    """Take what an operation costs from the caller's bucket. Raises a `GraphQLError`."""
    if caller.cost is None:
        return
    if wait := caller.cost.take(cost):
        caller.retry_after = ceil(wait)
        message = f"this key has asked too much; in {caller.retry_after} s there is enough for this"
        extensions = {"code": "THROTTLED", "retryAfter": caller.retry_after}
        raise GraphQLError(message, extensions=extensions)


def _unnamed(context: ExecutionContext) -> list[GraphQLError]:
    """The error of who sends several operations and does not say which: not one is chosen.

    Strawberry would carry out the first, and the specification forbids it ("GetOperation").
    """
    assert context.graphql_document is not None, "it was parsed"
    operations = _operations(context.graphql_document)
    if len(operations) < 2 or context._provided_operation_name is not None:
        return []
    message = f"say by operationName which of the {len(operations)} operations to carry out"
    return [GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})]


def _chosen(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that is carried out."""
    operations = _operations(document)
    named = (one for one in operations if one.name and one.name.value == name)
    return next(named, operations[0])


def _operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    """The operations of a document, in its order."""
    return [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]


def is_bounded(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Whether an operation has a deadline, as nearly all have."""
    return not WITHOUT_DEADLINE & _roots(document, operation)


def _roots(document: DocumentNode, operation: OperationDefinitionNode) -> set[str]:
    """The fields of an operation that lie beneath no other one."""
    fragments = {
        one.name.value: one.selection_set
        for one in document.definitions
        if isinstance(one, FragmentDefinitionNode)
    }
    found: set[str] = set()
    waiting = [operation.selection_set]
    while waiting:
        for node in waiting.pop().selections:
            if isinstance(node, FieldNode):
                found.add(node.name.value)
            elif isinstance(node, InlineFragmentNode):
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
                waiting.append(fragments.pop(node.name.value))
    return found


def _timed_out() -> GraphQLError:
    """Whoever changes something must know that it may be done all the same."""
    message = (
        f"the answer took more than {DEADLINE_SECONDS} seconds; a mutation may have been done all "
        "the same, and is done once when it is sent again with the same idempotency key"
    )
    return GraphQLError(message, extensions={"code": "TIMED_OUT", "allowed": DEADLINE_SECONDS})

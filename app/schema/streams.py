"""Operations whose answers come one after the other, each as a client sees it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from graphql import GraphQLError
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from app.schema import schema
from app.schema.context import Context
from app.schema.errors import shown

READING = (OperationType.QUERY, OperationType.SUBSCRIPTION)
ANY = (*READING, OperationType.MUTATION)


class Answer(NamedTuple):
    """One answer of an operation, ready to be encoded."""

    content: Mapping[str, Any]
    executed: bool
    """Whether anything was carried out; else it holds the errors for which nothing was."""


async def answers(
    context: Context,
    query: str | None,
    variables: dict[str, Any] | None,
    operation_name: str | None,
    *,
    may_change: bool = True,
) -> AsyncGenerator[Answer, None]:
    """Carry out an operation: many answers of a subscription, one of a query or a mutation."""
    results = await schema.stream(
        query,
        variable_values=variables,
        context_value=context,
        operation_name=operation_name,
        allowed_operation_types=ANY if may_change else READING,
    )
    try:
        async with aclosing(results):
            async for result in results:
                assert isinstance(result, ExecutionResult), "nothing is delivered in parts here"
                yield _answer(result)
    except Exception as error:  # noqa: BLE001  # a client sees of it what it may see
        cause = error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)
        yield _answer(PreExecutionError(data=None, errors=[shown(cause, None)]))


def _answer(result: ExecutionResult) -> Answer:
    errors = result.errors or []
    nothing = result.data is None and not any(error.path for error in errors)
    content: dict[str, Any] = {"data": result.data}
    if errors:
        content["errors"] = [error.formatted for error in errors]
    if result.extensions:
        content["extensions"] = result.extensions
    return Answer(content, executed=not (nothing or isinstance(result, PreExecutionError)))

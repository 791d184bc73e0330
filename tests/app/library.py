"""An operation carried out by the GraphQL library alone, to see that we do what it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import strawberry
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from tests.loop import run

Answer = tuple[Any, list[dict[str, Any]]]
"""The data and the errors of an answer, as they travel."""


@contextmanager
def library_alone(schema: strawberry.Schema) -> Iterator[None]:
    """For as long as the block lasts, nothing is done but by the library."""
    ours = schema.execution_context_class
    schema.execution_context_class = StrawberryGraphQLCoreExecutionContext
    try:
        yield
    finally:
        schema.execution_context_class = ours


def answer(
    schema: strawberry.Schema, document: str, variables: dict[str, Any], context: object
) -> Answer:
    """What an operation is answered."""
    result = run(schema.execute(document, variables, context_value=context))
    return result.data, [dict(error.formatted) for error in result.errors or ()]


def both(
    schema: strawberry.Schema,
    document: str,
    variables: dict[str, Any],
    context: Callable[[], object],
) -> tuple[Answer, Answer]:
    """What an operation is answered by us, and by the library alone."""
    ours = answer(schema, document, variables, context())
    with library_alone(schema):
        return ours, answer(schema, document, variables, context())

"""The schema as it is asked: what was asked before is carried out at once, all else as ever."""

import asyncio
from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError
from graphql.execution.values import VariableValues
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from app.schema.context import Context
from app.schema.errors import Schema, show_all
from app.schema.execution import Execution
from app.schema.guard import DOCUMENT_BYTES
from app.schema.limits import Bill, within
from app.schema.ready import Ready, ready
from app.schema.remembered import REMEMBERED


class AskedAgain(Schema):
    """The schema, for which most documents are not new."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: dict[tuple[str, str | None], None] = {}

    def was_asked(self, query: str, operation_name: str | None) -> bool:
        """Whether an operation was asked of late; from now on it was.

        One that is asked only once is then not looked at for the next time.
        """
        asked, known = (query, operation_name), self._asked
        if asked in known:
            return True
        known[asked] = None
        if len(known) > REMEMBERED:
            del known[next(iter(known))]
        return False

    async def execute(  # as the library has it
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Carry out an operation."""
        if (
            query is not None
            and len(query) <= DOCUMENT_BYTES
            and isinstance(context_value, Context)
            and self.execution_context_class is Execution
            and self.was_asked(query, operation_name)
        ):
            known, given = ready(self, query, operation_name), variable_values or {}
            values = None if known is None else known.read(given)
            if (
                known is not None
                and values is not None
                and (allowed_operation_types is None or known.kind in allowed_operation_types)
            ):
                return await self._again(known, values, given, context_value, operation_extensions)
        return await super().execute(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            allowed_operation_types,
            operation_extensions,
        )

    async def _again(
        self,
        known: Ready,
        values: VariableValues,
        given: dict[str, Any],
        context: Context,
        extensions: dict[str, Any] | None,
    ) -> ExecutionResult:
        """Carry out an operation that is ready, within the limits of any other."""
        bill = Bill(context.caller)
        try:
            bill.charge(self._schema, known.document, known.operation, given)
            async with within(bounded=known.bounded):
                data, errors = await known.carry_out(values, context, extensions)
            context.close()
        except BaseException as error:
            # Past a deadline a thread may still be reading there; nobody waits for it but this.
            asyncio.get_running_loop().run_in_executor(None, context.close)
            if not isinstance(error, Exception):
                raise
            found = error if isinstance(error, GraphQLError) else _of_no_field(error)
            failed = [found]
            show_all(failed, known.document, context)
            return PreExecutionError(None, failed, bill.told())
        if errors:
            show_all(errors, known.document, context)
        return ExecutionResult(data, errors or None, bill.told())


def _of_no_field(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), original_error=error)

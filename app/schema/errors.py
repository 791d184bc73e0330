"""How a request is refused: a typed user error, or a top-level error that never tells our secrets.

What was understood and refused by a mutation stands in its `userErrors`. Everything else is a
top-level error with a code in its extensions: bad input of a query, a document that is not valid,
too much work, or a bug, which is logged under an id and shown only by that id.
"""

import logging
import re
from typing import Any

import strawberry
from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSyntaxError,
    ListValueNode,
    Node,
    ObjectFieldNode,
    ValueNode,
    VariableNode,
)
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionContext

from app.jobs import READ_ONLY, Busy, Closed, ReadOnly
from app.logs import error_id, fields
from app.schema.guard import TOKENS_LIMIT
from app.schema.phases import Phases
from app.schema.scalars import BigIntText, described
from app.verification import VerificationRunning
from domain.decider import Code, Path, Rejected
from projections.places import Unreachable

ERRORS_LIMIT = 20
"""The most top-level errors one answer names."""
MESSAGE_LIMIT = 1_000
"""The longest message, in characters; the GraphQL library repeats the input that it refuses."""

_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid (?:default )?value(?: at)? ?'?([^:']*)'?:")
_STEP = re.compile(r"\w+")
_FIELD = re.compile(
    r"Expected value of type '\w+' (?:not )?to include (?:required|unknown) field '(\w+)'"
)
_TOKENS = re.compile(r"Syntax Error: (Document contains more than [\d,]+ tokens)")
_EXCEPTION = re.compile(r", but encountered error '.*'(?=; found)", re.DOTALL)
_log = logging.getLogger(__name__)

described(
    Code,
    "Why a request was refused.",
    name="UserErrorCode",
    INVALID_VALUE="The value cannot be used; the message says why.",
    REQUIRED="Something that is needed was left out or empty.",
    NOT_FOUND="There is no object with this id.",
    ALREADY_EXISTS="Another object has this key already.",
    CONFLICT="The same identity was recorded before with other content.",
    IDEMPOTENCY_KEY_REUSED="The idempotency key was used before with another input.",
    WRONG_STATE="The object is in a state that does not allow this.",
    WRONG_CURRENCY="The currency differs from the one that is needed here.",
    LIMIT_EXCEEDED="There is more of it than the limit allows.",
    FORBIDDEN="The caller may not do this.",
)


@strawberry.type(description="Why an input was refused, and where in the input the reason stands.")
class UserError:
    """A refusal as a client sees it."""

    code: Code = strawberry.field(description="The stable reason, for programs.")
    message: str = strawberry.field(description="The reason in a sentence, for people.")
    path: list[str] = strawberry.field(
        description='The way into the input, such as ["input", "pricing", "tiers", "1", "upTo"].'
    )

    @classmethod
    def of(cls, refusal: Rejected, prefix: Path = ()) -> "UserError":
        """The refusal, its path continued from `prefix`."""
        return cls(code=refusal.code, message=refusal.message, path=[*prefix, *refusal.path])


@strawberry.type(description="What every mutation answers.")
class Payload:
    """What every mutation answers beside its result."""

    user_errors: list[UserError] = strawberry.field(
        description="Why nothing was done; empty when it was done."
    )
    position: BigIntText = strawberry.field(
        description="The ledger position of the answer: every later query has seen it."
    )


class Schema(strawberry.Schema):
    """The schema, whose top-level errors all carry a code and none an exception's text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for type in self._schema.type_map.values():
            definition = type.extensions.get("strawberry-definition")
            if isinstance(type, GraphQLInputObjectType) and definition and definition.is_one_of:
                # Strawberry checks it too, but only the GraphQL library says where in the input.
                type.is_one_of = True

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> Phases:
        """What the extensions do around the phases of a request."""
        return Phases(execution_context, extensions)

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Replace the errors, in place, by what a client may see of them."""
        document = execution_context.graphql_document if execution_context else None
        show_all(errors, document, execution_context.context if execution_context else None)


def show_all(errors: list[GraphQLError], document: DocumentNode | None, context: Any) -> None:
    """Replace the errors of an answer, in place, by what a client may see of them; count them."""
    errors[:] = [shown(error, document) for error in errors[:ERRORS_LIMIT]]
    if context is not None:
        context.refused(errors)


def shown(error: GraphQLError, document: DocumentNode | None) -> GraphQLError:
    """What a client sees of a top-level error.

    An error that has its code is left alone: validation errors are cached and come here again.
    """
    if error.extensions and "code" in error.extensions:
        return error
    message, extensions = _explained(error, document)
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )


def _explained(error: GraphQLError, document: DocumentNode | None) -> tuple[str, dict[str, Any]]:
    """The message and the extensions of an error."""
    match error.original_error:
        case Rejected() as refusal:
            path = list(refusal.path)
            return refusal.message, {"code": "BAD_USER_INPUT", "reason": refusal.code, "path": path}
        case VerificationRunning():
            return "the ledger is being verified already; try again later", {"code": "TOO_BUSY"}
        case Busy():
            return "too many requests wait already; try again", {"code": "TOO_BUSY"}
        case Unreachable():
            return "the database does not answer; try again", {"code": "UNAVAILABLE"}
        case ReadOnly():
            return READ_ONLY, {"code": "READ_ONLY"}
        case Closed():
            return "the server is shutting down", {"code": "SHUTTING_DOWN"}
        case MissingQueryError():
            return "there is no query", {"code": "BAD_REQUEST"}
        case CannotGetOperationTypeError() as unclear:
            return unclear.as_http_error_reason()[:MESSAGE_LIMIT], {"code": "BAD_REQUEST"}
        case InvalidOperationTypeError() as misplaced:  # only a GET does not take every kind
            return misplaced.as_http_error_reason("GET"), {"code": "METHOD_NOT_ALLOWED"}
        case None | GraphQLError():
            return _plain(error.message), _of_the_document(error, document)
        case ValueError() if error.path is None:  # of a literal, before anything was executed
            return _plain(error.message), _of_the_document(error, document)
        case unexpected:
            id = error_id()
            _log.error("internal error", exc_info=unexpected, extra=fields(id=id))
            return "internal error", {"code": "INTERNAL", "id": id}


def _plain(message: str) -> str:
    """A message of the GraphQL library without the text of an exception, and not endless."""
    return _EXCEPTION.sub("", message)[:MESSAGE_LIMIT]


def _of_the_document(error: GraphQLError, document: DocumentNode | None) -> dict[str, Any]:
    """The extensions of an error that the GraphQL library found in a document or its variables."""
    if isinstance(error, GraphQLSyntaxError) and _TOKENS.match(error.message):
        return {"code": "LIMIT_EXCEEDED", "limit": "tokens", "allowed": TOKENS_LIMIT}
    if isinstance(error, GraphQLSyntaxError):
        return {"code": "GRAPHQL_PARSE_FAILED"}
    field = _FIELD.search(error.message)
    named = [field[1]] if field else []
    if variable := _VARIABLE.match(error.message):
        path = [variable[1], *_STEP.findall(variable[2]), *named]
        return {"code": "BAD_USER_INPUT", "path": path}
    node = error.nodes[0] if error.nodes else None
    if isinstance(node, ValueNode | ObjectFieldNode) and not isinstance(node, VariableNode):
        way = literal_path(document, node) or []
        return {"code": "BAD_USER_INPUT", "path": way if way[-1:] == named else [*way, *named]}
    if error.path is not None:
        return {"code": "BAD_USER_INPUT"}
    return {"code": "GRAPHQL_VALIDATION_FAILED"}


def literal_path(node: Node | None, wanted: Node, path: Path = ()) -> list[str] | None:
    """The way from an argument to a literal in the document; None when it is not in there."""
    if isinstance(node, ArgumentNode):
        path = (node.name.value,)
    elif isinstance(node, ObjectFieldNode):
        path = (*path, node.name.value)
    if node is wanted:
        return list(path)
    for key in node.keys if node else ():
        value = getattr(node, key)
        for index, child in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(child, Node):
                step = (str(index),) if isinstance(node, ListValueNode) else ()
                found = literal_path(child, wanted, (*path, *step))
                if found is not None:
                    return found
    return None

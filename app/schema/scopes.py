"""What a key must allow for what an operation asks.

Each field of the root types names a scope, and so do some kinds of answers wherever they stand: the
facts of the ledger and the usage records behind an amount are for who may audit. An operation is
looked through before it is carried out, so that one which asks too much does nothing at all.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from app.keys import Scope
from app.schema.remembered import REMEMBERED, Same

_READ, _WRITE, _AUDIT = Scope.BILLING_READ, Scope.BILLING_WRITE, Scope.AUDIT_READ

ROOTS: Mapping[str, Mapping[Scope, str]] = {
    "Query": {
        _READ: """
            ledger node nodes customer customers product products price prices priceQuote meter
            meters subscription subscriptions subscriptionPreview subscriptionChangePreview
            cancellationPreview invoice invoices invoicePreview priceBacktest
            priceSupersessionPreview usageSummary aggregationPreview usageRecord usageRecords
            unratedUsage usageReconciliation waitingAdjustments writtenOffUsage""",
        _AUDIT: "ledgerEvents ledgerVerification",
    },
    "Mutation": {
        Scope.USAGE_WRITE: "recordUsage",
        _WRITE: """
            createMeter updateMeter reviseMeter archiveMeter createProduct updateProduct
            archiveProduct createPrice supersedePrice archivePrice createCustomer updateCustomer
            archiveCustomer createSubscription changeSubscription cancelSubscription
            reactivateSubscription pauseCollection resumeCollection unparkSubscription
            createInvoiceItem recordPayment voidInvoice markInvoiceUncollectible createCreditNote
            voidUsage amendUsage""",
        Scope.ADMIN: "advanceClock",
    },
    "LiveUpdates": {_READ: "usageChanged", _AUDIT: "ledgerEventAdded"},
}
"""The fields of the root types by what they need."""

BENEATH: Mapping[str, Scope] = dict.fromkeys(
    "LedgerEventConnection LedgerEvent LedgerVerification LedgerCheckpoint"
    " CountedRecordConnection".split(),
    _AUDIT,
)
"""What a field needs, wherever it stands, because of the type of its answer."""

NEEDS: Mapping[tuple[str, str], Scope] = {
    (root, name): scope
    for root, fields in ROOTS.items()
    for scope, names in fields.items()
    for name in names.split()
}

Need = tuple[str, Scope]
"""A field as `Type.field`, and what it needs."""


def forbidden(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    allowed: frozenset[Scope],
) -> GraphQLError | None:
    """The error for an operation of a valid document that asks for more than is allowed."""
    name = operation.name.value if operation.name else None
    for field, scope in needs(schema, Same(document), name):
        if scope not in allowed:
            message = f"this key may not ask for {field}: it does not allow {scope}"
            extensions = {"code": "FORBIDDEN", "scope": str(scope), "field": field}
            return GraphQLError(message, extensions=extensions)
    return None


@lru_cache(maxsize=REMEMBERED)
def needs(schema: GraphQLSchema, same: Same, name: str | None) -> tuple[Need, ...]:
    """Everything that the operation of this name needs, each field once."""
    definitions = same.document.definitions
    operation = next(
        one
        for one in definitions
        if isinstance(one, OperationDefinitionNode) and name == (one.name and one.name.value)
    )
    fragments = {
        one.name.value: one for one in definitions if isinstance(one, FragmentDefinitionNode)
    }
    root = schema.get_root_type(operation.operation)
    assert root is not None, "the document is a valid one"
    found: dict[Need, None] = {}
    waiting: list[tuple[SelectionSetNode, GraphQLNamedType]] = [(operation.selection_set, root)]
    spread: set[str] = set()
    while waiting:
        selections, parent = waiting.pop()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                field = schema.get_field(cast("GraphQLCompositeType", parent), node.name.value)
                assert field is not None, f"{parent.name} has no {node.name.value}"
                type = get_named_type(field.type)
                found |= dict.fromkeys(_needs_of(parent.name, node.name.value, type.name))
                if node.selection_set is not None:
                    waiting.append((node.selection_set, type))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                type = schema.type_map[condition.name.value] if condition else parent
                waiting.append((node.selection_set, type))
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                spread.add(node.name.value)
                fragment = fragments[node.name.value]
                type = schema.type_map[fragment.type_condition.name.value]
                waiting.append((fragment.selection_set, type))
    return tuple(found)


def _needs_of(parent: str, field: str, answer: str) -> Iterator[Need]:
    """What one field needs. A field of a root type that says nothing is for admins."""
    name = f"{parent}.{field}"
    if not field.startswith("__") and parent in ROOTS:
        yield name, NEEDS.get((parent, field), Scope.ADMIN)
    if answer in BENEATH:
        yield name, BENEATH[answer]

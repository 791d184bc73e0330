"""What a key must allow for a field: every field says so, and nothing is done that is refused."""

import pytest
from graphql import GraphQLObjectType, build_schema, get_named_type, parse

from app.keys import Scope
from app.schema import schema
from app.schema.remembered import Same
from app.schema.scopes import BENEATH, NEEDS, ROOTS, needs
from tests.app.keyed import Keyed
from tests.app.test_auth import served

__all__ = ["served"]

TYPES = schema._schema.type_map


def fields_of(name: str) -> set[str]:
    """The fields of a type."""
    type = TYPES[name]
    assert isinstance(type, GraphQLObjectType)
    return set(type.fields)


def needed(document: str, schema_text: str | None = None) -> list[tuple[str, Scope]]:
    """What the only operation of a document needs."""
    asked = build_schema(schema_text) if schema_text else schema._schema
    return sorted(needs(asked, Same(parse(document)), None))


def test_every_field_of_the_root_types_says_what_it_needs() -> None:
    roots = {type.name for type in (schema._schema.query_type, schema._schema.mutation_type,
                                    schema._schema.subscription_type) if type}  # fmt: skip
    assert set(ROOTS) == roots
    for root in roots:
        assert {name for parent, name in NEEDS if parent == root} == fields_of(root)


def test_what_is_said_is_said_once_and_of_what_there_is() -> None:
    assert len(NEEDS) == sum(len(names.split()) for one in ROOTS.values() for names in one.values())
    assert set(BENEATH) <= set(TYPES)


def test_facts_of_the_ledger_are_for_auditors_wherever_they_stand() -> None:
    facts = {"LedgerEventConnection", "LedgerEvent"}
    found = [
        f"{type.name}.{name}"
        for type in TYPES.values()
        for name, field in getattr(type, "fields", {}).items()
        if get_named_type(field.type).name in facts and not name.startswith(("edges", "node"))
    ]
    assert len(found) > 10
    assert facts <= {name for name, scope in BENEATH.items() if scope is Scope.AUDIT_READ}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{ __typename __schema { types { name } } }", []),
        ("{ ledger { id } }", [("Query.ledger", "billing:read")]),
        ("{ x: ledgerEvents { totalCount } }", [("Query.ledgerEvents", "audit:read")] * 2),
        ("{ meters { nodes { history { totalCount } } } }",
         [("Meter.history", "audit:read"), ("Query.meters", "billing:read")]),
        ("{ node(id: 1) { history { totalCount } } }",
         [("Node.history", "audit:read"), ("Query.node", "billing:read")]),
        ("{ node(id: 1) { ... on Meter { ...h } } } fragment h on Meter { history { totalCount } }",
         [("Meter.history", "audit:read"), ("Query.node", "billing:read")]),
        ("{ ... { ... on Query { ...q } } } fragment q on Query { ledger { id } }",
         [("Query.ledger", "billing:read")]),
        ("{ ledger @skip(if: true) { id } }", [("Query.ledger", "billing:read")]),
        ("mutation { recordUsage(input: {records: []}) { position } }",
         [("Mutation.recordUsage", "usage:write")]),
    ],
)  # fmt: skip
def test_an_operation_is_looked_through(document: str, expected: list[tuple[str, str]]) -> None:
    assert needed(document) == sorted(dict.fromkeys(expected))


def test_each_operation_of_a_document_is_looked_through_by_itself() -> None:
    same = Same(parse("query a { ledger { id } } query b { ledgerEvents { totalCount } }"))
    found = [dict(needs(schema._schema, same, name)) for name in ("a", "b")]
    assert found == [
        {"Query.ledger": Scope.BILLING_READ},
        {"Query.ledgerEvents": Scope.AUDIT_READ},
    ]


def test_a_field_that_nobody_thought_of_is_for_admins() -> None:
    found = needed("{ new }", "type Query { new: Int }")
    assert found == [("Query.new", Scope.ADMIN)]


def test_what_is_refused_is_not_done_in_part(served: Keyed) -> None:
    key = served.key(Scope.BILLING_WRITE)
    done = """mutation { createProduct(input: {name: "x"}) { position product {
        history { totalCount } } } }"""
    answer = served.ask(key, done)
    [error] = answer.json()["errors"]
    assert error["extensions"] == {
        "code": "FORBIDDEN",
        "scope": "audit:read",
        "field": "Product.history",
    }
    assert "data" not in answer.json()
    assert served.served.ledger.store.head()[0] == 1
    with_audit = served.key(Scope.BILLING_WRITE, Scope.AUDIT_READ)
    assert served.data(with_audit, done)["createProduct"]["position"] == "2"


def test_who_writes_may_read(served: Keyed) -> None:
    query = "{ ledger { id } }"
    assert served.data(served.key(Scope.BILLING_WRITE), query) == served.data(
        served.key(Scope.BILLING_READ), query
    )

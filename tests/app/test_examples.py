"""The explorer's worked story: every request fits the schema, and its variables fit the request."""

import json
import re
from pathlib import Path

import pytest
from graphql import (
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    is_input_type,
    parse,
    type_from_ast,
    validate,
)
from graphql.utilities import coerce_input_value

from app.graphiql import EXAMPLES, HINTS, Tab, prepared_tabs, tabs

SCHEMA = Path(__file__).parents[2] / "schema.graphql"
STORY = [
    "TryAggregation",
    "CreateMeter",
    "CreateProducts",
    "CreatePrices",
    "QuotePrice",
    "CreateCustomer",
    "Subscribe",
    "SendUsage",
    "PreviewInvoice",
    "UsageByDay",
    "AmendUsage",
    "PreviewEnd",
    "ListInvoices",
    "ExplainLine",
    "AuditFeed",
    "WatchTheLedger",
]
TABS = tabs({})


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text(encoding="utf-8"))


def test_the_story_is_told_in_order() -> None:
    assert [tab["title"] for tab in TABS] == STORY


@pytest.mark.parametrize("tab", TABS, ids=STORY)
def test_a_request_is_valid(tab: Tab, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(tab["query"])) == []


@pytest.mark.parametrize("tab", TABS, ids=STORY)
def test_variables_fit_the_request(tab: Tab, schema: GraphQLSchema) -> None:
    (operation,) = parse(tab["query"]).definitions
    assert isinstance(operation, OperationDefinitionNode)
    given = json.loads(tab["variables"])
    declared = {
        definition.variable.name.value: type_from_ast(schema, definition.type)
        for definition in operation.variable_definitions or ()
    }
    assert set(given) == set(declared)
    for name, declared_type in declared.items():
        assert is_input_type(declared_type)
        coerce_input_value(given[name], declared_type)


@pytest.mark.parametrize("tab", TABS, ids=STORY)
def test_a_comment_introduces_the_step(tab: Tab) -> None:
    step = STORY.index(tab["title"]) + 1
    assert tab["query"].startswith(f"# {step}. ")
    assert all(len(line) <= 62 for line in tab["query"].splitlines())


def test_ids_of_the_ledger_are_filled_in() -> None:
    values = {name: f"<{name}>" for name in HINTS}
    filled = "".join(tab["variables"] for tab in tabs(values))
    assert "$" not in filled
    assert {name for name in HINTS if f"<{name}>" in filled} == set(HINTS)


def test_an_empty_ledger_shows_hints() -> None:
    preview = TABS[STORY.index("PreviewInvoice")]
    assert json.loads(preview["variables"]) == {"subscriptionId": "subscription id"}
    assert "$" not in "".join(tab["variables"] for tab in TABS)


def test_the_answer_names_its_ledger() -> None:
    answer = prepared_tabs("led_1", {})
    assert answer["ledger"] == "led_1"
    assert answer["tabs"] == TABS


def test_every_example_has_variables_and_nothing_is_left_over() -> None:
    stems = [path.stem for path in sorted(EXAMPLES.iterdir())]
    assert stems == sorted([*{*stems}] * 2)
    assert all(re.fullmatch(r"\d\d-[a-z-]+", stem) for stem in stems)

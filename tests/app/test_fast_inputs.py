"""Usage records are read at once, and yet whatever is sent is read as the GraphQL library would."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from graphql import parse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.jobs import Receipt
from app.ledger import Ledger
from app.schema import Context, schema
from app.schema.fast_inputs import read_ahead
from domain.usage import RecordInput, Status
from tests import marks
from tests.app.asking import Asking, Story, client, story, tokens
from tests.app.library import answer, library_alone

pytestmark = marks.HTTP

__all__ = ["client", "story"]

PAYLOAD = "accepted receipts { id source status position error { code message path } } position"
BY_INPUT = f"mutation($input: RecordUsageInput!) {{ recordUsage(input: $input) {{ {PAYLOAD} }} }}"
BY_LIST = f"""mutation($records: [UsageRecordInput!]!) {{
    recordUsage(input: {{records: $records}}) {{ {PAYLOAD} }} }}"""
BY_RECORD = f"""mutation($one: UsageRecordInput!) {{
    recordUsage(input: {{records: [$one, {{id: "b", eventName: "e", customer: "c",
      properties: {{a: "x", n: null}}}}]}}) {{ {PAYLOAD} }} }}"""
OPTIONAL = BY_INPUT.replace("Input!)", "Input)")
DEFAULT = BY_INPUT.replace(
    "Input!)", 'Input! = {records: {id: "a", eventName: "e", customer: "c", source: null}})'
)
TWICE = """mutation($input: RecordUsageInput!, $records: [UsageRecordInput!]!) {
    recordUsage(input: $input) { accepted }
    again: recordUsage(input: {records: $records}) { receipts { id } } }"""
IN_JSON = (
    TWICE[:-1]
    + """inside: recordUsage(input: {records: [{id: "a", eventName: "e",
    customer: "c", properties: {in: $input, all: [$records]}}]}) { receipts { status } } }"""
)
CHOSEN = "query A { ledger { id } } " + BY_INPUT.replace("mutation", "mutation B", 1)
DOCUMENTS = [BY_INPUT, BY_LIST, BY_RECORD, DEFAULT, TWICE, IN_JSON, CHOSEN]

GOOD = {"id": "a", "eventName": "e", "customer": "c"}
FULL = {
    **GOOD,
    "source": "s",
    "timestamp": "2026-01-01T00:00:00Z",
    "value": "1.50",
    "properties": {"model": "large", "count": "4"},
}


def deep(levels: int) -> Any:
    """An object in an object, so deep."""
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


texts = st.one_of(
    st.text(max_size=4), st.sampled_from(["", "\0", "\ud800", "a\udfffb", "ACCEPTED", "1e3", "é"])
)
hostile = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.lists(texts, max_size=2),
    st.dictionaries(texts, st.one_of(texts, st.none(), st.integers()), max_size=2),
    st.sampled_from([deep(3), deep(120), [[]], [GOOD], GOOD]),
)


@st.composite
def records(draw: st.DrawFn) -> Any:
    """A record, often as it should be, else with something wrong about it."""
    found: dict[str, Any] = dict(draw(st.sampled_from([GOOD, FULL])))
    for name in draw(st.lists(st.sampled_from([*FULL, "extra", "ID", ""]), max_size=2)):
        if draw(st.booleans()):
            found.pop(name, None)
        else:
            found[name] = draw(hostile)
    return found


several = st.one_of(
    st.lists(records(), max_size=4),
    st.lists(st.sampled_from([GOOD, FULL]), max_size=4),
    records(),
    st.lists(st.one_of(records(), hostile), max_size=3),
    hostile,
)
inputs = st.one_of(
    several.map(lambda sent: {"records": sent}),
    st.builds(lambda sent, more: {"records": sent, **more}, several, st.just({"extra": 1})),
    several,
)
variables = st.fixed_dictionaries(
    {}, optional={"input": inputs, "records": several, "one": records()}
)


class Noting:
    """A ledger that notes what it is asked to record, and keeps nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.noted: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def record(self, records: Sequence[RecordInput], actor: str | None) -> list[Receipt]:
        for one in records:
            fields = {name: getattr(one, name) for name in RecordInput.__struct_fields__}
            self.noted.append(ascii(fields))
        return [Receipt(one.id, one.source, Status.ACCEPTED, 7, None) for one in records]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("quiet") / "ledger") as opened:
        yield opened


def sent(ledger: Ledger, document: str, given: dict[str, Any]) -> tuple[Any, list[str]]:
    """What is answered, and what is recorded."""
    noting = Noting(ledger)
    context = Context(cast("Ledger", noting), "tester")
    return answer(schema, document, given, context), noting.noted


@given(st.sampled_from(DOCUMENTS), variables)
@example(BY_INPUT, {"input": {"records": [GOOD, {**FULL, "source": None}]}})
@example(BY_LIST, {"records": [{**GOOD, "source": None}, {**FULL, "value": None}]})
@example(BY_INPUT, {"input": {"records": GOOD}})
@example(BY_INPUT, {"input": {"records": [[GOOD]]}})
@example(BY_INPUT, {"input": {"records": [{**GOOD, "properties": [1]}]}})
@example(BY_INPUT, {"input": {"records": [{**GOOD, "properties": deep(400)}]}})
@example(BY_INPUT, {"input": {"records": [GOOD] * 1_001}})
@example(BY_INPUT, {"input": {"records": [None] * 60}})
@example(BY_INPUT, json.loads('{"input": {"records": [{"id": 1, "id": "a", "id": null}]}}'))
@example(OPTIONAL, {})
@example(TWICE, {"input": {"records": [FULL]}, "records": [FULL, GOOD]})
@example(TWICE, {"input": {"records": [FULL]}, "records": [FULL, {"id": "a"}]})
@example(IN_JSON, {"input": {"records": [FULL]}, "records": [FULL]})
@example(BY_INPUT, {"input": {"records": [{**GOOD, "\ud800": ""}]}})
@example(CHOSEN, {"input": {"records": [FULL]}})
@settings(max_examples=130)
def test_what_is_sent_is_read_as_the_library_would(
    quiet: Ledger, document: str, given: dict[str, Any]
) -> None:
    ours = sent(quiet, document, given)
    with library_alone(schema):
        assert ours == sent(quiet, document, given)


def test_what_is_as_it_should_be_is_read_ahead() -> None:
    good = {"input": {"records": [GOOD, FULL]}, "records": [FULL]}
    ahead = read_ahead(parse(TWICE), None, good)
    assert {name: len(found) for name, found in ahead.records.items()} == {"input": 2, "records": 1}
    assert ahead.left() == {"input": {"records": []}, "records": []}
    assert good == {"input": {"records": [GOOD, FULL]}, "records": [FULL]}


@pytest.mark.parametrize(
    "change",
    [{"source": 1}, {"properties": []}, {"extra": "x"}, {"id": 1}, {"value": 1.5}],
)
def test_what_is_not_is_left_to_the_library(change: dict[str, Any]) -> None:
    bad = {"input": {"records": [GOOD, {**GOOD, **change}]}, "records": [GOOD]}
    assert read_ahead(parse(BY_INPUT), None, bad).records == {}
    assert list(read_ahead(parse(TWICE), None, bad).records) == ["records"]


def test_null_for_a_source_is_read_ahead_too() -> None:
    given = {"input": {"records": [GOOD, {**FULL, "source": None}]}}
    [found] = read_ahead(parse(BY_INPUT), None, given).records.values()
    assert [one.source for one in found] == ["default", "default"]


def test_what_another_operation_holds_or_a_literal_is_left_to_the_library() -> None:
    good = {"input": {"records": [GOOD]}, "records": [GOOD]}
    assert read_ahead(parse(CHOSEN), "A", good).records == {}
    assert list(read_ahead(parse(CHOSEN), "B", good).records) == ["input"]
    assert read_ahead(parse(IN_JSON), None, good).records == {}


def test_what_is_read_ahead_is_recorded(client: Asking, story: Story) -> None:
    asked = BY_LIST.replace(PAYLOAD, "accepted duplicates rejected receipts { status }")
    both_ways = [tokens(1), tokens(2, properties={"model": "large"})]
    counted = client.field(asked, records=both_ways)
    assert (counted["accepted"], counted["duplicates"]) == (2, 0)
    with library_alone(schema):
        again = client.field(asked, records=[*both_ways, tokens(3)])
    assert (again["accepted"], again["duplicates"]) == (1, 2)

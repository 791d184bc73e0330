"""The guard counts what a document comes to, each fragment once, before any other rule."""

from collections import defaultdict
from collections.abc import Callable

import pytest
from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    get_introspection_query,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

from app.schema import guard, limits
from app.schema.guard import Counting, Counts, Guard
from tests import marks
from tests.app.asking import Asking, client

pytestmark = marks.HTTP

__all__ = ["client"]

DOUBLING = " ".join(
    [
        "{ ...f0 }",
        *(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(26)),
        "fragment f26 on Query { ledger { id } }",
    ]
)
"""Twenty-six fragments that each spread the next one twice."""


def deep(depth: int) -> str:
    """A document so deep."""
    inner = depth - 2
    return '{ __type(name: "X") { ' + "ofType { " * inner + "name" + " }" * inner + " } }"


def wide(fields: int) -> str:
    """A document of so many fields, few of them in one place."""
    forty = "ledger { " + "name " * 39 + "} "
    renamed = "".join(f"a{n}: {forty}" for n in range(24))
    return "{ " + renamed + "ledger { " + "name " * (fields - 24 * 40 - 1) + "} }"


def renamed(aliases: int) -> str:
    """A document of so many aliases."""
    return f"{{ {' '.join(f'a{n}: ledger {{ id }}' for n in range(aliases))} }}"


def directed(directives: int) -> str:
    """A document of so many directives."""
    half = "name @include(if: true) " * (directives // 2)
    rest = "id @skip(if: false) " * (directives - directives // 2)
    return f"{{ ledger {{ {half} {rest} }} }}"


def repeated(repeats: int) -> str:
    """A document that asks for one field so often."""
    return f"{{ ledger {{ {'name ' * repeats} }} }}"


def doing(mutations: int) -> str:
    """An operation of so many mutations."""
    one = 'createProduct(input: {name: "x"}) { position }'
    return f"mutation {{ {' '.join(f'a{n}: {one}' for n in range(mutations))} }}"


def long(size: int) -> str:
    """A document of so many bytes."""
    return "{ ledger { id } }".ljust(size)


def wordy(tokens: int) -> str:
    """A document of so many tokens."""
    return "{ ledgerEvents(types: [" + '"a" ' * (tokens - 12) + "]) { totalCount } }"


EDGES: list[tuple[str, Callable[[int], str], int]] = [
    ("bytes", long, guard.DOCUMENT_BYTES),
    ("tokens", wordy, guard.TOKENS_LIMIT),
    ("depth", deep, guard.DEPTH_LIMIT),
    ("fields", wide, guard.FIELDS_LIMIT),
    ("aliases", renamed, guard.ALIASES_LIMIT),
    ("repeats", repeated, guard.REPEATS_LIMIT),
    ("directives", directed, guard.DIRECTIVES_LIMIT),
    ("mutations", doing, guard.MUTATIONS_LIMIT),
]
"""Each limit, and a document that comes to so much of it."""


@pytest.mark.parametrize(("what", "document", "limit"), EDGES, ids=[one[0] for one in EDGES])
def test_just_as_much_is_answered_and_more_is_refused(
    client: Asking, what: str, document: Callable[[int], str], limit: int
) -> None:
    allowed = client.ask(document(limit))
    assert "LIMIT_EXCEEDED" not in [one["extensions"]["code"] for one in allowed["errors"]]
    position = client.position
    (error,) = client.ask(document(limit + 1))["errors"]
    assert f"{limit:,}".replace(",", "") in error["message"].replace(",", "")
    found = {} if what == "tokens" else {"found": limit + 1}
    named = {"code": "LIMIT_EXCEEDED", "limit": what, "allowed": limit, **found}
    assert error["extensions"] == named
    assert client.position == position


def test_a_document_is_measured_in_bytes(client: Asking) -> None:
    document = "{ ledger { id } } #" + "é" * (guard.DOCUMENT_BYTES // 2)
    (error,) = client.ask(document)["errors"]
    assert error["extensions"]["limit"] == "bytes"
    assert len(document) < guard.DOCUMENT_BYTES


HOSTILE = {
    "doubling fragments": (DOUBLING, "fields"),
    "aliases": (
        "{ " + "".join(f"a{n}: meters {{ totalCount }} " for n in range(300)) + "}",
        "aliases",
    ),
    "repeated fields": ("{ ledger { " + "id " * 4_900 + "} }", "fields"),
    "circular introspection": (
        "{ __schema { types { " + "fields { type { " * 7 + "name" + " } }" * 7 + " } } }",
        "depth",
    ),
    "repeated places": ("{ " + "meters { nodes { id } } " * 333 + "}", "repeats"),
    "an unused fragment": (
        "{ ledger { id } } fragment F on Ledger { " + "id " * 4_900 + "}",
        "fields",
    ),
    "two fragments of a name": (
        (
            "{ ledger { ...F } } fragment F on Ledger { "
            + "id " * 4_900
            + "} fragment F on Ledger { id }"
        ),
        "fields",
    ),
}


@pytest.mark.parametrize(("document", "limit"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_reaches_no_other_rule(
    client: Asking, monkeypatch: pytest.MonkeyPatch, document: str, limit: str
) -> None:
    def reached(*_: object) -> None:
        raise RuntimeError("a rule was reached")

    monkeypatch.setattr(OverlappingFieldsCanBeMergedRule, "enter_selection_set", reached)
    (error,) = client.ask(document)["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert error["extensions"]["limit"] == limit
    (error,) = client.ask("{ ledger { name id forkedFrom: name } }")["errors"]
    assert error["extensions"]["code"] == "INTERNAL"


def test_each_fragment_is_added_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Counts] = []
    add_up = Counting._sum

    def noted(self: Counting, one: guard.Part) -> Counts:
        added.append(one.counts)
        return add_up(self, one)

    monkeypatch.setattr(Counting, "_sum", noted)
    counts, _ = Counting(parse(DOUBLING)).total()
    assert (counts.fields, counts.roots, counts.depth) == (2**27, 2**26, 2)
    assert len(added) == 28  # the fragments and the operation


def test_a_figure_that_is_too_long_to_read_is_cut(client: Asking) -> None:
    chain = [f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(400)]
    document = " ".join(["{ ...f0 }", *chain, "fragment f400 on Query { ledger { id } }"])
    (error,) = client.ask(document)["errors"]
    assert error["extensions"]["found"] == 2**31 - 1


@pytest.mark.parametrize(
    "fragments",
    [
        "fragment a on Query { ...a }",
        "fragment a on Query { ledger { id } ...b } fragment b on Query { ...a ...a }",
        (
            "fragment a on Query { node(id: 1) { history { nodes { ...c } } } ...b }"
            " fragment b on Query { ...b } fragment c on LedgerEvent { records { ...d } }"
            " fragment d on RecordedUsageConnection { nodes { __typename } }"
        ),
    ],
)
def test_fragments_in_a_circle_are_refused(client: Asking, fragments: str) -> None:
    for document in (f"{{ ...a }} {fragments}", f"{{ ledger {{ id }} }} {fragments}"):
        (error,) = client.ask(document)["errors"]
        assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
        assert "circle" in error["message"]


@pytest.mark.parametrize(
    "document",
    [
        get_introspection_query(),
        get_introspection_query(descriptions=False),
        get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
            one_of=True,
        ),
    ],
)
def test_the_introspection_of_tools_is_answered(client: Asking, document: str) -> None:
    assert client.data(document)["__schema"]["queryType"]["name"] == "Query"


def test_lists_of_introspection_lie_in_few_others(client: Asking) -> None:
    circle = "{ __schema { types { " + "fields { type { " * 3 + "name" + " } }" * 3 + " } } }"
    (error,) = client.ask(circle)["errors"]
    assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}


def test_a_document_is_looked_at_once(
    client: Asking, kept_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[DocumentNode] = []
    monkeypatch.setattr(Guard, "enter_document", lambda _, node, *rest: seen.append(node))
    limits.validated.cache_clear()
    for _ in range(3):
        client.data(f"{{ ledger {{ onlyHere_{kept_in}: name }} }}")
    assert len(seen) == 1
    limits.validated.cache_clear()


def counted(document: DocumentNode) -> tuple[Counts, int, int]:
    """What the guard counts: everything, the mutations and the repeats."""
    counting = Counting(document)
    total, mutations = counting.total()
    return total, mutations, counting.most_repeated()


class Naive:
    """Counts a document by writing every fragment out wherever it is spread."""

    def __init__(self, document: DocumentNode) -> None:
        definitions = document.definitions
        self.fragments = {
            one.name.value: one for one in definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.reached: set[str] = set()
        self.depth = self.fields = self.aliases = self.directives = 0
        self.roots = self.mutations = self.repeats = 0
        for one in definitions:
            if isinstance(one, OperationDefinitionNode):
                before = self.roots
                self.definition(one)
                if one.operation.value == "mutation":
                    self.mutations = max(self.mutations, self.roots - before)
        for name, fragment in self.fragments.items():
            if name not in self.reached:
                self.reached.add(name)
                self.definition(fragment)

    def definition(self, one: ExecutableDefinitionNode) -> None:
        """Count one definition with everything in it."""
        self.places: dict[tuple[str, ...], set[int]] = defaultdict(set)
        self.directives += len(one.directives or ())
        self.selected(one.selection_set, ())
        self.repeats = max(self.repeats, *map(len, self.places.values()))

    def selected(self, selection_set: SelectionSetNode, path: tuple[str, ...]) -> None:
        """Count what is selected at a place."""
        for node in selection_set.selections:
            self.directives += len(node.directives or ())
            match node:
                case FieldNode():
                    self.fields += 1
                    self.aliases += node.alias is not None
                    self.roots += not path
                    here = (*path, (node.alias or node.name).value)
                    self.depth = max(self.depth, len(here))
                    self.places[here].add(id(node))
                    if node.selection_set:
                        self.selected(node.selection_set, here)
                case InlineFragmentNode():
                    self.selected(node.selection_set, path)
                case FragmentSpreadNode():
                    self.reached.add(node.name.value)
                    fragment = self.fragments[node.name.value]
                    self.directives += len(fragment.directives or ())
                    self.selected(fragment.selection_set, path)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A small document whose fragments spread later ones only."""
    fragments = draw(st.integers(0, 4))
    directive = st.sampled_from(["", "", " @a", " @a @b"])
    name = st.sampled_from(["a", "b", "x: a", "a: b"])

    def selection(spread_from: int, levels: int) -> str:
        kinds = (
            ["field"] + ["spread"] * (spread_from < fragments) + ["nested", "inline"] * (levels > 0)
        )
        parts = []
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            on = draw(directive)
            if kind == "field":
                parts.append(draw(name) + on)
            elif kind == "spread":
                parts.append(f"...f{draw(st.integers(spread_from, fragments - 1))}{on}")
            else:
                head = draw(name) if kind == "nested" else "..."
                parts.append(f"{head}{on} {selection(spread_from, levels - 1)}")
        return f"{{ {' '.join(parts)} }}"

    written = [
        f"fragment f{n} on T{draw(directive)} {selection(n + 1, 2)}" for n in range(fragments)
    ]
    kinds = draw(st.lists(st.sampled_from(["query", "mutation"]), min_size=1, max_size=2))
    asked = [f"{kind} q{n}{draw(directive)} {selection(0, 3)}" for n, kind in enumerate(kinds)]
    return " ".join(draw(st.permutations(written + asked)))


@given(documents())
def test_counts_are_those_of_the_document_written_out(text: str) -> None:
    document = parse(text)
    naive = Naive(document)
    total, mutations, repeats = counted(document)
    written_out = (naive.depth, naive.fields, naive.aliases, naive.directives, naive.roots)
    assert tuple(total) == written_out
    assert (mutations, repeats) == (naive.mutations, naive.repeats)

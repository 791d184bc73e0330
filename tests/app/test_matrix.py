"""Every field of every type, asked with each kind of key: nothing leaks from ledger to ledger.

The operations are made from the schema, so a new field is in here by itself. With its own key each
field is answered; with the key of another ledger the answer is the one for ids that nobody has;
without a key nothing is looked at; with every scope but one that it needs, it is refused.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from graphql import parse

from app.control import MAIN, note_ledger, place
from app.keys import Rates, Scope, held
from app.ledger import Ledger
from app.schema import schema
from app.schema.remembered import Same
from app.schema.scopes import needs
from app.settings import Auth, Settings
from domain.customers import CreateCustomer
from domain.products import CreateProduct
from tests import marks
from tests.app.keyed import OTHER, Keyed, error, serving_directory
from tests.app.matrix import KINDS, Matrix
from tests.app.rich import rich
from tests.conftest import CLOCK
from tests.stores import SQLITE

pytestmark = marks.HTTP

FREE = Rates(requests=10**6, requests_burst=10**6, cost=10**9, cost_burst=10**9)
SCHEMA = schema._schema
NOBODYS = Matrix(SCHEMA, {kind: f"{kind}_{'0' * 26}" for kind in {*KINDS.values(), "x"}})
TYPES = list(NOBODYS.ways)
VARYING = (
    (re.compile(r"\b[a-z]+_[0-9a-hjkmnp-tv-z]{26}\b"), "<id>"),
    (re.compile(r'("(?:position|signature|at)":)"[^"]+"'), r"\1<varies>"),
)


class Rich(NamedTuple):
    """Two ledgers, of which the first is full of all there can be; the keys to them."""

    served: Keyed
    own: str
    others: str
    matrix: Matrix
    secrets: frozenset[str]
    keys: dict[frozenset[Scope], str]

    def key(self, scopes: frozenset[Scope]) -> str:
        """A key of the first ledger with just these scopes."""
        if scopes not in self.keys:
            self.keys[scopes] = self.served.key(*scopes, rates=FREE)
        return self.keys[scopes]


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory, kept_in: str) -> Iterator[Rich]:
    """Both ledgers, served to whoever has a key."""
    data = tmp_path_factory.mktemp("keyed")
    with Ledger(place(data, MAIN), test_clock_at=CLOCK) as full:
        rich(full)
        ids = some_ids(full)
        secrets = everything_named(full)
    note_ledger(data, OTHER)
    with Ledger(place(data, OTHER), name=OTHER, test_clock_at=CLOCK) as small:
        small.execute_now(CreateCustomer(name="Ours", external_id="ours"))
        small.execute_now(CreateProduct(name="Our own"))
    with serving_directory(Settings(data=data, auth=Auth.KEYS)) as served:
        own, others = served.key(rates=FREE), served.key(ledger=OTHER, rates=FREE)
        yield Rich(served, own, others, Matrix(SCHEMA, ids), secrets, {})


def some_ids(ledger: Ledger) -> dict[str, str]:
    """The first object of each kind, by the prefix of its id; of invoices the last issued one."""
    found: dict[str, str] = {}
    for recorded in ledger.store.read():
        kind = recorded.stream_id.partition("_")[0]
        if kind not in found or recorded.event.topic == "invoice.finalized/1":
            found[kind] = recorded.stream_id
    return found


def everything_named(ledger: Ledger) -> frozenset[str]:
    """The ids of all objects, and texts that stand in no other ledger."""
    ids = {recorded.stream_id for recorded in ledger.store.read()}
    return frozenset({*ids, "z@example.org", "HYPERLINK", "=nasty", "0199aaaa-0000-7000"})


def ask(ledgers: Rich, key: str | None, document: str) -> httpx.Response:
    """The answer to an operation."""
    return ledgers.served.ask(key, document)


def comparable(answer: httpx.Response) -> Any:
    """What an answer says, but for what is another each time."""
    text = answer.text
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return answer.status_code, text


def codes(answer: httpx.Response) -> set[str]:
    """The codes of the errors of an answer."""
    return {one["extensions"]["code"] for one in answer.json().get("errors", ())}


def needed(document: str) -> frozenset[Scope]:
    """The scopes that an operation needs."""
    return frozenset(scope for _, scope in needs(SCHEMA, Same(parse(document)), None))


@pytest.mark.parametrize("type", TYPES, scope="module")
def test_another_key_finds_what_nobody_has(ledgers: Rich, type: str) -> None:
    before = ledgers.served.served.ledger.store.head()
    documents = [
        (way.ways[type].asking(selection), name)
        for way in (ledgers.matrix, NOBODYS)
        for name, selection in way.fields(type).items()
    ]
    half = len(documents) // 2
    for (foreign, name), (nobodys, _) in zip(documents[:half], documents[half:], strict=True):
        answer, expected = (ask(ledgers, ledgers.others, one) for one in (foreign, nobodys))
        assert comparable(answer) == comparable(expected), name
        sent = {secret for secret in ledgers.secrets if secret in foreign}
        assert not [one for one in ledgers.secrets - sent if one in answer.text], name
        assert "INTERNAL" not in codes(answer), name
    assert ledgers.served.served.ledger.store.head() == before


@pytest.mark.parametrize("type", TYPES, scope="module")
def test_without_a_key_nothing_is_looked_at(ledgers: Rich, type: str) -> None:
    for selection in ledgers.matrix.fields(type).values():
        answer = ask(ledgers, None, ledgers.matrix.ways[type].asking(selection))
        assert error(answer) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("type", TYPES, scope="module")
def test_each_scope_that_is_needed_is_asked_for(ledgers: Rich, type: str) -> None:
    for name, selection in ledgers.matrix.fields(type).items():
        document = ledgers.matrix.ways[type].asking(selection)
        scopes = needed(document)
        assert scopes, name
        for scope in scopes:
            others = frozenset(one for one in Scope if scope not in held([one]))
            if others:
                answer = ask(ledgers, ledgers.key(others), document)
                assert codes(answer) == {"FORBIDDEN"}, name
                assert "data" not in answer.json(), name


def test_the_own_key_is_answered(ledgers: Rich, kept_in: str) -> None:
    """At the end, because what can be done is done here; of one type in five on PostgreSQL."""
    found, about = 0, 0
    for type in TYPES if kept_in == SQLITE else TYPES[::5]:
        selections, absent = ledgers.matrix.fields(type), NOBODYS.fields(type)
        for name, selection in selections.items():
            document = ledgers.matrix.ways[type].asking(selection)
            key = ledgers.key(needed(document))
            answer = ask(ledgers, key, document)
            assert not codes(answer) & {"FORBIDDEN", "INTERNAL", "UNAUTHENTICATED"}, (type, name)
            assert "data" in answer.json(), (type, name)
            nobodys = NOBODYS.ways[type].asking(absent[name])
            if document != nobodys and document.startswith("query"):
                about += 1
                found += comparable(answer) != comparable(ask(ledgers, key, nobodys))
    assert found > about * 4 // 5  # or the same questions would prove nothing of other keys

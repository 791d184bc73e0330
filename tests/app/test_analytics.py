"""The query of the page on DuckDB comes to what the server says, whatever was corrected."""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.ledger import Ledger
from tests import marks
from tests.app.asking import NOW, Asking
from tests.house import ROOT

PAGE = (ROOT / "app" / "docs" / "analytics.md").read_text(encoding="utf-8")
MONTH = "2026-01-01T00:00:00Z/2026-02-01T00:00:00Z"
AGGREGATIONS = ("SUM", "COUNT", "MAX", "MIN", "LAST", "UNIQUE_COUNT")
CUSTOMERS = ("al", "bo")
METERS = [
    *(("value", aggregation) for aggregation in AGGREGATIONS),
    *(("a/b~c", aggregation) for aggregation in ("SUM", "LAST", "UNIQUE_COUNT")),
    ("$.x", "UNIQUE_COUNT"),
]
"""Each property, whose name is also that of the records it is read from, and how it is measured."""
SAID = """{{ usageSummary(meterId: "{}", customerId: "{}", period: {{start: "{}", end: "{}"}})
    {{ value recordCount }} }}"""
Answers = dict[tuple[str, str], tuple[Decimal | None, int]]
"""The quantity and the number of records by meter and customer."""
Content = tuple[str, str]
"""The name of a property and its text."""
Record = tuple[str, str, Content]
"""Whose record it is, when it happened, and what it says."""

NUMBERS = st.one_of(
    st.integers(-3, 3).map(str),
    st.decimals(min_value=-(10**18) + 1, max_value=10**18 - 1, places=12).map("{:f}".format),
    st.sampled_from(["0.000000000001", "999999999999999999.999999999999", "2.50", "2.5", "-0"]),
)
TEXTS = st.sampled_from(["ann", "bob", "1e3", "01", ".5", "1.0000000000001", ""])
INSTANTS = st.sampled_from(
    [
        *("2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"),
        *("2026-01-10T12:00:00Z", "2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:00Z"),
    ]
)

pytestmark = marks.COMMANDS
CONTENT = st.tuples(st.sampled_from(["value", "value", "a/b~c", "$.x"]), NUMBERS | TEXTS)
RECORDS = st.tuples(st.sampled_from([*CUSTOMERS, "nobody"]), INSTANTS, CONTENT)
CORRECTIONS = st.lists(st.tuples(st.integers(0, 11), st.none() | CONTENT), max_size=6)


@contextmanager
def asking() -> Iterator[Asking]:
    """A client of a new ledger with two customers."""
    with (
        tempfile.TemporaryDirectory(prefix="tallybook-") as directory,
        Ledger(Path(directory) / "ledger", test_clock_at=NOW) as ledger,
    ):
        client = Asking(ledger)
        for name in CUSTOMERS:
            client.create("customer", name=name, externalId=name)
        yield client


def create_meters(client: Asking) -> None:
    """The meters, which see also what was sent before them."""
    for name, aggregation in METERS:
        client.create(
            "meter",
            name=f"{aggregation} of {name}",
            eventName=name,
            valueProperty=name,
            aggregation=aggregation,
        )


def content_of(content: Content) -> dict[str, Any]:
    """A value, or a property, as it is sent."""
    name, text = content
    return {"value": text} if name == "value" else {"properties": {name: text}}


def send(client: Asking, records: Sequence[Record], first: int = 0) -> None:
    """Send records; some may be refused."""
    sent = [
        {
            "id": f"r{number}",
            "eventName": content[0],
            "customer": customer,
            "timestamp": at,
            **content_of(content),
        }
        for number, (customer, at, content) in enumerate(records, first)
    ]
    if sent:
        client.record(*sent)


def correct(client: Asking, number: int, content: Content | None) -> None:
    """Void a record, or amend it, if there is one that can be."""
    if content is None:
        client.mutate("voidUsage", "VoidUsageInput", {"id": f"r{number}"})
    else:
        input = {"id": f"r{number}", **content_of(content)}
        client.mutate("amendUsage", "AmendUsageInput", input)


def by_server(client: Asking) -> Answers:
    """What the server says of everything that has records in the month."""
    start, end = MONTH.split("/")
    meters = client.field("{ meters(first: 100) { nodes { id } } }")["nodes"]
    customers = client.field("{ customers(first: 100) { nodes { id } } }")["nodes"]
    found: Answers = {}
    for meter in meters:
        for customer in customers:
            [said] = client.field(SAID.format(meter["id"], customer["id"], start, end))
            if int(said["recordCount"]):
                value = None if said["value"] is None else Decimal(said["value"])
                found[meter["id"], customer["id"]] = (value, int(said["recordCount"]))
    return found


def by_duckdb(client: Asking, folder: Path) -> Answers:
    """What the query of the page says, of everything that has records."""
    [asked] = re.findall(r"^(\{\"query\".*\})$", PAGE, re.MULTILINE)
    answer = client.ask(json.loads(asked)["query"])
    (folder / "meters.json").write_text(json.dumps(answer), encoding="utf-8")
    [command] = re.findall(r"^tallybook (export .*)$", PAGE, re.MULTILINE)
    places = {"DIR": str(client.ledger.directory), "usage.parquet": str(folder / "usage.parquet")}
    assert main([places.get(word, word) for word in command.split()]) == 0
    [query] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for name in ("usage.parquet", "meters.json"):
        query = query.replace(f"'{name}'", f"'{folder / name}'")
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    assert all(quantity is None or isinstance(quantity, Decimal) for _, _, quantity, _ in rows)
    return {
        (meter, customer): (quantity, records)
        for meter, customer, quantity, records in rows
        if records
    }


@given(
    early=st.lists(RECORDS, max_size=6),
    records=st.lists(RECORDS, max_size=10),
    late=st.lists(RECORDS, max_size=6),
    corrections=CORRECTIONS,
)
@settings(max_examples=6)
def test_the_query_says_what_the_server_says(
    early: Sequence[Record],
    records: Sequence[Record],
    late: Sequence[Record],
    corrections: Sequence[tuple[int, Content | None]],
) -> None:
    """Records come before their meters, after them, and after the end of the month."""
    with asking() as client, tempfile.TemporaryDirectory() as name:
        send(client, early)
        create_meters(client)
        send(client, records, first=len(early))
        client.mutate("advanceClock", "AdvanceClockInput", {"to": "2026-03-01T00:00:00Z"})
        send(client, late, first=len(early) + len(records))
        for correction in corrections:
            correct(client, *correction)
        assert by_duckdb(client, Path(name)) == by_server(client)


def test_every_aggregation_has_an_answer(tmp_path: Path) -> None:
    """So that the property above is not about nothing."""
    sent = [
        ("al", f"2026-01-{day:02}T00:00:00Z", ("value", value))
        for day, value in ((2, "0.1"), (9, "7"), (9, "0.2"), (3, "7.00"))
    ]
    with asking() as client:
        send(client, sent)
        create_meters(client)
        correct(client, 0, ("value", "0.4"))
        found = by_duckdb(client, tmp_path)
        said = by_server(client)
        names = {
            node["id"]: node["name"]
            for node in client.field("{ meters(first: 100) { nodes { id name } } }")["nodes"]
        }
    assert found == said
    values = {names[meter]: value for (meter, _), (value, _) in found.items()}
    assert {f"{one} of value": values[f"{one} of value"] for one in AGGREGATIONS} == {
        "SUM of value": Decimal("14.6"),
        "COUNT of value": Decimal(4),
        "MAX of value": Decimal(7),
        "MIN of value": Decimal("0.2"),
        "LAST of value": Decimal("0.2"),
        "UNIQUE_COUNT of value": Decimal(3),
    }


def test_the_page_says_how_it_is_installed() -> None:
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [named] = re.findall(r"pip install '\.\[([a-z,]+)\]'", PAGE)
    assert all(re.search(rf'^{one} = \["', extras, re.MULTILINE) for one in named.split(","))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_query_knows_the_aggregation(aggregation: str) -> None:
    assert PAGE.count(f"'{aggregation}'") >= 2

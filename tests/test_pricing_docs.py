"""The page on prices says what is so: its queries are asked, its charts drawn anew.

The `text` block after a query is its answer; one after a `chart` comment is the cost against the
quantity under the pricing of the query above it. To write the blocks as they are now:

    python -m tests.test_pricing_docs
"""

import asyncio
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.schema import schema
from app.schema.scalars import camel
from domain.pricing import MODELS, Modifiers
from tests.house import ROOT

PAGE = ROOT / "app" / "docs" / "pricing.md"
BLOCK = re.compile(
    r"(?:```graphql\n(?P<query>.*?)```|<!-- chart: (?P<chart>.+?) -->)\n```text\n(?P<text>.*?)```",
    re.DOTALL,
)
QUANTITY = re.compile(r'quantity: "[^"]*"')
ROWS = 12
"""A chart has at most so many rows above its first."""


def ask(query: str) -> dict[str, Any]:
    """The quote that a query of the page asks for."""
    result = asyncio.run(schema.execute(query))
    assert result.errors is None, result.errors
    assert result.data is not None
    quote: dict[str, Any] = result.data["priceQuote"]
    return quote


def answer(query: str) -> str:
    """The steps and the amount of a quote as the page shows them."""
    quote = ask(query)
    rows = [(step["description"], step["amount"]) for step in quote["steps"]]
    total = quote["amount"]
    width = max(len(description) for description, _ in rows) + 2
    lines = [f"{description:<{width}}{amount:>10}" for description, amount in rows]
    return "\n".join([*lines, f"{total['currency']:<{width}}{total['amount']:>10}"]) + "\n"


def chart(query: str, quantities: str) -> str:
    """The cost against the quantity: a row is as much as it says at its left, or just below."""
    start, end, step = map(int, re.findall(r"\d+", quantities))
    costs = []
    for quantity in range(start, end + 1, step):
        quote = ask(QUANTITY.sub(f'quantity: "{quantity}"', query))
        costs.append(Decimal(quote["amount"]["amount"]))
    row = next(size for size in (1, 2, 5, 10, 20, 50) if max(costs) <= size * ROWS)
    levels = [-int(-cost // row) for cost in costs]
    lines = []
    for level in range(max(levels), -1, -1):
        dots = "".join("*" if one == level else " " for one in levels)
        lines.append(f"{level * row:>5} |{dots}".rstrip())
    axis = f"      +{'-' * len(costs)}"
    ends = f"{start:<{len(costs) - len(str(end))}}{end}"
    return "\n".join([*lines, axis, f"       {ends}"]) + "\n"


def blocks(page: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each block that shows something, with the query that it is about."""
    query = ""
    for block in BLOCK.finditer(page):
        query = block["query"] or query
        yield block, query


def shown(block: re.Match[str], query: str) -> str:
    """What a block should show."""
    return answer(query) if block["query"] else chart(query, block["chart"])


def written(page: str) -> str:
    """The page with every block as it should be."""
    for block, query in reversed(list(blocks(page))):
        page = page[: block.start("text")] + shown(block, query) + page[block.end("text") :]
    return page


TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("block", "query"), list(blocks(TEXT)))
def test_the_page_shows_what_is_so(block: re.Match[str], query: str) -> None:
    assert block["text"] == shown(block, query), "run python -m tests.test_pricing_docs"


def test_every_block_is_checked() -> None:
    assert TEXT.count("```text") == len(list(BLOCK.finditer(TEXT)))
    assert TEXT.count("<!-- chart") == 3


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_its_section_and_example(name: str) -> None:
    _, found, rest = TEXT.partition(f"\n## {name.replace('_', ' ').capitalize()}\n")
    assert found
    section = rest.partition("\n## ")[0]
    assert f"`domain/pricing/{name}.py`" in section
    assert f"{{{camel(name)}: {{" in section


@pytest.mark.parametrize("field", Modifiers.__struct_fields__)
def test_every_modifier_is_explained(field: str) -> None:
    assert f"`{camel(field)}`" in TEXT


if __name__ == "__main__":
    PAGE.write_text(written(TEXT), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")

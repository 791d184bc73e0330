"""The page on looking back says what is so: its story is told, and its queries are asked of it.

The `text` block after a query is its answer. To write the blocks as they are now:

    python -m tests.test_history_docs
"""

import pprint
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.ledger import Ledger
from domain.subscriptions import Subscription
from projections import current
from tests.app.asking import Asking
from tests.house import ROOT
from tests.scenarios.story import Story

PAGE = ROOT / "app" / "docs" / "history.md"
TEXT = PAGE.read_text(encoding="utf-8")
STORY = re.compile(r"```story\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```graphql\n(?P<query>.*?)```\n```text\n(?P<text>.*?)```", re.DOTALL)
BEGIN = datetime(2026, 4, 20, tzinfo=UTC)
WIDTH = 108


@contextmanager
def told() -> Iterator[tuple[Asking, dict[str, str]]]:
    """A client of the ledger that the page's story makes, and the ids that its queries name."""
    with (
        tempfile.TemporaryDirectory(prefix="tallybook-") as directory,
        Ledger(Path(directory), test_clock_at=BEGIN) as ledger,
    ):
        story = Story(ledger)
        [text] = STORY.findall(TEXT)
        story.tell(text)
        with ledger.snapshot() as views:
            [subscription] = current.select(views, Subscription, {}, limit=2)
        yield (
            Asking(ledger),
            {
                "meter": story.ids["tokens"],
                "customer": story.ids["llama"],
                "subscription": subscription.state.id,
            },
        )


def answer(client: Asking, ids: dict[str, str], query: str) -> str:
    """The answer to a query as the page shows it."""
    named = {name: id for name, id in ids.items() if f"${name}:" in query}
    return pprint.pformat(client.data(query, **named), width=WIDTH, sort_dicts=False) + "\n"


def written(page: str) -> str:
    """The page with every answer as it is now."""
    with told() as (client, ids):

        def block(found: re.Match[str]) -> str:
            said = answer(client, ids, found["query"])
            return f"```graphql\n{found['query']}```\n```text\n{said}```"

        return BLOCK.sub(block, page)


def test_the_page_shows_what_is_answered() -> None:
    assert len(BLOCK.findall(TEXT)) == TEXT.count("```graphql") > 4
    assert written(TEXT) == TEXT


if __name__ == "__main__":
    PAGE.write_text(written(TEXT), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")

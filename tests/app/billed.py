"""A story with three subscriptions, and what a ledger says of its invoices and of its facts."""

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.ledger import Ledger
from domain.decider import Recorded
from domain.invoices import Invoice
from domain.money import encode_number
from domain.periods import from_us
from projections import current, engine
from projections.engine import Engine
from tests.scenarios.story import Story

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
END = datetime(2026, 3, 3, tzinfo=UTC)
"""When everything that fell due until March is issued."""
HOUR = timedelta(hours=1)

PRICES = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price usage: graduated USD, per month, on tokens, 0 up to 1000, then 0.04
2026-01-01 price licence: 100 USD, per month
2026-01-01 price weekly: 7 USD, per week
"""
THREE = """
2026-01-01 customer al
2026-01-01 customer bo
2026-01-01 customer cy
2026-01-01 subscribe al to licence x 1, usage
2026-01-01 subscribe bo to weekly x 1
2026-01-02 subscribe cy to usage, licence x 2
2026-01-10 use 3000 tokens by al
2026-01-10 use 1500 tokens by cy
"""


@pytest.fixture
def story(ledger: Ledger) -> Story:
    """Prices, and nobody who subscribes to them."""
    told = Story(ledger)
    told.tell(PRICES)
    return told


def invoices(ledger: Ledger) -> list[Invoice]:
    """All invoices in the order in which they were drafted."""
    with ledger.snapshot() as views:
        return [found.state for found in current.select(views, Invoice, {}, limit=1_000)]


def said(ledger: Ledger) -> list[str]:
    """Each invoice in a line: its number, when it fell due and was issued, and its total."""
    return [
        f"{one.printed_number} {one.at:%m-%d} {one.finalized_at:%m-%dT%H} "
        f"{one.statement.total if one.statement else ''}"
        for one in invoices(ledger)
    ]


def log(ledger: Ledger) -> list[str]:
    """The facts as text, each id replaced by when it came up first, and what is made of ids too."""
    seen: dict[str, str] = {}
    pattern = re.compile(r'\b[a-z]+_[0-9a-z]{26}(?![0-9a-z])|"content_hash":"\w+"')

    def named(found: re.Match[str]) -> str:
        return seen.setdefault(found[0], f"<{len(seen)}>")

    return [pattern.sub(named, text(recorded)) for recorded in ledger.store.read()]


def text(recorded: Recorded) -> str:
    """One fact, with when it was recorded."""
    said = msgspec.json.encode(recorded.event, enc_hook=encode_number).decode()
    key = recorded.envelope.idempotency_key
    at = from_us(recorded.envelope.recorded_at_us)
    return f"{at} {recorded.stream_id} {recorded.event.topic} {key} {said}"


def dump(ledger: Ledger) -> list[str]:
    """Everything in the views, which a rebuild gives again."""
    live = list(ledger.engine.database.dump())
    aside = engine.rebuild(ledger.directory / "check.db", ledger.store.read)
    with closing(Engine(aside)) as rebuilt:
        assert list(rebuilt.database.dump()) == live
    return live

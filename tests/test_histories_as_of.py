"""Whatever happens, an object as of a position is what was answered when that was the newest."""

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.ledger import Ledger
from domain.decider import Rejected
from projections import current
from tests import marks
from tests.app.asking import Asking
from tests.app.everything import EVERYTHING
from tests.histories.steps import BEGIN, Case, case
from tests.histories.telling import DOOMS
from tests.scenarios.sentences import Untold
from tests.scenarios.story import Story

pytestmark = marks.CAMPAIGN

SEEDS = range(2027, 2031)
OBJECTS_AT_ONCE = 2
"""How many objects are looked at after each step."""
RECORD = """query($id: String!, $asOf: AsOf) { usageRecord(id: $id, asOf: $asOf) {
  id state value customer { name balances { amount } } corrections { kind position }
  history { totalCount nodes { position type } } } }"""


def objects(ledger: Ledger) -> list[str]:
    """The ids of everything that there is."""
    with ledger.snapshot() as views:
        rows = views.rows("SELECT id FROM objects ORDER BY position")
    return [id for (id,) in rows]


def told(client: Asking, told: Case) -> Iterator[int]:
    """Tell a history, step by step, but for kills and failures; the newest position after each."""
    story = Story(client.ledger)
    for step in told.steps:
        if DOOMS.fullmatch(step):
            continue
        with suppress(Rejected, Untold):
            story.tell(step)
        yield client.position


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_answered_is_answered_again(tmp_path: Path, seed: int) -> None:
    chance, history = random.Random(seed), case(seed)
    answered: dict[tuple[str, str, int], Any] = {}
    grace = timedelta(hours=history.grace)
    with Ledger(tmp_path, test_clock_at=BEGIN, grace=grace) as ledger:
        client = Asking(ledger)
        for position in told(client, history):
            ids = objects(ledger)
            for id in chance.sample(ids, min(OBJECTS_AT_ONCE, len(ids))):
                answered[EVERYTHING, id, position] = client.data(EVERYTHING, id=id)
            answered[RECORD, "story-1", position] = client.data(RECORD, id="story-1")
        for (query, id, position), answer in answered.items():
            again = client.data(query, id=id, asOf={"position": str(position)})
            assert again == answer, (id, position)


@marks.ABOUT_CASES
def test_histories_have_all_kinds_of_objects(tmp_path: Path) -> None:
    """So that there is something to compare."""
    kinds = set[str]()
    for seed in SEEDS:
        with Ledger(tmp_path / str(seed), test_clock_at=BEGIN) as ledger:
            for _ in told(Asking(ledger), case(seed)):
                kinds |= {id.partition("_")[0] for id in objects(ledger)}
    assert kinds == current.KINDS.keys()

"""Every story, told to a real ledger and billed live, then billed again from rebuilt views."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from app import verification
from app.ledger import Ledger
from app.opening import views_of
from domain.customers import Customer
from domain.decider import Rejected
from projections import as_of, current, engine
from projections.engine import Engine, Read
from projections.places import Place, Where
from tests.app.billed import dump
from tests.scenarios.sentences import Untold
from tests.scenarios.story import Block, Story, Told, parts

FOLDER = Path(__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*.md"))
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the clock stands until a story moves it on."""

EVERY = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


class Telling:
    """A scenario file told to a ledger from beginning to end."""

    def __init__(self, ledger: Ledger, document: str) -> None:
        self.document = document
        self.bills: list[Told] = []
        self._story = Story(ledger)
        self._parts = list(self._tell())

    def _tell(self) -> Iterator[str | Told]:
        for part in parts(self.document):
            match part:
                case str():
                    yield part
                case Block(heading=heading) if part.is_bill:
                    told = self._story.bill(heading)
                    self.bills.append(told)
                    yield told
                case Block(text=text):
                    self._story.tell(text)
                    yield text

    def written(self, bills: list[str]) -> str:
        """The file as it would be with these bills."""
        remaining = iter(bills)
        return "".join(next(remaining) if isinstance(part, Told) else part for part in self._parts)


@EVERY
def test_the_story_comes_to_its_bills(file: Path, tmp_path: Path) -> None:
    document = file.read_text(encoding="utf-8")
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        telling = Telling(ledger, document)
        live = dump(ledger)  # which is that of views in a file, wherever these are
        assert telling.bills, "a story comes to at least one bill"
        assert telling.written([told.text for told in telling.bills]) == document
        # Each bill again, from nothing but the log up to where the story had come.
        assert telling.written(list(folded_bills(ledger, telling.bills))) == document
        # And again at the end of the story, from what was known then of its customer.
        assert telling.written([known_then(ledger, told) for told in telling.bills]) == document
        assert verification.verify_open(ledger).findings == ()
        at = views_of(tmp_path)
        whole = rebuilt(at, ledger.store.read)
    engine.swap(whole, at)
    with Ledger(tmp_path) as ledger, ledger.snapshot() as views:
        assert list(ledger.engine.database.dump()) == live
        assert telling.bills[-1].again(views) == telling.bills[-1].text
    engine.remove(at)
    with Ledger(tmp_path) as ledger, ledger.snapshot() as views:
        assert list(ledger.engine.database.dump()) == live
        assert telling.bills[-1].again(views) == telling.bills[-1].text


def rebuilt(at: Where, read: Read) -> Where:
    """Views folded from the whole log, beside those at a place."""
    if isinstance(at, Place):
        return engine.rebuild(at, read)
    return engine.rebuild(at, read)


def known_then(ledger: Ledger, told: Told) -> str:
    """A bill as of its position: of the only customer for whom it can be told."""
    found: set[str] = set()
    with ledger.snapshot() as views:
        for one in current.select(views, Customer, {}, limit=-1):
            with (
                as_of.known(views, ledger.store.at, one.state.id, told.position) as then,
                suppress(ValueError, Rejected, Untold),  # another customer's story
            ):
                found.add(told.again(then))
    [text] = found
    return text


def folded_bills(ledger: Ledger, bills: Sequence[Told]) -> Iterator[str]:
    """Each bill from views that are folded from the log up to its position, and then further."""
    with closing(Engine(ledger.directory / "as-of.db")) as folded:
        for told in bills:
            folded.catch_up(partial(ledger.store.read, stop=told.position))
            with folded.database.snapshot() as views:
                assert views.checkpoint() == told.position
                yield told.again(views)


def test_a_step_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        story = Story(ledger)
        with pytest.raises(AssertionError, match="no such step: 2026-01-01 sing"):
            story.tell("2026-01-01 sing")
        with pytest.raises(AssertionError, match="unknown kind of bill"):
            story.bill("Billboard")
        with pytest.raises(AssertionError, match="no such clause of a price: cheap"):
            story.tell("2026-01-01 price usage: cheap")

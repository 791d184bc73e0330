"""Whatever is touched is found, first and where it was: the short form of `tampering`."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from app import folding_ahead, reading
from app.folding_ahead import Examined
from projections.ahead import Part
from tests import marks
from tests.app import mutations, tampering

pytestmark = marks.TOUCHED

CASES = 60


def test_whatever_is_touched_is_found(tmp_path: Path) -> None:
    codes = tampering.run(CASES, seed=2026, directory=tmp_path)
    assert codes.total() == CASES >= 2 * len(mutations.MUTATIONS)
    assert len(codes) == 12


def test_it_is_found_in_the_same_place_when_other_processes_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_ahead, "LEDGER_BYTES", 0)
    monkeypatch.setattr(folding_ahead, "WORTH_BYTES", 1)
    helped = list[bool]()
    take = reading.Reading._take

    def taken(self: reading.Reading, part: Part, future: Future[Examined | None]) -> bool:
        helped.append(take(self, part, future))
        return helped[-1]

    monkeypatch.setattr(reading.Reading, "_take", taken)
    tampering.run(len(mutations.MUTATIONS), seed=7, directory=tmp_path)
    assert True in helped
    assert False in helped


def test_what_is_not_found_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(mutations.MUTATIONS):
        monkeypatch.setitem(mutations.MUTATIONS, name, lambda case: ("CHAIN_BROKEN", 1))
    with pytest.raises(tampering.Missed, match=r"expected .* first, verify says"):
        tampering.run(1, seed=1, directory=tmp_path)

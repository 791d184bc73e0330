"""Whatever is touched is found, first and where it was: the short form of `tampering`."""

from pathlib import Path

import pytest

from tests.app import mutations, tampering

CASES = 60


def test_whatever_is_touched_is_found(tmp_path: Path) -> None:
    codes = tampering.run(CASES, seed=2026, directory=tmp_path)
    assert codes.total() == CASES >= 2 * len(mutations.MUTATIONS)
    assert len(codes) == 12


def test_what_is_not_found_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(mutations.MUTATIONS):
        monkeypatch.setitem(mutations.MUTATIONS, name, lambda case: ("CHAIN_BROKEN", 1))
    with pytest.raises(tampering.Missed, match=r"expected .* first, verify says"):
        tampering.run(1, seed=1, directory=tmp_path)

"""`tallybook bench` at its shortest: a table, a sentence, and nothing left behind."""

import re
from pathlib import Path

import pytest

from app import bench_floor, cli
from app.bench_floor import Timing
from tests import marks

pytestmark = marks.COMMANDS

FIGURE = r"[\d,.]+(?:/s| ms)"


def test_it_measures_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "ledger"
    arguments = ["bench", "--data", str(data), "--seconds", "1", "--clients", "3"]
    assert cli.main(arguments) == 0
    head, *lines, blank, said = capsys.readouterr().out.splitlines()
    assert head.split() == ["measured", "each", "ratio"]
    assert blank == ""
    assert len(lines) == 8
    assert all(re.search(rf"  {FIGURE}\b", line) for line in lines)
    ratios = [line.split()[-1] for line in lines if line.startswith("Tallybook")]
    assert [float(ratio) > 0 for ratio in ratios] == [True, True]
    assert re.match(r"This machine takes [\d,]+ records a second in batches, ", said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("--seconds", "0"), ("--clients", "0"), ("--clients", "1000")])
def test_it_takes_sane_numbers_only(
    tmp_path: Path, wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "--data", str(tmp_path), *wrong]) == 2
    assert "from 1 second, and 1 to 999 clients" in capsys.readouterr().err


def test_ids_ascend_and_are_never_made_twice() -> None:
    ids = bench_floor.ascending()
    made = [next(ids) for _ in range(3)]
    assert made == sorted(set(made))
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in made)


def test_the_usual_time_and_the_worst() -> None:
    assert Timing.of([n / 100 for n in range(100, 0, -1)]) == Timing(0.5, 0.99)
    assert Timing.of([3.0]) == Timing(3.0, 3.0)

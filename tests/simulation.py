"""Tell random histories and hold each to its identities: `python -m tests.simulation --seed 7`.

A history that fails is printed as its seed and the shortest list of steps that fails alike. Kept in
`tests/histories/failed.txt` as it was printed, it is told again by every run of the tests.
"""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from tests.histories.steps import Case, case
from tests.histories.telling import tell


def failure(told: Case) -> Exception | None:
    """What is wrong with a history; None when it keeps everything."""
    try:
        tell(told)
    except Exception as error:  # noqa: BLE001  # whatever it was, it should not have been
        return error
    return None


def shortened(told: Case, error: Exception) -> Case:
    """A history that still fails in this way, without any step that it does not take."""
    size = max(1, len(told.steps) // 2)
    while True:
        start, before = 0, len(told.steps)
        while start < len(told.steps):
            fewer = replace(told, steps=told.steps[:start] + told.steps[start + size :])
            found = failure(fewer)
            if found is not None and _alike(found) == _alike(error):
                told = fewer
            else:
                start += size
        if size == 1 and len(told.steps) == before:
            return told
        size = max(1, size // 2)


def _alike(error: Exception) -> object:
    """What two failures that are the same fault share: their type, and where it was seen."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return type(error), [(frame.filename, frame.lineno) for frame in last]


def run(seeds: Iterator[int], most: int = 3) -> tuple[int, Counter[str]]:
    """Tell the histories of seeds; how many failed, and how often what happened in them."""
    failed, happened = 0, Counter[str]()
    for seed in seeds:
        told = case(seed)
        try:
            happened += tell(told)
        except Exception as error:  # noqa: BLE001  # whatever it was, it should not have been
            failed += 1
            if failed <= most:
                _report(told, error)
        happened["history"] += 1
    return failed, happened


def _report(told: Case, error: Exception) -> None:
    """The seed, the shortest story of it that was found, and what goes wrong in that."""
    short = shortened(told, error)
    found = failure(short)
    lines = [f"seed {told.seed}, grace {told.grace} h", *short.steps, f"# {found!r}"]
    lines += [f"# {note}" for note in getattr(found, "__notes__", ())]
    if found is not None and found.__cause__ is not None:
        lines.append(f"# because of {found.__cause__!r}")
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Tell as many histories as are asked for; say how it went, and fail when any did."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first history")
    parser.add_argument("--seeds", type=int, default=1, help="how many histories (default 1)")
    parser.add_argument("--minutes", type=float, help="instead of a number, how long")
    parser.add_argument("--counts", action="store_true", help="say how often what happened")
    options = parser.parse_args(arguments)
    seeds: Iterator[int] = iter(range(options.seed, options.seed + options.seeds))
    if options.minutes is not None:
        deadline = time.monotonic() + 60 * options.minutes
        seeds = _while(lambda: time.monotonic() < deadline, count(options.seed))
    failed, happened = run(seeds)
    if options.counts:
        for what, times in sorted(happened.items()):
            sys.stdout.write(f"{times:8,} {what}\n")
    told, issued = happened["history"], happened["invoice.finalized/1"]
    last = options.seed + told - 1
    sys.stdout.write(f"{told:,} histories, seeds {options.seed} to {last}, {issued:,} invoices, ")
    sys.stdout.write(f"{happened['killed']:,} kills, {failed} failed\n")
    sys.exit(1 if failed else 0)


def _while(goes_on: Callable[[], bool], seeds: Iterator[int]) -> Iterator[int]:
    """Seeds for as long as something holds."""
    for seed in seeds:
        if not goes_on():
            return
        yield seed


if __name__ == "__main__":
    main()

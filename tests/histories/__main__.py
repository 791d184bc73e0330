"""Tell many random histories and hold each to its identities: `python -m tests.histories`."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tests.histories.steps import Case, case
from tests.histories.telling import tell


def failure(told: Case, *, late: bool = False) -> Exception | None:
    """What is wrong with a history; None when it keeps everything."""
    try:
        tell(told, late=late)
    except Exception as error:  # noqa: BLE001  # whatever it was, it should not have been
        return error
    return None


def shortened(told: Case, error: Exception, *, late: bool = False) -> Case:
    """A history that still fails in this way, without most of the steps that it does not take."""
    size = max(1, len(told.steps) // 2)
    while True:
        start = 0
        while start < len(told.steps):
            fewer = replace(told, steps=told.steps[:start] + told.steps[start + size :])
            if type(failure(fewer, late=late)) is type(error):
                told = fewer
            else:
                start += size
        if size == 1:
            return told
        size = max(1, size // 2)


def run(cases: int, seed: int, *, late: bool = False, most: int = 3) -> tuple[int, Counter[str]]:
    """Tell histories from a seed on; how many failed, and how often what happened in them."""
    failed, happened = 0, Counter[str]()
    for number in range(seed, seed + cases):
        told = case(number, late=late)
        try:
            happened += tell(told, late=late)
        except Exception as error:  # noqa: BLE001  # whatever it was, it should not have been
            failed += 1
            if failed <= most:
                _report(told, error, late=late)
    return failed, happened


def _report(told: Case, error: Exception, *, late: bool) -> None:
    """The seed, what went wrong, and the shortest story of it that was found."""
    short = shortened(told, error, late=late)
    found = failure(short, late=late)
    lines = [f"seed {told.seed}, grace {told.grace} h: {error!r}", *short.steps, f"  {found!r}"]
    if found is not None and found.__cause__ is not None:
        lines.append(f"  because of {found.__cause__!r}")
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Tell as many histories as are asked for; say how it went, and fail when any did."""
    parser = argparse.ArgumentParser(prog="tests.histories", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first history")
    parser.add_argument("--late", action="store_true", help="with usage of times that are billed")
    parser.add_argument("--counts", action="store_true", help="say how often what happened")
    options = parser.parse_args(arguments)
    failed, happened = run(options.cases, options.seed, late=options.late)
    if options.counts:
        for what, count in sorted(happened.items()):
            sys.stdout.write(f"{count:8} {what}\n")
    issued = happened["invoice.finalized/1"]
    sys.stdout.write(f"{options.cases} histories, {issued} invoices, {failed} failed\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""Let Schemathesis ask GraphQL what it makes of the schema: `python -m tests.fuzz.by_schema`.

It is installed into an environment of its own: a pytest plug-in and a dozen packages are much for
everybody who runs the tests.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from app import verification
from tests.benchmarks.serving import serving
from tests.fuzz.documents import UNASKED
from tests.house import ROOT

HOME = ROOT / ".venv" / "schemathesis"
LOCK = Path(__file__).with_name("requirements.txt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask each field of the roots so often; 1 when an answer was a 5xx or told of a bug."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.by_schema", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="for each field (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    options = parser.parse_args(arguments)
    install()
    with tempfile.TemporaryDirectory(prefix="tallybook-") as name:
        ledger = Path(name) / "ledger"
        with serving(ledger, "--demo", "--log-level", "error") as server:
            failed = asked(f"{server.url}/graphql", options.examples, options.seed)
        findings = verification.verify(ledger).findings
    for one in findings:
        print(f"{one.code}: {one.message}")
    return 1 if failed or findings else 0


def install() -> None:
    """Make the environment, unless it has what the lock says."""
    stamp = HOME / "lock.txt"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return
    venv.create(HOME, clear=True, with_pip=True)
    pip = [str(HOME / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(LOCK)], check=True)
    stamp.write_bytes(LOCK.read_bytes())


def asked(url: str, examples: int, seed: int) -> bool:
    """Ask, and say whether anything failed."""
    unasked = [part for name in sorted(UNASKED) for part in ("--exclude-name", f"Query.{name}")]
    done = subprocess.run(
        [
            *(str(HOME / "bin" / "schemathesis"), "run", url, "--phases", "fuzzing"),
            *("--checks", "not_a_server_error,no_bug", "--continue-on-failure", "--no-shrink"),
            *("--max-examples", str(examples), "--seed", str(seed), "--warnings", "off"),
            *("--generation-database", "none", *unasked),
        ],
        cwd=ROOT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.scalars", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())

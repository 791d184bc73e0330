"""Run every client suite against a server with the demo in it: `python -m tests.clients`.

The suites are the `*.test.mjs` files here, run by Node's own test runner. They need Node and
npm's registry, so they are no part of `make test`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.serving import serving

HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is locked, serve the demo and run the suites; the exit code of the runner."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("suites", nargs="*", help="names of suites, such as audit (default: all)")
    suites = parser.parse_args(arguments).suites or ["*"]
    subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True)
    files = [str(file) for name in suites for file in sorted(HERE.glob(f"{name}.test.mjs"))]
    with (
        tempfile.TemporaryDirectory(prefix="tallybook-") as data,
        serving(Path(data), "--demo") as server,
    ):
        environment = {**os.environ, "TALLYBOOK_URL": server.url}
        command = ["node", "--test", *files]
        return subprocess.run(command, check=False, cwd=HERE, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Run every client suite against a server with the demo in it: `python -m tests.clients`.

The suites are the `*.test.mjs` files here, run by Node's own test runner, and `gql_suite.py`, run
in a Python environment of its own. Compilers that make code or manifests of the schema run before
them, and must succeed. It needs Node, npm's registry and pip's, so it is no part of `make test`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.serving import serving

HERE = Path(__file__).parent
GENERATED = "__generated__"
MANIFESTS = HERE / GENERATED / "manifests"
GQL = "gql"
AUDIT = "audit"

PYTHON = HERE / ".venv" / "bin" / "python"
PIP = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is locked, serve the demo and run the suites; 0 when all of them pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("suites", nargs="*", help="names of suites, such as audit (default: all)")
    suites = parser.parse_args(arguments).suites
    by_node = [name for name in suites if name != GQL] or ([] if suites else ["*"])
    files = [str(file) for name in by_node for file in sorted(HERE.glob(f"{name}.test.mjs"))]
    if by_node and not files:
        parser.error(f"there is no suite {' '.join(by_node)}")
    codes = []
    with tempfile.TemporaryDirectory(prefix="tallybook-") as data:
        if files:
            codes.append(_by_node(files, Path(data), compiled=by_node != [AUDIT]))
        if not suites or GQL in suites:
            codes.append(_by_python(Path(data)))
    return max(codes)


def _by_node(files: Sequence[str], data: Path, *, compiled: bool) -> int:
    """Run Node's suites against a server that takes any document, and one that takes only ours."""
    subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True)
    command = ["node", "--test", "--test-timeout=120000", *files]
    with serving(data / "any", "--demo") as server:
        environment = {**os.environ, "TALLYBOOK_URL": server.url}
        if not compiled:
            return _run(command, environment)
        _compile(environment)
        trusting = {"trusted_documents": "only", "trusted_manifest": MANIFESTS}
        with serving(data / "only", "--demo", **trusting) as other:
            return _run(command, {**environment, "TALLYBOOK_TRUSTING_URL": other.url})


def _compile(environment: Mapping[str, str]) -> None:
    """Make code and manifests of the schema of the running server, and nothing of an older one."""
    for folder in HERE.glob(f"**/{GENERATED}"):
        if "node_modules" not in folder.parts:
            shutil.rmtree(folder)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=HERE, env=environment, check=True)


def _by_python(data: Path) -> int:
    """Run the suite of gql in an environment that holds what it needs and nothing of ours."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PYTHON.parents[1])], check=True)
    subprocess.run([*PIP, "--require-hashes", "-r", str(HERE / "requirements.txt")], check=True)
    with serving(data / "gql", "--demo") as server:
        environment = {**os.environ, "TALLYBOOK_URL": server.url}
        return _run([str(PYTHON), "-m", "unittest", "-v", "gql_suite"], environment)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    return subprocess.run(command, check=False, cwd=HERE, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

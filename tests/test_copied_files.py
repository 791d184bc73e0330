"""Files that people copy out of here stand alone: nothing they need is left behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors import DOORS
from tests.house import ROOT, Finding, Source, broken, imports

COPIED = ("app/client.py", "app/token_usage.py", "app/verifier.py")


def what_is_copied_stands_alone(source: Source) -> Iterator[Finding]:
    """It imports the standard library, and what it is itself the door of."""
    for node, name, _ in imports(source):
        library = name.split(".")[0]
        if library not in sys.stdlib_module_names and source.path not in DOORS.get(library, ()):
            yield source.at(node, f"imports {name}, and is copied without it")


@pytest.mark.parametrize("path", COPIED)
def test_it_stands_alone(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not broken(what_is_copied_stands_alone, [Source(path, text)])


@pytest.mark.parametrize("path", COPIED)
def test_it_can_be_imported_elsewhere(path: str, tmp_path: Path) -> None:
    copy = tmp_path / Path(path).name
    copy.write_bytes((ROOT / path).read_bytes())
    command = [sys.executable, "-c", f"import {copy.stem}; print({copy.stem}.__file__)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(copy)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("app/client.py", "from app.clock import new_record_id"),
        ("app/client.py", "import msgspec"),
        ("app/token_usage.py", "import cryptography"),
        ("app/verifier.py", "from app import chain"),
    ],
)
def test_the_rule_notices(path: str, code: str) -> None:
    assert broken(what_is_copied_stands_alone, [Source(path, code)])


def test_the_rule_allows() -> None:
    assert not broken(what_is_copied_stands_alone, [Source("app/client.py", "import json, urllib")])
    assert not broken(
        what_is_copied_stands_alone, [Source("app/verifier.py", "import cryptography")]
    )

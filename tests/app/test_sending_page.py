"""The page about sending usage: its examples run against the demo, and print what it shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.serving import Server
from tests.house import ROOT

PAGE = (ROOT / "app" / "docs" / "sending.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:8000"
SCRIPT = re.compile(r"<!-- run: (\w+\.py) -->\n```python\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"<!-- run -->\n```bash\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
POSITION = re.compile(r'"position":\d+')


def test_every_example_is_run() -> None:
    assert len(SCRIPT.findall(PAGE)) + len(SHELL.findall(PAGE)) == PAGE.count("<!-- run") == 3


@pytest.mark.parametrize("name", [name for name, _, _ in SCRIPT.findall(PAGE)])
def test_the_scripts_print_what_the_page_shows(name: str, server: Server, tmp_path: Path) -> None:
    (code, shown), *_ = [rest for found, *rest in SCRIPT.findall(PAGE) if found == name]
    for copied in ("client.py", "token_usage.py"):
        shutil.copy(ROOT / "app" / copied, tmp_path)
    (tmp_path / name).write_text(code.replace(URL, server.url), encoding="utf-8")
    for _ in range(2):  # the second time, all that has an id of its own is a duplicate
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout == shown, done.stderr


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl"))), reason="needs bash and curl")
def test_the_commands_print_what_the_page_shows(server: Server, tmp_path: Path) -> None:
    ((code, shown),) = SHELL.findall(PAGE)
    done = subprocess.run(
        ["bash", "-c", code.replace(URL, server.url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert POSITION.sub("", done.stdout) == POSITION.sub("", shown), done.stderr

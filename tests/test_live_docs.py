"""The page on live updates says what is so: its commands are run, its limits are the code's."""

import re
import subprocess
from pathlib import Path

from graphql import build_schema, parse, validate

from app import announcements
from app.schema import live_updates, sdl
from tests import marks
from tests.benchmarks.serving import serving
from tests.house import ROOT
from tests.test_docs import NEEDS_SHELL

pytestmark = marks.DOCS

TEXT = (ROOT / "app" / "docs" / "live.md").read_text(encoding="utf-8")
SHELL = re.compile(r"```bash\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
QUERY = re.compile(r"```graphql\n(.*?)```", re.DOTALL)


@NEEDS_SHELL
def test_the_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    [(command, shown)] = SHELL.findall(TEXT)
    with (
        serving(tmp_path, "--demo") as server,
        subprocess.Popen(
            ["bash", "-c", f"URL={server.url}; exec {command}"],
            stdout=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in shown.splitlines()]
        running.terminate()
    assert "".join(lines) == shown


def test_the_queries_fit_the_schema() -> None:
    queries = QUERY.findall(TEXT)
    assert queries
    for query in queries:
        assert validate(build_schema(sdl()), parse(query)) == []


def test_the_figures_are_those_of_the_code() -> None:
    text = " ".join(TEXT.split())
    assert announcements.PACE_SECONDS * 20 == 1
    assert "at most twenty times a second" in text
    assert f"at most {live_updates.PAGE_EVENTS} facts or" in text
    assert f"{live_updates.PAGE_BYTES // 1024} KiB" in text

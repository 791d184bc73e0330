"""The documents say what is so: their examples run, and every name they mention exists.

In the README a code block that follows the comment `run` is run, in order and in one shell, and
must print the `text` block after it. What differs from one run to the next is named in `VARYING`.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import cli, offers
from app.schema import cost, guard, limits
from app.schema import usage as usage_schema
from app.schema.connections import PAGE_DEFAULT
from app.schema.errors import ERRORS_LIMIT
from app.settings import PREFIX, Settings
from domain import text, usage
from tests import marks
from tests.benchmarks.serving import serving
from tests.house import ROOT

pytestmark = marks.DOCS

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "app" / "docs").glob("*.md"))]

DEMO_URL = "http://127.0.0.1:8000"
EMPTY_URL = "http://127.0.0.1:8001"

VARYING = [
    (re.compile(r"\b[a-z]+_[0-9a-hjkmnp-tv-z]{26}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile(r"(['\"]position['\"]: ['\"]?)\d+"), r"\1<position>"),
]
"""What is another at each run, and what stands for it when outputs are compared."""

SHELL = re.compile(r"<!-- run -->\n```bash\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
SCRIPT = re.compile(
    r"<!-- run: story\.py -->\n```python\n(.*?)```\n.*?```text\n(.*?)```", re.DOTALL
)
BETWEEN_BLOCKS = "\x1e"

PATH = re.compile(r"(?:app|domain|projections|tests)/[\w/.-]*")
QUOTED = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"_?[A-Za-z]\w*(?:\.\w+)*")

NEEDS_SHELL = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "python3"))),
    reason="the README's commands need bash, curl and python3",
)


def section(title: str) -> str:
    """The text under one heading of the README."""
    _, found, rest = README.partition(f"\n## {title}")
    assert found, f"the README has no section {title}"
    return rest.partition("\n## ")[0]


def comparable(output: str) -> str:
    """An output with what varies replaced."""
    for pattern, instead in VARYING:
        output = pattern.sub(instead, output)
    return output.strip()


@pytest.fixture(scope="module")
def said_by_shell(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each of the README's shell blocks prints, run one after the other against the demo."""
    with serving(tmp_path_factory.mktemp("demo"), "--demo") as server:
        blocks = [block.replace(DEMO_URL, server.url) for block, _ in SHELL.findall(README)]
        script = f"printf '{BETWEEN_BLOCKS}'\n".join(blocks)
        done = subprocess.run(
            ["bash", "-c", script], stdout=subprocess.PIPE, text=True, timeout=60, check=False
        )
    return done.stdout.split(BETWEEN_BLOCKS)


@NEEDS_SHELL
def test_the_commands_print_what_the_readme_shows(said_by_shell: list[str]) -> None:
    shown = [output for _, output in SHELL.findall(README)]
    assert len(shown) == len(re.findall("<!-- run -->", README)), "a block shows no output"
    assert [comparable(one) for one in said_by_shell] == [comparable(one) for one in shown]


def test_the_script_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (script, shown), *others = SCRIPT.findall(README)
    assert not others
    with serving(tmp_path / "empty") as server:
        file = tmp_path / "story.py"
        file.write_text(script.replace(EMPTY_URL, server.url), encoding="utf-8")
        first, again = (
            subprocess.run(
                [sys.executable, str(file)], capture_output=True, text=True, timeout=60, check=True
            ).stdout
            for _ in range(2)
        )
    assert first == shown
    assert again == shown.replace("ACCEPTED", "DUPLICATE")


def test_every_setting_is_in_the_table() -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (.+?) \| .+ \|$", README, re.MULTILINE)
    fields = zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True)
    assert rows == [
        (name.upper(), "none" if default is None else f"`{default}`") for name, default in fields
    ]


def test_every_command_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.search(r"\{([a-z,]+)\}", printed_help(capsys))
    assert commands
    assert re.findall(r"^\| `tallybook (\w+)` \|", README, re.MULTILINE) == commands[1].split(",")


def test_every_option_is_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    options = set(re.findall(r"--[a-z-]+", printed_help(capsys, "serve"))) - {"--help"}
    assert options <= set(re.findall(r"`(--[a-z-]+)[` ]", README))


def printed_help(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What `--help` prints."""
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    return capsys.readouterr().out


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    mentioned = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert "run" in mentioned
    assert mentioned <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_exists(document: Path) -> None:
    quoted = QUOTED.findall(document.read_text(encoding="utf-8"))
    paths = {path for path in quoted if PATH.fullmatch(path)}
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_every_stop_of_the_house_tour_exists() -> None:
    file, missing, stops = "", [], 0
    for quoted in QUOTED.findall(section("The house tour")):
        if PATH.fullmatch(quoted):
            file = quoted
        elif NAME.fullmatch(quoted):
            stops += 1
            if quoted not in defined_in(file):
                missing.append(f"{file} defines no {quoted}")
    assert stops > 20
    assert not missing


def defined_in(file: str) -> set[str]:
    """The classes, functions and methods of a file, methods as `Class.method`."""
    return set(definitions(ast.parse((ROOT / file).read_text(encoding="utf-8")), ""))


def definitions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    """The names that a module or a class defines."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from definitions(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize(
    "limit",
    [
        usage_schema.RECORDS_LIMIT,
        offers.RECORDS_LIMIT,
        usage.PROPERTIES_LIMIT,
        text.VALUE_BYTES,
        text.NAME_BYTES,
        guard.TOKENS_LIMIT,
    ],
)
def test_the_limits_are_those_of_the_code(limit: int) -> None:
    assert re.search(rf"\b{limit:,} (?:records|strings|bytes|tokens)", section("Sending usage"))


def test_the_limits_of_graphql_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", section("Limits of a GraphQL"), re.MULTILINE)
    assert {name: int(most.replace(",", "")) for name, most in rows} == {
        "bytes": guard.DOCUMENT_BYTES,
        "tokens": guard.TOKENS_LIMIT,
        "depth": guard.DEPTH_LIMIT,
        "fields": guard.FIELDS_LIMIT,
        "aliases": guard.ALIASES_LIMIT,
        "repeats": guard.REPEATS_LIMIT,
        "directives": guard.DIRECTIVES_LIMIT,
        "mutations": guard.MUTATIONS_LIMIT,
        "cost": cost.COST_LIMIT,
    }
    assert set(guard.SAYING) == {name for name, _ in rows} - {"tokens"}


def test_the_other_figures_of_graphql_are_those_of_the_code() -> None:
    text = " ".join(section("Limits of a GraphQL").split())
    assert f"{PAGE_DEFAULT} when left out" in text
    assert f"as much as {cost.LIST_ENTRIES} entries" in text
    assert f"A mutation costs {cost.MUTATION_COST}," in text
    assert all(f"explanation cost {one}," in text for one in cost.HEAVY.values())
    assert f"After {limits.DEADLINE_SECONDS} seconds" in text
    assert all(f"`{field}`" in text for field in limits.WITHOUT_DEADLINE)
    assert f"at most {ERRORS_LIMIT} errors" in text

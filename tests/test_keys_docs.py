"""The page on keys says what is so: its commands run as they stand, its figures are the code's."""

import re
import subprocess
import sys
from pathlib import Path

from app import keys, server_secret
from app.settings import Settings
from tests import marks
from tests.benchmarks.serving import serving
from tests.house import ROOT
from tests.test_docs import DEMO_URL, NEEDS_SHELL, SHELL

pytestmark = marks.DOCS

PAGE = (ROOT / "app" / "docs" / "keys.md").read_text(encoding="utf-8")


@NEEDS_SHELL
def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    [(block, shown)] = SHELL.findall(PAGE)
    assert len(re.findall("<!-- run -->", PAGE)) == 1
    with serving(tmp_path) as server:
        command = f'tallybook() {{ "{sys.executable}" -m app.cli "$@"; }}\n{block}'
        script = command.replace(DEMO_URL, server.url).replace("--data DIR", f"--data {tmp_path}")
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
    assert done.stdout == shown


def test_every_scope_is_in_the_table() -> None:
    assert re.findall(r"^\| `([a-z:]+)` \|", PAGE, re.MULTILINE) == list(keys.Scope)


def test_a_scanner_finds_keys_by_the_pattern_of_the_page() -> None:
    [pattern] = re.findall(r"`(tbk_\[.*?)`", PAGE)
    _, text = keys.new_key()
    assert re.fullmatch(pattern, text)
    assert f"{len(text)} characters in all" in PAGE
    assert f"at least {server_secret.LEAST_CHARACTERS}\ncharacters" in PAGE


def test_the_rates_are_those_of_the_settings() -> None:
    text, settings = " ".join(PAGE.split()), Settings()
    for burst, rate in (
        (settings.key_requests_burst, settings.key_requests),
        (settings.key_cost_burst, settings.key_cost),
    ):
        assert f"{burst:,} at once, and {rate:,} more per second" in text

"""The page on sending in the shapes of others says what is so: its commands run as they stand."""

import re
import subprocess
from pathlib import Path

from tests import marks
from tests.benchmarks.serving import serving
from tests.house import ROOT
from tests.test_docs import BETWEEN_BLOCKS, DEMO_URL, NEEDS_SHELL, SHELL

pytestmark = marks.DOCS

PAGE = (ROOT / "app" / "docs" / "sending-shapes.md").read_text(encoding="utf-8")


@NEEDS_SHELL
def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    blocks = SHELL.findall(PAGE)
    assert len(blocks) == len(re.findall("<!-- run -->", PAGE)), "a block shows no output"
    with serving(tmp_path, "--demo") as server:
        script = f"printf '{BETWEEN_BLOCKS}'\n".join(block for block, _ in blocks)
        command = ["bash", "-c", script.replace(DEMO_URL, server.url)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split(BETWEEN_BLOCKS) == [shown for _, shown in blocks]

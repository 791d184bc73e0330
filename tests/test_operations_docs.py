"""What `app/docs/operations.md` names is what the server has: its metrics, its checks of health."""

import re

from app.health import Check
from app.ledger import Ledger
from app.web.metrics import Figures
from tests import marks
from tests.house import ROOT

pytestmark = marks.DOCS

TEXT = (ROOT / "app" / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_metric_is_in_the_table(ledger: Ledger) -> None:
    rows = re.findall(r"^\| (`tallybook_.+?) \| \w+ \| ", TEXT, re.MULTILINE)
    shown = {name.removesuffix("_total") for row in rows for name in re.findall(r"`(\w+)`", row)}
    own = {family.name for family in Figures(ledger, lambda: 0).collect()}
    assert shown == {name for name in own if not name.startswith("process_")}


def test_every_problem_of_health_is_in_the_table() -> None:
    section = TEXT.partition("\n## Health")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(Check)

"""`tallybook explain`: an invoice in words, as a bookkeeper would write it."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from app.cli import main
from app.explain import printable
from app.ledger import Ledger
from app.opening import VIEWS
from domain.invoices import Invoice
from domain.statements import Statement
from projections import current, explanations
from projections.explanations import Again
from tests import marks
from tests.benchmarks.serving import serving
from tests.conftest import CLOCK
from tests.house import ROOT
from tests.scenarios.story import Story

pytestmark = marks.COMMANDS

Capture = pytest.CaptureFixture[str]

TOLD = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price licence: 100 USD, per month
2026-01-01 price usage: graduated USD, per month, on tokens, 0 up to 1000, then 0.04
2026-01-01 customer al
2026-01-01 subscribe al to licence x 1, usage
2026-01-10 use 2000 tokens by al
2026-01-20 use 1000 tokens by al
2026-02-02 time passes
2026-02-03 use 500 tokens by al, at 2026-01-31
"""

DOCUMENT = (ROOT / "app" / "docs" / "billing.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"```text\n\$ tallybook explain ([^\n]+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A ledger with an issued invoice, number 2, and usage that came late for it."""
    with Ledger(tmp_path, test_clock_at=CLOCK) as ledger:
        Story(ledger).tell(TOLD)
    return tmp_path


def explained(capsys: Capture, directory: Path, *arguments: str) -> str:
    """What the command prints."""
    assert main(["explain", *arguments, "--data", str(directory)]) == 0
    return capsys.readouterr().out


def anonymous(text: str) -> str:
    """A text without what differs from one run to the next."""
    text = re.sub(r"\b([a-z]+)_[0-9a-hjkmnp-tv-z]{26}\b", r"<\1>", text)
    return re.sub(r"\b[0-9a-f]{64}\b", "<hash>", text)


def test_the_documents_show_what_it_prints(told: Path, capsys: Capture) -> None:
    [(arguments, shown)] = SHOWN.findall(DOCUMENT)
    text = explained(capsys, told, *arguments.split())
    assert anonymous(text) == anonymous(shown)


def test_an_invoice_by_number_and_by_id(told: Path, capsys: Capture) -> None:
    by_number = explained(capsys, told, "000002")
    found = re.search(r"inv_\w+", by_number)
    assert found
    assert explained(capsys, told, found[0]) == by_number == explained(capsys, told, "2")
    assert "2. RECURRING" in by_number
    assert "story-1" not in by_number


def test_the_next_invoice_of_a_subscription(told: Path, capsys: Capture) -> None:
    found = re.search(r"sub_\w+", explained(capsys, told, "2"))
    assert found
    text = explained(capsys, told, found[0])
    assert f"Next invoice of {found[0]}, PREVIEW for 2026-03-01T00:00:00Z" in text
    assert "Before: 3000 for 80.00 USD on invoice 000002." in text
    assert "Because of what came late or was corrected: 2026-01-31 (position" in text
    assert "After 100 less before 80 is 20 USD." in text


def test_the_same_as_json(told: Path, capsys: Capture) -> None:
    data = json.loads(explained(capsys, told, "2", "--json", "--records"))
    assert (data["name"], data["total"], data["position"]) == ("Invoice 000002", "180.00", 16)
    usage, licence = data["lines"]
    assert (usage["amount"], usage["priceAt"], usage["madeAt"]) == ("80.00", 5, None)
    assert usage["again"]["holds"] is True
    assert [record["value"] for record in usage["records"]] == ["2000", "1000"]
    assert (usage["records"][0]["position"], usage["records"][0]["row"]) == (11, 0)
    assert licence["records"] == []
    assert "records" not in json.loads(explained(capsys, told, "2", "--json"))["lines"][0]


def test_a_ledger_that_is_being_served(told: Path, capsys: Capture) -> None:
    alone = explained(capsys, told, "2")
    with serving(told):
        assert explained(capsys, told, "2") == alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["99"], "there is no invoice 99"),
        (["inv_none"], "there is no invoice inv_none"),
        (["sub_none"], "there is no subscription sub_none"),
        (["2", "--line", "3"], "Invoice 000002 has the lines 1 to 2"),
        (["2", "--line", "0"], "Invoice 000002 has the lines 1 to 2"),
    ],
)
def test_what_is_not_there_is_said(
    told: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    assert main(["explain", *arguments, "--data", str(told)]) == 2
    assert capsys.readouterr().err == f"tallybook: {message}\n"


def test_a_directory_without_a_ledger_is_left_alone(tmp_path: Path, capsys: Capture) -> None:
    assert main(["explain", "1", "--data", str(tmp_path / "none")]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_line_that_its_parts_do_not_come_to_says_so(
    told: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = explanations.Invoiced.of

    def dearer(invoice: Invoice, says: Statement) -> explanations.Invoiced:
        usage, licence = says.lines
        usage = msgspec.structs.replace(usage, amount=usage.amount + 1)
        return of(invoice, msgspec.structs.replace(says, lines=(usage, licence)))

    monkeypatch.setattr(explanations.Invoiced, "of", dearer)
    usage = explained(capsys, told, "2", "--line", "1")
    assert "NOT the same: made again from its parts, it comes to 80, rounded to 80.00 USD." in usage


def test_a_line_that_the_rules_do_not_make_is_told_so(told: Path) -> None:
    with Ledger(told) as ledger, ledger.snapshot() as views:
        found = current.select(views, Invoice, {"number": "000002"}, limit=1)[0].state
        assert found.statement is not None
        usage, licence = found.statement.lines
        other = msgspec.structs.replace(licence, item_id="item_other")
        says = msgspec.structs.replace(found.statement, lines=(usage, other))
        source = explanations.Invoiced.of(found, says)
        explaining = explanations.Explaining(views, ledger.store.at, source)
        assert explaining.again(1) == Again(line=None, rated=(), holds=False)
        assert explaining.parts(1).made_at is None


def test_views_that_lag_are_brought_up_to_date_first(told: Path, capsys: Capture) -> None:
    text = explained(capsys, told, "2")
    (told / VIEWS).unlink()
    assert explained(capsys, told, "2") == text


def test_names_leave_the_terminal_alone() -> None:
    assert printable("a\tb\nc\x1b[31m\u202e") == "a?b?c?[31m?"

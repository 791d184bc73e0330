"""Tables as CSV: the columns that are promised, exact numbers, and no text that is a formula."""

import csv
import io
import re
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.exports.spreadsheets import SHEETS, spreadsheet
from app.exports.subjects import Subject
from app.ledger import Ledger
from domain.customers import CreateCustomer, Customer
from domain.decider import Rejected
from domain.invoices import Status
from domain.periods import Period, parse_instant
from projections import current, engine
from tests import marks
from tests.app.rich import NASTY, UUID, issued, rich
from tests.app.test_exported_logs import Capture, folder
from tests.conftest import CLOCK
from tests.house import ROOT

pytestmark = marks.COMMANDS

__all__ = ["folder"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBERS = (
    "position row value number subtotal total balance_applied amount_paid amount_credited"
    " amount_due invoice_number price_version quantity exact_amount amount"
).split()
FEBRUARY = Period(
    parse_instant("2026-02-01T00:00:00Z", ()), parse_instant("2026-03-01T00:00:00Z", ())
)


def table(folder: Path, subject: Subject, period: Period | None = None) -> list[dict[str, str]]:
    """The rows of a table as another program reads them."""
    text = b"".join(spreadsheet(folder, subject, period)).decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("subject", Subject)
def test_the_columns_are_those_on_the_page(subject: Subject) -> None:
    page = (ROOT / "app" / "docs" / "exports.md").read_text(encoding="utf-8")
    promised = re.search(rf"^\| `{subject}` \| (.+?) \|", page, re.MULTILINE)
    assert promised
    assert list(SHEETS[subject].columns) == promised[1].split(", ")


@pytest.mark.parametrize("subject", Subject)
def test_nothing_in_a_table_is_a_formula_and_no_number_is_quoted(
    folder: Path, subject: Subject
) -> None:
    rows = table(folder, subject)
    assert rows
    for row in rows:
        assert list(row) == list(SHEETS[subject].columns)
        for name, cell in row.items():
            if name in NUMBERS and cell:
                assert Decimal(cell).is_finite()
            else:
                assert not cell.startswith(FORMULA)


def test_usage_says_what_it_says_now(folder: Path) -> None:
    rows = {row["id"]: row for row in table(folder, Subject.USAGE)}
    with Ledger(folder) as ledger, ledger.snapshot() as views:
        customer = current.owner(views, Customer, "externalId", "al")
    told = {id: (row["value"], row["state"], row["customer"]) for id, row in rows.items()}
    assert told == {
        "story-1": ("3000", "COUNTED", "al"),
        "story-2": ("1500", "COUNTED", "cy"),
        UUID: ("9", "AMENDED", "al"),
        "'-1+2": ("12.5", "COUNTED", "al"),
        "late": ("1", "UNMATCHED", "nobody yet"),
        "gone": ("100000", "VOIDED", "cy"),
    }
    odd = rows["'-1+2"]
    assert odd["source"] == "'@night shift"
    assert odd["timestamp"] == "2026-01-11T00:00:00.000001Z"
    assert odd["properties"] == '{"model":"größe","region":"=1+1"}'
    assert (odd["customer_id"], rows["late"]["customer_id"]) == (customer, "")


def test_invoices_and_lines_add_up(folder: Path) -> None:
    invoices = {row["id"]: row for row in table(folder, Subject.INVOICES)}
    totals = dict.fromkeys(invoices, Decimal(0))
    for line in table(folder, Subject.LINES):
        totals[line["invoice_id"]] += Decimal(line["amount"])
        assert line["invoice_number"] == invoices[line["invoice_id"]]["number"]
    with Ledger(folder) as ledger:
        known = {invoice.id: invoice for invoice in issued(ledger)}
    assert {id for id, row in invoices.items() if row["status"] != "DRAFT"} == set(known)
    for id, row in invoices.items():
        if row["status"] == "DRAFT":
            assert (row["number"], row["total"]) == ("", "")
            continue
        assert Decimal(row["total"]) == totals[id]
        assert re.fullmatch(r"-?\d+\.\d\d", row["total"])
        assert Decimal(row["amount_due"]) == known[id].amount_due
        assert Decimal(row["amount_paid"]) == known[id].amount_paid
        assert row["status"] == known[id].status
    assert {row["status"] for row in invoices.values()} >= {"OPEN", "PAID", "VOID"}


def test_a_draft_has_no_amounts(ledger: Ledger) -> None:
    rich(ledger)
    at = parse_instant("2026-04-01T00:30:00Z", ())
    ledger.advance_now(at)
    drafts = [r for r in table(ledger.directory, Subject.INVOICES) if r["status"] == Status.DRAFT]
    assert [(row["number"], row["total"], row["content_hash"]) for row in drafts] == [("", "", "")]
    lines = table(ledger.directory, Subject.LINES)
    assert drafts[0]["id"] not in {row["invoice_id"] for row in lines}


def test_a_period_keeps_what_is_of_it(folder: Path) -> None:
    assert table(folder, Subject.USAGE, FEBRUARY) == []
    invoices = table(folder, Subject.INVOICES, FEBRUARY)
    assert invoices == [
        row for row in table(folder, Subject.INVOICES) if "2026-02" in row["finalized_at"]
    ]
    lines = table(folder, Subject.LINES, FEBRUARY)
    assert {row["invoice_id"] for row in lines} == {row["id"] for row in invoices}
    january = Period(CLOCK, FEBRUARY.start)
    assert table(folder, Subject.CUSTOMERS, january) == table(folder, Subject.CUSTOMERS)
    assert len(table(folder, Subject.USAGE, january)) == 6


def test_customers_are_as_they_are_known_now(folder: Path) -> None:
    rows = table(folder, Subject.CUSTOMERS)
    assert [row["name"] for row in rows] == ["al", f"'{NASTY}", "cy", f"'{NASTY}"]
    assert rows[-1]["external_id"] == "'=nasty"
    assert {row["created_at"][-1] for row in rows} == {"Z"}


NAMES = st.one_of(
    st.text(min_size=1, max_size=40),
    st.tuples(
        st.sampled_from(FORMULA), st.text(st.sampled_from("\r\n\t ;,\"'=+-@|"), max_size=8)
    ).map("".join),
)


@settings(max_examples=25)
@given(names=st.lists(NAMES, min_size=1, max_size=8))
def test_every_name_comes_back_but_for_an_apostrophe(names: list[str]) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        kept = []
        for name in names:
            try:
                ledger.execute_now(CreateCustomer(name=name))
            except Rejected:
                continue
            kept.append(f"'{name}" if name.startswith(FORMULA) else name)
        rows = table(Path(folder), Subject.CUSTOMERS)
        assert [row["name"] for row in rows] == kept


# ------------------------------------------------------------------------------- the command


def test_a_table_of_a_ledger_that_is_open(
    ledger: Ledger, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rich(ledger)
    for subject in Subject:
        assert main(["export", "--data", str(ledger.directory), "--csv", subject]) == 0
        assert capfdbinary.readouterr().out == b"".join(
            spreadsheet(ledger.directory, subject, None)
        )


def test_views_that_are_missing_are_made_first(folder: Path) -> None:
    before = table(folder, Subject.USAGE)
    (folder / "views.db").unlink()
    assert table(folder, Subject.USAGE) == before


def test_views_of_another_version_that_is_running(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CODE_VERSION", engine.CODE_VERSION + 1)
    with pytest.raises(ValueError, match="another version"):
        table(ledger.directory, Subject.CUSTOMERS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--period", "2026-01-01T00:00:00Z/2026-02-01T00:00:00Z"], "goes with --csv"),
        (["--csv", "usage", "--period", "2026-02"], "An instant is a date"),
        (
            ["--csv", "usage", "--period", "2026-02-01T00:00:00Z/2026-01-01T00:00:00Z"],
            "must lie after its start",
        ),
    ],
)
def test_a_period_that_is_none(
    folder: Path, tmp_path: Path, options: list[str], message: str, capsys: Capture
) -> None:
    file = tmp_path / "table.csv"
    assert main(["export", "--data", str(folder), "--to", str(file), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

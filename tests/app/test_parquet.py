"""Tables as Parquet say what CSV says, in types that other programs reckon with."""

import csv
import io
import json
import re
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # nor does this part
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import main
from app.exports import parquet as exporting
from app.exports.parquet import AS_TEXT, exact, parquet
from app.exports.spreadsheets import SHEETS, Plain, spreadsheet
from app.exports.subjects import Subject
from app.ledger import Ledger
from domain.periods import Period, format_instant
from domain.usage import RecordInput
from tests import marks
from tests.app.asking import Asking, Story, client, story
from tests.app.test_exported_logs import Capture, folder
from tests.app.test_exports_while_served import busy
from tests.app.test_spreadsheets import FEBRUARY
from tests.benchmarks.serving import Server
from tests.house import ROOT

pytestmark = marks.COMMANDS

__all__ = ["client", "folder", "story"]

DECIMAL = pa.decimal128(38, 12)
INSTANT = pa.timestamp("us", tz="UTC")


def table(folder: Path, subject: Subject, period: Period | None = None) -> Any:
    """A table as another program reads it."""
    return pq.read_table(io.BytesIO(b"".join(parquet(folder, subject, period))))


def written(folder: Path, subject: Subject, period: Period | None = None) -> list[dict[str, str]]:
    """The same table as CSV."""
    text = b"".join(spreadsheet(folder, subject, period)).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def as_csv(cell: Any, shown: str) -> str:
    """A cell as CSV has it, where it had the text `shown`."""
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        assert cell == Decimal(shown)
        return shown
    if hasattr(cell, "astimezone"):
        return format_instant(cell)
    text = str(cell)
    return shown if shown == f"'{text}" else text


@pytest.mark.parametrize("period", [None, FEBRUARY], ids=["all", "february"])
@pytest.mark.parametrize("subject", Subject)
def test_every_row_and_column_is_that_of_the_csv(
    folder: Path, subject: Subject, period: Period | None
) -> None:
    found, expected = table(folder, subject, period), written(folder, subject, period)
    rows = found.to_pylist()
    assert len(rows) == len(expected)
    assert period or rows
    assert [name for name in found.column_names if name != AS_TEXT] == list(SHEETS[subject].columns)
    for row, csv_row in zip(rows, expected, strict=True):
        texts = json.loads(row.get(AS_TEXT) or "{}")
        for name, shown in csv_row.items():
            if name in texts:
                assert row[name] is None
            else:
                assert as_csv(row[name], shown) == shown


def test_columns_have_types(folder: Path) -> None:
    usage, lines = (table(folder, one).schema for one in (Subject.USAGE, Subject.LINES))
    types = {name: usage.field(name).type for name in usage.names}
    assert (types["position"], types["value"], types["id"]) == (pa.int64(), DECIMAL, pa.string())
    assert (types["timestamp"], types["recorded_at"]) == (INSTANT, INSTANT)
    types = {name: lines.field(name).type for name in lines.names}
    assert {types[name] for name in ("quantity", "exact_amount", "amount")} == {DECIMAL}
    assert {types[name] for name in ("finalized_at", "period_start")} == {INSTANT}
    assert types["invoice_number"] == pa.string()
    invoices = table(folder, Subject.INVOICES).schema
    money = "subtotal total balance_applied amount_paid amount_credited amount_due".split()
    assert {invoices.field(name).type for name in money} == {DECIMAL}
    at = [name for name in invoices.names if name.endswith("_at")]
    assert {invoices.field(name).type for name in [*at, "at", "period_end"]} == {INSTANT}
    assert AS_TEXT not in table(folder, Subject.CUSTOMERS).column_names


def test_a_usage_value_has_all_its_digits(ledger: Ledger) -> None:
    values = ["0.000000000001", "9" * 18 + "." + "9" * 12, f"-{'9' * 18}"]
    ledger.record_now(
        [
            RecordInput(id=f"r{number}", event_name="tokens", customer="al", value=value)
            for number, value in enumerate(values)
        ]
    )
    rows = table(ledger.directory, Subject.USAGE).to_pylist()
    assert [(row["value"], row[AS_TEXT]) for row in rows] == [
        (Decimal(value), None) for value in values
    ]


def test_what_never_ends_stands_as_text(client: Asking, story: Story) -> None:
    """A licence for 17 of the 31 days before its anchor."""
    client.create(
        "subscription",
        customerId=story.customer,
        items=[{"priceId": story.licence}],
        startAt="2026-01-15T12:00:00Z",
        billingAnchor="2026-02-01T12:00:00Z",
    )
    rows = table(client.ledger.directory, Subject.LINES).to_pylist()
    [stub] = [row for row in rows if row[AS_TEXT]]
    assert (stub["amount"], stub["exact_amount"]) == (Decimal("54.84"), None)
    assert json.loads(stub[AS_TEXT]) == {"exact_amount": "1700/31"}


NUMBERS = st.one_of(
    st.fractions(),
    st.fractions(max_denominator=10**3),
    st.decimals(allow_nan=False, allow_infinity=False, places=12),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.integers(-(10**30), 10**30),
)


@given(number=NUMBERS)
def test_a_number_is_exact_or_a_text_that_is(number: Fraction | Decimal | int) -> None:
    found = exact(number)
    if found is None:
        scaled = Fraction(number) * 10**12
        assert scaled.denominator > 1 or abs(scaled) >= 10**38
        assert Fraction(exporting._text(number)) == Fraction(number)
    else:
        assert found == number
        assert pa.array([found], DECIMAL).to_pylist() == [number]


@given(text=st.text("0123456789.-+eE_ \u0661", max_size=45))
def test_a_text_is_a_number_only_if_it_is_a_plain_one(text: str) -> None:
    found = exact(Plain(text))
    assert found is None or (re.fullmatch(r"-?\d+(\.\d+)?", text) and found == Decimal(text))


def test_rows_are_written_group_by_group(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(folder, Subject.LINES)
    monkeypatch.setattr(exporting, "ROWS_PER_GROUP", 2)
    parts = list(parquet(folder, Subject.LINES, None))
    groups = -(-whole.num_rows // 2)
    assert groups > 2
    assert len(parts) == groups + 1
    file = pq.ParquetFile(io.BytesIO(b"".join(parts)))
    assert file.num_row_groups == groups
    assert file.read().to_pylist() == whole.to_pylist()


# ------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("subject", Subject)
def test_by_the_command_line_while_it_is_served(
    server: Server, tmp_path: Path, subject: Subject
) -> None:
    file = tmp_path / "table.parquet"
    with busy(server, f"parquet-{subject}"):
        arguments = ["--data", str(server.data), "--parquet", subject, "--to", str(file)]
        assert main(["export", *arguments]) == 0
    found = pq.read_table(file)
    assert found.num_rows > 0 or subject in {Subject.INVOICES, Subject.LINES}
    assert found.column_names[: len(SHEETS[subject].columns)] == list(SHEETS[subject].columns)


def test_a_period_goes_with_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    period = "/".join(map(format_instant, (FEBRUARY.start, FEBRUARY.end)))
    arguments = ["--data", str(folder), "--parquet", "invoices", "--period", period]
    assert main(["export", *arguments, "--to", str(file)]) == 0
    assert pq.read_table(file).num_rows == len(written(folder, Subject.INVOICES, FEBRUARY))


def test_without_the_extra_it_says_what_is_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "table.parquet"
    arguments = ["--data", str(folder), "--parquet", "usage", "--to", str(file)]
    assert main(["export", *arguments]) == 2
    assert "pip install '.[parquet]'" in capsys.readouterr().err
    assert not file.exists()
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^parquet = \["pyarrow', extras, re.MULTILINE)

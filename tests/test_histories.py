"""What is wrong with a history does not go unnoticed: its checks can fail."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from app import verification
from app.ledger import Ledger
from domain import rating
from domain.decider import Recorded
from domain.invoices import InvoiceFinalized
from domain.rating import LineKind
from domain.usage import UsageRecorded
from projections.counted_records import Records
from tests import explained, marks
from tests.histories import checks, naive, touched
from tests.histories.sent import Broken
from tests.histories.used import Doubled, Used
from tests.scenarios.story import Story

pytestmark = marks.KILLED

STORY = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price seat: 31 USD, per month
2026-01-01 price usage: 1 USD, per month, on tokens
2026-01-01 customer al
2026-01-01 subscribe al to seat x 2, usage
2026-01-10 use 7 tokens by al
2026-01-16 change al: seat x 5
2026-02-02 time passes
"""


@pytest.fixture
def log(ledger: Ledger) -> list[Recorded]:
    """The facts of a story that keeps everything."""
    Story(ledger).tell(STORY)
    checks.check(ledger)
    return list(ledger.store.read())


def altered(log: list[Recorded], kind: LineKind, **otherwise: Any) -> list[Recorded]:
    """The facts as if the last line of a kind had been issued otherwise."""
    [*_, index] = [n for n, one in enumerate(log) if isinstance(one.event, InvoiceFinalized)]
    event = log[index].event
    assert isinstance(event, InvoiceFinalized)
    lines = list(event.lines)
    [*_, place] = [n for n, line in enumerate(lines) if line.kind is kind]
    lines[place] = msgspec.structs.replace(lines[place], **otherwise)
    issued = msgspec.structs.replace(event, lines=tuple(lines))
    return [*log[:index], msgspec.structs.replace(log[index], event=issued), *log[index + 1 :]]


def test_a_licence_that_is_not_billed_right_is_noticed(log: list[Recorded]) -> None:
    naive.check(log)
    with pytest.raises(naive.Misbilled, match="seat: "):
        naive.check(altered(log, LineKind.PRORATION, exact=Fraction(81), amount=Decimal(81)))
    with pytest.raises(naive.Misbilled, match="seat: "):
        naive.check(altered(log, LineKind.RECURRING, exact=Fraction(0), amount=Decimal(0)))


def test_what_is_not_rounded_right_is_noticed(log: list[Recorded]) -> None:
    with pytest.raises(naive.Misbilled, match="should be rounded to 155"):
        naive.check(altered(log, LineKind.RECURRING, amount=Decimal("155.01")))


def test_usage_that_is_not_billed_right_is_noticed(log: list[Recorded]) -> None:
    with pytest.raises(naive.Misbilled, match="7 - 0 was used"):
        naive.check(altered(log, LineKind.USAGE, quantity=Fraction(8)))
    with pytest.raises(naive.Misbilled, match="should come to 7"):
        naive.check(altered(log, LineKind.USAGE, exact=Fraction(8)))
    with pytest.raises(naive.Misbilled, match="usage is billed for"):
        naive.check(altered(log, LineKind.USAGE, item_id="item_other"))


def test_an_invoice_that_differs_from_its_draft_is_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Story(ledger).tell(STORY)
    rated = rating.rate

    def dearer(*arguments: Any) -> Any:
        line = rated(*arguments)
        return msgspec.structs.replace(line, amount=line.amount + Decimal("0.01"))

    monkeypatch.setattr(rating, "rate", dearer)
    with pytest.raises(Broken, match="was not that of its draft"):
        checks.check(ledger)


def test_a_line_that_is_not_what_its_parts_come_to_is_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Story(ledger).tell(STORY)
    assert explained.explain(ledger)["USAGE explained"] > 1
    sampled = Records.sampled

    def one_less(self: Records, *arguments: Any) -> Any:
        found = sampled(self, *arguments)
        next(found, None)
        return found

    monkeypatch.setattr(Records, "sampled", one_less)
    with pytest.raises(explained.Unexplained, match="is made again as"):
        explained.explain(ledger)


def test_a_record_that_is_written_twice_is_noticed(log: list[Recorded]) -> None:
    [recorded] = [one for one in log if isinstance(one.event, UsageRecorded)]
    used = Used()
    used.read(recorded)
    with pytest.raises(Doubled, match="is there again"):
        used.read(recorded)


def test_a_flipped_byte_that_is_not_found_is_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Story(ledger).tell(STORY)
    touched.check(ledger, seed=1)
    sound = verification.verify(ledger.directory)
    monkeypatch.setattr(touched, "verify", lambda _: sound)
    with pytest.raises(Broken, match=r"a byte of event .* was flipped"):
        touched.check(ledger, seed=1)

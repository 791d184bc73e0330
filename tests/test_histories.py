"""Every history keeps every identity: the short form of `make histories`."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.ledger import Ledger
from domain import rating
from domain.decider import Recorded
from domain.invoices import InvoiceFinalized
from domain.rating import LineKind
from projections.counted_records import Records
from tests import explained
from tests.histories import __main__ as histories
from tests.histories import checks, naive
from tests.histories.steps import Case, case
from tests.histories.telling import tell
from tests.scenarios.story import Story

CASES = 100


def test_histories_keep_every_identity() -> None:
    failed, happened = histories.run(CASES, seed=2026)
    assert failed == 0
    # Enough of everything happened that there was something to keep.
    for what in ("subscription.changed/1", "subscription.canceled/1", "usage.recorded/1"):
        assert happened[what] > CASES // 4
    for what in ("invoice.finalized/1", "licences checked", "preview kept"):
        assert happened[what] > CASES
    for what in ("RECURRING", "USAGE", "PRORATION", "shares"):
        assert happened[f"{what} explained"] > CASES // 4


def test_a_seed_is_always_the_same_history() -> None:
    assert case(7) == case(7)
    assert case(7) != case(8)


# ------------------------------------------------------------- what is wrong does not go unnoticed

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
        naive.check(altered(log, LineKind.PRORATION, exact=Fraction(80) + Fraction(1, 31)))
    with pytest.raises(naive.Misbilled, match="seat: "):
        naive.check(altered(log, LineKind.RECURRING, exact=Fraction(0)))


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
    with pytest.raises(checks.Broken, match="was not that of its draft"):
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


def test_a_history_that_fails_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_on_a_change(told: Case, *, late: bool = False) -> None:
        if any(" change " in step for step in told.steps):
            raise checks.Broken("somebody changed something")

    monkeypatch.setattr(histories, "tell", fails_on_a_change)
    long = replace(case(1), steps=(*"abc", "2026-01-01 change al: seat x 5", *"def"))
    short = histories.shortened(long, checks.Broken())
    assert short.steps == ("2026-01-01 change al: seat x 5",)


def test_what_the_worker_cannot_do_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the bill is on fire")

    told = Case(seed=0, grace=0, steps=tuple(STORY.strip().splitlines()))
    tell(told)
    monkeypatch.setattr("app.invoicing.finalize", fails)
    with pytest.raises(checks.Broken, match="could not finalize inv_"):
        tell(told)

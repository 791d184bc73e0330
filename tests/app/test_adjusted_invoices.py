"""Which invoice adjusts what: the next one, the earliest draft, or one of its own."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.ledger import Ledger
from domain import charges
from domain.customers import UpdateCustomer
from domain.invoices import Invoice, Reason, Status
from domain.rating import LineKind
from domain.subscription_changes import CancelSubscription
from domain.subscription_holds import PauseCollection, ResumeCollection
from domain.subscriptions import Subscription
from projections import current, statements
from tests.app.billed import dump, invoices
from tests.conftest import CLOCK
from tests.scenarios.story import Story

TOLD = """
2026-01-01 meter tokens: sum of tokens
2026-01-01 product "Alpaca.ai"
2026-01-01 price usage: 1 USD, per month, on tokens
2026-01-01 price other: 2 USD, per month, on tokens
2026-01-01 customer al
2026-01-01 subscribe al to usage, other
2026-01-10 use 10 tokens by al
"""


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """Two prices over one meter, whose drafts wait for nothing."""
    with Ledger(tmp_path, test_clock_at=CLOCK, grace=timedelta()) as ledger:
        told = Story(ledger)
        told.tell(TOLD)
        yield told
        dump(ledger)


def subscription(story: Story) -> Subscription:
    """The only subscription."""
    with story.ledger.snapshot() as views:
        [found] = current.select(views, Subscription, {}, limit=2)
    state: Subscription = found.state
    return state


def adjusted(story: Story, invoice: Invoice) -> list[str]:
    """The adjustments that an invoice or a draft shows: the month, and how much."""
    with story.ledger.snapshot() as views:
        says = statements.of_invoice(views, invoice, story.ledger.clock.now())
    return [
        f"{line.period.start:%m} {line.amount}"
        for line in says.lines
        if line.kind is LineKind.ADJUSTMENT
    ]


def shown(story: Story) -> list[tuple[str, list[str]]]:
    """What all invoices and drafts adjust, by the day that they are for."""
    return [(f"{one.at:%m-%d}", adjusted(story, one)) for one in invoices(story.ledger)]


def test_an_instant_at_which_nothing_else_is_due_is_not_passed_over(story: Story) -> None:
    story.tell("2026-03-01 use 1 tokens by al, at 2026-02-10")
    story.ledger.execute_now(CancelSubscription(subscription_id=subscription(story).id))
    story.tell("2026-03-02 time passes")
    final = invoices(story.ledger)[-1]
    assert final.reason is Reason.FINAL
    end = subscription(story).end
    assert end is not None
    assert final.at == end.bill_at
    assert adjusted(story, final) == ["02 1.00", "02 2.00"]


def test_what_no_invoice_holds_comes_on_the_one_after_it(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.tell("2026-02-01 time passes")
    monkeypatch.setattr(charges, "LINES_LIMIT", 3)
    story.tell("""
2026-02-05 use 1 tokens by al, at 2026-01-10
2026-04-02 time passes
""")
    assert shown(story)[1:] == [("03-01", ["01 1.00"]), ("04-01", ["01 2.00"])]


def test_of_several_drafts_the_earliest_one_has_it(story: Story) -> None:
    story.tell("2026-02-05 time passes")
    pause = PauseCollection(subscription_id=subscription(story).id)
    story.ledger.execute_now(pause)
    story.tell("""
2026-04-02 use 1 tokens by al, at 2026-01-10
2026-04-03 use 1 tokens by al, at 2026-03-10
""")
    both = ["01 1.00", "01 2.00"]
    assert shown(story) == [("02-01", []), ("03-01", both), ("04-01", [])]
    story.ledger.execute_now(ResumeCollection(subscription_id=pause.subscription_id))
    story.tell("2026-05-02 time passes")
    assert shown(story) == [("02-01", []), ("03-01", both), ("04-01", []), ("05-01", [])]
    assert {one.status for one in invoices(story.ledger)} == {Status.OPEN, Status.PAID}


def test_a_record_that_finds_its_customer_late_is_late(story: Story) -> None:
    story.tell("2026-02-05 use 3 tokens by llama, at 2026-01-10")
    assert adjusted(story, invoices(story.ledger)[-1]) == []
    rename = UpdateCustomer(customer_id=story.ids["al"], external_id="llama")
    story.ledger.execute_now(rename)
    story.tell("2026-03-02 time passes")
    assert shown(story) == [("02-01", []), ("03-01", ["01 3.00", "01 6.00"])]


def test_a_subscription_that_ended_is_invoiced_once_for_what_comes_together(story: Story) -> None:
    story.ledger.execute_now(CancelSubscription(subscription_id=subscription(story).id))
    story.tell("""
2026-02-05 use 3 tokens by al, at 2026-01-07
2026-02-05 use 4 tokens by al, at 2026-01-09
2026-02-06 use 5 tokens by al, at 2026-01-08
2026-02-07 time passes
""")
    of_their_own = [one for one in invoices(story.ledger) if one.reason is Reason.ADJUSTMENT]
    assert [(f"{one.at:%m-%d}", adjusted(story, one)) for one in of_their_own] == [
        ("02-05", ["01 7.00", "01 14.00"]),
        ("02-06", ["01 5.00", "01 10.00"]),
    ]

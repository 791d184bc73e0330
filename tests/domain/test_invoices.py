"""Invoices: what is drafted when, and what is written down when one is issued."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.collection import CollectionMethod
from domain.decider import fold
from domain.invoices import (
    DraftInvoice,
    Facts,
    FinalizeInvoice,
    InvoiceDrafted,
    InvoiceFinalized,
    Reason,
    Status,
)
from domain.periods import Period
from domain.rating import LineKind
from domain.settlements import balance_change, evolve
from domain.statements import BilledTo, IssuedLine, IssuedStep, Statement
from tests.spec import given

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
LATER = FEBRUARY + timedelta(hours=1)
PERIOD = Period(JANUARY, FEBRUARY)


def line(amount: str, kind: LineKind = LineKind.RECURRING, number: int = 1) -> IssuedLine:
    """A line of so much."""
    exact = Fraction(amount)
    return IssuedLine(
        id=f"inv_1_{number}",
        kind=kind,
        description="Alpaca.ai licence",
        item_id="item_1",
        price_id="price_1",
        price_version=1,
        period=PERIOD,
        since=JANUARY,
        quantity=Fraction(1),
        exact=exact,
        amount=Decimal(amount),
        steps=(IssuedStep(description="1 unit", amount=exact),),
    )


def owed(*lines: IssuedLine, days: int | None = None) -> Statement:
    """What these lines say."""
    sent = days is not None
    return Statement(
        customer_id="cus_1",
        subscription_id="sub_1",
        currency="USD",
        collection_method=(
            CollectionMethod.SEND_INVOICE if sent else CollectionMethod.CHARGE_AUTOMATICALLY
        ),
        days_until_due=days,
        period=PERIOD,
        lines=lines,
        subtotal=sum((one.amount for one in lines), Decimal(0)),
        total=sum((one.amount for one in lines), Decimal(0)),
        content_hash="hash",
        position=7,
        billed_to=BilledTo(
            name="Al", email=None, description=None, external_id=None, time_zone="UTC"
        ),
    )


def drafted(*, grace: bool = False, reason: Reason = Reason.RENEWAL) -> InvoiceDrafted:
    """The draft of the first of February."""
    return InvoiceDrafted(
        id="inv_1",
        subscription_id="sub_1",
        customer_id="cus_1",
        currency="USD",
        at=FEBRUARY,
        reason=reason,
        finalizes_at=LATER if grace else FEBRUARY,
        drafted_at=FEBRUARY,
    )


def finalized(
    statement: Statement,
    *,
    applied: str = "0",
    to_balance: str = "0",
    due: str,
    number: int = 1,
    due_at: datetime | None = None,
) -> InvoiceFinalized:
    """That draft as it was issued an hour later."""
    return InvoiceFinalized(
        id="inv_1",
        number=number,
        subscription_id="sub_1",
        customer_id="cus_1",
        currency="USD",
        position=statement.position,
        content_hash=statement.content_hash,
        collection_method=statement.collection_method,
        days_until_due=statement.days_until_due,
        due_at=due_at,
        period=statement.period,
        lines=statement.lines,
        subtotal=statement.total,
        total=statement.total,
        balance_applied=Decimal(applied),
        to_balance=Decimal(to_balance),
        amount_due=Decimal(due),
        billed_to=statement.billed_to,
        finalized_at=LATER,
    )


DRAFT = DraftInvoice(subscription_id="sub_1", at=FEBRUARY, reason=Reason.RENEWAL)
FINALIZE = FinalizeInvoice(invoice_id="inv_1")
LICENCE = owed(line("100.00"))


def at_drafting(statement: Statement | None, *, before: bool = False) -> Facts:
    """What is known when the draft is made."""
    return Facts(id="inv_1", at=FEBRUARY, statement=statement, drafted=before)


def at_issue(statement: Statement, *, balance: str = "0", number: int = 1) -> Facts:
    """What is known an hour later."""
    return Facts(id="inv_1", at=LATER, statement=statement, number=number, balance=Decimal(balance))


def test_an_invoice_without_usage_is_final_at_once() -> None:
    given().when(DRAFT, at_drafting(LICENCE)).then(drafted())


def test_usage_that_comes_late_is_waited_for() -> None:
    usage = owed(line("80.00", LineKind.USAGE), line("100.00"))
    given().when(DRAFT, at_drafting(usage)).then(drafted(grace=True))
    given().when(
        DraftInvoice(
            subscription_id="sub_1", at=FEBRUARY, reason=Reason.RENEWAL, grace=timedelta(0)
        ),
        at_drafting(usage),
    ).then(drafted())


def test_nothing_owed_is_not_invoiced() -> None:
    given().when(DRAFT, at_drafting(owed())).then()
    given().when(DRAFT, at_drafting(None)).then_rejected("NOT_FOUND", "input.subscriptionId")


def test_an_instant_is_invoiced_once_but_for_one_off_items() -> None:
    again = at_drafting(LICENCE, before=True)
    given().when(DRAFT, again).then_rejected("ALREADY_EXISTS", "input.at")
    change = DraftInvoice(subscription_id="sub_1", at=FEBRUARY, reason=Reason.ONE_OFF)
    given().when(change, again).then(drafted(reason=Reason.ONE_OFF))


def test_finalizing_writes_down_what_is_owed_and_nothing_twice() -> None:
    issue = given(drafted()).when(FINALIZE, at_issue(LICENCE, number=12))
    issue.then(finalized(LICENCE, due="100.00", number=12))
    given().when(FINALIZE, at_issue(LICENCE)).then_rejected("NOT_FOUND", "input.invoiceId")


def test_the_days_to_pay_run_from_the_issue() -> None:
    sent = owed(line("100.00"), days=30)
    expected = finalized(sent, due="100.00", due_at=LATER + timedelta(days=30))
    given(drafted()).when(FINALIZE, at_issue(sent)).then(expected)


@pytest.mark.parametrize(
    ("balance", "applied", "due"),
    [("0", "0", "100.00"), ("30", "30", "70.00"), ("100", "100.00", "0"), ("250", "100.00", "0")],
)
def test_what_we_owe_the_customer_is_used_first(balance: str, applied: str, due: str) -> None:
    issue = given(drafted()).when(FINALIZE, at_issue(LICENCE, balance=balance))
    issue.then(finalized(LICENCE, applied=applied, due=due))


def test_a_negative_total_goes_to_the_balance() -> None:
    credit = owed(line("-40.00"), line("10.00", number=2))
    expected = finalized(credit, to_balance="30.00", due="0")
    given(drafted()).when(FINALIZE, at_issue(credit, balance="5")).then(expected)
    change = balance_change(expected)
    assert change is not None
    assert (change.customer_id, change.currency, change.amount) == ("cus_1", "USD", Decimal(30))
    assert balance_change(drafted()) is None


def test_the_state_of_an_invoice() -> None:
    draft = fold(evolve, [drafted()])
    assert draft is not None
    assert (draft.status, draft.printed_number) == (Status.DRAFT, None)
    usage = owed(line("80.00", LineKind.USAGE))
    opened = fold(evolve, [drafted(), finalized(usage, due="80.00", number=7)])
    assert opened is not None
    assert (opened.status, opened.printed_number) == (Status.OPEN, "000007")
    assert opened.statement == usage
    assert opened.amount_due == Decimal(80)
    settled = fold(evolve, [drafted(), finalized(usage, applied="80.00", due="0")])
    assert settled is not None
    assert settled.status is Status.PAID
